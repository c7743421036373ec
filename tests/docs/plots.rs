//! Densities and masses as small SVG pictures: axes, ticks, polylines and a legend.

use crate::examples::{Example, Param};
use bayesc::dist::{self, Dist, DistId};
use bayesc::exec::eval_f64;
use bayesc::ir::{Builder, DType, Shape, ValueId};
use bayesc::rng::Key;
use std::fmt::Write;

/// Points of a curve.
const POINTS: usize = 241;
const WIDTH: f64 = 460.0;
const HEIGHT: f64 = 240.0;
/// Left, right, top, bottom.
const MARGIN: [f64; 4] = [46.0, 12.0, 12.0, 30.0];
/// Colours that can be told apart with any kind of colour vision.
const COLORS: [&str; 3] = ["#0072b2", "#d55e00", "#009e73"];

fn constants(g: &mut Builder, id: DistId, params: &[Param]) -> Vec<ValueId> {
    let defs = dist::get(id).params;
    params
        .iter()
        .zip(defs)
        .map(|(p, def)| match p {
            Param::S(x) => g.constant(vec![*x], Shape::scalar(), def.dtype()),
            Param::V(v) => g.constant(v.to_vec(), Shape::from([v.len()]), def.dtype()),
        })
        .collect()
}

/// The log density at each of `xs`, as the compiler computes it.
fn log_prob(id: DistId, params: &[Param], xs: &[f64]) -> Vec<f64> {
    let mut g = Builder::new();
    let params = constants(&mut g, id, params);
    let d = Dist::row(id, params);
    let x = g.constant(xs.to_vec(), Shape::from([xs.len()]), dist::get(id).dtype);
    let lp = d.log_prob(&mut g, x);
    g.output("log_prob", lp);
    eval_f64(&g.finish(), &[], Key::new(1)).remove(0)
}

/// Mean and standard deviation for scalar parameters, where the row knows them.
pub fn moments(id: DistId, params: &[Param]) -> Option<(f64, f64)> {
    let row = dist::get(id);
    let (mean, variance) = (row.mean?, row.variance?);
    let mut g = Builder::new();
    let params = constants(&mut g, id, params);
    let (m, v) = (mean(&mut g, &params), variance(&mut g, &params));
    g.output("mean", m);
    g.output("variance", v);
    let out = eval_f64(&g.finish(), &[], Key::new(1));
    Some((out[0][0], out[1][0].sqrt()))
}

