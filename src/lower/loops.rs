//! Loops with a carry: the expressions of a body become a graph of their own.
//!
//! While a body is built the builder and the memo are the body's. What the body uses and does not depend on the variables
//! of the loop is evaluated in the graph around it and becomes a capture, in nested loops from level to level.

use super::{Lowering, Mode, dtype_of};
use crate::check::typed::*;
use crate::ir::passes::stable;
use crate::ir::{Builder, DType, InputKind, ValueId};
use crate::ops::LoopBody;
use std::collections::HashMap;

/// A graph around the one that is being built.
pub(super) struct Outer {
    g: Builder,
    memo: HashMap<(ExprId, Mode), ValueId>,
    scans: HashMap<(ScanId, Mode), ScanValues>,
    bound: HashMap<VarId, ValueId>,
    /// The variables of the loop whose body is inside this one.
    vars: Vec<VarId>,
    /// What that body captures: expression, mode, its input there.
    captures: Vec<(ExprId, Mode, ValueId)>,
}

/// The results of a loop.
#[derive(Clone, Debug)]
pub(super) struct ScanValues {
    results: Vec<ValueId>,
    carries: Vec<ValueId>,
}

impl<'p> Lowering<'p> {
    /// The value of an expression of a body that the loop around does not change; `None` where it belongs to the body.
    pub(super) fn captured(&mut self, e: ExprId, mode: Mode) -> Option<ValueId> {
        let outer = self.outer.last()?;
        if self.program.bound_vars(e).iter().any(|v| outer.vars.contains(v)) {
            return None;
        }
        // Numbers are written down where they are used.
        if matches!(self.program.exprs[e].kind, ExprKind::Const(_) | ExprKind::Size(_)) {
            return None;
        }
        if let Some(&(_, _, v)) = outer.captures.iter().find(|c| c.0 == e && c.1 == mode) {
            return Some(v);
        }
        let inner = self.leave();
        let value = self.expr_in(e, mode);
        let (shape, dtype) = (self.g.shape(value), self.g.dtype(value));
        self.enter(inner);
        let input = self.g.input(format!("capture {e}"), shape, dtype, InputKind::Data);
        let outer = self.outer.last_mut().expect("captures are inside a loop");
        outer.captures.push((e, mode, input));
        Some(input)
    }
    /// Goes back to the graph around; what is needed to come back.
    fn leave(&mut self) -> Outer {
        let mut outer = self.outer.pop().expect("inside a loop");
        std::mem::swap(&mut self.g, &mut outer.g);
        std::mem::swap(&mut self.memo, &mut outer.memo);
        std::mem::swap(&mut self.scans, &mut outer.scans);
        std::mem::swap(&mut self.vars, &mut outer.bound);
        outer
    }
    fn enter(&mut self, mut inner: Outer) {
        std::mem::swap(&mut self.g, &mut inner.g);
        std::mem::swap(&mut self.memo, &mut inner.memo);
        std::mem::swap(&mut self.scans, &mut inner.scans);
        std::mem::swap(&mut self.vars, &mut inner.bound);
        self.outer.push(inner);
    }

    /// A result of a loop.
    pub(super) fn scan_port(&mut self, id: ScanId, port: Port, mode: Mode) -> ValueId {
        let values = match self.scans.get(&(id, mode)) {
            Some(values) => values.clone(),
            None => {
                let values = self.scan(id, mode);
                self.scans.insert((id, mode), values.clone());
                values
            }
        };
        match port {
            Port::Stacked(i) => values.results[i],
            Port::Last(i) => values.carries[i],
        }
    }

    fn scan(&mut self, id: ScanId, mode: Mode) -> ScanValues {
        let program = self.program;
        let scan = &program.scans[id];
        let typed = |lo: &mut Self, e: ExprId, elem| {
            let v = lo.expr_in(e, mode);
            // What enters as an int may be a real inside: a carry that starts at 0.
            if dtype_of(elem) == DType::Real { lo.g.to_real(v) } else { v }
        };
        let elements: Vec<ValueId> =
            scan.elements.iter().map(|&(var, array)| typed(self, array, program.ty(var).elem)).collect();
        let carries: Vec<ValueId> = scan
            .carries
            .iter()
            .map(|c| {
                let v = typed(self, c.init, program.ty(c.var).elem);
                let shape = self.shape(&program.ty(c.var).shape);
                self.g.broadcast_to(v, shape)
            })
            .collect();
        let len = self.size(&scan.len);
        self.enter(Outer {
            g: Builder::new(),
            memo: HashMap::new(),
            scans: HashMap::new(),
            bound: HashMap::new(),
            vars: program.scan_vars(scan),
            captures: Vec::new(),
        });
        let variable = |lo: &mut Self, e: ExprId, dtype: DType| {
            let shape = lo.shape(&program.ty(e).shape);
            let name = format!("{}", lo.outer.len());
            let v = lo.g.input(format!("variable {e} of loop {name}"), shape, dtype, InputKind::Batch);
            if let ExprKind::Var(var) = program.exprs[e].kind {
                lo.vars.insert(var, v);
            }
            v
        };
        for &(var, _) in &scan.elements {
            variable(self, var, dtype_of(program.ty(var).elem));
        }
        let found: Vec<ValueId> =
            scan.carries.iter().map(|c| variable(self, c.var, dtype_of(program.ty(c.var).elem))).collect();
        let next: Vec<ValueId> = scan
            .carries
            .iter()
            .map(|c| {
                let v = typed(self, c.next, program.ty(c.var).elem);
                let shape = self.shape(&program.ty(c.var).shape);
                self.g.broadcast_to(v, shape)
            })
            .collect();
        let results: Vec<ValueId> = scan
            .results
            .iter()
            .map(|&e| {
                let v = self.expr_in(e, mode);
                let shape = self.shape(&program.ty(e).shape);
                self.g.broadcast_to(v, shape)
            })
            .collect();
        let stream_in_body = self.g.graph().nodes.iter().any(|n| n.op.is_random());
        let body = self.leave();
        let mut graph = body.g.finish();
        for (i, &v) in next.iter().chain(&results).chain(&found).enumerate() {
            graph.outputs.push((format!("output {i}"), v));
        }
        // Inputs were made as they were met: elements, carries, captures. Captures go before carries.
        let (n_elements, n_carries) = (elements.len(), carries.len());
        let order: Vec<usize> = (0..n_elements)
            .chain(n_elements + n_carries..graph.inputs.len())
            .chain(n_elements..n_elements + n_carries)
            .collect();
        // Before the loop is differentiated, as for the graph around it.
        let graph = stable::run(graph.with_inputs_in_order(&order));
        let captures: Vec<ValueId> = body.captures.iter().map(|&(e, mode, _)| self.expr_in(e, mode)).collect();
        let stream = if stream_in_body { self.g.fresh_stream() } else { 0 };
        let looped = LoopBody {
            graph,
            len,
            reverse: scan.reverse,
            elements: n_elements,
            captures: captures.len(),
            carries: n_carries,
            kept: n_carries,
            stream,
        };
        let operands: Vec<ValueId> = elements.into_iter().chain(captures).chain(carries).collect();
        let before = self.g.set_origin(Some(scan.span));
        let (results, carries) = self.g.scan(looped, &operands);
        self.g.set_origin(before);
        ScanValues { results, carries }
    }
}
