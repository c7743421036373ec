//! Bijectors: round trips, ln |det J| against finite differences, extreme coordinates.

use super::harness::{close, evaluate, evaluate_in};
use crate::dist::SupportKind;
use crate::ir::{Builder, DType, Shape, ValueId};
use crate::rng::Key;

/// Every support with coordinates, the shape of one event, and its ends.
const SUPPORTS: &[(SupportKind, &[usize], Option<(f64, f64)>)] = &[
    (SupportKind::Real, &[], None),
    (SupportKind::Positive, &[], None),
    (SupportKind::NonNegative, &[], None),
    (SupportKind::UnitInterval, &[], None),
    (SupportKind::Interval, &[], Some((-2.0, 5.0))),
    (SupportKind::Interval, &[], Some((f64::NEG_INFINITY, 5.0))),
    (SupportKind::Interval, &[], Some((-2.0, f64::INFINITY))),
    (SupportKind::Interval, &[], Some((f64::NEG_INFINITY, f64::INFINITY))),
    (SupportKind::GreaterThan, &[], Some((3.0, f64::INFINITY))),
    (SupportKind::Simplex, &[2], None),
    (SupportKind::Simplex, &[5], None),
    (SupportKind::Ordered, &[1], None),
    (SupportKind::Ordered, &[4], None),
    (SupportKind::PositiveOrdered, &[1], None),
    (SupportKind::PositiveOrdered, &[4], None),
    (SupportKind::UnitVector, &[2], None),
    (SupportKind::UnitVector, &[5], None),
    (SupportKind::SumToZero, &[2], None),
    (SupportKind::SumToZero, &[5], None),
    (SupportKind::LowerCholesky, &[1, 1], None),
    (SupportKind::LowerCholesky, &[3, 3], None),
    (SupportKind::PositiveDefinite, &[3, 3], None),
    (SupportKind::CorrelationCholesky, &[2, 2], None),
    (SupportKind::CorrelationCholesky, &[4, 4], None),
    (SupportKind::Correlation, &[2, 2], None),
    (SupportKind::Correlation, &[4, 4], None),
];

/// x, ln |det J| and the coordinates of x again, for a batch of coordinates.
struct Trip {
    x: Vec<f64>,
    log_det: Vec<f64>,
    back: Vec<f64>,
    x_shape: Vec<usize>,
    log_det_shape: Vec<usize>,
}

fn trip(support: SupportKind, ends: Option<(f64, f64)>, u: &[f64], shape: Shape) -> Trip {
    let mut g = Builder::new();
    let bounds: Option<(ValueId, ValueId)> = ends.map(|(a, b)| (g.scalar(a), g.scalar(b)));
    let u = g.constant(u.to_vec(), shape, DType::Real);
    let (x, log_det) = support.constrain(&mut g, u, bounds);
    let back = support.unconstrain(&mut g, x, bounds);
    let mut values = evaluate(&g, &[x, log_det, back]).into_iter();
    let mut next = || values.next().expect("three values");
    Trip {
        x: next(),
        log_det: next(),
        back: next(),
        x_shape: g.shape(x).to_vec(),
        log_det_shape: g.shape(log_det).to_vec(),
    }
}

/// Coordinates between -2 and 2, different in every place.
fn coordinates(count: usize, which: usize) -> Vec<f64> {
    (0..count).map(|i| 2.0 * (1.7 * i as f64 + 2.3 * which as f64 + 0.4).sin()).collect()
}

/// The coordinates of an event that vary freely: the first K - 1 of a simplex, the lower triangle of a matrix.
fn free(support: SupportKind, event: &[usize], x: &[f64]) -> Vec<f64> {
    let lower = |strict: bool| -> Vec<f64> {
        let n = event[0];
        (0..n).flat_map(|i| (0..i + usize::from(!strict)).map(move |j| x[i * n + j])).collect()
    };
    match support {
        SupportKind::Simplex => x[..x.len() - 1].to_vec(),
        SupportKind::LowerCholesky | SupportKind::PositiveDefinite => lower(false),
        SupportKind::CorrelationCholesky | SupportKind::Correlation => lower(true),
        _ => x.to_vec(),
    }
}

fn log_abs_det(mut a: Vec<Vec<f64>>) -> f64 {
    let n = a.len();
    let mut log = 0.0;
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).expect("a row");
        a.swap(i, pivot);
        log += a[i][i].abs().ln();
        for r in i + 1..n {
            let factor = a[r][i] / a[i][i];
            let (above, below) = a.split_at_mut(r);
            below[0][i..n].iter_mut().zip(&above[i][i..n]).for_each(|(x, y)| *x -= factor * y);
        }
    }
    log
}

