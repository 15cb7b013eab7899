//! First convolutions that read the caller's planes as they lie.

use std::ops::Range;

use super::costs::Costs;
use super::{Machine, convolution, weights};
use crate::layout::{Kind, Shape, View};
use crate::network::{Convolution, Network, Operator, Value, Windows};
use crate::simd::planes::{COLUMNS, FromPlanes, MOST_ROWS};
use crate::simd::tile::Tap;

/// Whether the only reader of `input`, which `reader` is the number of, reads it as it lies.
pub fn reads_planes(network: &Network, reader: usize, input: Value) -> bool {
    let node = &network.nodes[reader];
    let Operator::Convolution(Convolution { windows: Windows { kernel, .. }, .. }) = &node.operator else {
        return false;
    };
    let rows = kernel[0] * network.shape(input).channels;
    network.kind(input) == Kind::Real && node.inputs == [input] && kernel[1] == COLUMNS && rows <= MOST_ROWS
}

/// Plans `conv` from planes of size `input` to `output`.
pub fn plan(conv: &Convolution, input: Shape, output: View, Machine { isa, threads }: Machine) -> FromPlanes {
    let windows = conv.windows;
    let row = output.shape.width * output.pixel() + windows.stride[0] * input.width * input.channels;
    let bounds = convolution::divide(output.shape.height, Costs::of(isa).direct / row, 2, threads);
    FromPlanes {
        input,
        output,
        weights: weights::from_planes(conv, input.channels).into(),
        bias: weights::bias(conv),
        activation: conv.activation,
        windows,
        taps: taps(windows, input, output.shape.height),
        patch: patch(windows, input.channels),
        middle: middle(windows, input.width, output.shape.width),
        items: bounds.windows(2).map(|pair| pair[0]..pair[1]).collect(),
    }
}

/// Each set of a kernel's rows that some row of the output meets, and where those lie.
fn taps(windows: Windows, input: Shape, height: usize) -> Vec<(Range<usize>, Vec<Tap>)> {
    let mut sets: Vec<(Range<usize>, Vec<Tap>)> = Vec::new();
    for rows in (0..height).map(|y| windows.inside(0, y, input.height)) {
        if sets.iter().all(|(known, _)| *known != rows) {
            let planes = 0..input.channels;
            let taps = planes.flat_map(|plane| {
                rows.clone().enumerate().map(move |(number, at)| Tap {
                    input: (plane * input.height + number) * input.width,
                    weights: plane * windows.kernel[0] + at,
                })
            });
            sets.push((rows.clone(), taps.collect()));
        }
    }
    sets
}

/// The rows of a kernel, one behind the other.
fn patch(windows: Windows, channels: usize) -> Vec<Tap> {
    (0..channels * windows.kernel[0]).map(|row| Tap { input: row * COLUMNS, weights: row }).collect()
}

/// The columns of the output for which all of the kernel's lie inside.
fn middle(windows: Windows, width: usize, outputs: usize) -> Range<usize> {
    let is_whole = |x: &usize| windows.inside(1, *x, width).len() == COLUMNS;
    let first = (0..outputs).find(is_whole).unwrap_or(outputs);
    first..first + (first..outputs).take_while(is_whole).count()
}
