//! The name that was probably meant, for help with misspelt ones.

use std::cmp::Reverse;

/// The candidate nearest to `name`, if it is near enough to be a likely slip.
///
/// Distance: insertions, deletions, substitutions and swaps of neighbours, each 1; letters that differ only in case
/// count nothing. Near enough means about a third of the length of `name`, at least one edit, and less than the whole
/// candidate. Among equally near ones the longest common start wins, then the nearer length, then the alphabet.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = ((name.chars().count() + 1) / 3).max(1);
    let length = |s: &str| s.chars().count();
    candidates
        .into_iter()
        .filter(|c| *c != name && length(c).abs_diff(length(name)) <= limit)
        .map(|c| (distance(name, c), c))
        .filter(|&(d, c)| d <= limit && d < length(c))
        .min_by_key(|&(d, c)| (d, Reverse(common_start(name, c)), length(c).abs_diff(length(name)), c))
        .map(|(_, c)| c)
}

fn common_start(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(x, y)| x == y).count()
}

/// A letter as it is compared: lower case, and one form for Greek letters that look alike.
fn folded(text: &str) -> Vec<char> {
    let alike = |c| match c {
        'µ' => 'μ',
        'ϵ' => 'ε',
        'ϕ' => 'φ',
        'ϑ' => 'θ',
        other => other,
    };
    text.chars().flat_map(char::to_lowercase).map(alike).collect()
}

/// The optimal string alignment distance, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (folded(a), folded(b));
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substitution = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            next[j] = best;
        }
        before = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_strangers_are_not() {
        assert_eq!(nearest("Nromal", ["Normal", "Gamma"]), Some("Normal"));
        assert_eq!(nearest("sigmod", ["sigmoid", "sign"]), Some("sigmoid"));
        assert_eq!(nearest("step", ["stop", "steps"]), Some("steps"));
        assert_eq!(nearest("\u{b5}", ["\u{3bc}"]), Some("\u{3bc}"));
        assert_eq!(nearest("taus", ["tau", "theta"]), Some("tau"));
        assert_eq!(nearest("mu", ["theta", "tau"]), None);
        assert_eq!(nearest("x", ["y"]), None);
        let names = ["species", "island", "year", "bill_length_mm"];
        assert_eq!(nearest("spceies", names), Some("species"));
        assert_eq!(nearest("Year", names), Some("year"));
        assert_eq!(nearest("bill_lenght_mm", names), Some("bill_length_mm"));
        assert_eq!(nearest("weight", names), None);
    }

    #[test]
    fn a_swap_of_neighbours_is_one_slip() {
        assert_eq!(distance("ab", "ba"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("Σa", "σa"), 0);
    }
}
