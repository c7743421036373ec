//! The eight schools under `mean_field` against an ELBO written out by hand.
//!
//! mu ~ N(0, 5), tau ~ HalfCauchy(5), z_j ~ N(0, 1), y_j ~ N(mu + tau z_j, se_j);
//! q: mu ~ N(m, s), ln tau ~ N(a, b), z_j ~ N(c_j, d_j). All expectations are closed but that of the half-Cauchy, which
//! is a sum over a fine grid.

use crate::common::*;
use bayesc::session::RunOptions;
use std::f64::consts::{PI, TAU};

const Y: [f64; 8] = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0];
const SE: [f64; 8] = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0];
/// m, ln s, a, ln b, c_j, ln d_j
const N: usize = 20;

/// The ELBO and its gradient.
fn elbo(p: &[f64; N]) -> (f64, [f64; N]) {
    let (m, s, a, b) = (p[0], p[1].exp(), p[2], p[3].exp());
    let (t1, t2) = ((a + b * b / 2.0).exp(), (2.0 * a + 2.0 * b * b).exp());
    let mut value = -0.5 * (TAU * 25.0).ln() - (m * m + s * s) / 50.0 + s.ln() + 0.5 * (TAU * 1f64.exp()).ln();
    let mut g = [0.0; N];
    let (mut gs, mut gb) = (-s / 25.0 + 1.0 / s, 1.0 / b);
    g[0] = -m / 25.0;
    let (mut g_t1, mut g_t2) = (0.0, 0.0);
    for j in 0..8 {
        let (c, d) = (p[4 + j], p[12 + j].exp());
        let w = 1.0 / (SE[j] * SE[j]);
        let r = Y[j] - m;
        let square = r * r + s * s - 2.0 * r * t1 * c + t2 * (c * c + d * d);
        value += -0.5 * (TAU * SE[j] * SE[j]).ln() - 0.5 * w * square;
        value += -0.5 * TAU.ln() - 0.5 * (c * c + d * d) + d.ln() + 0.5 * (TAU * 1f64.exp()).ln();
        g[0] += w * (r - t1 * c);
        gs -= w * s;
        g[4 + j] = w * (r * t1 - t2 * c) - c;
        g[12 + j] = (-w * t2 * d - d + 1.0 / d) * d;
        g_t1 += w * r * c;
        g_t2 -= 0.5 * w * (c * c + d * d);
    }
    // E ln p(tau) on a grid of the normal behind ln tau.
    let (mut cauchy, mut slope, mut slope_b) = (0.0, 0.0, 0.0);
    let step = 0.05;
    for i in -180..=180 {
        let e = f64::from(i) * step;
        let weight = step * (-0.5 * e * e).exp() / TAU.sqrt();
        let ratio = (2.0 * (a + b * e)).exp() / 25.0;
        cauchy += weight * ratio.ln_1p();
        let h = 2.0 * ratio / (1.0 + ratio);
        slope += weight * h;
        slope_b += weight * h * e;
    }
    value += (2.0 / (5.0 * PI)).ln() - cauchy + a + b.ln() + 0.5 * (TAU * 1f64.exp()).ln();
    g[2] = g_t1 * t1 + g_t2 * 2.0 * t2 - slope + 1.0;
    gb += g_t1 * t1 * b + g_t2 * 4.0 * b * t2 - slope_b;
    g[1] = gs * s;
    g[3] = gb * b;
    (value, g)
}

/// Ascends to the optimum by Adam with a falling rate.
fn optimum() -> [f64; N] {
    let mut p = [0.0; N];
    let (mut first, mut second) = ([0.0; N], [0.0; N]);
    let total = 20_000;
    for t in 1..=total {
        let (_, g) = elbo(&p);
        let rate = 0.02 * (1.0 - t as f64 / total as f64);
        for i in 0..N {
            first[i] = 0.9 * first[i] + 0.1 * g[i];
            second[i] = 0.999 * second[i] + 0.001 * g[i] * g[i];
            let (m, v) = (first[i] / (1.0 - 0.9f64.powi(t)), second[i] / (1.0 - 0.999f64.powi(t)));
            p[i] += rate * m / (v.sqrt() + 1e-10);
        }
    }
    p
}

#[test]
fn the_hand_written_gradient_is_that_of_the_hand_written_elbo() {
    let mut random = Random(5);
    let mut p = [0.0; N];
    p.iter_mut().for_each(|x| *x = 0.5 * random.normal());
    let (_, g) = elbo(&p);
    for i in 0..N {
        let (mut up, mut down) = (p, p);
        up[i] += 1e-5;
        down[i] -= 1e-5;
        let slope = (elbo(&up).0 - elbo(&down).0) / 2e-5;
        assert_close(g[i], slope, 1e-6 * (1.0 + slope.abs()), &format!("d elbo / d p[{i}]"));
    }
}

#[test]
fn mean_field_finds_the_optimum_of_the_hand_written_elbo() {
    let p = optimum();
    let (best, g) = elbo(&p);
    assert!(g.iter().all(|x| x.abs() < 1e-3), "the reference has converged: {g:?}");
    let c = example("eight_schools.bayes", |t| t);
    let options = RunOptions { infer: Some("svi".into()), guide: Some("mean_field".into()), ..RunOptions::default() };
    let fit = fit_with(&c, &options);

    let (m, a, b) = (params(&fit, "mu.loc")[0], params(&fit, "tau.loc")[0], softplus(params(&fit, "tau.scale")[0]));
    let (s_ref, b_ref) = (p[1].exp(), p[3].exp());
    assert_close(m, p[0], 0.15 * s_ref, "mean of mu");
    assert_close(softplus(params(&fit, "mu.scale")[0]), s_ref, 0.1 * s_ref, "sd of mu");
    let tau = |a: f64, b: f64| ((a + b * b / 2.0).exp(), (2.0 * a + 2.0 * b * b).exp());
    let ((t, _), (t_ref, t2_ref)) = (tau(a, b), tau(p[2], b_ref));
    assert_close(t, t_ref, 0.15 * (t2_ref - t_ref * t_ref).sqrt(), "mean of tau");
    for j in 0..8 {
        let (c_ref, d_ref) = (p[4 + j], p[12 + j].exp());
        let mean_ref = p[0] + t_ref * c_ref;
        let sd_ref = (s_ref * s_ref + t2_ref * (c_ref * c_ref + d_ref * d_ref) - (t_ref * c_ref).powi(2)).sqrt();
        let mean = m + t * params(&fit, "z.loc")[j];
        assert_close(mean, mean_ref, 0.15 * sd_ref, &format!("mean of theta[{j}]"));
        // What is reported are draws of the same.
        assert_mean(&draws(&fit.quantities, "theta", j), mean, &format!("draws of theta[{j}]"));
    }
    assert_mean(&draws(&fit.quantities, "mu", 0), m, "draws of mu");
    let (value, error) = elbo_of(&fit);
    assert_close(value, best, 4.5 * error + 0.02, "the ELBO");
    assert_eq!(quantity(&fit.quantities, "theta").labels[0].as_ref().map(|l| l[0].as_str()), Some("A"));
}
