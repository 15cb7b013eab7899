//! Chooses how a convolution is computed and divides it into items. The choice counts multiplications and memory; it never
//! depends on a timer, so that a model computes the same numbers on every run.

use std::num::NonZero;
use std::ops::Range;

use super::costs::Costs;
use super::{Machine, weights};
use crate::layout::{BLOCK, View};
use crate::network::{Convolution, Windows};
use crate::simd::direct::{Direct, Run};
use crate::simd::tile::Tap;
use crate::simd::winograd::{self, Filtering, GROUP, LargeStride1, Scheme as _, Stride1, Stride2, Winograd};

/// What is left to one of several threads is divided by it for the next item, if the image is large enough.
const SHARES: usize = 3;
/// Most blocks of input channels for which it is no more.
const MAX_BLOCKS_LARGE: usize = 4;
/// Fewest tiles for which the many weights of stride 2 are worth reading.
const MIN_TILES_STRIDE_2: usize = 64;
/// Fewest blocks of input channels for which products of stride 2 outweigh its transforms.
const MIN_BLOCKS_STRIDE_2: usize = 4;

/// How a convolution is computed.
#[derive(Debug)]
pub enum Planned {
    /// Tap by tap.
    Direct(Direct),
    /// With fewer multiplications.
    Winograd(Winograd),
}

/// Plans `conv` from `input` to `output` for a number of threads.
pub fn plan(
    conv: &Convolution,
    input: View,
    output: View,
    plus: Option<View>,
    Machine { isa, threads }: Machine,
) -> Planned {
    let costs = Costs::of(isa);
    match filtering(conv, input, output, &costs) {
        Some(filtering) => Planned::Winograd(Winograd {
            input,
            output,
            plus,
            weights: weights::winograd(conv, input.shape.channels, filtering).into(),
            bias: weights::bias(conv),
            activation: conv.activation,
            filtering,
            pad: conv.windows.pad,
            bounds: tile_bounds(
                tiles(output, filtering.tile()),
                filtering.positions(),
                (input.blocks() + output.blocks().min(GROUP)) * BLOCK,
                &costs,
                threads,
            ),
        }),
        None => Planned::Direct(direct(conv, input, output, plus, Machine { isa, threads })),
    }
}

/// The minimal filtering that pays, if any.
fn filtering(conv: &Convolution, input: View, output: View, costs: &Costs) -> Option<Filtering> {
    if conv.windows.kernel != [3, 3] {
        return None;
    }
    let large = tiles(output, Stride2::TILE) >= MIN_TILES_STRIDE_2;
    let candidates: &[Filtering] = match conv.windows.stride {
        [1, 1] if input.shape.blocks() > MAX_BLOCKS_LARGE => &[Filtering::Stride1],
        [1, 1] => &[Filtering::Stride1, Filtering::LargeStride1],
        [2, 2] if large && input.shape.blocks() >= MIN_BLOCKS_STRIDE_2 => &[Filtering::Stride2],
        _ => &[],
    };
    let costs = candidates.iter().map(|&filtering| (filtering.cost(output, costs), filtering));
    let (cost, filtering) = costs.min_by(|a, b| a.0.total_cmp(&b.0))?;
    #[expect(clippy::cast_precision_loss, reason = "counts of pixels are small")]
    let pays = cost < (output.shape.pixels() * 9) as f64;
    pays.then_some(filtering)
}

/// Number of tiles of an image, which have so many rows and columns.
pub fn tiles(output: View, side: usize) -> usize {
    output.shape.height.div_ceil(side) * output.shape.width.div_ceil(side)
}

/// First tiles of items, and the end of the last; a position of a tile takes so many floats.
pub fn tile_bounds(
    tiles: usize,
    positions: usize,
    position: usize,
    costs: &Costs,
    threads: NonZero<usize>,
) -> Vec<usize> {
    divide(tiles, costs.filtered / (positions * position), costs.min_tiles, threads)
}

/// Bounds of parts of `total`, as much in all for each thread: at most `most` each, and of several threads each time a part of what is
/// left, at least `least`. The last ones are small, because the last to finish is waited for: who is through takes one of another's.
pub fn divide(total: usize, most: usize, least: usize, threads: NonZero<usize>) -> Vec<usize> {
    let threads = threads.get();
    let mut bounds = vec![0];
    for thread in 1..=threads {
        let (mut at, end) = (bounds[bounds.len() - 1], thread * total / threads);
        while at < end {
            let left = end - at;
            let even = left.div_ceil(left.div_ceil(most.max(least)));
            let part = if threads == 1 { even } else { even.min((left / SHARES).max(least)) };
            at = (at + part).min(end);
            bounds.push(at);
        }
    }
    bounds
}

impl Filtering {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stride1 => "Winograd 4x4",
            Self::LargeStride1 => "Winograd 6x6",
            Self::Stride2 => "Winograd 4x4 of stride 2",
        }
    }

    /// Rows and columns of outputs of a tile.
    pub fn tile(self) -> usize {
        match self {
            Self::Stride1 => Stride1::TILE,
            Self::LargeStride1 => LargeStride1::TILE,
            Self::Stride2 => Stride2::TILE,
        }
    }

    /// Products of a tile.
    pub fn positions(self) -> usize {
        let side = match self {
            Self::Stride1 => Stride1::SIDE,
            Self::LargeStride1 => LargeStride1::SIDE,
            Self::Stride2 => Stride2::SIDE,
        };
        side * side
    }

    /// Products of a direct convolution that take as long, for each input and output channel.
    fn cost(self, output: View, costs: &Costs) -> f64 {
        let overhead = match self {
            Self::Stride1 => costs.stride_1,
            Self::LargeStride1 => costs.large_stride_1,
            Self::Stride2 => costs.stride_2,
        };
        #[expect(clippy::cast_precision_loss, reason = "counts of pixels are small")]
        let products = (tiles(output, self.tile()) * self.positions()) as f64;
        products * overhead
    }
}

