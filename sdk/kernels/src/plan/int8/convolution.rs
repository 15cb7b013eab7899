//! Chooses how a convolution of stored values is computed. As in floats, the choice counts; what comes out is the same
//! whatever is chosen.

use std::ops::Range;

use super::{Step, weights};
use crate::layout::{Kind, View};
use crate::network::{Codes, Ending, IntegerConvolution, Quant};
use crate::plan::Machine;
use crate::plan::convolution::{items, tile_bounds, tiles};
use crate::plan::costs::Costs;
use crate::simd::int8::direct::{Direct, Taps};
use crate::simd::int8::epilogue::BEHIND;
use crate::simd::int8::tile::{Channels, HALF, QUAD};
use crate::simd::int8::winograd::{self, LIMIT, POSITIONS, TILE, Winograd};
use crate::simd::int8::{LANES, PER_FLOAT, epilogue};
use crate::simd::integers::Bytes;
use crate::simd::tile::Tap;

/// Multipliers below it leave steps below 2³⁰ in magnitude of any sum.
const SMALL: f32 = 0.5;
/// What [`filtering_pays`] counts for transforms of a block of channels, there or back, and for a quad of a direct convolution's
/// nine taps: *measured* on Zen 3, where products of Winograd's are 18 for each instruction of a block by this count.
const TRANSFORM: usize = 24;
const DIRECT: usize = 7;

/// Plans `conv` from `input` to `output`.
pub fn plan(conv: &IntegerConvolution, input: View, output: View, Machine { isa, threads }: Machine) -> Step {
    let bytes = isa.bytes();
    let channels = [input.shape.channels, output.shape.channels];
    let ending = ending(&conv.ending, output, bytes);
    if filtering_pays(conv, input, output, bytes) && sums_fit(conv, input.shape.channels, bytes) {
        let position = winograd::position(input.blocks(), output.shape.channels.div_ceil(LANES));
        return Step::Winograd(Winograd {
            input,
            output,
            weights: weights::winograd(conv, input.shape.channels, output.shape.channels).into(),
            bias: bias(conv, channels, &[0..3, 0..3], bytes.offset),
            ending,
            pad: conv.windows.pad,
            border: bytes.byte(conv.zero_point),
            channels: winograd::channels(input.blocks()),
            bounds: tile_bounds(tiles(output, TILE), POSITIONS, position, &Costs::of(isa), threads),
        });
    }
    let (sets, items) = items(conv.windows, input, output, Machine { isa, threads });
    let (weights, split) = weights::direct(conv, channels, bytes.limit);
    let arrangement =
        Arrangement { input, outputs: output.shape.channels.div_ceil(LANES), kernel: conv.windows.taps() };
    let taps = sets.into_iter().map(|(range, taps)| Taps {
        channels: arrangement.channels(&taps),
        single: arrangement.single(&taps),
        rest: arrangement.rest(&taps, &split),
        bias: bias(conv, channels, &range, bytes.offset),
    });
    let taps = taps.collect();
    Step::Direct(Direct {
        input,
        output,
        weights: weights.into(),
        ending,
        kernel: conv.windows.taps(),
        taps,
        items,
    })
}

/// How values and weights of a convolution lie.
struct Arrangement {
    /// What is read.
    input: View,
    /// Blocks of output channels.
    outputs: usize,
    /// Taps of the whole kernel.
    kernel: usize,
}

/// Quads of a block of input channels.
const QUADS: usize = LANES / 4;

impl Arrangement {
    /// Blocks of input channels that are read as a whole: the last may not be worth it.
    fn whole(&self) -> usize {
        (self.input.shape.channels + 3) / LANES
    }

    /// Where pixels that meet `taps` find each whole block of input channels.
    fn channels(&self, taps: &[Tap]) -> Vec<Channels> {
        let blocks = (0..self.whole()).flat_map(|block| taps.iter().map(move |tap| (block, tap)));
        let of = |(block, tap): (usize, &Tap)| Channels {
            input: self.input_of(block, tap),
            weights: (block * self.kernel + tap.weights) * LANES * LANES,
        };
        blocks.map(of).collect()
    }

    /// Where they find the quads of a block of input channels that is not whole, for each block of output channels.
    fn single(&self, taps: &[Tap]) -> Vec<Vec<Channels>> {
        let used = self.input.shape.channels.div_ceil(4);
        let of = |output: usize| {
            let quads = (self.whole() * QUADS..used).flat_map(|quad| taps.iter().map(move |tap| (quad, tap)));
            quads.map(move |(quad, tap)| {
                let (block, quad) = (quad / QUADS, quad % QUADS);
                let taps = (output * self.input.blocks() + block) * self.kernel + tap.weights;
                Channels {
                    input: self.input_of(block, tap) + 4 * quad,
                    weights: (taps * QUADS + quad) * QUAD,
                }
            })
        };
        (0..self.outputs).map(|output| of(output).collect()).collect()
    }

