//! Chooses how a convolution of stored values is computed. As in floats, the choice counts; what comes out is the same
//! whatever is chosen.

use std::num::NonZero;
use std::ops::Range;

use super::{Step, weights};
use crate::layout::{Kind, View};
use crate::network::{Codes, Ending, IntegerConvolution, Quant};
use crate::plan::convolution::{items, tile_bounds, tiles};
use crate::simd::int8::direct::{Direct, Taps};
use crate::simd::int8::winograd::{self, GROUP, LIMIT, POSITIONS, Winograd};
use crate::simd::int8::{LANES, PER_FLOAT, epilogue};

/// What a product of Winograd's filtering costs against one of a direct convolution, transforms included.
const OVERHEAD: usize = 2;

/// Plans `conv` from `input` to `output` for a number of threads.
pub fn plan(conv: &IntegerConvolution, input: View, output: View, threads: NonZero<usize>) -> Step {
    if filtering_pays(conv, output) && sums_fit(conv, input.shape.channels) {
        let outputs = output.shape.channels.div_ceil(LANES).min(GROUP);
        return Step::Winograd(Winograd {
            input,
            output,
            weights: weights::winograd(conv, input.shape.channels, output.shape.channels),
            bias: bias(conv, [input.shape.channels, output.shape.channels], &[0..3, 0..3]),
            ending: ending(&conv.ending, output),
            pad: conv.windows.pad,
            border: i16::from(conv.zero_point),
            bounds: tile_bounds(output, POSITIONS, input.blocks() + PER_FLOAT * outputs, threads),
        });
    }
    let (taps, items) = items(conv.windows, input, output, threads);
    let channels = [input.shape.channels, output.shape.channels];
    let with_bias = |(range, taps)| Taps { bias: bias(conv, channels, &range), taps };
    Step::Direct(Direct {
        input,
        output,
        weights: weights::direct(conv, input.shape.channels, output.shape.channels),
        ending: ending(&conv.ending, output),
        kernel: conv.windows.taps(),
        taps: taps.into_iter().map(with_bias).collect(),
        items,
    })
}

/// Floats that items of `conv` need beside the images.
pub fn scratch(conv: &Winograd) -> usize {
    let tiles = conv.bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    winograd::scratch(tiles, conv.input.blocks(), conv.output.shape.channels.div_ceil(LANES))
}

/// Whether a minimal filtering pays.
fn filtering_pays(conv: &IntegerConvolution, output: View) -> bool {
    let plain = conv.windows.kernel == [3, 3] && conv.windows.stride == [1, 1];
    plain && tiles(output) * POSITIONS * OVERHEAD < output.shape.pixels() * 9
}

/// Whether the sums of every output channel stay below the filtering's limit, whatever is stored.
fn sums_fit(conv: &IntegerConvolution, channels: usize) -> bool {
    let sum = |weights: &[i8]| weights.iter().map(|&weight| i64::from(weight).abs()).sum::<i64>();
    conv.weights.chunks(channels * 9).all(|weights| 128 * sum(weights) < LIMIT)
}

/// What sums of the stored values themselves begin with where pixels meet these rows and columns of taps: the bias, less what the
/// zero point adds to the sum.
fn bias(
    conv: &IntegerConvolution,
    [inputs, outputs]: [usize; 2],
    [rows, columns]: &[Range<usize>; 2],
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
    let of_zero_point = |output| i32::from(conv.zero_point).wrapping_mul(weights(output));
    let bias = (0..outputs).map(|output| stated(output).wrapping_sub(of_zero_point(output)));
    filled(bias.collect())
}

/// `values` with an entry for each lane of as many blocks as that takes.
fn filled<T: Clone + Default>(mut values: Vec<T>) -> Vec<T> {
    values.resize(values.len().next_multiple_of(LANES), T::default());
    values
}

fn ending(ending: &Ending, output: View) -> epilogue::Ending {
    debug_assert_eq!(output.kind == Kind::Real, matches!(ending, Ending::Real { .. }));
    match ending {
        Ending::Stored { multipliers, codes: Codes::Shifted { zero_point }, .. } => {
            let quant = Quant { scale: 1.0, zero_point: i32::from(*zero_point) };
            let (bounds, zero_point) = (quant.bounds(), quant.zero_point);
            epilogue::Ending::Codes { multipliers: filled(multipliers.clone()), bounds, zero_point }
        }
        Ending::Stored { multipliers, codes: Codes::Table { first, entries }, .. } => {
            // The network has checked that 32 bits hold it.
            let count = i32::try_from(entries.len()).unwrap_or(1);
            let bounds = [*first, first + count - 1];
            epilogue::Ending::Table {
                multipliers: filled(multipliers.clone()),
                bounds,
                entries: entries.clone(),
            }
        }
        Ending::Real { scales, bias } => {
            epilogue::Ending::Reals { scales: filled(scales.clone()), bias: filled(bias.clone()) }
        }
    }
}