/// Floats that items of `conv` need beside the images.
pub fn scratch(conv: &Winograd) -> usize {
    let tiles = conv.bounds.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
    let (inputs, outputs) = (conv.input.shape.blocks(), conv.output.shape.blocks());
    winograd::scratch(conv.filtering.positions(), tiles, inputs, outputs)
}

fn direct(conv: &Convolution, input: View, output: View, plus: Option<View>, machine: Machine) -> Direct {
    let (taps, items) = items(conv.windows, input, output, machine);
    Direct {
        input,
        output,
        plus,
        weights: weights::direct(conv, input.shape.channels).into(),
        bias: weights::bias(conv),
        activation: conv.activation,
        kernel: conv.windows.taps(),
        taps: taps.into_iter().map(|(_, taps)| taps).collect(),
        items,
    }
}

/// Rows and columns of a set of taps, and the taps.
pub type TapSet = ([Range<usize>; 2], Vec<Tap>);

/// The sets of taps that pixels meet, and the pixels of each item.
pub fn items(
    windows: Windows,
    input: View,
    output: View,
    Machine { isa, threads }: Machine,
) -> (Vec<TapSet>, Vec<Vec<Run>>) {
    let cache = Costs::of(isa).direct;
    let mut taps = TapSets { windows, input, sets: Vec::new() };
    let channels = input.pixel() + output.pixel();
    let items = if windows == Windows::POINT {
        taps.set([0..1, 0..1]);
        let bounds = divide(output.shape.pixels(), cache / channels, 24, threads);
        bounds.windows(2).map(|pair| vec![points(input, output, pair[0]..pair[1])]).collect()
    } else {
        let [rows, columns] = windows.stride;
        let row = output.shape.width * (channels + input.pixel() * (rows * columns - 1));
        let bounds = divide(output.shape.height, cache / row, 2, threads);
        bounds.windows(2).map(|pair| runs(&mut taps, output, pair[0]..pair[1])).collect()
    };
    (taps.sets, items)
}

fn points(input: View, output: View, pixels: Range<usize>) -> Run {
    Run {
        input: pixels.start * input.kind.floats(),
        input_pixel: input.kind.floats(),
        output: pixels.start * output.kind.floats(),
        output_pixel: output.kind.floats(),
        pixels: pixels.len(),
        taps: 0,
    }
}

/// The sets of taps that pixels meet.
struct TapSets {
    windows: Windows,
    input: View,
    sets: Vec<TapSet>,
}

impl TapSets {
    /// The taps along `axis` that lie inside for output `at`.
    fn inside(&self, axis: usize, at: usize) -> Range<usize> {
        let side = [self.input.shape.height, self.input.shape.width][axis];
        self.windows.inside(axis, at, side)
    }

    /// The set of `rows` and columns of taps.
    fn set(&mut self, [rows, columns]: [Range<usize>; 2]) -> usize {
        let range = [rows.clone(), columns.clone()];
        if let Some(known) = self.sets.iter().position(|(known, _)| *known == range) {
            return known;
        }
        let mut taps = Vec::new();
        for y in rows.clone() {
            for x in columns.clone() {
                let pixel = (y - rows.start) * self.input.shape.width + x - columns.start;
                let input = pixel * self.input.kind.floats();
                taps.push(Tap { input, weights: y * self.windows.kernel[1] + x });
            }
        }
        self.sets.push((range, taps));
        self.sets.len() - 1
    }
}

/// The runs of some rows: along rows where all columns of taps lie inside, along columns at the sides.
fn runs(taps: &mut TapSets, output: View, rows: Range<usize>) -> Vec<Run> {
    let whole = 0..taps.windows.kernel[1];
    let width = output.shape.width;
    let is_whole = |taps: &TapSets, x: &usize| taps.inside(1, *x) == whole;
    let middle: Vec<usize> = (0..width).filter(|x| is_whole(taps, x)).collect();
    let mut runs = Vec::new();
    if let (Some(&first), count) = (middle.first(), middle.len()) {
        for y in rows.clone() {
            let along = Along { axis: 1, count };
            runs.push(run(taps, output, [y, first], along));
        }
    }
    let sides: Vec<usize> = (0..width).filter(|x| !is_whole(taps, x)).collect();
    for x in sides {
        let mut y = rows.start;
        while y < rows.end {
            let same = taps.inside(0, y);
            let count = (y..rows.end).take_while(|&y| taps.inside(0, y) == same).count();
            runs.push(run(taps, output, [y, x], Along { axis: 0, count }));
            y += count;
        }
    }
    runs
}

/// How many pixels, and along which axis.
struct Along {
    axis: usize,
    count: usize,
}

fn run(taps: &mut TapSets, output: View, [y, x]: [usize; 2], along: Along) -> Run {
    let inside = [taps.inside(0, y), taps.inside(1, x)];
    let Windows { stride, pad, .. } = taps.windows;
    // Where the first tap inside lies; an empty set reads nothing.
    let row = (y * stride[0] + inside[0].start).saturating_sub(pad[0]);
    let column = (x * stride[1] + inside[1].start).saturating_sub(pad[1]);
    let steps = [taps.input.shape.width * stride[0], stride[1]];
    let (read, written) = (taps.input.kind.floats(), output.kind.floats());
    Run {
        input: (row * taps.input.shape.width + column) * read,
        input_pixel: steps[along.axis] * read,
        output: (y * output.shape.width + x) * written,
        output_pixel: [output.shape.width, 1][along.axis] * written,
        pixels: along.count,
        taps: taps.set(inside),
    }
}
