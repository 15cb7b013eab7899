//! How the raw outputs answer to small changes inside the model, for one image: derivatives by every value of every
//! tensor, traced back from the outputs (reverse accumulation). Changes no weight: this is no training.

use multiversion::multiversion;
use rayon::prelude::*;

use super::passes::Plane;
use crate::model::{Activation, Conv, Graph, LEAKY_SLOPE, NodeId, Op, Shape, Weights};
use crate::{Error, Result};

/// Distance over which Mish's slope is measured.
const STEP: f64 = 1e-3;

/// Traces `seeds`, derivatives by each raw output, back through `graph`, whose results for the image are `values`, one
/// for each node. Hands each node and the derivatives by its result to `each`, the last node first.
///
/// Attention is not derived: all that it reads counts as much as what it gives, on the root of the mean square.
///
/// # Errors
/// [`Error::Model`] when a batch norm is left or a weight is missing; what `each` reports.
pub(super) fn trace(
    graph: &Graph,
    weights: &Weights,
    shapes: &[Shape],
    values: &[Plane],
    seeds: Vec<Plane>,
    mut each: impl FnMut(NodeId, &[f32]) -> Result<()>,
) -> Result<()> {
    let mut pending: Vec<Option<Plane>> = vec![None; graph.nodes.len()];
    for (&id, seed) in graph.outputs.iter().zip(seeds) {
        add(&mut pending[id], seed);
    }
    let way = Way { graph, weights, shapes, values };
    for id in (0..graph.nodes.len()).rev() {
        let Some(own) = pending[id].take() else { continue };
        each(id, &own)?;
        for (input, more) in way.back(id, own)? {
            add(&mut pending[input], more);
        }
    }
    Ok(())
}

/// What derivatives are traced through.
struct Way<'a> {
    graph: &'a Graph,
    weights: &'a Weights,
    shapes: &'a [Shape],
    values: &'a [Plane],
}

impl Way<'_> {
    /// Derivatives by the inputs of node `id`, of whose result they are `own`.
    fn back(&self, id: NodeId, own: Plane) -> Result<Vec<(NodeId, Plane)>> {
        let Self { graph, weights, shapes, values } = *self;
        let node = &graph.nodes[id];
        let Some(&first) = node.inputs.first() else { return Ok(Vec::new()) };
        let (from, to) = (shapes[id], shapes[first]);
        let one = match node.op {
            // Nobody looks at the image's derivatives.
            Op::Conv(_) if matches!(graph.nodes[first].op, Op::Input { .. }) => return Ok(Vec::new()),
            Op::Input { .. } => return Ok(Vec::new()),
            Op::Conv(conv) => {
                let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
                let kernel = weights.expect(&format!("{}.weight", node.name), &shape)?;
                convolution(&own, &conv, kernel, from, to)
            }
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

/// Derivatives by what a convolution reads.
fn convolution(own: &[f32], conv: &Conv, weights: &[f32], from: Shape, to: Shape) -> Plane {
    let [channels, height, width] = to;
    let Conv { kernel, groups, cin, cout, .. } = *conv;
    let (inputs, outputs) = (cin / groups, cout / groups);
    let mut result = vec![0.0; channels * height * width];
    result.par_chunks_mut(height * width).enumerate().for_each(|(channel, sums)| {
        let (group, column) = (channel / inputs, channel % inputs);
        for output in group * outputs..(group + 1) * outputs {
            let plane = &own[output * from[1] * from[2]..][..from[1] * from[2]];
            let taps = &weights[(output * inputs + column) * kernel * kernel..][..kernel * kernel];
            for (tap, &weight) in taps.iter().enumerate() {
                tap_back(sums, plane, weight, conv, tap, [from, to]);
            }
        }
    });
    result
}

/// Adds `weight` times `values` to `sums`.
#[multiversion(targets("x86_64+avx2+fma"))]
fn add_times(sums: &mut [f32], weight: f32, values: &[f32]) {
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += weight * value);
}

/// Adds `weight` times what one tap of a kernel passed on, `own`, where it was read.
fn tap_back(sums: &mut [f32], own: &[f32], weight: f32, conv: &Conv, tap: usize, [from, to]: [Shape; 2]) {
    let Conv { kernel, stride, pad, dilation, .. } = *conv;
    let ([_, rows, columns], [_, height, width]) = (from, to);
    let (dy, dx) = (tap / kernel * dilation, tap % kernel * dilation);
    // The outputs whose read place lies in the plane: `at · stride + offset - pad` in 0..side.
    let span = |offset: usize, side: usize, most: usize| {
        let first = pad.saturating_sub(offset).div_ceil(stride);
        let end = (side + pad).saturating_sub(offset).div_ceil(stride).min(most);
        first..end.max(first)
    };
    if conv.kernel == 1 && stride == 1 && pad == 0 {
        return add_times(sums, weight, own);
    }
    let across = span(dx, width, columns);
    if across.is_empty() {
        return;
    }
    let start = across.start * stride + dx - pad;
    for row in span(dy, height, rows) {
        let read = &mut sums[(row * stride + dy - pad) * width..][..width];
        let passed = &own[row * columns..][across.clone()];
        if stride == 1 {
            add_times(&mut read[start..], weight, passed);
        } else {
            let places = read[start..].iter_mut().step_by(stride);
            places.zip(passed).for_each(|(sum, value)| *sum += weight * value);
        }
    }
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