#[test]
fn round_trips_return_and_batches_are_independent() {
    for &(support, event, ends) in SUPPORTS {
        let event = Shape::from(event);
        let flat = support.unconstrained_shape(&event).expect("continuous");
        let batch = support.unconstrained_shape(&Shape::from([2, 3]).concat(&event)).expect("continuous");
        let u: Vec<f64> = (0..6).flat_map(|b| coordinates(flat.count(), b)).collect();
        let all = trip(support, ends, &u, batch.clone());
        assert_eq!(all.x_shape, Shape::from([2, 3]).concat(&event).to_vec(), "{support:?}");
        let scalar_event = event.is_empty();
        assert_eq!(flat.rank(), support.free_rank(), "{support:?}");
        assert_eq!(all.log_det_shape, if scalar_event { batch.to_vec() } else { vec![2, 3] }, "{support:?}");
        for (u, back) in u.iter().zip(&all.back) {
            assert!(close(*back, *u, 1e-12), "{support:?}{event}: {u} came back as {back}");
        }
        for b in 0..6 {
            let one = trip(support, ends, &coordinates(flat.count(), b), flat.clone());
            let size = event.count();
            let x = &all.x[b * size..(b + 1) * size];
            assert!(one.x.iter().zip(x).all(|(a, b)| close(*a, *b, 1e-14)), "{support:?}");
            assert!(close(one.log_det[0], all.log_det[b], 1e-13), "{support:?}");
            assert!(support.check(x, ends), "{support:?} refuses {x:?}");
        }
    }
}

#[test]
fn log_determinants_are_those_of_the_jacobian() {
    let h = 1e-5;
    for &(support, event, ends) in SUPPORTS {
        let flat = support.unconstrained_shape(&Shape::from(event)).expect("continuous");
        for which in 0..3 {
            let u = coordinates(flat.count(), which);
            let jacobian: Vec<Vec<f64>> = (0..u.len())
                .map(|i| {
                    let moved = |by: f64| {
                        let mut u = u.clone();
                        u[i] += by;
                        free(support, event, &trip(support, ends, &u, flat.clone()).x)
                    };
                    moved(h).iter().zip(moved(-h)).map(|(a, b)| (a - b) / (2.0 * h)).collect()
                })
                .collect();
            // As many rows as coordinates; the columns are more where the support is a surface, whose area counts then.
            let gram: Vec<Vec<f64>> = jacobian
                .iter()
                .map(|a| jacobian.iter().map(|b| a.iter().zip(b).map(|(x, y)| x * y).sum()).collect())
                .collect();
            let want = 0.5 * log_abs_det(gram);
            let got = trip(support, ends, &u, flat.clone()).log_det[0];
            assert!((got - want).abs() < 1e-6, "{support:?}{event:?}: {got}, finite differences {want}");
        }
    }
}

#[test]
fn extreme_coordinates_leave_no_nan() {
    for &(support, event, ends) in SUPPORTS {
        let flat = support.unconstrained_shape(&Shape::from(event)).expect("continuous");
        for size in [40.0, -40.0, 700.0, -700.0] {
            for alternate in [1.0, -1.0] {
                let u: Vec<f64> = (0..flat.count()).map(|i| if i % 2 == 0 { size } else { size * alternate }).collect();
                let end = trip(support, ends, &u, flat.clone());
                assert!(end.log_det.iter().all(|x| x.is_finite()), "{support:?} {size}: {:?}", end.log_det);
                let matrix = matches!(support, SupportKind::PositiveDefinite | SupportKind::Correlation);
                // e^700 is the largest step, a sum of several may overflow
                let matrix = matrix || support == SupportKind::PositiveOrdered;
                assert!(matrix || end.x.iter().all(|x| x.is_finite()), "{support:?} {size}: {:?}", end.x);
                // the same in single precision, where e^700 is infinite
                let mut g = Builder::new();
                let bounds = ends.map(|(a, b)| (g.scalar(a), g.scalar(b)));
                let u = g.constant(u, flat.clone(), DType::Real);
                let (x, log_det) = support.constrain(&mut g, u, bounds);
                let values = evaluate_in::<f32>(g.graph(), &[x, log_det], Key::new(1));
                assert!(values[1].iter().all(|x| x.is_finite()), "{support:?} {size}: {values:?} in f32");
                assert!(matrix || !values[0].iter().any(|x| x.is_nan()), "{support:?} {size}: {values:?} in f32");
            }
        }
    }
}

#[test]
fn zero_is_the_centre_of_a_simplex() {
    let centre = trip(SupportKind::Simplex, None, &[0.0; 4], Shape::from([4]));
    assert!(centre.x.iter().all(|x| (x - 0.2).abs() < 1e-15), "{:?}", centre.x);
}

