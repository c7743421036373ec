//! What shape rules need to know of sizes, so that one rule serves known sizes and the checker's symbolic ones.
//!
//! A rule asks [`Extent`] whether two sizes agree. Known sizes always answer yes or no; a symbolic size may answer that
//! it cannot be decided before data are bound, and then the rule goes on and leaves a [`Requirement`] behind.

use std::fmt;

/// An answer about sizes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// It holds for every binding of the size names.
    Yes,
    /// It holds for none, or sizes that are nominally different are compared.
    No,
    /// It depends on sizes that are not known yet.
    Unknown,
}

impl From<bool> for Decision {
    fn from(holds: bool) -> Self {
        if holds { Decision::Yes } else { Decision::No }
    }
}

/// The size of one dimension.
pub trait Extent: Clone + PartialEq + fmt::Debug + fmt::Display {
    /// The size `n`.
    fn constant(n: usize) -> Self;
    /// The number, when it is known.
    fn as_constant(&self) -> Option<usize>;
    /// Whether both are the same size.
    fn same(&self, other: &Self) -> Decision;
    /// Whether `self >= other`.
    fn at_least(&self, other: &Self) -> Decision;
    /// `self + other`
    fn add(&self, other: &Self) -> Self;
    /// `self - other`; only asked where the result is not negative, or that is left as a requirement.
    fn sub(&self, other: &Self) -> Self;
    /// `self * other`
    fn mul(&self, other: &Self) -> Self;
    /// `floor(self / divisor)`, `divisor > 0`.
    fn floor_div(&self, divisor: usize) -> Self;
}

impl Extent for usize {
    fn constant(n: usize) -> Self {
        n
    }
    fn as_constant(&self) -> Option<usize> {
        Some(*self)
    }
    fn same(&self, other: &Self) -> Decision {
        (self == other).into()
    }
    fn at_least(&self, other: &Self) -> Decision {
        (self >= other).into()
    }
    fn add(&self, other: &Self) -> Self {
        self + other
    }
    fn sub(&self, other: &Self) -> Self {
        self.saturating_sub(*other)
    }
    fn mul(&self, other: &Self) -> Self {
        self * other
    }
    fn floor_div(&self, divisor: usize) -> Self {
        self / divisor
    }
}

/// What must hold once all sizes are known.
#[derive(Clone, PartialEq, Debug)]
pub enum Requirement<E> {
    /// Both are the same.
    Same(E, E),
    /// The first is not smaller than the second.
    AtLeast(E, E),
}

/// The requirements that a rule could not decide. Stays empty for known sizes.
#[derive(Clone, PartialEq, Debug)]
pub struct Pending<E>(pub Vec<Requirement<E>>);

impl<E> Default for Pending<E> {
    fn default() -> Self {
        Pending(Vec::new())
    }
}

impl<E: Extent> Pending<E> {
    /// Whether `a` and `b` agree; an open question is noted and taken for a yes.
    pub fn same(&mut self, a: &E, b: &E) -> bool {
        match a.same(b) {
            Decision::Yes => true,
            Decision::No => false,
            Decision::Unknown => {
                self.0.push(Requirement::Same(a.clone(), b.clone()));
                true
            }
        }
    }
    /// Whether `a >= b`; an open question is noted and taken for a yes.
    pub fn at_least(&mut self, a: &E, b: &E) -> bool {
        match a.at_least(b) {
            Decision::Yes => true,
            Decision::No => false,
            Decision::Unknown => {
                self.0.push(Requirement::AtLeast(a.clone(), b.clone()));
                true
            }
        }
    }
}

