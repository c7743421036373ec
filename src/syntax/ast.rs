//! The abstract syntax tree: what the text says, with the place of everything, before any meaning.
//!
//! Made by `parse.rs`, printed by `print.rs`, read only by `check/` and by `data/` (default expressions of data).

use crate::source::Span;

/// A name and its place.
#[derive(Clone, PartialEq, Debug)]
pub struct Ident {
    /// The name as written.
    pub name: String,
    /// Its place.
    pub span: Span,
}

/// A dotted name: `h1.weight`, `bnn.conv2d`.
#[derive(Clone, PartialEq, Debug)]
pub struct Path {
    /// At least one part.
    pub parts: Vec<Ident>,
    /// The place of the whole.
    pub span: Span,
}

impl Path {
    /// The parts joined by dots.
    pub fn dotted(&self) -> String {
        self.parts.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(".")
    }
}

/// A file.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Module {
    /// The `///` lines at the top that no item follows directly, or that precede the first `use`; joined by newlines.
    pub doc: Option<String>,
    /// The items in the order of the text; those that could not be parsed are missing.
    pub items: Vec<Item>,
}

/// One item of a file.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// The `///` lines directly above, without the slashes, joined by newlines.
    pub doc: Option<String>,
    /// What it is.
    pub kind: ItemKind,
    /// The place of the whole item.
    pub span: Span,
}

/// The kinds of items.
#[derive(Clone, PartialEq, Debug)]
pub enum ItemKind {
    /// `use bnn`, `use priors.{horseshoe}`, `use "my_layers.bayes"`
    Use(Use),
    /// `table = csv("radon.csv")`
    Const {
        /// The name bound.
        name: Ident,
        /// The value.
        value: Expr,
    },
    /// `size K = 10`, `size School = levels(csv("schools.csv").school)`
    Size {
        /// The name of the size.
        name: Ident,
        /// Its value; `None` for `size K`, which `--size` must give.
        value: Option<Expr>,
    },
    /// `data x: real[N] in 0.. = csv("d.csv").x`
    Data {
        /// The name of the datum.
        name: Ident,
        /// Its type.
        ty: Type,
        /// Its default.
        value: Option<Expr>,
    },
    /// `fn f(x: real[N]) -> real[N] { … }`
    Fn(Function),
    /// `layer dense(x: real[B, I], out: size) -> real[B, out] { … }`
    Layer(Function),
    /// `net encoder(x: real[B, D]) -> (real[B, K], real[B, K]) { … }`
    Net(Function),
    /// `model conv_block(x: …, out: size) -> … { … }`: a model with arguments
    Submodel(Function),
    /// `model { … }`, `model name { … }`
    Model {
        /// Its name, if it has one.
        name: Option<Ident>,
        /// Its statements.
        body: Block,
    },
    /// `guide { … }`, `guide mean_field`, `guide laplace_q { … }`
    Guide(Guide),
    /// `infer svi { … }`, `infer nuts fast { … }`
    Infer {
        /// The algorithm.
        algorithm: Ident,
        /// A name of its own, if it has one.
        name: Option<Ident>,
        /// The settings; empty for `infer nuts` without braces.
        settings: Vec<Setting>,
    },
    /// `generate { … }`
    Generate(Block),
    /// `evaluate { x = …, y = … }`
    Evaluate(Vec<Assign>),
    /// `expect { … }`
    Expect(Vec<Expr>),
}

/// A `use` item.
#[derive(Clone, PartialEq, Debug)]
pub struct Use {
    /// Where from.
    pub from: UseFrom,
    /// The names in braces: `use priors.{horseshoe}` brings `horseshoe` itself into scope. Empty: the module's name.
    pub names: Vec<Ident>,
}

/// The source of a `use`.
#[derive(Clone, PartialEq, Debug)]
pub enum UseFrom {
    /// A module of the standard library.
    Library(Ident),
    /// A file beside this one; its stem is the module's name.
    File {
        /// The path as written.
        path: String,
        /// Its place.
        span: Span,
    },
}

/// A function-like item: `fn`, `layer`, `net`, submodel.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<Parameter>,
    /// Its return type, if written.
    pub ret: Option<Return>,
    /// Its statements.
    pub body: Block,
}

