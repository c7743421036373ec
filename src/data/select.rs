//! Indexing and slicing of arrays, text and tables.

use super::call::cannot;
use super::error::Fallible;
use super::lazy::{LazyArray, RowMap};
use super::value::{Array, Origin, TextArray, Value};
use crate::diag::{Code, Diagnostic};
use crate::source::Span;
use ndarray::{ArcArray, Axis, IxDyn, Slice};
use std::ops::Range;
use std::sync::Arc;

/// What one index selects; all positions are within bounds.
#[derive(Clone, PartialEq, Debug)]
pub enum Selector {
    /// `2`: one position, the axis goes.
    One(usize),
    /// `1..`, `:`
    Range(Range<usize>),
    /// `group`: an int array; its shape takes the place of the axis.
    Gather {
        /// The positions, row-major.
        index: Vec<usize>,
        /// The shape of the int array.
        shape: Vec<usize>,
    },
    /// `new`: an axis of size 1.
    New,
}

/// `value[selectors]`; axes without a selector are kept.
///
/// Several int vectors index in pairs, as in NumPy: they must have one length and stand side by side.
pub fn select(value: Value, selectors: &[Selector], span: Span) -> Fallible<Value> {
    match value {
        Value::Array(array) => {
            let data = apply(array.data, selectors, span)?;
            let origin = array.origin.and_then(|o| rows_of(&o, selectors));
            let columns = array.columns.and_then(|c| match selectors {
                [] | [Selector::Range(_)] => Some(c),
                [Selector::Gather { shape, .. }] if shape.len() == 1 => Some(c),
                [Selector::Range(_), Selector::Range(r)] => c.get(r.clone()).map(Arc::from),
                _ => None,
            });
            Ok(Value::Array(Array { data, elem: array.elem, origin, columns, spelling: array.spelling }))
        }
        Value::Lazy(lazy) => match lazily(&lazy, selectors, span)? {
            Some(value) => Ok(value),
            None => select(Value::Array(lazy.to_array()), selectors, span),
        },
        Value::Text(text) => {
            let origin = text.origin.and_then(|o| rows_of(&o, selectors));
            let data = apply(text.data, selectors, span)?;
            match (data.ndim(), data.iter().next()) {
                (0, Some(Some(entry))) => Ok(Value::Str(entry.to_string())),
                _ => Ok(Value::Text(TextArray { data, origin })),
            }
        }
        Value::Table(table) => match selectors {
            [Selector::Range(r)] => Ok(Value::Table(Arc::new(table.select(&r.clone().collect::<Vec<_>>())))),
            [Selector::Gather { index, .. }] => Ok(Value::Table(Arc::new(table.select(index)))),
            _ => {
                let d = cannot(span, "rows of a table are selected by a range or an int vector", "not so here");
                Err(Box::new(d.help("take a column first: `table.name[3]`")))
            }
        },
        Value::Tuple(mut items) => match selectors {
            [Selector::One(i)] => Ok(items.swap_remove(*i)),
            _ => Err(Box::new(cannot(span, "a tuple is indexed by one number", "not so here"))),
        },
        other => Err(Box::new(cannot(span, format!("{} cannot be indexed", other.describe()), "not an array"))),
    }
}

/// The selection where it chooses rows, and elements within each row alike; `None` otherwise.
fn lazily(lazy: &LazyArray, selectors: &[Selector], span: Span) -> Fallible<Option<Value>> {
    let Some((first, rest)) = selectors.split_first() else { return Ok(Some(Value::Lazy(lazy.clone()))) };
    let rows = match first {
        Selector::One(row) => {
            let row = lazy.slice(*row..*row + 1).to_array();
            let whole = std::iter::once(Selector::One(0)).chain(rest.iter().cloned());
            return select(Value::Array(row), &whole.collect::<Vec<_>>(), span).map(Some);
        }
        Selector::Range(range) if *range == (0..lazy.n_rows()) => lazy.clone(),
        Selector::Range(range) => lazy.slice(range.clone()),
        Selector::Gather { index, shape } if shape.len() == 1 => {
            // Several int vectors index in pairs.
            if rest.iter().any(|s| matches!(s, Selector::Gather { .. })) {
                return Ok(None);
            }
            lazy.select(index)
        }
        _ => return Ok(None),
    };
    let row = &lazy.shape()[1..];
    let unit = lazy.unit();
    // What the selection does to the positions within a row it does to every row.
    let places = ArcArray::from_shape_vec(IxDyn(row), (0..unit).collect()).expect("as many positions as elements");
    let places = apply(places, rest, span)?;
    let same = places.len() == unit && places.iter().copied().eq(0..unit);
    Ok(Some(Value::Lazy(match same {
        true => rows.reshaped(places.shape()),
        false => rows.map(RowMap::Pick(places.iter().copied().collect()), places.shape(), rows.elem),
    })))
}

