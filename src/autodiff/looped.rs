//! The reverse sweep of a loop: one more loop, from the last iteration to the first.
//!
//! Iteration `i` of the new body computes the old one again from the carries that iteration found (kept by the forward
//! loop) and pulls the cotangents of its next carries and results back to its elements, captures and carries. The
//! cotangents of the carries pass from iteration to iteration; those of the captures add up on the way. The cost of an
//! iteration does not depend on their number.

use super::reverse::{NoGradient, gradient};
use crate::index::{Idx, IndexVec};
use crate::ir::{Builder, DType, InputKind, Shape, ValueId};
use crate::ops::{Loop, LoopBody, Op};

/// Cotangents of the operands of the loop `y = scan(operands)` that `needs` marks, from the cotangent `dy` of its flat
/// result.
///
/// # Errors
/// When an operation of the body has a derivative that it cannot give.
pub(super) fn vjp(
    g: &mut Builder,
    Loop(body): &Loop,
    operands: &[ValueId],
    (y, dy): (ValueId, ValueId),
    needs: &[bool],
) -> Result<Vec<Option<ValueId>>, NoGradient> {
    let first_carry = body.elements + body.captures;
    let dtypes: Vec<DType> = operands.iter().map(|&o| g.dtype(o)).collect();
    let real = |i: usize| dtypes[i] == DType::Real;
    let wanted: Vec<usize> = (0..first_carry).filter(|&i| needs[i] && real(i)).collect();
    let carried: Vec<usize> = (first_carry..operands.len()).filter(|&i| real(i)).collect();
    let refused = NoGradient { op: "scan", operand: 0, value: y, origin: g.graph().origins[y] };
    if body.kept != body.carries {
        return Err(refused);
    }
    let results: Vec<Shape> = body.results().cloned().collect();
    let carries: Vec<Shape> = body.carry_shapes().cloned().collect();
    let open = results.len() - body.kept;
    let stacked = |g: &mut Builder, flat: ValueId, k: usize| {
        let part = g.slice(flat, 0, body.result_offset(k), body.len * results[k].count());
        g.reshape(part, Shape::from([body.len]).concat(&results[k]))
    };
    let last = |g: &mut Builder, flat: ValueId, c: usize| {
        let part = g.slice(flat, 0, body.carry_offset(c), carries[c].count());
        g.reshape(part, carries[c].clone())
    };

    // Outside: what the new loop reads.
    let mut elements: Vec<ValueId> = operands[..body.elements].to_vec();
    for c in 0..body.carries {
        let found = stacked(g, y, open + c);
        elements.push(if real(first_carry + c) { found } else { g.to_int(found) });
    }
    let real_results: Vec<usize> =
        (0..open).filter(|&k| body.graph.nodes[body.graph.outputs[body.carries + k].1].dtype == DType::Real).collect();
    for &k in &real_results {
        let cotangent = stacked(g, dy, k);
        elements.push(cotangent);
    }
    let captures = &operands[body.elements..first_carry];
    let sums: Vec<usize> = wanted.iter().copied().filter(|&i| i >= body.elements).collect();
    let mut starts: Vec<ValueId> = carried.iter().map(|&i| last(g, dy, i - first_carry)).collect();
    for &i in &sums {
        let shape = g.shape(operands[i]);
        starts.push(g.full(0.0, shape));
    }

    // Inside: the old body, then its gradient.
    let mut b = Builder::new();
    let inputs = &body.graph.inputs;
    let dtype = |i: usize| dtypes[i];
    let mut old: Vec<ValueId> = Vec::new();
    let input = |b: &mut Builder, name: String, shape: &Shape, dtype: DType| {
        b.input(name, shape.clone(), dtype, InputKind::Batch)
    };
    let named = |i: usize| inputs[crate::ir::InputId::new(i)].name.clone();
    for i in 0..body.elements {
        old.push(input(&mut b, named(i), &inputs[crate::ir::InputId::new(i)].shape, dtype(i)));
    }
    let found: Vec<ValueId> =
        (0..body.carries).map(|c| input(&mut b, named(first_carry + c), &carries[c], dtype(first_carry + c))).collect();
    let result_cotangents: Vec<ValueId> =
        real_results.iter().map(|&k| input(&mut b, format!("d result {k}"), &results[k], DType::Real)).collect();
    for i in body.elements..first_carry {
        old.push(input(&mut b, named(i), &inputs[crate::ir::InputId::new(i)].shape, dtype(i)));
    }
    let carry_cotangents: Vec<ValueId> = carried
        .iter()
        .map(|&i| input(&mut b, format!("d {}", named(i)), &carries[i - first_carry], DType::Real))
        .collect();
    let partial: Vec<ValueId> = sums
        .iter()
        .map(|&i| input(&mut b, format!("sum d {}", named(i)), &inputs[crate::ir::InputId::new(i)].shape, DType::Real))
        .collect();
    old.extend(&found);
    let mut map: IndexVec<ValueId, ValueId> = IndexVec::new();
    for (id, node) in body.graph.nodes.iter_enumerated() {
        b.set_origin(body.graph.origins[id]);
        let value = match &node.op {
            Op::Input(input) => old[input.index()],
            Op::Constant(constant) => {
                let constant = &body.graph.constants[*constant];
                b.constant(constant.data.to_vec(), constant.shape.clone(), node.dtype)
            }
            _ => {
                let mut node = node.clone();
                node.operands.iter_mut().for_each(|o| *o = map[*o]);
                b.push_node(node)
            }
        };
        map.push(value);
    }
    b.set_origin(None);
    let output = |k: usize| map[body.graph.outputs[k].1];
    let mut terms = Vec::new();
    let pairs = carried.iter().map(|&i| i - first_carry).zip(carry_cotangents);
    let pairs = pairs.chain(real_results.iter().map(|&k| body.carries + k).zip(result_cotangents));
    for (k, cotangent) in pairs.collect::<Vec<_>>() {
        // A cotangent of zero absorbs: what is not asked for may be infinite.
        let product = crate::ops::vjp::absorbing_mul(&mut b, cotangent, output(k));
        terms.push(b.sum_all(product));
    }
    let pulled = b.add_all(&terms);
    let mut wrt: Vec<ValueId> = carried.iter().map(|&i| found[i - first_carry]).collect();
    wrt.extend(wanted.iter().map(|&i| old[i]));
    let origin = refused.origin;
    let gradients =
        gradient(&mut b, pulled, &wrt).map_err(|e| NoGradient { value: y, origin: e.origin.or(origin), ..e })?;
    let (of_carries, of_rest) = gradients.split_at(carried.len());
    for (&i, &d) in carried.iter().zip(of_carries) {
        b.output(format!("d {}", named(i)), d);
    }
    for (at, &partial) in sums.iter().zip(&partial) {
        let d = of_rest[wanted.iter().position(|w| w == at).expect("captures are wanted")];
        let sum = b.add(partial, d);
        b.output(format!("sum d {}", named(*at)), sum);
    }
    let mut stacks = Vec::new();
    for (&i, &d) in wanted.iter().zip(of_rest) {
        if i < body.elements {
            stacks.push(i);
            b.output(format!("d {}", named(i)), d);
        }
    }
    let new = LoopBody {
        graph: b.finish(),
        len: body.len,
        reverse: !body.reverse,
        elements: elements.len(),
        captures: captures.len(),
        carries: starts.len(),
        kept: 0,
        stream: body.stream,
    };
    let all: Vec<ValueId> = elements.into_iter().chain(captures.iter().copied()).chain(starts).collect();
    let (stacked, ends) = g.scan(new, &all);
    let mut cotangents = vec![None; operands.len()];
    for (&i, d) in stacks.iter().zip(stacked) {
        cotangents[i] = Some(d);
    }
    for (&i, &d) in carried.iter().chain(&sums).zip(&ends) {
        cotangents[i] = Some(d);
    }
    Ok(cotangents)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exec::eval_f64;
    use crate::ir::Graph;
    use crate::rng::Key;

    /// `c' = tanh(w c + x[t])`, with `c'` handed out each time; the loss reads all of them and the last.
    fn recurrence(len: usize, with_gradient: bool) -> Graph {
        let mut b = Builder::new();
        let x = b.input("x", Shape::from([2]), DType::Real, InputKind::Batch);
        let w = b.input("w", Shape::from([2, 2]), DType::Real, InputKind::Batch);
        let c = b.input("c", Shape::from([2]), DType::Real, InputKind::Batch);
        let column = b.reshape(c, [2, 1]);
        let product = b.matmul(w, false, column, false);
        let product = b.reshape(product, [2]);
        let sum = b.add(product, x);
        let next = b.tanh(sum);
        let square = b.square(next);
        b.output("c", next);
        b.output("square", square);
        b.output("found", c);
        let body = LoopBody {
            graph: b.finish(),
            len,
            reverse: false,
            elements: 1,
            captures: 1,
            carries: 1,
            kept: 1,
            stream: 0,
        };
        let mut g = Builder::new();
        let x = g.input("x", Shape::from([len, 2]), DType::Real, InputKind::Param);
        let w = g.input("w", Shape::from([2, 2]), DType::Real, InputKind::Param);
        let c = g.input("c", Shape::from([2]), DType::Real, InputKind::Param);
        let (results, ends) = g.scan(body, &[x, w, c]);
        let all = g.sum_all(results[0]);
        let weighted = g.mul(ends[0], ends[0]);
        let weighted = g.exp(weighted);
        let weighted = g.sum_all(weighted);
        let loss = g.add(all, weighted);
        g.output("loss", loss);
        if with_gradient {
            let gradients = gradient(&mut g, loss, &[x, w, c]).expect("differentiable");
            for d in gradients {
                g.output("d", d);
            }
        }
        g.finish()
    }

    fn loss(x: &[f64], w: &[f64], c: &[f64]) -> f64 {
        let (mut all, mut c) = (0.0, [c[0], c[1]]);
        for x in x.chunks(2) {
            c = [0, 1].map(|i| (w[2 * i] * c[0] + w[2 * i + 1] * c[1] + x[i]).tanh());
            all += c[0] * c[0] + c[1] * c[1];
        }
        all + (c[0] * c[0]).exp() + (c[1] * c[1]).exp()
    }

    #[test]
    fn a_recurrence_has_the_gradient_of_its_differences() {
        let x = [0.3, -0.2, 0.5, 0.9, -1.1, 0.4, 0.05, 0.7];
        let (w, c) = ([0.6, -0.4, 0.2, 0.8], [0.1, -0.3]);
        let out = eval_f64(&recurrence(4, true), &[&x, &w, &c], Key::new(0));
        assert!((out[0][0] - loss(&x, &w, &c)).abs() < 1e-14);
        let given = [&x[..], &w[..], &c[..]];
        for (which, d) in out[1..].iter().enumerate() {
            for (i, d) in d.iter().enumerate() {
                let at = |h: f64| {
                    let mut moved = given.map(<[f64]>::to_vec);
                    moved[which][i] += h;
                    loss(&moved[0], &moved[1], &moved[2])
                };
                let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
                assert!((d - slope).abs() < 1e-8, "operand {which} element {i}: {d} {slope}");
            }
        }
    }

    #[test]
    fn a_loop_of_no_iterations_keeps_its_carry() {
        let out = eval_f64(&recurrence(0, true), &[&[], &[0.0; 4], &[0.5, 0.0]], Key::new(0));
        assert!((out[0][0] - loss(&[], &[0.0; 4], &[0.5, 0.0])).abs() < 1e-14);
        assert_eq!(out[2], [0.0; 4]);
    }

    #[test]
    fn a_long_loop_is_no_larger_graph() {
        let (short, long) = (recurrence(4, true), recurrence(100_000, true));
        assert_eq!(short.len(), long.len());
    }
}
