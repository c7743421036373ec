//! Kernel density estimates of draws.

use crate::report::statistics::{quantile, sd};
use std::f64::consts::PI;

/// Draws are counted into this many cells before they are smoothed.
const CELLS: usize = 1024;

/// How far beyond the quartiles, in interquartile ranges, a density is still drawn: heavy tails are cut there.
const REACH: f64 = 6.0;

/// A density on an even grid: pairs of place and density, `points` of them (at least 2).
///
/// Gaussian kernels with Silverman's bandwidth, `0.9 min(sd, IQR / 1.34) n^(-1/5)` (Silverman 1986, eq. 3.31), mirrored
/// at the smallest and largest draw, so that the mass near a bound is not lost. Draws that are not finite are left out;
/// empty when fewer than two are left or all are the same.
pub fn density(draws: &[f64], points: usize) -> Vec<(f64, f64)> {
    let mut sorted: Vec<f64> = draws.iter().copied().filter(|x| x.is_finite()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let (Some(&first), Some(&last)) = (sorted.first(), sorted.last()) else { return Vec::new() };
    if first == last {
        return Vec::new();
    }
    let (q25, q75) = (quantile(&sorted, 0.25), quantile(&sorted, 0.75));
    let iqr = q75 - q25;
    let (low, high) =
        if iqr > 0.0 { (first.max(q25 - REACH * iqr), last.min(q75 + REACH * iqr)) } else { (first, last) };
    let n = sorted.len() as f64;
    let scale = if iqr > 0.0 { sd(&sorted).min(iqr / 1.34) } else { sd(&sorted) };
    let bandwidth = (0.9 * scale * n.powf(-0.2)).max((high - low) / CELLS as f64);
    let width = (high - low) / CELLS as f64;
    let mut counts = vec![0.0; CELLS];
    for &x in sorted.iter().filter(|&&x| low <= x && x <= high) {
        counts[(((x - low) / width) as usize).min(CELLS - 1)] += 1.0;
    }
    let kernel = |distance: f64| (-0.5 * (distance / bandwidth).powi(2)).exp() / (bandwidth * (2.0 * PI).sqrt());
    let cells: Vec<(f64, f64)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0.0)
        .map(|(i, &count)| (low + (i as f64 + 0.5) * width, count))
        .collect();
    (0..points)
        .map(|i| {
            let x = low + (high - low) * i as f64 / (points - 1) as f64;
            let near = |(center, count): &(f64, f64)| {
                count * (kernel(x - center) + kernel(x - (2.0 * low - center)) + kernel(x - (2.0 * high - center)))
            };
            (x, cells.iter().map(near).sum::<f64>() / n)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mass(grid: &[(f64, f64)]) -> f64 {
        grid.windows(2).map(|w| (w[1].0 - w[0].0) * (w[0].1 + w[1].1) / 2.0).sum()
    }

    #[test]
    fn a_uniform_density_is_flat_up_to_its_bounds() {
        let draws: Vec<f64> = (0..=5000).map(|i| f64::from(i) / 5000.0).collect();
        let grid = density(&draws, 101);
        assert_eq!((grid[0].0, grid[100].0), (0.0, 1.0));
        assert!(grid.iter().all(|(_, d)| (d - 1.0).abs() < 0.01), "{grid:?}");
        assert!((mass(&grid) - 1.0).abs() < 0.01);
    }

    #[test]
    fn heavy_tails_are_cut_but_counted() {
        let mut draws: Vec<f64> = (0..1000).map(|i| f64::from(i) / 1000.0).collect();
        draws.push(1e9);
        let grid = density(&draws, 200);
        assert!(grid[199].0 < 5.0 && (mass(&grid) - 1000.0 / 1001.0).abs() < 0.01, "{}", mass(&grid));
    }

    #[test]
    fn a_constant_has_no_density() {
        assert!(density(&[2.0; 10], 50).is_empty());
        assert!(density(&[f64::NAN, 1.0], 50).is_empty());
    }
}