/// A number for people: at most four digits.
pub fn number(x: f64) -> String {
    if x.is_nan() {
        return "does not exist".into();
    }
    if x.is_infinite() {
        return "infinite".into();
    }
    let digits = if x == 0.0 { 0 } else { (3 - x.abs().log10().floor() as i32).clamp(0, 6) as usize };
    let text = format!("{x:.digits$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

/// `loc = 0, scale = 1`
pub fn legend(id: DistId, params: &[Param]) -> String {
    let value = |p: &Param| match p {
        Param::S(x) => number(*x),
        Param::V(v) => format!("[{}]", v.iter().map(|x| number(*x)).collect::<Vec<_>>().join(", ")),
    };
    let named = params.iter().zip(dist::get(id).params).map(|(p, def)| format!("{} = {}", def.name, value(p)));
    named.collect::<Vec<_>>().join(", ")
}

/// Round numbers that part a range into about `n` pieces.
fn ticks(from: f64, to: f64, n: f64) -> Vec<f64> {
    let raw = (to - from) / n;
    let unit = 10f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|s| s * unit).into_iter().find(|s| *s >= raw).unwrap_or(raw);
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    (first..=last).map(|i| i as f64 * step).collect()
}

/// The picture of the curves of an example.
pub fn svg(id: DistId, example: &Example) -> String {
    let (from, to) = example.range;
    let discrete = dist::get(id).dtype != DType::Real;
    let xs: Vec<f64> = if discrete {
        (from.ceil() as i64..=to.floor() as i64).map(|i| i as f64).collect()
    } else {
        // Between the ends, which may be poles.
        (0..POINTS).map(|i| from + (to - from) * (i as f64 + 0.5) / POINTS as f64).collect()
    };
    let curves: Vec<Vec<f64>> = example
        .curves
        .iter()
        .map(|params| log_prob(id, params, &xs).into_iter().map(|lp| lp.exp()).collect())
        .collect();
    // Poles are cut at three times the height of what is usual.
    let mut all: Vec<f64> = curves.iter().flatten().copied().filter(|y| y.is_finite()).collect();
    all.sort_by(f64::total_cmp);
    let largest = all.last().copied().unwrap_or(1.0);
    let usual = all.get(all.len() * 97 / 100).copied().unwrap_or(largest);
    let top = 1.05 * if discrete { largest } else { largest.min(3.0 * usual) };
    let [left, right, up, down] = MARGIN;
    let px = |x: f64| left + (x - from) / (to - from) * (WIDTH - left - right);
    let py = |y: f64| HEIGHT - down - (y.min(top) / top) * (HEIGHT - up - down);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    let line = |out: &mut String, points: &[(f64, f64)], color: &str, width: f64| {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"/>",
            points.join(" ")
        );
    };
    let base = HEIGHT - down;
    line(&mut out, &[(left, base), (WIDTH - right, base)], "#555555", 1.0);
    for t in ticks(from, to, 7.0) {
        line(&mut out, &[(px(t), base), (px(t), base + 4.0)], "#555555", 1.0);
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\" fill=\"#333333\">{}</text>",
            px(t),
            base + 17.0,
            number(t)
        );
    }
    for t in ticks(0.0, top, 4.0) {
        // The axis is there already.
        if t > 0.0 {
            line(&mut out, &[(left, py(t)), (WIDTH - right, py(t))], "#e4e4e4", 1.0);
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"#333333\">{}</text>",
            left - 6.0,
            py(t) + 4.0,
            number(t)
        );
    }
    let n = curves.len() as f64;
    for (i, curve) in curves.iter().enumerate() {
        let color = COLORS[i % COLORS.len()];
        if discrete {
            // Bars side by side.
            let shift = (i as f64 - (n - 1.0) / 2.0) * 4.0;
            for (x, y) in xs.iter().zip(curve).filter(|(_, y)| **y > 0.0) {
                line(&mut out, &[(px(*x) + shift, base), (px(*x) + shift, py(*y))], color, 3.0);
            }
        } else {
            let mut run: Vec<(f64, f64)> = Vec::new();
            for (x, y) in xs.iter().zip(curve) {
                if *y > 0.0 || run.last().is_some_and(|p| p.1 < base - 0.5) {
                    run.push((px(*x), py(*y)));
                } else if run.len() > 1 {
                    line(&mut out, &run, color, 1.8);
                    run.clear();
                } else {
                    run.clear();
                }
            }
            if run.len() > 1 {
                line(&mut out, &run, color, 1.8);
            }
        }
        let text = legend(id, example.curves[i]);
        let y = up + 12.0 + 15.0 * i as f64;
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\" fill=\"{color}\">{text}</text>",
            WIDTH - right - 4.0
        );
    }
    out.push_str("</svg>\n");
    out
}

/// Whether two pictures are the same up to what the last digit of a logarithm does to a coordinate.
pub fn same(a: &str, b: &str) -> bool {
    let words = |text: &str| -> Vec<String> { text.split([' ', ',', '"']).map(str::to_string).collect() };
    let (a, b) = (words(a), words(b));
    let close = |x: &String, y: &String| match (x.parse::<f64>(), y.parse::<f64>()) {
        (Ok(x), Ok(y)) => (x - y).abs() < 0.25,
        _ => x == y,
    };
    a.len() == b.len() && a.iter().zip(&b).all(|(x, y)| close(x, y))
}
