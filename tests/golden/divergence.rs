//! KL divergences: closed forms against Monte Carlo, and where a closed form must not be used.

use crate::common::*;
use bayesc::check::settings::KlChoice;
use bayesc::infer::elbo::KlTerm;
use bayesc::rng::Key;

#[test]
fn closed_forms_and_monte_carlo_agree_on_average() {
    let text = "data y: real[N] = [0.5, 1.5, 0.2]\nmodel {\n  m: real[2] ~ Normal(0, 2)\n  w: real[N] ~ Normal(m[0], 0.7)\n  \
                t ~ Gamma(2, 1)\n  u ~ LogNormal(m[1], 0.6)\n  y ~ Normal(w, t + u)\n}\n\
                guide {\n  w ~ Normal(?, ?)\n  _ ~ mean_field\n}\ninfer svi { steps = 10 }\n";
    let mut auto = Elbo::new(text, KlChoice::Auto);
    let mut sampled = Elbo::new(text, KlChoice::MonteCarlo);
    for site in ["m", "w", "u"] {
        assert!(auto.terms().contains(&(site.to_string(), KlTerm::Closed)), "{site}: {:?}", auto.terms());
    }
    assert!(sampled.terms().iter().all(|(_, t)| *t == KlTerm::MonteCarlo));
    let mut random = Random(3);
    let p: Vec<f64> = auto.start(0).iter().map(|x| 0.3 * x + 0.4 * random.normal()).collect();
    let (mut values, mut gradients) = (Vec::new(), vec![Vec::new(); p.len()]);
    for i in 0..8000 {
        let key = Key::new(9).fold_in(i);
        let (a, b) = (auto.at(&p, key, None), sampled.at(&p, key, None));
        values.push(a.elbo - b.elbo);
        for (all, (a, b)) in gradients.iter_mut().zip(a.gradient.iter().zip(&b.gradient)) {
            all.push(a - b);
        }
    }
    assert_mean(&values, 0.0, "closed less Monte Carlo");
    for (at, g) in gradients.iter().enumerate() {
        assert_mean(g, 0.0, &format!("gradient {at}, closed less Monte Carlo"));
    }
}

/// A prior that is decoded from a code, and a guide that encodes the code from what the prior is of: the model draws
/// z, then kernels given z; the guide draws kernels, then z given kernels.
const HYPER: &str = "
data x: real[N, 3] = [[0.5, -1.0, 0.3], [1.2, 0.4, -0.6], [-0.7, 0.9, 1.1], [0.1, 0.2, -1.4]]
data y: real[N] = [0.7, -0.2, 1.1, 0.4]
net decoder(z: real[K]) -> (real[3], real[3]) {
  param w: real[K, 3]
  param c: real[3]
  param d: real[3]
  h = tanh(z @ w + c)
  return (h, softplus(h + d))
}
net encoder(k: real[3]) -> (real[2], real[2]) {
  param w: real[3, 2]
  param c: real[2]
  param d: real[2]
  h = tanh(k @ w + c)
  return (h, softplus(h + d))
}
model {
  z: real[2] ~ Normal(0, 1)
  (loc, scale) = decoder(z)
  kernels: real[3] ~ Normal(loc, scale)
  y ~ Normal(x @ kernels, 0.5)
}
guide {
  kernels ~ Normal(?, ?(0.3))
  (m, s) = encoder(kernels)
  z ~ Normal(m, s)
}
infer svi { steps = 10 }
";

#[test]
fn a_prior_that_depends_on_the_draw_has_no_closed_form() {
    let mut e = Elbo::new(HYPER, KlChoice::Auto);
    assert_eq!(
        e.terms(),
        [("z".to_string(), KlTerm::Closed), ("kernels".to_string(), KlTerm::MonteCarlo)],
        "z given kernels against its fixed prior is closed; kernels against a prior that z, so kernels, decide is not"
    );
    let mut sampled = Elbo::new(HYPER, KlChoice::MonteCarlo);
    let mut random = Random(19);
    let p: Vec<f64> = e.start(4).iter().map(|x| x + 0.3 * random.normal()).collect();
    let mut difference = |i: u64| {
        let key = Key::new(23).fold_in(i);
        e.at(&p, key, None).elbo - sampled.at(&p, key, None).elbo
    };
    assert_mean(&(0..4000).map(&mut difference).collect::<Vec<_>>(), 0.0, "the ELBO less that by Monte Carlo");
}

#[test]
fn its_gradient_is_the_slope_of_its_elbo() {
    for kl in [KlChoice::Auto, KlChoice::MonteCarlo] {
        let mut e = Elbo::new(HYPER, kl);
        let mut random = Random(17);
        let p: Vec<f64> = e.start(4).iter().map(|x| x + 0.3 * random.normal()).collect();
        let h = 1e-5;
        let mut differences = vec![Vec::new(); p.len()];
        for i in 0..1500 {
            let key = Key::new(21).fold_in(i);
            let gradient = e.at(&p, key, None).gradient;
            for (at, all) in differences.iter_mut().enumerate() {
                let mut moved = p.clone();
                moved[at] += h;
                let up = e.at(&moved, key, None).elbo;
                moved[at] = p[at] - h;
                let down = e.at(&moved, key, None).elbo;
                // The slope of one draw holds the score of ln q, which is 0 on average and left out of the gradient.
                all.push(-gradient[at] - (up - down) / (2.0 * h));
            }
        }
        for (at, d) in differences.iter().enumerate() {
            let (m, error) = mean_and_error(d);
            // 1e-7: rounding of the finite difference.
            assert!(m.abs() <= 4.5 * error + 1e-7, "{kl:?}, parameter {at}: gradient off by {m} ± {error}");
        }
    }
}
