//! Random numbers on the tape: noise for reparameterized draws, and forward draws from distributions.
//!
//! A random node is a function of the run's key and its stream number alone; element `i` comes from counter `i`, so the
//! numbers do not depend on the thread count or on what else the graph holds.

#[cfg(test)]
use super::NoiseKind;
use super::kernel::{Inputs, Kernel};
#[cfg(test)]
use super::tests::{Fill, Sample, sample};
use super::vjp::Vjp;
use super::{Op, Operation, ShapeError, attributes, exactly};
use crate::dist::{self, DistId, Sampler};
use crate::ir::{DType, Shape};
use crate::kernels::Scalar;
use crate::kernels::elementwise::broadcast_strides;
use crate::rng::{Key, Philox};

/// Draws made by the host sampler of a distribution, event by event.
pub(crate) struct DrawKernel {
    sampler: Sampler,
    stream: u32,
    /// The batch part of the result.
    batch: Vec<usize>,
    /// Elements of one event.
    event: usize,
    /// For each parameter the strides over the batch, and the elements that one event takes.
    params: Vec<(Vec<usize>, usize)>,
}

/// More parameters than any distribution has.
const MAX_PARAMS: usize = 8;

impl DrawKernel {
    fn new(dist: DistId, stream: u32, operands: &[&Shape], result: &Shape) -> Self {
        let row = dist::get(dist);
        assert!(operands.len() <= MAX_PARAMS, "the parameters of one distribution");
        let batch = result.drop_last(row.event_rank);
        let params = operands.iter().zip(row.params).map(|(shape, param)| {
            let lead = shape.drop_last(param.event_rank);
            let event = shape[lead.rank()..].iter().product();
            let mut strides = vec![0; batch.rank()];
            broadcast_strides(&lead, &batch, &mut strides);
            strides.iter_mut().for_each(|s| *s *= event);
            (strides, event)
        });
        let event = result[batch.rank()..].iter().product();
        Self { sampler: row.sample, stream, params: params.collect(), batch: batch.to_vec(), event }
    }

    /// Event `i` comes from the generator of element `i` of the stream. Draws of whole events (vectors, matrices) allocate
    /// their parameters on the host.
    pub(super) fn run<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], key: Key) {
        let key = key.fold_in(u64::from(self.stream));
        match self.sampler {
            Sampler::Scalar(draw) => self.scalars(x, out, |i, params| draw(&mut Philox::at(key, i), params)),
            Sampler::Event(draw) => self.events(x, out, |i, params, out| draw(&mut Philox::at(key, i), params, out)),
            Sampler::Improper => out.fill(F::NAN),
        }
    }

    fn scalars<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], draw: impl Fn(u64, &[f64]) -> f64) {
        let mut params = [0.0; MAX_PARAMS];
        for (i, out) in out.iter_mut().enumerate() {
            for (p, (strides, _)) in self.params.iter().enumerate() {
                params[p] = x.get(p)[position(i, &self.batch, strides)].to_f64();
            }
            *out = F::from_f64(draw(i as u64, &params[..self.params.len()]));
        }
    }

    fn events<F: Scalar>(&self, x: &Inputs<F>, out: &mut [F], draw: impl Fn(u64, &[&[f64]], &mut [f64])) {
        let mut host: Vec<Vec<f64>> = self.params.iter().map(|&(_, event)| vec![0.0; event]).collect();
        let mut drawn = vec![0.0; self.event];
        for (i, out) in out.chunks_exact_mut(self.event.max(1)).enumerate() {
            for (p, ((strides, event), host)) in self.params.iter().zip(&mut host).enumerate() {
                let at = position(i, &self.batch, strides);
                host.iter_mut().zip(&x.get(p)[at..at + event]).for_each(|(host, x)| *host = x.to_f64());
            }
            let params: [&[f64]; MAX_PARAMS] = std::array::from_fn(|p| host.get(p).map_or(&[][..], Vec::as_slice));
            draw(i as u64, &params[..self.params.len()], &mut drawn);
            out.iter_mut().zip(&drawn).for_each(|(out, &x)| *out = F::from_f64(x));
        }
    }
}

/// Where position `i` of an array of shape `dims` lies by `strides`.
fn position(mut i: usize, dims: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (dim, stride) in dims.iter().zip(strides).rev() {
        at += i % dim * stride;
        i /= dim;
    }
    at
}

/// Standard noise.
pub(super) struct Noise;
impl Operation for Noise {
    fn name(_: &Op) -> &'static str {
        "noise"
    }
    fn shape(op: &Op, operands: &[&Shape]) -> Result<Shape, ShapeError> {
        let [] = exactly(operands)?;
        attributes!(Op::Noise { shape, .. } = op);
        Ok(shape.clone())
    }
    fn dtype(_: &Op, _: &[DType]) -> DType {
        DType::Real
    }
    fn kernel(op: &Op, _: &[&Shape], _: &Shape) -> Kernel {
        attributes!(&Op::Noise { kind, stream, .. } = op);
        Kernel::Noise(kind, stream)
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        [NoiseKind::Normal, NoiseKind::Uniform, NoiseKind::Sign]
            .map(|kind| sample(Op::Noise { kind, stream: 3, shape: [5, 7].into() }, []))
            .into()
    }
}

/// Draws from a distribution.
pub(super) struct Draw;
impl Operation for Draw {
    fn name(_: &Op) -> &'static str {
        "draw"
    }
    fn shape(op: &Op, _: &[&Shape]) -> Result<Shape, ShapeError> {
        attributes!(Op::Draw { shape, .. } = op);
        Ok(shape.clone())
    }
    fn dtype(op: &Op, _: &[DType]) -> DType {
        attributes!(Op::Draw { dist, .. } = op);
        dist::get(*dist).dtype
    }
    fn kernel(op: &Op, operands: &[&Shape], result: &Shape) -> Kernel {
        attributes!(&Op::Draw { dist, stream, .. } = op);
        Kernel::Draw(DrawKernel::new(dist, stream, operands, result))
    }
    fn vjp(_: &mut Vjp) {}
    #[cfg(test)]
    fn samples() -> Vec<Sample> {
        vec![sample(
            Op::Draw { dist: DistId::NORMAL, stream: 1, shape: [4, 3].into() },
            [Fill::real([3]), Fill::range([4, 1], 0.5, 2.0)],
        )]
    }
}