    /// Where they find the halves of quads that were split, by their numbers, for each block of output channels.
    fn rest(&self, taps: &[Tap], split: &[usize]) -> Vec<[Vec<Channels>; 2]> {
        let blocks = self.input.blocks();
        let mut found = vec![[const { Vec::new() }; 2]; self.outputs];
        let all = self.outputs * blocks * self.kernel * QUADS * QUAD;
        for (number, &at) in split.iter().enumerate() {
            let (half, at) = (at % 2, at / 2);
            let (quad, at) = (at % QUADS, at / QUADS);
            let (tap, at) = (at % self.kernel, at / self.kernel);
            let (block, output) = (at % blocks, at / blocks);
            if let Some(tap) = taps.iter().find(|met| met.weights == tap) {
                let input = self.input_of(block, tap) + 4 * quad;
                found[output][half].push(Channels { input, weights: all + number * HALF });
            }
        }
        found
    }

    /// The first channel of a block, from that of the first tap and block on.
    fn input_of(&self, block: usize, tap: &Tap) -> usize {
        PER_FLOAT * (block * self.input.block_stride + tap.input)
    }
}

/// Floats that items of `conv` need beside the images.
pub fn scratch(conv: &Winograd) -> usize {
    let tiles = conv.bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    winograd::scratch(tiles, conv.input.blocks(), conv.output.shape.channels.div_ceil(LANES))
}

/// Whether a minimal filtering pays: the instructions of its transforms and products against those of all taps, for sixteen pixels.
/// What is left of weights whose products could saturate is not counted: it is little in weights that were trained.
fn filtering_pays(conv: &IntegerConvolution, input: View, output: View, bytes: Bytes) -> bool {
    let (blocks, outputs) = (input.blocks(), output.shape.channels.div_ceil(LANES));
    let filtering = TRANSFORM * (blocks + outputs) + POSITIONS / 2 * bytes.pair_cost * blocks * outputs;
    let quads = input.shape.channels.div_ceil(4);
    let direct = DIRECT * bytes.quad_cost * quads * outputs;
    let plain = conv.windows.kernel == [3, 3] && conv.windows.stride == [1, 1];
    plain && tiles(output, TILE) * 16 * filtering < output.shape.pixels() * direct
}

/// Whether the sums of every output channel stay below the filtering's limit, whatever is stored.
fn sums_fit(conv: &IntegerConvolution, channels: usize, bytes: Bytes) -> bool {
    let sum = |weights: &[i8]| weights.iter().map(|&weight| i64::from(weight).abs()).sum::<i64>();
    conv.weights.chunks(channels * 9).all(|weights| i64::from(128 + bytes.offset) * sum(weights) < LIMIT)
}

/// What sums of stored values plus `offset` begin with where pixels meet these rows and columns of taps: the bias, less what the
/// zero point and the offset add to the sum.
fn bias(
    conv: &IntegerConvolution,
    [inputs, outputs]: [usize; 2],
    [rows, columns]: &[Range<usize>; 2],
    offset: i32,
) -> Vec<i32> {
    let [_, width] = conv.windows.kernel;
    let met = |tap: usize| rows.contains(&(tap / width)) && columns.contains(&(tap % width));
    let weights = |output: usize| {
        let all = &conv.weights[output * inputs * conv.windows.taps()..][..inputs * conv.windows.taps()];
        let met = all.iter().enumerate().filter(|(at, _)| met(at % conv.windows.taps()));
        met.fold(0_i32, |sum, (_, &weight)| sum.wrapping_add(i32::from(weight)))
    };
    let stated = |output: usize| match &conv.ending {
        Ending::Stored { bias, .. } => bias[output],
        Ending::Real { .. } => 0,
    };
    let of_zero = |output| (i32::from(conv.zero_point) + offset).wrapping_mul(weights(output));
    let bias = (0..outputs).map(|output| stated(output).wrapping_sub(of_zero(output)));
    filled(bias.collect())
}

/// `values` with an entry for each lane of as many blocks as that takes.
fn filled<T: Clone + Default>(mut values: Vec<T>) -> Vec<T> {
    values.resize(values.len().next_multiple_of(LANES), T::default());
    values
}

fn ending(ending: &Ending, output: View, bytes: Bytes) -> epilogue::Ending {
    debug_assert_eq!(output.kind == Kind::Real, matches!(ending, Ending::Real { .. }));
    match ending {
        Ending::Stored { multipliers, codes: Codes::Shifted { zero_point }, .. } => {
            let quant = Quant { scale: 1.0, zero_point: i32::from(*zero_point) };
            let small = multipliers.iter().all(|factor| factor.abs() < SMALL);
            let (bounds, zero) = ((!small).then(|| quant.bounds()), quant.zero_point + bytes.offset);
            epilogue::Ending::Codes { multipliers: filled(multipliers.clone()), bounds, zero }
        }
        Ending::Stored { multipliers, codes: Codes::Table { first, entries }, .. } => {
            // The network has checked that 32 bits hold it.
            let count = i32::try_from(entries.len()).unwrap_or(1);
            epilogue::Ending::Table {
                multipliers: filled(multipliers.clone()),
                bounds: [*first, first + count - 1],
                entries: entries.iter().map(|&entry| bytes.byte(entry)).chain([0; BEHIND]).collect(),
            }
        }
        Ending::Real { scales, bias } => {
            epilogue::Ending::Reals { scales: filled(scales.clone()), bias: filled(bias.clone()) }
        }
    }
}