#[test]
fn checks_refuse_what_is_outside() {
    use SupportKind::*;
    let nan = f64::NAN;
    let cases: &[(SupportKind, &[f64], Option<(f64, f64)>, bool)] = &[
        (Real, &[1.0], None, true),
        (Real, &[nan], None, false),
        (Positive, &[0.0], None, false),
        (NonNegative, &[0.0], None, true),
        (NonNegative, &[nan], None, false),
        (UnitInterval, &[1.0], None, true),
        (UnitInterval, &[1.1], None, false),
        (Interval, &[2.0], Some((0.0, 1.0)), false),
        (GreaterThan, &[2.0], Some((2.0, f64::INFINITY)), true),
        (Simplex, &[0.5, 0.5], None, true),
        (Simplex, &[0.5, 0.6], None, false),
        (Simplex, &[1.5, -0.5], None, false),
        (Ordered, &[0.0, 1.0], None, true),
        (Ordered, &[1.0, 1.0], None, false),
        (PositiveOrdered, &[0.5, 1.0], None, true),
        (PositiveOrdered, &[-0.5, 1.0], None, false),
        (UnitVector, &[0.6, -0.8], None, true),
        (UnitVector, &[0.6, 0.9], None, false),
        (SumToZero, &[2.0, -1.5, -0.5], None, true),
        (SumToZero, &[2.0, -1.5, 0.5], None, false),
        (OneHot, &[0.0, 1.0], None, true),
        (OneHot, &[1.0, 1.0], None, false),
        (OneHot, &[0.5, 0.5], None, false),
        (Correlation, &[1.0, 0.5, 0.5, 1.0], None, true),
        (Correlation, &[1.0, 0.5, 0.5, 2.0], None, false),
        (Correlation, &[1.0, 1.5, 1.5, 1.0], None, false),
        (Boolean, &[2.0], None, false),
        (Integer, &[-2.0], None, true),
        (Integer, &[0.5], None, false),
        (Count, &[-1.0], None, false),
        (IntegerRange, &[4.0], Some((0.0, 4.0)), true),
        (IntegerRange, &[5.0], Some((0.0, 4.0)), false),
        (CountVector, &[2.0, 1.0], Some((0.0, 3.0)), true),
        (CountVector, &[2.0, 1.0], Some((0.0, 4.0)), false),
        (LowerCholesky, &[1.0, 0.0, 5.0, 2.0], None, true),
        (LowerCholesky, &[1.0, 0.1, 5.0, 2.0], None, false),
        (LowerCholesky, &[1.0, 0.0, 5.0, 0.0], None, false),
        (CorrelationCholesky, &[1.0, 0.0, 0.6, 0.8], None, true),
        (CorrelationCholesky, &[1.0, 0.0, 0.6, 0.9], None, false),
        (PositiveDefinite, &[2.0, 1.0, 1.0, 2.0], None, true),
        (PositiveDefinite, &[1.0, 2.0, 2.0, 1.0], None, false),
        (PositiveDefinite, &[2.0, 1.0, 0.0, 2.0], None, false),
    ];
    for &(support, x, ends, want) in cases {
        assert_eq!(support.check(x, ends), want, "{support:?} {x:?}");
        assert!(!support.words().is_empty());
    }
    assert!(Positive.matches(NonNegative) && !Positive.matches(UnitInterval));
}

/// Ends that the graph does not know, element by element: two-sided, one-sided, none.
#[test]
fn ends_of_an_array_may_be_infinite_one_by_one() {
    let inf = f64::INFINITY;
    let ends = [(-2.0, 5.0), (-inf, 5.0), (-2.0, inf), (-inf, inf)];
    let us = [0.3, -1.2, 2.0, -0.7, 400.0, -400.0, 90.0, -90.0];
    for &u in &us {
        let mut g = Builder::new();
        let lower = g.constant(ends.iter().map(|e| e.0).collect(), Shape::from([4]), DType::Real);
        let upper = g.constant(ends.iter().map(|e| e.1).collect(), Shape::from([4]), DType::Real);
        let given = g.constant(vec![u; 4], Shape::from([4]), DType::Real);
        let (x, log_det) = SupportKind::Interval.constrain(&mut g, given, Some((lower, upper)));
        let back = SupportKind::Interval.unconstrain(&mut g, x, Some((lower, upper)));
        let total = g.add(x, log_det);
        let total = g.sum_all(total);
        let gradient = crate::autodiff::gradient(&mut g, total, &[given, lower, upper]).expect("smooth");
        let values = evaluate(&g, &[&[x, log_det, back][..], &gradient].concat());
        for (at, &end) in ends.iter().enumerate() {
            let one = trip(SupportKind::Interval, Some(end), &[u], Shape::scalar());
            assert!(
                close(values[0][at], one.x[0], 1e-14) && close(values[1][at], one.log_det[0], 1e-14),
                "{end:?} {u}"
            );
            assert!(u.abs() > 10.0 || close(values[2][at], u, 1e-12), "{end:?} {u}: {}", values[2][at]);
        }
        assert!(u > 300.0 || values[3..].iter().flatten().all(|d| !d.is_nan()), "{u}: {:?}", &values[3..]);
        assert!(values[4][1] == 0.0 && values[4][3] == 0.0 && values[5][2] == 0.0, "{u}: {:?}", &values[3..]);
    }
}
