//! What an interrupted run needs to go on: named arrays of numbers, with which it takes the very steps that an unbroken run
//! would have taken.
//!
//! Single precision, counts and truth values are exact in f64, so there is one type of number.

use crate::kernels::Scalar;
use crate::report::fit::NamedTensor;

/// The moving state of a run between two steps.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Checkpoint {
    /// The arrays, in the order in which they were added.
    pub arrays: Vec<NamedTensor>,
}

impl Checkpoint {
    /// Adds an array; its numbers may be of any kind, also not finite.
    pub fn put(&mut self, name: impl Into<String>, numbers: Vec<f64>) {
        self.arrays.push(NamedTensor { name: name.into(), shape: vec![numbers.len()], data: numbers });
    }
    /// Adds the arrays of another state, each name after `prefix`.
    pub fn put_all(&mut self, prefix: &str, other: Checkpoint) {
        self.arrays.extend(other.arrays.into_iter().map(|a| NamedTensor { name: format!("{prefix}{}", a.name), ..a }));
    }
    /// Those arrays whose name begins with `prefix`, without it.
    pub fn part(&self, prefix: &str) -> Checkpoint {
        let own = |a: &NamedTensor| {
            let name = a.name.strip_prefix(prefix)?.to_string();
            Some(NamedTensor { name, ..a.clone() })
        };
        Checkpoint { arrays: self.arrays.iter().filter_map(own).collect() }
    }
    /// An array.
    pub fn get(&self, name: &str) -> Option<&[f64]> {
        self.arrays.iter().find(|a| a.name == name).map(|a| a.data.as_slice())
    }
    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.get(name) {
            Some(&[x]) => Some(x),
            _ => None,
        }
    }
    /// A whole number from 0 on.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.number(name).filter(|x| x.fract() == 0.0 && (0.0..9.0e15).contains(x)).map(|x| x as u64)
    }
    /// An array in the precision of a run.
    pub fn of<F: Scalar>(&self, name: &str) -> Option<Vec<F>> {
        Some(self.get(name)?.iter().map(|&x| F::from_f64(x)).collect())
    }
}

/// Numbers of a run as they are stored.
pub fn exact<F: Scalar>(numbers: &[F]) -> Vec<f64> {
    numbers.iter().map(|x| x.to_f64()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_found() {
        let mut inner = Checkpoint::default();
        inner.put("x", exact(&[0.1f32, f32::NEG_INFINITY]));
        inner.put("n", vec![3.0]);
        let mut outer = Checkpoint::default();
        outer.put_all("course.", inner.clone());
        assert_eq!(outer.part("course."), inner);
        assert_eq!(outer.part("course.").of::<f32>("x"), Some(vec![0.1, f32::NEG_INFINITY]));
        assert_eq!((inner.count("n"), inner.count("x"), inner.count("y")), (Some(3), None, None));
        inner.put("half", vec![0.5]);
        assert_eq!(inner.count("half"), None);
    }
}