/// A return type.
#[derive(Clone, PartialEq, Debug)]
pub enum Return {
    /// `-> real[N]`
    One(Type),
    /// `-> (real[B, K], real[B, K])`
    Tuple(Vec<Type>, Span),
}

/// A parameter of a function-like item.
#[derive(Clone, PartialEq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: Ident,
    /// What it takes.
    pub kind: ParameterKind,
    /// Its default.
    pub default: Option<Expr>,
}

/// What a parameter takes.
#[derive(Clone, PartialEq, Debug)]
pub enum ParameterKind {
    /// A value of this type.
    Value(Type),
    /// `out: size`
    Size(Span),
    /// `dims: shape`
    Shape(Span),
    /// `prior: dist`
    Dist(Span),
    /// `pad: option`: a compile-time setting handed on as it is, such as `same`, `2`, `(1, 2)`
    Option(Span),
}

/// An element type.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Elem {
    /// A real number.
    Real,
    /// An integer.
    Int,
    /// True or false.
    Bool,
}

/// `real[N, D] in 0..`
#[derive(Clone, PartialEq, Debug)]
pub struct Type {
    /// The element type.
    pub elem: Elem,
    /// The dimensions; empty for a scalar.
    pub dims: Vec<Dim>,
    /// The range after `in`: an [`ExprKind::Range`].
    pub range: Option<Box<Expr>>,
    /// The place.
    pub span: Span,
}

/// One dimension of a type.
#[derive(Clone, PartialEq, Debug)]
pub enum Dim {
    /// A size expression.
    Size(Expr),
    /// `..dims`: all dimensions of a `shape` parameter.
    Spread(Ident),
}

/// `{ … }`
#[derive(Clone, PartialEq, Debug)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// The place, braces included.
    pub span: Span,
}

/// A statement.
#[derive(Clone, PartialEq, Debug)]
pub struct Stmt {
    /// The `///` lines directly above.
    pub doc: Option<String>,
    /// What it is.
    pub kind: StmtKind,
    /// The place of the whole statement.
    pub span: Span,
}

/// The kinds of statements.
#[derive(Clone, PartialEq, Debug)]
pub enum StmtKind {
    /// `m = expr`, `(a, b) = f(x)`
    Let {
        /// What is bound.
        target: Pattern,
        /// The value.
        value: Expr,
        /// `keep m = expr`
        keep: bool,
    },
    /// `x ~ D(…)`, `x: real[J] ~ D(…)`, `x[t] ~ D(…)`; in guides also `(a, b) ~ full_rank`, `_ ~ mean_field`
    Sample {
        /// The left side.
        target: Target,
        /// The declared type.
        ty: Option<Type>,
        /// The right side.
        dist: Expr,
        /// `keep h ~ f(x)`: the result of a submodel is reported.
        keep: bool,
    },
    /// `level: real[T]` (`keep` for `keep s: real[T]`)
    Declare {
        /// The name.
        name: Ident,
        /// Its type.
        ty: Type,
        /// Whether it is reported.
        keep: bool,
    },
    /// `sigma[t] = expr`: fills an element of a declared array
    Assign {
        /// The array.
        name: Ident,
        /// Which element.
        index: Vec<Index>,
        /// The value.
        value: Expr,
    },
    /// `param s: real[K] in 0.. = 0.1`
    Param {
        /// The name.
        name: Ident,
        /// Its type; `None` means a real scalar.
        ty: Option<Type>,
        /// Its initial value.
        init: Option<Expr>,
    },
    /// `observe expr ~ D(…)`
    Observe {
        /// What is observed.
        value: Expr,
        /// Its distribution.
        dist: Expr,
    },
    /// `factor expr`
    Factor(Expr),
    /// `for t in 1..T { … }`
    For {
        /// The index.
        var: Ident,
        /// The range.
        range: Expr,
        /// The body.
        body: Block,
    },
    /// `if c { … } else { … }`; `else if` is an `else` block of one `if`
    If {
        /// The condition.
        cond: Expr,
        /// The branch where it holds.
        then: Block,
        /// The other one.
        otherwise: Option<Block>,
    },
    /// `return expr`
    Return(Expr),
    /// An expression alone on its line: a bare name in `generate`.
    Expr(Expr),
}

/// What a deterministic statement binds.
#[derive(Clone, PartialEq, Debug)]
pub enum Pattern {
    /// `m`
    Name(Ident),
    /// `(m, s)`
    Tuple(Vec<Ident>, Span),
}

