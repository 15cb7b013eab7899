//! How the raw outputs answer to small changes inside the model, for one image: derivatives by every value of every
//! tensor, traced back from the outputs (reverse accumulation). Changes no weight: this is no training.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rayon::prelude::*;

use super::passes::{Layer, Plane};
use crate::model::{Activation, Conv, Graph, LEAKY_SLOPE, NodeId, Op, Shape, Weights};
use crate::{Error, Result};

/// Distance over which Mish's slope is measured.
const STEP: f64 = 1e-3;

/// The way back through a graph, for one image after the other.
pub(super) struct Trace<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    shapes: &'a [Shape],
    /// The way back through each convolution that was met.
    convolutions: BTreeMap<NodeId, Transposed>,
}

impl<'a> Trace<'a> {
    /// The way back through `graph`, whose results have `shapes`.
    pub fn of(graph: &'a Graph, weights: &'a Weights, shapes: &'a [Shape]) -> Self {
        Self { graph, weights, shapes, convolutions: BTreeMap::new() }
    }

    /// Traces `seeds`, derivatives by each raw output, back through the graph, whose results for the image are
    /// `values`, one for each node. Hands each node and the derivatives by its result to `each`, the last node first.
    ///
    /// Attention is not derived: all that it reads counts as much as what it gives, on the root of the mean square.
    ///
    /// # Errors
    /// [`Error::Model`] when a batch norm is left or a weight is missing; [`Error::Runtime`] when tract refuses a
    /// convolution; what `each` reports.
    pub fn run(
        &mut self,
        values: &[Plane],
        seeds: Vec<Plane>,
        mut each: impl FnMut(NodeId, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let mut pending: Vec<Option<Plane>> = vec![None; self.graph.nodes.len()];
        for (&id, seed) in self.graph.outputs.iter().zip(seeds) {
            add(&mut pending[id], seed);
        }
        for id in (0..self.graph.nodes.len()).rev() {
            let Some(own) = pending[id].take() else { continue };
            each(id, &own)?;
            for (input, more) in self.back(id, own, values)? {
                add(&mut pending[input], more);
            }
        }
        Ok(())
    }

    /// Derivatives by the inputs of node `id`, of whose result they are `own`.
    fn back(&mut self, id: NodeId, own: Plane, values: &[Plane]) -> Result<Vec<(NodeId, Plane)>> {
        let Self { graph, shapes, .. } = *self;
        let node = &graph.nodes[id];
        let Some(&first) = node.inputs.first() else { return Ok(Vec::new()) };
        let (from, to) = (shapes[id], shapes[first]);
        let one = match node.op {
            // Nobody looks at the image's derivatives.
            Op::Conv(_) if matches!(graph.nodes[first].op, Op::Input { .. }) => return Ok(Vec::new()),
            Op::Input { .. } => return Ok(Vec::new()),
            Op::Conv(conv) => self.transposed(id, &conv)?.run(&own)?,
            Op::Act(activation) => through(&own, &values[first], activation),
            Op::Add => return Ok(node.inputs.iter().map(|&input| (input, own.clone())).collect()),
            Op::Concat => {
                let mut rest = own.as_slice();
                let part = |&input: &NodeId| {
                    let (part, behind) = rest.split_at(shapes[input].iter().product());
                    rest = behind;
                    (input, part.to_vec())
                };
                return Ok(node.inputs.iter().map(part).collect());
            }
            Op::MaxPool { kernel, stride, pad } => {
                max_pool(&own, &values[first], Window { kernel, stride, pad }, from, to)
            }
            Op::Upsample { factor } => upsample(&own, factor, to),
            Op::Slice { start, .. } => {
                let [channels, height, width] = to;
                let mut whole = vec![0.0; channels * height * width];
                whole[start * height * width..][..own.len()].copy_from_slice(&own);
                whole
            }
            Op::SpaceToDepth => depth_to_space(&own, to),
            Op::Attention(_) => {
                let mean = own.iter().map(|value| value * value).sum::<f32>() / count(own.len());
                vec![mean.sqrt(); to.iter().product()]
            }
            Op::BatchNorm { .. } => {
                return Err(Error::model(
                    format!("node {:?} is a batch norm", node.name),
                    "a fused model",
                    "fuse it first: `train-host fuse`",
                ));
            }
        };
        Ok(vec![(first, one)])
    }

    /// The way back through convolution `id`.
    fn transposed(&mut self, id: NodeId, conv: &Conv) -> Result<&mut Transposed> {
        match self.convolutions.entry(id) {
            Entry::Occupied(known) => Ok(known.into_mut()),
            Entry::Vacant(place) => {
                let node = &self.graph.nodes[id];
                let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
                let kernel = self.weights.expect(&format!("{}.weight", node.name), &shape)?;
                let shapes = [self.shapes[id], self.shapes[node.inputs[0]]];
                Ok(place.insert(Transposed::of(conv, kernel, shapes)?))
            }
        }
    }
}

/// The way back through a convolution: another convolution, with its kernel mirrored and its channels swapped, over the
/// derivatives set as far apart as the stride. So tract's kernels compute it.
struct Transposed {
    layer: Layer,
    /// Where the derivatives stand among zeros.
    spread: Spread,
}

/// Where planes of one side stand, with steps between their values, in planes of another.
#[derive(Clone, Copy)]
struct Spread {
    side: usize,
    stride: usize,
    into: usize,
    /// Where the first value stands: before the plane when it is negative.
    first: isize,
}

impl Transposed {
    fn of(conv: &Conv, kernel: &[f32], [from, to]: [Shape; 2]) -> Result<Self> {
        let reach = (conv.kernel - 1) * conv.dilation;
        let into = to[1] + reach;
        let spread = Spread {
            side: from[1],
            stride: conv.stride,
            into,
            first: reach.cast_signed() - conv.pad.cast_signed(),
        };
        let back = Conv { cin: conv.cout, cout: conv.cin, stride: 1, pad: 0, ..*conv };
        let layer =
            Layer::convolution(&back, [conv.cout, into, into], mirrored(conv, kernel), vec![0.0; conv.cin])?;
        Ok(Self { layer, spread })
    }

