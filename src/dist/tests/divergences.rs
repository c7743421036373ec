//! KL(p || q): against the reference file, and every pair of the table against quadrature or summation.

use super::harness::{Array, close, dist, evaluate, log_prob, parameter_sets, quadrature};
use super::reference::{densities, family, number, params};
use crate::dist::{Dist, DistId, get, ids};
use crate::ir::{Builder, DType};

/// The closed form, where there is one.
fn kl(p: (DistId, &[Array]), q: (DistId, &[Array])) -> Option<f64> {
    let mut g = Builder::new();
    let (p, q) = (dist(&mut g, p.0, p.1), dist(&mut g, q.0, q.1));
    let value = p.kl(&q, &mut g)?;
    Some(evaluate(&g, &[value])[0][0])
}

#[test]
fn reference_divergences() {
    let file = densities();
    let mut problems = Vec::new();
    let mut seen = 0;
    for (at, entry) in file["kl"].as_array().expect("kl").iter().enumerate() {
        let name = entry["dist"].as_str().expect("a family");
        let Some((id, names)) = family(name) else { continue };
        let (p, q) = (params(&entry["p"], names), params(&entry["q"], names));
        let want = number(&entry["kl"]);
        seen += 1;
        match kl((id, &p), (id, &q)) {
            Some(got) if close(got, want, 1e-9) => {}
            got => problems.push(format!("{name}[{at}]: {got:?} instead of {want}")),
        }
    }
    assert!(seen >= 192, "only {seen} divergences of known families");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[test]
fn scalar_divergences_are_integrals_of_the_log_ratio() {
    for id in ids().filter(|&id| get(id).event_rank == 0) {
        for &(other, _) in get(id).kl {
            for p in parameter_sets(id) {
                for q in parameter_sets(other) {
                    let different_classes = p.iter().zip(&q).any(|(a, b)| a.shape != b.shape);
                    let different_totals = get(id).param("total").is_some() && p[0].data != q[0].data;
                    if different_classes || different_totals {
                        continue;
                    }
                    let got = kl((id, &p), (other, &q)).expect("the table lists it");
                    let want = if get(id).is_discrete() {
                        let ks: Vec<f64> = (0..3000).map(f64::from).collect();
                        let (lp, lq) = (log_prob(id, &p, &ks), log_prob(other, &q, &ks));
                        lp.iter().zip(&lq).filter(|(lp, _)| lp.exp() > 0.0).map(|(lp, lq)| lp.exp() * (lp - lq)).sum()
                    } else {
                        let (xs, weights) = quadrature(id, &p);
                        let (lp, lq) = (log_prob(id, &p, &xs), log_prob(other, &q, &xs));
                        let terms = lp.iter().zip(&lq).zip(&weights);
                        terms
                            .filter(|((lp, _), w)| lp.exp() > 0.0 && **w > 0.0)
                            .map(|((lp, lq), w)| w * lp.exp() * (lp - lq))
                            .sum::<f64>()
                    };
                    let name = (get(id).name, get(other).name);
                    assert!(close(got, want, 1e-5), "{name:?} {p:?} {q:?}: {got}, integral {want}");
                }
            }
        }
    }
}

#[test]
fn forms_of_one_family_have_the_same_divergence() {
    let simplex = [Array::vector(&[0.2, 0.5, 0.3]), Array::vector(&[0.6, 0.1, 0.3])];
    let logits = simplex.clone().map(|a| Array::vector(&a.data.iter().map(|p| p.ln() + 2.0).collect::<Vec<_>>()));
    let (probs_id, logits_id) = (DistId::CATEGORICAL_PROBS, DistId::CATEGORICAL_LOGITS);
    let want = kl((probs_id, &simplex[..1]), (probs_id, &simplex[1..])).expect("listed");
    assert!((want - (0.2 * (0.2f64 / 0.6).ln() + 0.5 * 5.0f64.ln())).abs() < 1e-12);
    for (p, q) in [
        ((probs_id, &simplex[..1]), (logits_id, &logits[1..])),
        ((logits_id, &logits[..1]), (probs_id, &simplex[1..])),
        ((logits_id, &logits[..1]), (logits_id, &logits[1..])),
    ] {
        assert!(close(kl(p, q).expect("listed"), want, 1e-12));
    }
    let loc = [Array::vector(&[0.5, -1.0]), Array::vector(&[0.0, 0.3])];
    let tril = [Array::matrix(2, &[1.5, 0.0, -0.7, 0.4]), Array::matrix(2, &[0.9, 0.0, 0.2, 1.1])];
    let cov = tril.clone().map(|t| {
        let [a, _, b, c] = t.data[..] else { unreachable!("2 x 2") };
        Array::matrix(2, &[a * a, a * b, a * b, b * b + c * c])
    });
    let set = |i: usize, m: &[Array; 2]| [loc[i].clone(), m[i].clone()];
    let (tril_id, cov_id) = (DistId::MULTIVARIATE_NORMAL_TRIL, DistId::MULTIVARIATE_NORMAL_COV);
    let want = kl((tril_id, &set(0, &tril)), (tril_id, &set(1, &tril))).expect("listed");
    for (p, q) in [
        ((cov_id, set(0, &cov)), (tril_id, set(1, &tril))),
        ((tril_id, set(0, &tril)), (cov_id, set(1, &cov))),
        ((cov_id, set(0, &cov)), (cov_id, set(1, &cov))),
    ] {
        assert!(close(kl((p.0, &p.1), (q.0, &q.1)).expect("listed"), want, 1e-12));
    }
}

#[test]
fn counts_of_different_totals_have_no_closed_form() {
    let set = |total: f64| [Array::scalar(total), Array::scalar(0.3)];
    let id = DistId::BINOMIAL_PROBS;
    assert!(kl((id, &set(5.0)), (id, &set(5.0))).is_some());
    assert!(kl((id, &set(5.0)), (id, &set(6.0))).is_none());
}

#[test]
fn divergences_have_the_common_batch_shape() {
    let mut g = Builder::new();
    let loc = Array { shape: vec![3, 1], data: vec![0.0, 1.0, 2.0] }.put(&mut g, DType::Real);
    let scale = Array::vector(&[1.0, 2.0]).put(&mut g, DType::Real);
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let p = Dist::row(DistId::NORMAL, [loc, one]);
    let q = Dist::row(DistId::NORMAL, [zero, scale]);
    let value = p.kl(&q, &mut g).expect("two normals");
    assert_eq!(g.shape(value).to_vec(), [3, 2]);
    let r = Dist::row(DistId::NORMAL, [zero, one]);
    let value = r.kl(&r, &mut g).expect("two normals");
    assert!(g.shape(value).is_empty());
    assert_eq!(evaluate(&g, &[value])[0], [0.0]);
}
