//! The numbers of a bound datum: in memory, or in the file that they come from.

use super::lazy::{LazyArray, RowReader, block_rows};
use super::stored::Failure;
use super::value::{Numbers, Value};
use crate::kernels::Scalar;
use std::ops::ControlFlow;

/// All numbers of one array, row-major. Cheap to clone.
#[derive(Clone, PartialEq, Debug)]
pub enum Values {
    /// In memory, in standard layout.
    Whole(Numbers),
    /// In a file.
    Lazy(LazyArray),
}

impl Values {
    /// The numbers of an array.
    pub fn whole(numbers: Numbers) -> Values {
        Values::Whole(match numbers.is_standard_layout() {
            true => numbers,
            false => numbers.as_standard_layout().into_owned().into_shared(),
        })
    }
    /// Numbers of this shape, row-major; there must be as many as it asks for.
    pub fn in_memory(shape: &[usize], values: Vec<f64>) -> Values {
        Values::Whole(
            Numbers::from_shape_vec(ndarray::IxDyn(shape), values).expect("as many numbers as the shape asks for"),
        )
    }
    /// The numbers of a value, if it has numbers.
    pub fn of(value: &Value) -> Option<Values> {
        match value {
            Value::Array(array) => Some(Values::whole(array.data.clone())),
            Value::Lazy(lazy) => Some(Values::Lazy(lazy.clone())),
            _ => None,
        }
    }
    /// The shape.
    pub fn shape(&self) -> &[usize] {
        match self {
            Values::Whole(numbers) => numbers.shape(),
            Values::Lazy(lazy) => lazy.shape(),
        }
    }
    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape().iter().product()
    }
    /// What is kept in memory [bytes].
    pub fn bytes(&self) -> usize {
        match self {
            Values::Whole(numbers) => numbers.len() * size_of::<f64>(),
            Values::Lazy(lazy) => lazy.bytes(),
        }
    }
    /// Where it is told that a row could not be read, for numbers in files.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Values::Whole(_) => None,
            Values::Lazy(lazy) => Some(lazy.failure()),
        }
    }
    /// True without elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The elements of one row: of what the first dimension counts.
    pub fn unit(&self) -> usize {
        self.shape().iter().skip(1).product()
    }
    fn slice(numbers: &Numbers) -> &[f64] {
        numbers.as_slice().expect("in standard layout")
    }
    /// Calls `each` with the position of the first element and the elements of block after block of whole rows, until it
    /// breaks. The blocks depend on the shape alone.
    pub fn blocks(&self, each: &mut dyn FnMut(usize, &[f64]) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Values::Lazy(lazy) => lazy.blocks(each),
            Values::Whole(numbers) => {
                let size = block_rows(self.unit()) * self.unit().max(1);
                Self::slice(numbers).chunks(size).enumerate().try_for_each(|(i, block)| each(i * size, block))
            }
        }
    }
    /// The first element for which `holds` is true, with its position.
    pub fn find(&self, holds: impl Fn(f64) -> bool) -> Option<(usize, f64)> {
        let mut found = None;
        let _ = self.blocks(&mut |at, block| match block.iter().position(|&x| holds(x)) {
            Some(i) => {
                found = Some((at + i, block[i]));
                ControlFlow::Break(())
            }
            None => ControlFlow::Continue(()),
        });
        found
    }
    /// Whether no element is NaN and `holds` is true of the least and the greatest one, found without a pass over the
    /// elements where the file says enough (see [`LazyArray::within`]).
    pub fn within(&self, holds: impl Fn(f64, f64) -> bool) -> bool {
        match self {
            Values::Lazy(lazy) => lazy.within(holds),
            Values::Whole(numbers) => {
                let (mut low, mut high, mut nan) = (f64::INFINITY, f64::NEG_INFINITY, false);
                for &x in Self::slice(numbers) {
                    low = if x < low { x } else { low };
                    high = if x > high { x } else { high };
                    nan |= x.is_nan();
                }
                !nan && holds(low, high)
            }
        }
    }
    /// All numbers.
    pub fn to_vec(&self) -> Vec<f64> {
        let mut all = vec![0.0; self.len()];
        self.fill(&mut all);
        all
    }
    /// Writes all numbers to `out`, in its precision.
    pub fn fill<F: Scalar>(&self, out: &mut [F]) {
        match self {
            Values::Whole(numbers) => {
                out.iter_mut().zip(Self::slice(numbers)).for_each(|(to, &x)| *to = F::from_f64(x));
            }
            Values::Lazy(lazy) => {
                let mut reader = lazy.reader::<F>();
                let (unit, size) = (lazy.unit().max(1), block_rows(lazy.unit()));
                for (block, place) in out.chunks_mut(size * unit).enumerate() {
                    let rows = block * size..block * size + place.len() / unit;
                    reader.read(rows.clone(), place);
                    lazy.release(rows);
                }
            }
        }
    }
    /// Reads rows.
    pub fn reader<F: Scalar>(&self) -> Reader<F> {
        match self {
            Values::Whole(numbers) => Reader { unit: self.unit(), rows: Source::Whole(numbers.clone()) },
            Values::Lazy(lazy) => Reader { unit: self.unit(), rows: Source::Lazy(lazy.reader()) },
        }
    }
}

/// Reads rows of some numbers in the precision `F`.
#[derive(Clone, Debug)]
pub struct Reader<F> {
    unit: usize,
    rows: Source<F>,
}

#[derive(Clone, Debug)]
enum Source<F> {
    Whole(Numbers),
    Lazy(RowReader<F>),
}

/// Files of this many bytes are read ahead by rows: smaller ones soon lie in memory as a whole.
const AHEAD: usize = 1 << 30;

impl<F: Scalar> Reader<F> {
    /// Writes the rows `rows` to `out`, one after the other.
    pub fn read(&mut self, rows: &[usize], out: &mut [F]) {
        let unit = self.unit;
        match &mut self.rows {
            Source::Whole(numbers) => {
                let numbers = Values::slice(numbers);
                for (place, &row) in out.chunks_exact_mut(unit).zip(rows) {
                    let values = &numbers[row * unit..(row + 1) * unit];
                    place.iter_mut().zip(values).for_each(|(to, &x)| *to = F::from_f64(x));
                }
            }
            Source::Lazy(reader) => reader.read(rows.iter().copied(), out),
        }
    }
    /// Whether reading a row may wait for a disk, or takes far longer than copying it.
    pub fn is_slow(&self) -> bool {
        match &self.rows {
            Source::Whole(_) => false,
            Source::Lazy(reader) => reader.array().is_made() || reader.array().mapped_bytes() >= AHEAD,
        }
    }
    /// Says that the rows `rows` will be read next, so that the disk works while the step runs.
    pub fn want(&self, rows: &[usize]) {
        if let Source::Lazy(reader) = &self.rows
            && reader.array().mapped_bytes() >= AHEAD
        {
            rows.iter().for_each(|&row| reader.want(row));
        }
    }
}
