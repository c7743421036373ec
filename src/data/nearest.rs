//! The name that was probably meant.

/// The candidate nearest to `name`, if one is near enough to be a likely misspelling.
///
/// Distance: insertions, deletions, substitutions and swaps of neighbours, each 1; letters that differ only in case
/// count nothing. Near enough means at most a third of the length of `name`, and at least one edit is allowed.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (distance(name, c), c))
        .filter(|&(d, c)| d <= limit && d < c.chars().count())
        .min_by_key(|&(d, _)| d)
        .map(|(_, c)| c)
}

/// The optimal string alignment distance, ignoring case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().flat_map(char::to_lowercase).collect();
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
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
    fn finds_a_misspelling_and_nothing_far_away() {
        let names = ["species", "island", "year", "bill_length_mm"];
        assert_eq!(nearest("spceies", names), Some("species"));
        assert_eq!(nearest("Year", names), Some("year"));
        assert_eq!(nearest("bill_lenght_mm", names), Some("bill_length_mm"));
        assert_eq!(nearest("weight", names), None);
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(distance("ab", "ba"), 1);
    }
}