    fn run(&mut self, own: &[f32]) -> Result<Plane> {
        let spread = self.spread;
        self.layer.run_on(|input| spread.copy(own, input))
    }
}

impl Spread {
    /// Sets `planes` into `wide`, whose values between theirs stay.
    fn copy(self, planes: &[f32], wide: &mut [f32]) {
        let Self { side, stride, into, .. } = self;
        let planes = planes.chunks(side * side).zip(wide.chunks_mut(into * into));
        for (plane, wide) in planes {
            for (row, values) in plane.chunks(side).enumerate() {
                let Some(y) = self.place(row) else { continue };
                let line = &mut wide[y * into..][..into];
                if stride == 1 && self.first >= 0 {
                    line[self.first.unsigned_abs()..][..side].copy_from_slice(values);
                    continue;
                }
                for (column, &value) in values.iter().enumerate() {
                    if let Some(x) = self.place(column) {
                        line[x] = value;
                    }
                }
            }
        }
    }

    /// Where value `at` of a row or column stands; nowhere if it saw nothing but padding.
    fn place(self, at: usize) -> Option<usize> {
        let place = self.first.checked_add_unsigned(at * self.stride)?;
        usize::try_from(place).ok().filter(|&place| place < self.into)
    }
}

/// `kernel` of `conv`, turned by 180° and with input and output channels of each group swapped.
fn mirrored(conv: &Conv, kernel: &[f32]) -> Vec<f32> {
    let (inputs, outputs) = (conv.cin / conv.groups, conv.cout / conv.groups);
    let taps = conv.kernel * conv.kernel;
    let mut turned = Vec::with_capacity(kernel.len());
    for group in 0..conv.groups {
        for input in 0..inputs {
            for output in group * outputs..(group + 1) * outputs {
                turned.extend(kernel[(output * inputs + input) * taps..][..taps].iter().rev());
            }
        }
    }
    turned
}

fn add(sum: &mut Option<Plane>, more: Plane) {
    match sum {
        None => *sum = Some(more),
        Some(sum) => sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a mean")]
fn count(values: usize) -> f32 {
    values.max(1) as f32
}

/// Derivatives by what an activation reads, `read`.
fn through(own: &[f32], read: &[f32], activation: Activation) -> Plane {
    #[expect(clippy::cast_possible_truncation, reason = "slopes are f32")]
    let slope = |x: f32| match activation {
        Activation::Relu => f32::from(u8::from(x > 0.0)),
        Activation::LeakyRelu => {
            if x > 0.0 {
                1.0
            } else {
                LEAKY_SLOPE as f32
            }
        }
        Activation::Silu => {
            let sigmoid = 1.0 / (1.0 + (-x).exp());
            sigmoid * (1.0 + x * (1.0 - sigmoid))
        }
        Activation::Mish => {
            let mish = |offset: f64| repedge::int8::mish(f64::from(x) + offset);
            ((mish(STEP) - mish(-STEP)) / (2.0 * STEP)) as f32
        }
    };
    own.par_iter().zip(read).map(|(value, &x)| value * slope(x)).collect()
}

/// Shape of a pooling window.
#[derive(Clone, Copy)]
struct Window {
    kernel: usize,
    stride: usize,
    pad: usize,
}

/// Derivatives by what a max pool reads, `read`: all of a window's goes to its largest value, the first of equals.
fn max_pool(own: &[f32], read: &[f32], window: Window, from: Shape, to: Shape) -> Plane {
    let Window { kernel, stride, pad } = window;
    let ([_, rows, columns], [_, height, width]) = (from, to);
    let span =
        |at: usize, side: usize| (at * stride).saturating_sub(pad)..(at * stride + kernel - pad).min(side);
    let mut result = vec![0.0; read.len()];
    let planes = result.par_chunks_mut(height * width).zip(read.par_chunks(height * width));
    planes.zip(own.par_chunks(rows * columns)).for_each(|((sums, read), own)| {
        for (at, value) in own.iter().enumerate() {
            let mut largest: Option<usize> = None;
            for y in span(at / columns, height) {
                for place in span(at % columns, width).map(|x| y * width + x) {
                    if largest.is_none_or(|largest| read[place] > read[largest]) {
                        largest = Some(place);
                    }
                }
            }
            if let Some(largest) = largest {
                sums[largest] += value;
            }
        }
    });
    result
}

/// Derivatives by what an upsampling reads: sums over each value's copies.
fn upsample(own: &[f32], factor: usize, to: Shape) -> Plane {
    let [channels, height, width] = to;
    let mut result = vec![0.0; channels * height * width];
    for (row, values) in own.chunks(width * factor).enumerate() {
        let sums = &mut result[row / factor * width..][..width];
        values.iter().enumerate().for_each(|(x, value)| sums[x / factor] += value);
    }
    result
}

/// Back from the channels of [`Op::SpaceToDepth`] to their places.
fn depth_to_space(own: &[f32], to: Shape) -> Plane {
    let [channels, height, width] = to;
    let half = width / 2;
    let mut result = vec![0.0; channels * height * width];
    for (at, &value) in own.iter().enumerate() {
        let (plane, place) = (at / (height / 2 * half), at % (height / 2 * half));
        let (part, channel) = (plane / channels, plane % channels);
        let (y, x) = (2 * (place / half) + part % 2, 2 * (place % half) + part / 2);
        result[(channel * height + y) * width + x] = value;
    }
    result
}

#[cfg(test)]
mod tests;
