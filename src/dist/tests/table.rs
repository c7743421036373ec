//! The table itself: names, forms, documentation.

use crate::dist::{DistId, Sampler, forms, get, ids, names, rows};

#[test]
fn forms_of_one_name_stand_together_and_differ_in_their_parameters() {
    assert_eq!(forms("Bernoulli"), vec![DistId::BERNOULLI_PROBS, DistId::BERNOULLI_LOGITS]);
    assert_eq!(forms("Binomials"), vec![]);
    let names = names();
    for name in &names {
        assert_eq!(names.iter().filter(|n| n == &name).count(), 1, "rows of {name} do not stand together");
        let params: Vec<Vec<&str>> =
            forms(name).iter().map(|&id| get(id).params.iter().map(|p| p.name).collect()).collect();
        for (i, a) in params.iter().enumerate() {
            assert!(params[..i].iter().all(|b| a != b), "two forms of {name} take the same parameters");
        }
        let first = get(forms(name)[0]);
        for id in forms(name) {
            let row = get(id);
            assert_eq!((row.support, row.dtype, row.event_rank), (first.support, first.dtype, first.event_rank));
        }
    }
}

#[test]
fn every_row_is_documented_and_consistent() {
    for row in rows() {
        assert!(!row.name.is_empty() && row.summary.ends_with('.') && !row.formula.is_empty(), "{}", row.name);
        assert_eq!(row.support.event_rank(), if row.support.event_rank() > 0 { row.event_rank } else { 0 });
        assert_eq!(row.support.is_discrete(), row.is_discrete(), "{}", row.name);
        assert!(!row.support.needs_bounds() || row.bounds.is_some(), "{} gives no bounds", row.name);
        if matches!(row.sample, Sampler::Scalar(_)) {
            assert!(row.params.iter().all(|p| p.event_rank == 0) && row.event_rank == 0, "{}", row.name);
        }
    }
}

#[test]
fn divergences_name_existing_rows_once() {
    for id in ids() {
        for (i, (other, _)) in get(id).kl.iter().enumerate() {
            assert!(get(id).kl[..i].iter().all(|(earlier, _)| earlier != other));
            assert_eq!(get(id).event_rank, get(*other).event_rank);
        }
    }
}