/// The left side of `~`.
#[derive(Clone, PartialEq, Debug)]
pub enum Target {
    /// `x`, `h1.weight`
    Path(Path),
    /// `level[t]`
    Element(Path, Vec<Index>),
    /// `(mu, tau)`
    Tuple(Vec<Path>, Span),
    /// `_`
    Rest(Span),
}

/// A guide.
#[derive(Clone, PartialEq, Debug)]
pub struct Guide {
    /// Its name, if it has one and a block.
    pub name: Option<Ident>,
    /// What it says.
    pub body: GuideBody,
}

/// What a guide says.
#[derive(Clone, PartialEq, Debug)]
pub enum GuideBody {
    /// `guide mean_field`, `guide low_rank(8)`: one automatic family for everything
    Family(Expr),
    /// `guide { … }`
    Block(Block),
}

/// `epochs = 40`, `minibatch N = 64`
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// The setting.
    pub name: Ident,
    /// The size in `minibatch N = 64`, the dotted site in `rate h1.weight = 1e-3`.
    pub subject: Option<Ident>,
    /// The value.
    pub value: Expr,
    /// The place.
    pub span: Span,
}

/// `x = expr` in `evaluate`.
#[derive(Clone, PartialEq, Debug)]
pub struct Assign {
    /// The datum.
    pub name: Ident,
    /// Its held-out value.
    pub value: Expr,
}

/// An expression.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Its place.
    pub span: Span,
}

/// The kinds of expressions.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `1_000`
    Int(i64),
    /// `1e-3`, `.5`, `inf`
    Real(f64),
    /// `"…"`, unescaped
    Str(String),
    /// `true`
    Bool(bool),
    /// `x`
    Name(String),
    /// `h1.weight`, `table.benign`
    Field(Box<Expr>, Ident),
    /// `f(a, k = b)`
    Call {
        /// What is called.
        callee: Box<Expr>,
        /// The arguments in order.
        args: Vec<Arg>,
    },
    /// `a[i, :, new]`
    Index(Box<Expr>, Vec<Index>),
    /// `-x`, `not c`
    Unary(UnaryOp, Box<Expr>),
    /// `a + b`, `a < b`, `a and b`, …
    Binary(BinaryOp, Box<Expr>, Box<Expr>),
    /// `x in 0..10`
    In(Box<Expr>, Box<Expr>),
    /// `a..b`, `a..=b`, `0..`, `..120`
    Range {
        /// The lower end.
        start: Option<Box<Expr>>,
        /// The upper end.
        end: Option<Box<Expr>>,
        /// `..=`
        closed: bool,
    },
    /// `x |> f(y)`: the left side becomes the first argument
    Pipe(Box<Expr>, Box<Expr>),
    /// `(a, b)`
    Tuple(Vec<Expr>),
    /// `[a, b]`
    Array(Vec<Expr>),
    /// `?`, `?(0.1)`
    Hole(Option<Box<Expr>>),
    /// Parentheses around one expression; kept so that printing is faithful.
    Paren(Box<Expr>),
}

/// An argument of a call.
#[derive(Clone, PartialEq, Debug)]
pub struct Arg {
    /// `name = …`
    pub name: Option<Ident>,
    /// The value.
    pub value: Expr,
}

/// One index.
#[derive(Clone, PartialEq, Debug)]
pub enum Index {
    /// `i`, `group`, `1..`, `..120`: an expression (a range selects a slice)
    At(Expr),
    /// `:`
    All(Span),
    /// `new`
    New(Span),
}

/// Prefix operators.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UnaryOp {
    /// `-`
    Neg,
    /// `not`
    Not,
}

/// Infix operators.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Rem,
    /// `^`
    Pow,
    /// `@`
    MatMul,
    /// `==`
    Eq,
    /// `!=`
    Ne,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
    /// `and`
    And,
    /// `or`
    Or,
}

impl BinaryOp {
    /// The operator as written.
    pub fn symbol(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Rem => "%",
            BinaryOp::Pow => "^",
            BinaryOp::MatMul => "@",
            BinaryOp::Eq => "==",
            BinaryOp::Ne => "!=",
            BinaryOp::Lt => "<",
            BinaryOp::Le => "<=",
            BinaryOp::Gt => ">",
            BinaryOp::Ge => ">=",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
        }
    }
}