/// The origin of the selected rows, as long as the first axis still counts rows.
fn rows_of(origin: &Arc<Origin>, selectors: &[Selector]) -> Option<Arc<Origin>> {
    let lines: Arc<[u32]> = match selectors.first() {
        None => return Some(origin.clone()),
        Some(Selector::Range(r)) => origin.lines.get(r.clone()).unwrap_or_default().into(),
        Some(Selector::Gather { index, shape }) if shape.len() == 1 => {
            index.iter().filter_map(|&i| origin.lines.get(i).copied()).collect()
        }
        _ => return None,
    };
    Some(Arc::new(Origin { lines, ..origin.as_ref().clone() }))
}

fn apply<T: Clone>(data: ArcArray<T, IxDyn>, selectors: &[Selector], span: Span) -> Fallible<ArcArray<T, IxDyn>> {
    let gathers: Vec<usize> =
        (0..selectors.len()).filter(|&i| matches!(selectors[i], Selector::Gather { .. })).collect();
    let mut data = data;
    let mut axis = 0;
    let mut i = 0;
    while i < selectors.len() {
        match &selectors[i] {
            Selector::One(at) => data = data.index_axis_move(Axis(axis), *at),
            Selector::New => {
                data = data.insert_axis(Axis(axis));
                axis += 1;
            }
            Selector::Range(r) => {
                data.slice_axis_inplace(Axis(axis), Slice::from(r.clone()));
                axis += 1;
            }
            Selector::Gather { .. } => {
                let together = &selectors[i..i + gathers.len()];
                let (index, shape) = paired(data.shape(), axis, together, span)?;
                data = merge_axes(data, axis, together.len());
                let gathered = data.select(Axis(axis), &index);
                let mut full = gathered.shape().to_vec();
                full.splice(axis..=axis, shape.iter().copied());
                data = ArcArray::from_shape_vec(IxDyn(&full), gathered.iter().cloned().collect())
                    .expect("a gather keeps the number of elements");
                axis += shape.len();
                i += gathers.len() - 1;
            }
        }
        i += 1;
    }
    if data.is_standard_layout() { Ok(data) } else { Ok(data.as_standard_layout().into_owned().into_shared()) }
}

/// The positions in the product of the axes `axis..` that int arrays side by side select in pairs, and their shape.
fn paired(sizes: &[usize], axis: usize, gathers: &[Selector], span: Span) -> Fallible<(Vec<usize>, Vec<usize>)> {
    let mut all: Option<(Vec<usize>, Vec<usize>)> = None;
    for (k, gather) in gathers.iter().enumerate() {
        let Selector::Gather { index, shape } = gather else {
            let d = cannot(span, "int vectors that index in pairs must stand side by side", "they are apart here");
            return Err(Box::new(d.help("index in two steps: `x[a][:, b]`")));
        };
        all = Some(match all {
            None => (index.clone(), shape.clone()),
            Some((before, first)) if first == *shape => {
                let n = sizes[axis + k];
                (before.iter().zip(index).map(|(&b, &i)| b * n + i).collect(), first)
            }
            Some((_, first)) => {
                let message = format!(
                    "int arrays that index in pairs must have one shape, but these have {} and {}",
                    super::value::print_shape(&first),
                    super::value::print_shape(shape)
                );
                return Err(Box::new(Diagnostic::new(Code::E0903, message).label(span, "these shapes differ")));
            }
        });
    }
    Ok(all.expect("at least one int array"))
}

/// The axes `axis..axis + n` as one.
fn merge_axes<T: Clone>(data: ArcArray<T, IxDyn>, axis: usize, n: usize) -> ArcArray<T, IxDyn> {
    if n <= 1 {
        return data;
    }
    let mut shape = data.shape().to_vec();
    let merged = shape[axis..axis + n].iter().product();
    shape.splice(axis..axis + n, [merged]);
    ArcArray::from_shape_vec(IxDyn(&shape), data.iter().cloned().collect()).expect("the number of elements is kept")
}