/// Why operands do not fit an operation: the facts; the checker has the words.
#[derive(Clone, PartialEq, Debug)]
pub enum ShapeError<E = usize> {
    /// The operation takes another number of operands.
    Arity {
        /// How many it takes.
        needed: usize,
        /// How many there are.
        found: usize,
    },
    /// An operand has another number of dimensions than the operation needs.
    Rank {
        /// The operand's role in the operation.
        operand: &'static str,
        /// Its shape.
        shape: Vec<E>,
        /// The number of dimensions that is needed; the least one where more are allowed.
        needed: usize,
    },
    /// Elementwise operands of shapes that do not broadcast.
    Broadcast {
        /// The first shape.
        lhs: Vec<E>,
        /// The second shape.
        rhs: Vec<E>,
        /// The dimension in which they differ, counted from the last one, 0.
        from_last: usize,
    },
    /// Inner sizes of a matrix product that differ.
    MatMul {
        /// The shape of the first operand.
        lhs: Vec<E>,
        /// The shape of the second operand.
        rhs: Vec<E>,
        /// The inner size on the left.
        inner_lhs: E,
        /// The inner size on the right.
        inner_rhs: E,
    },
    /// A matrix that is not square.
    NotSquare {
        /// Its shape.
        shape: Vec<E>,
    },
    /// Two dimensions that must agree do not.
    Mismatch {
        /// What they are.
        what: &'static str,
        /// The one size.
        lhs: E,
        /// The other size.
        rhs: E,
    },
    /// The channels of a convolution's input and weights do not fit.
    Channels {
        /// Channels of the input.
        input: E,
        /// Channels per group that the weights expect.
        weights: E,
        /// The number of groups.
        groups: usize,
    },
    /// Channels that the number of groups does not divide.
    Groups {
        /// The number of channels.
        channels: E,
        /// The number of groups.
        groups: usize,
    },
    /// A window that is larger than the padded input.
    WindowTooLarge {
        /// The spatial axis, 0 first.
        axis: usize,
        /// The extent of the window, dilation included.
        window: E,
        /// The extent of the input, padding included.
        input: E,
    },
    /// A stride, dilation, window or group count of 0, or padding as large as a pool's window.
    BadAttribute {
        /// Which one.
        what: &'static str,
        /// Its value.
        value: usize,
    },
    /// Parts that are joined differ outside the axis.
    Concat {
        /// The axis of joining.
        axis: usize,
        /// The first part's shape.
        lhs: Vec<E>,
        /// The part that does not fit.
        rhs: Vec<E>,
    },
    /// A reshape that changes the number of elements.
    Count {
        /// The shape before.
        from: Vec<E>,
        /// The shape asked for.
        to: Vec<E>,
    },
    /// An axis that does not exist, or axes that are not ascending.
    Axis {
        /// The axis.
        axis: usize,
        /// The number of dimensions.
        rank: usize,
    },
    /// A range of an axis that reaches past its end.
    OutOfRange {
        /// The axis.
        axis: usize,
        /// The end of the range.
        end: E,
        /// The size of the axis.
        size: E,
    },
    /// Something that needs at least one element has none.
    Empty {
        /// The operand's role in the operation.
        operand: &'static str,
    },
}

impl<E: fmt::Debug + fmt::Display> fmt::Display for ShapeError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arity { needed, found } => write!(f, "needs {needed} operands, not {found}"),
            Self::Rank { operand, shape, needed } => {
                write!(f, "`{operand}` has {} dimensions, {needed} needed", shape.len())
            }
            Self::Broadcast { lhs, rhs, .. } => write!(f, "{lhs:?} and {rhs:?} do not broadcast"),
            Self::MatMul { lhs, rhs, inner_lhs, inner_rhs } => {
                write!(f, "cannot multiply {lhs:?} by {rhs:?}: inner sizes differ: {inner_lhs} and {inner_rhs}")
            }
            Self::NotSquare { shape } => write!(f, "{shape:?} is not square"),
            Self::Mismatch { what, lhs, rhs } => write!(f, "{what} differ: {lhs} and {rhs}"),
            Self::Channels { input, weights, groups } => {
                write!(f, "{input} channels do not fit weights for {weights} channels in each of {groups} groups")
            }
            Self::Groups { channels, groups } => write!(f, "{groups} groups do not divide {channels} channels"),
            Self::WindowTooLarge { axis, window, input } => {
                write!(f, "the window of {window} is larger than the padded input of {input} (spatial axis {axis})")
            }
            Self::BadAttribute { what, value } => write!(f, "{what} cannot be {value}"),
            Self::Concat { axis, lhs, rhs } => write!(f, "cannot join {lhs:?} and {rhs:?} along axis {axis}"),
            Self::Count { from, to } => write!(f, "cannot reshape {from:?} to {to:?}"),
            Self::Axis { axis, rank } => write!(f, "no axis {axis} among {rank}"),
            Self::OutOfRange { axis, end, size } => write!(f, "range to {end} of axis {axis} of size {size}"),
            Self::Empty { operand } => write!(f, "`{operand}` has no elements"),
        }
    }
}
