//! The functions of the language, each defined once: signature, type rule, lowering, how it treats rows.
//!
//! One table feeds the checker, lowering, the minibatch proof, `:doc`, completion and the reference. A function is a row
//! ([`FnDef`]) in the file of its family plus its entry in that file's `ROWS`.

pub mod elementwise;
pub mod linalg;
pub mod nn;
pub mod reduce;
pub mod shape;

use crate::check::call::CallCx;
use crate::check::typed::{Attrs, ExprId, Ty};
use crate::diag::Diagnostic;
use crate::ir::{Builder, ValueId};

/// A parameter of a built-in function.
#[derive(Clone, Copy, Debug)]
pub struct FnParam {
    /// Its name.
    pub name: &'static str,
    /// Whether it must be given.
    pub required: bool,
}

/// A required parameter.
pub const fn req(name: &'static str) -> FnParam {
    FnParam { name, required: true }
}
/// A parameter that may be left out.
pub const fn opt(name: &'static str) -> FnParam {
    FnParam { name, required: false }
}

/// What a type rule finds out about a call: its type, its array arguments in order, its compile-time arguments.
pub struct Typed {
    /// The type of the result.
    pub ty: Ty,
    /// The array arguments that lowering gets.
    pub args: Vec<ExprId>,
    /// The compile-time arguments that lowering gets.
    pub attrs: Attrs,
}

/// A type rule.
pub type CheckFn = fn(&mut CallCx<'_, '_>) -> Result<Typed, Box<Diagnostic>>;

/// Compile-time arguments with numbers for sizes.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct ConcreteAttrs {
    /// Sizes.
    pub sizes: Vec<usize>,
    /// Numbers.
    pub ints: Vec<i64>,
}

/// Lowering: appends the operations of a call.
pub type LowerFn = fn(&mut Builder, &[ValueId], &ConcreteAttrs) -> ValueId;

/// How a function treats the rows of a subsampled size: where the rows of the result come from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rows {
    /// Position by position with broadcasting: a row of the result needs the same row of the operands.
    Elementwise,
    /// As elementwise, except that the given attributes name axes which are mixed (`ints`).
    ReducesAxes,
    /// Row `i` of the first dimension of the result needs only row `i` of the first dimension of the first operand; the
    /// other operands must not have rows.
    Leading,
    /// The matrix product: rows may be in the leading dimension of the first operand, or in common batch dimensions.
    MatMul,
    /// Every row may need every other one.
    Mixes,
}

/// A built-in function.
pub struct FnDef {
    /// Its name.
    pub name: &'static str,
    /// Its signature for `:doc` and hints.
    pub signature: &'static str,
    /// What it computes, in one sentence.
    pub doc: &'static str,
    /// Its parameters in order.
    pub params: &'static [FnParam],
    /// Its type rule.
    pub check: CheckFn,
    /// Its lowering.
    pub lower: LowerFn,
    /// How it treats rows.
    pub rows: Rows,
}

impl FnDef {
    /// Whether it draws random numbers: its lowering gets uniform ones in the shape of the first operand as the last
    /// operand, the same ones wherever the expression is read in a graph.
    pub fn draws(&self) -> bool {
        self.name == "dropout"
    }
}

impl std::fmt::Debug for FnDef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// All functions, family by family.
pub fn all() -> impl Iterator<Item = &'static FnDef> {
    [elementwise::ROWS, reduce::ROWS, shape::ROWS, linalg::ROWS, nn::ROWS].into_iter().flatten().copied()
}

/// The function called `name`.
pub fn get(name: &str) -> Option<&'static FnDef> {
    all().find(|f| f.name == name)
}
