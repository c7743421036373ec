//! What the grammar wanted where it stopped, in words.

use super::grammar::Rule;
use super::lexer::{CommentKind, NumberKind, Token, TokenKind};

/// How a rule is spoken of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Word {
    /// Said as it is.
    Say(&'static str),
    /// An operator that may always follow: said only when there is nothing else to say.
    Operator,
    /// Never said: it goes along with something that is.
    Silent,
}

/// The words for each rule.
fn word(rule: Rule) -> Word {
    use Rule::*;
    use Word::{Operator, Say, Silent};
    match rule {
        item | only_item | const_item | use_item | size_item | data_item | fn_item | layer_item | net_item
        | submodel_item | model_item | guide_item | infer_item | generate_item | evaluate_item | expect_item
        | kw_use | kw_size | kw_data | kw_fn | kw_layer | kw_net | kw_model | kw_guide | kw_infer | kw_generate
        | kw_evaluate | kw_expect => Say("an item such as `data`, `model` or `infer`"),
        function => Say("a name and parameters"),
        params => Say("parameters in parentheses"),
        parameter => Say("a parameter such as `x: real[N]`"),
        return_type => Say("`->`"),
        tuple_type => Say("types in parentheses"),
        use_names => Say("names in braces"),
        settings => Say("settings in braces"),
        setting | kw_minibatch | kw_rate => Say("a setting such as `steps = 100`"),
        assigns => Say("`{`"),
        assignment => Say("`name = value`"),
        checks => Say("`{`"),
        type_ | elem | kind => Say("a type such as `real[N]`"),
        dims => Operator,
        dim | spread => Say("a size"),
        block => Say("a block in braces"),
        stmt | only_stmt | let_stmt | sample_stmt | element_stmt | declare_stmt | param_stmt | observe_stmt
        | factor_stmt | for_stmt | if_stmt | return_stmt | expr_stmt | keep | kw_keep | kw_param | kw_observe
        | kw_factor | kw_for | kw_if | kw_return => Say("a statement"),
        names | target | tuple_target | path | rest => Say("a name"),
        expr | only_expr | unit | primary | prefix | real | int | string | yes | no | infinity | tuple | array
        | hole | neg | not | range_to | range_to_closed | arg | named | slot => Say("an expression"),
        all | new_axis | kw_new => Silent,
        pipe | or | and | eq | ne | le | lt | ge | gt | in_ | range | range_closed | range_from | add | sub | mul
        | div | rem | matmul | pow | infix | postfix | call | index | field => Operator,
        name => Say("a name"),
        reserved => Silent,
        kw_in => Say("`in`"),
        kw_else => Operator,
        assign => Say("`=`"),
        tilde => Say("`~`"),
        colon => Say("`:`"),
        comma => Say("`,`"),
        dot => Operator,
        arrow => Say("`->`"),
        lpar => Say("`(`"),
        rpar => Say("`)`"),
        lbrk => Say("`[`"),
        rbrk => Say("`]`"),
        lbrace => Say("`{`"),
        rbrace => Say("`}`"),
        nl | EOI | between => Say("the end of the line"),
        doc | gap => Silent,
        digits | exponent | WHITESPACE => Silent,
    }
}

/// The rules that were tried, as `an expression`, ``` `,` or `)` ```.
pub(super) fn words(tried: &[Rule]) -> String {
    let mut said: Vec<&'static str> = Vec::new();
    let mut operator = false;
    for &rule in tried {
        match word(rule) {
            Word::Say(w) if !said.contains(&w) => said.push(w),
            Word::Operator => operator = true,
            _ => {}
        }
    }
    const EXPRESSION: &str = "an expression";
    const STATEMENT: &str = "a statement";
    const LINE_END: &str = "the end of the line";
    // A name is an expression, and both begin statements: the widest says it all.
    if said.contains(&STATEMENT) {
        said.retain(|w| !matches!(*w, "a name" | EXPRESSION));
    }
    if said.contains(&EXPRESSION) {
        said.retain(|w| !matches!(*w, "a name" | "a size"));
    }
    // Behind a finished statement, what could still be added to it matters less than that it has ended.
    if said.contains(&LINE_END) {
        said.retain(|w| matches!(*w, LINE_END | "`,`"));
    }
    // Behind an operand brackets are a call or an index, which are operators too.
    if operator && said.iter().any(|w| !matches!(*w, "`(`" | "`[`")) {
        said.retain(|w| !matches!(*w, "`(`" | "`[`"));
    }
    if said.is_empty() {
        return if operator { "an operator".to_string() } else { "something else".to_string() };
    }
    match said.as_slice() {
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => unreachable!("handled above"),
    }
}

/// What stands there, in words.
pub(super) fn found(token: Option<&Token>, text: &str) -> String {
    let Some(token) = token else { return "the end of the line".to_string() };
    let source = token.text(text);
    match token.kind {
        TokenKind::Newline => "the end of the line".to_string(),
        TokenKind::Comment(CommentKind::Plain) | TokenKind::HashComment => "a comment".to_string(),
        TokenKind::Comment(CommentKind::Doc) => "a doc comment".to_string(),
        TokenKind::Str | TokenKind::UnclosedStr => "a string".to_string(),
        TokenKind::Number(NumberKind::Int | NumberKind::Real) | TokenKind::Real => format!("the number `{source}`"),
        _ if source.chars().count() > 40 => "a long name".to_string(),
        _ => format!("`{source}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_word_wins() {
        assert_eq!(words(&[Rule::expr, Rule::name]), "an expression");
        assert_eq!(words(&[Rule::add, Rule::comma, Rule::rpar]), "`,` or `)`");
        assert_eq!(words(&[Rule::add, Rule::mul]), "an operator");
        assert_eq!(words(&[Rule::nl, Rule::rbrace, Rule::assign, Rule::add]), "the end of the line");
    }

    #[test]
    fn every_rule_has_words_that_read_in_a_sentence() {
        for &rule in Rule::all_rules() {
            if let Word::Say(w) = word(rule) {
                assert!(!w.ends_with('.') && !w.contains('_'), "{rule:?}: {w}");
            }
        }
    }
}
