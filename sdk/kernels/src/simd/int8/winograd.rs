//! 3×3 convolutions of stored values, stride 1, with fewer multiplications and exact all the same: the filtering F(4×4, 3×3) of
//! `simd::winograd` in integers.
//!
//! Transformed patches of bytes are whole numbers below 100 · 256, which 16 bits hold. The transform of weights has
//! sixths and quarters: here its rows are multiplied by 24, but for powers of two that fit the way back as well, and the weights
//! stay below 144 · 128, which 16 bits hold, too. So every product and sum is a whole number, and what comes out is
//! 24 · 24 = 64 · 9 times the convolution's sum, modulo 2³². Multiplying by the inverse of 9 modulo 2³² and dividing by 64 gives
//! the sum itself, if that is below 2²⁵ in magnitude: plans use this kernel where the weights leave no more.
//!
//! Blocking: as in floats, but each product of sixteen channels is two instructions for a pair of input channels. Pixels
//! beyond the border are the input's zero point, whose part of the sum the bias takes out. *Measured* by the example
//! `profile`, counted as textbooks do: 2.4 to 3.4 times the FMA peak on Zen 3 for 32 and more channels, and 2.7 to 3.9 times on Emerald
//! Rapids for 128 and more; of fewer, images are computed tap by tap.

use super::LANES;
use super::direct::target;
use super::epilogue::{self, Ending};
use super::tile::{self, Channels, Job, Pairs, Start, Store};
use crate::aligned::Aligned;
use crate::layout::{BLOCK, Kind, Shape, View};
use crate::simd::integers::Sixteen;
use crate::simd::memory::Memory;
use crate::simd::winograd::{PANEL, tiles_of};
use crate::simd::{Kernel, Simd};

/// Rows and columns of a patch.
pub const SIDE: usize = 6;
/// Rows and columns of outputs of a tile.
pub const TILE: usize = 4;
/// Floats of a pixel.
const PIXEL: usize = Kind::Stored.floats();
/// Products of a tile.
pub const POSITIONS: usize = SIDE * SIDE;
/// Blocks of output channels that are transformed back together.
pub const GROUP: usize = 4;
/// Sums of a convolution must be below this in magnitude.
pub const LIMIT: i64 = 1 << 25;
/// What weights are multiplied by along an axis: see the module.
pub const WEIGHTS: [[i32; 3]; SIDE] =
    [[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 12]];
/// 9 · 954437177 = 1 modulo 2³².
const NINTH: i32 = 954_437_177;

/// A convolution, planned.
#[derive(Debug)]
pub struct Winograd {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// Packed by [`crate::plan::int8::weights::winograd`].
    pub weights: Aligned<i16>,
    /// For each lane of the output's blocks.
    pub bias: Vec<i32>,
    /// What becomes of sums.
    pub ending: Ending,
    /// Rows and columns above and left of the input.
    pub pad: [usize; 2],
    /// The byte that stands beyond the border.
    pub border: u8,
    /// Tiles from the first of an item to the first of the next.
    pub bounds: Vec<usize>,
    /// Where a position of a panel has each block of input channels: see [`channels`].
    pub channels: Vec<Channels>,
}

/// Where a position of a panel has each of `blocks` blocks of input channels.
pub fn channels(blocks: usize) -> Vec<Channels> {
    let of = |block| Channels { input: block * POSITIONS * PANEL * LANES, weights: block * LANES * LANES };
    (0..blocks).map(of).collect()
}

/// Floats that a position of a tile takes, patch and products.
pub fn position(inputs: usize, outputs: usize) -> usize {
    (inputs + 2 * outputs.min(GROUP)) * BLOCK
}

/// Floats that an item of `tiles` tiles needs beside the images.
pub fn scratch(tiles: usize, inputs: usize, outputs: usize) -> usize {
    POSITIONS * position(inputs, outputs) * tiles.div_ceil(PANEL) * PANEL
}

/// One item of a convolution.
pub struct Item<'a> {
    /// The convolution.
    pub conv: &'a Winograd,
    /// Which item.
    pub item: usize,
    /// Where its images lie.
    pub memory: Memory<'a>,
    /// The worker's own part of the memory: its first float.
    pub scratch: usize,
}

/// Where transformed patches, or products, of an item lie: by panel, block of channels, position and tile.
#[derive(Clone, Copy)]
struct Panels<T> {
    start: *mut T,
    /// Blocks of channels of a panel.
    blocks: usize,
}

impl<T: Copy> Panels<T> {
    /// The first value of a position.
    #[inline(always)]
    fn at(self, panel: usize, block: usize, position: usize) -> *mut T {
        let index = ((panel * self.blocks + block) * POSITIONS + position) * PANEL * LANES;
        self.start.wrapping_add(index)
    }

    /// The same from another block on.
    #[inline(always)]
    fn behind(self, block: usize) -> Self {
        Self { start: self.at(0, block, 0), ..self }
    }
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let conv = self.conv;
        let tiles = conv.bounds[self.item + 1] - conv.bounds[self.item];
        let panels = tiles.div_ceil(PANEL);
        let (blocks, outputs) = (conv.input.blocks(), conv.output.shape.channels.div_ceil(LANES));
        let patches = Panels { start: self.memory.at(self.scratch).cast::<i16>(), blocks };
        let used = POSITIONS * blocks * panels * PANEL * BLOCK;
        let start = self.memory.at(self.scratch + used).cast::<i32>();
        let products = Panels { start, blocks: outputs.min(GROUP) };
        for panel in 0..panels {
            self.forward(simd, patches, panel, tiles_of(panel, panels, tiles));
        }
        for first in (0..outputs).step_by(GROUP) {
            let group = first..(first + GROUP).min(outputs);
            for position in 0..POSITIONS {
                self.multiply(simd, position, group.clone(), patches, products, tiles);
            }
            for panel in 0..panels {
                self.backward(simd, group.clone(), products, panel, tiles_of(panel, panels, tiles));
            }
        }
    }
}

impl Item<'_> {
    /// Row and column of a tile of the item.
    #[inline(always)]
    fn place(&self, tile: usize) -> [usize; 2] {
        let columns = self.conv.output.shape.width.div_ceil(TILE);
        let tile = self.conv.bounds[self.item] + tile;
        [tile / columns, tile % columns]
    }

    /// Transforms the patches of a panel.
    #[inline(always)]
    fn forward<S: Simd>(&self, simd: S, patches: Panels<i16>, panel: usize, tiles: std::ops::Range<usize>) {
        let (input, pad) = (&self.conv.input, self.conv.pad);
        let Shape { height, width, .. } = input.shape;
        let mut copy = [[[self.conv.border; LANES]; SIDE]; SIDE];
        for block in 0..input.blocks() {
            for (at, tile) in tiles.clone().enumerate() {
                let [row, column] = self.place(tile).map(|at| at * TILE);
                let inside = row >= pad[0]
                    && column >= pad[1]
                    && row - pad[0] + SIDE <= height
                    && column - pad[1] + SIDE <= width;
                let to = patches.at(panel, block, 0).wrapping_add(at * LANES);
                // SAFETY: a patch inside the image, or a copy of one; `to` lies in the worker's own memory, which the
                // plan made large enough.
                unsafe {
                    if inside {
                        let pixel = (row - pad[0]) * width + column - pad[1];
                        let from = self.memory.at(input.block(block) + pixel * PIXEL);
                        transform(simd, from.cast_const().cast(), width * LANES, to);
                    } else {
                        self.copy(block, [row, column], &mut copy);
                        transform(simd, copy.as_ptr().cast(), SIDE * LANES, to);
                    }
                }
            }
        }
    }

    /// Copies the part of a patch that lies inside the image; the rest of `patch` becomes the border.
    #[inline(always)]
    fn copy(&self, block: usize, [row, column]: [usize; 2], patch: &mut [[[u8; LANES]; SIDE]; SIDE]) {
        let input = &self.conv.input;
        let plane = self.memory.at(input.block(block)).cast_const();
        for (y, line) in patch.iter_mut().enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let y = (row + y).checked_sub(self.conv.pad[0]).filter(|y| *y < input.shape.height);
                let x = (column + x).checked_sub(self.conv.pad[1]).filter(|x| *x < input.shape.width);
                *pixel = match (y, x) {
                    (Some(y), Some(x)) => {
                        let from = plane.wrapping_add((y * input.shape.width + x) * PIXEL);
                        // SAFETY: the pixel lies inside the image.
                        unsafe { from.cast::<[u8; LANES]>().read_unaligned() }
                    }
                    _ => [self.conv.border; LANES],
                };
            }
        }
    }

    /// The products of one position.
    #[inline(always)]
    fn multiply<S: Simd>(
        &self,
        simd: S,
        position: usize,
        group: std::ops::Range<usize>,
        patches: Panels<i16>,
        products: Panels<i32>,
        tiles: usize,
    ) {
        let mut block = group.start;
        while block < group.end {
            let now = tile::blocks::<S>(group.end - block);
            let place = group.start * POSITIONS + position * group.len() + block - group.start;
            let products = Panels { start: products.at(0, block - group.start, position), ..products };
            let input = Panels { start: patches.at(0, 0, position), ..patches };
            match now {
                2 if S::Sixteen::BLOCKS == 2 => {
                    self.products(simd, place, input, [products, products.behind(1)], tiles)
                }
                _ => self.products(simd, place, input, [products], tiles),
            }
            block += now;
        }
    }

    /// The products of one position for some blocks, the weights of the first being number `place`.
    #[inline(always)]
    fn products<S: Simd, const B: usize>(
        &self,
        simd: S,
        place: usize,
        patches: Panels<i16>,
        products: [Panels<i32>; B],
        tiles: usize,
    ) {
        let panels = tiles.div_ceil(PANEL);
        let size = patches.blocks * LANES * LANES;
        let weights = self.conv.weights[place * size..].as_ptr();
        // Each is read once for a few panels only, so the next has to be on its way.
        for line in (0..B * size).step_by(2 * LANES) {
            simd.prefetch(weights.wrapping_add(B * size + line).cast());
        }
        for panel in 0..panels {
            let job = Job {
                factors: [Pairs; B],
                input: patches.at(panel, 0, 0),
                input_pixel: LANES,
                channels: &self.conv.channels,
                weights,
                weight_block: size,
                start: Start::Zero,
                ends: products.map(|products| Store(products.at(panel, 0, 0))),
            };
            // SAFETY: both lie in the worker's own memory, and weights are packed in this order.
            unsafe { tile::run(simd, &job, tiles_of(panel, panels, tiles).len()) };
        }
    }

    /// Transforms products of a panel into outputs.
    #[inline(always)]
    fn backward<S: Simd>(
        &self,
        simd: S,
        group: std::ops::Range<usize>,
        products: Panels<i32>,
        panel: usize,
        tiles: std::ops::Range<usize>,
    ) {
        for block in group.clone() {
            for (at, tile) in tiles.clone().enumerate() {
                let from = products.at(panel, block - group.start, 0).wrapping_add(at * LANES);
                // SAFETY: products of this item, computed before; lines of the output that only this item writes.
                unsafe {
                    let halves = [
                        transform_back(simd, from.cast_const()),
                        transform_back(simd, from.add(BLOCK).cast_const()),
                    ];
                    self.store(simd, block, self.place(tile), halves);
                }
            }
        }
    }

    /// Writes the pixels of a tile that lie inside the output.
    ///
    /// # Safety
    /// Nobody else may write them.
    #[inline(always)]
    unsafe fn store<S: Simd>(
        &self,
        simd: S,
        block: usize,
        [row, column]: [usize; 2],
        halves: [[[S::I; TILE]; TILE]; 2],
    ) {
        let conv = self.conv;
        let shape = conv.output.shape;
        let rows = (shape.height - row * TILE).min(TILE);
        let columns = (shape.width - column * TILE).min(TILE);
        let bias = conv.bias[block * LANES..].as_ptr();
        // SAFETY: the bias has as many entries as the output has lanes.
        let bias = unsafe { S::Sixteen::load(simd, bias) };
        let [low, high] = halves;
        for (y, (low, high)) in low.into_iter().zip(high).enumerate().take(rows) {
            let floats = conv.output.kind.floats();
            let pixel = ((row * TILE + y) * shape.width + column * TILE) * floats;
            let to = target(self.memory, conv.output, block, pixel, floats);
            let mut sums = [bias; TILE];
            for (sums, (low, high)) in sums.iter_mut().zip(low.into_iter().zip(high)) {
                *sums = S::Sixteen::add(simd, *sums, S::Sixteen::join(simd, [low, high]));
            }
            // SAFETY: pixels inside the output.
            unsafe {
                if columns == TILE {
                    epilogue::finish(simd, &conv.ending, block, sums, to);
                } else {
                    for (x, sums) in sums.into_iter().enumerate().take(columns) {
                        epilogue::finish(simd, &conv.ending, block, [sums], to.from(x));
                    }
                }
            }
        }
    }
}

/// Transforms a patch: columns, then rows.
///
/// # Safety
/// `from` must hold six rows of six blocks, `row` bytes apart, and `to` the first of 36 positions of a panel.
#[inline(always)]
unsafe fn transform<S: Simd>(simd: S, from: *const u8, row: usize, to: *mut i16) {
    let mut columns = [[simd.splat_i16(0); SIDE]; SIDE];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut pixels = [simd.splat_i16(0); SIDE];
        for (y, pixel) in pixels.iter_mut().enumerate() {
            // SAFETY: a pixel of the patch.
            *pixel = unsafe { simd.load_bytes(from.add(y * row + x * LANES)) };
        }
        *column = forward(simd, pixels);
    }
    for y in 0..SIDE {
        let mut line = [simd.splat_i16(0); SIDE];
        for (value, column) in line.iter_mut().zip(&columns) {
            *value = column[y];
        }
        for (x, value) in forward(simd, line).into_iter().enumerate() {
            // SAFETY: one of the 36 positions.
            unsafe { simd.store_i16(to.add((y * SIDE + x) * PANEL * LANES), value) };
        }
    }
}

/// Six inputs of an axis: at most ten times as large.
#[inline(always)]
fn forward<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::H; SIDE]) -> [S::H; SIDE] {
    let outer_even = simd.sub_i16(d4, d2);
    let difference = simd.sub_i16(d3, d1);
    let outer_odd = simd.add_i16(difference, difference);
    let even = simd.sub_i16(d4, simd.shl_i16::<2>(d2));
    let odd = simd.sub_i16(d3, simd.shl_i16::<2>(d1));
    [
        simd.add_i16(simd.shl_i16::<2>(simd.sub_i16(d0, d2)), outer_even),
        simd.add_i16(even, odd),
        simd.sub_i16(even, odd),
        simd.add_i16(outer_even, outer_odd),
        simd.sub_i16(outer_even, outer_odd),
        simd.sub_i16(simd.sub_i16(d5, d3), simd.shl_i16::<2>(difference)),
    ]
}

/// Transforms the products of a tile: columns, then rows, and divides by 576.
///
/// # Safety
/// `from` must hold the first of 36 positions of a panel.
#[inline(always)]
unsafe fn transform_back<S: Simd>(simd: S, from: *const i32) -> [[S::I; TILE]; TILE] {
    let mut columns = [[simd.splat_i32(0); TILE]; SIDE];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut products = [simd.splat_i32(0); SIDE];
        for (y, product) in products.iter_mut().enumerate() {
            // SAFETY: one of the 36 positions.
            *product = unsafe { simd.load_i32(from.add((y * SIDE + x) * PANEL * LANES)) };
        }
        *column = backward(simd, products);
    }
    let ninth = simd.splat_i32(NINTH);
    let mut tile = [[simd.splat_i32(0); TILE]; TILE];
    for (y, pixels) in tile.iter_mut().enumerate() {
        let mut line = [simd.splat_i32(0); SIDE];
        for (value, column) in line.iter_mut().zip(&columns) {
            *value = column[y];
        }
        *pixels = backward(simd, line);
        for pixel in pixels {
            *pixel = simd.shr_i32::<6>(simd.mul_i32(*pixel, ninth));
        }
    }
    tile
}

/// Six products of an axis: 24 times the sums.
#[inline(always)]
fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::I; SIDE]) -> [S::I; TILE] {
    let (sum, difference) = (simd.add_i32(m1, m2), simd.sub_i32(m1, m2));
    let (outer_sum, outer_difference) = (simd.add_i32(m3, m4), simd.sub_i32(m3, m4));
    let twice = simd.add_i32(outer_difference, outer_difference);
    [
        simd.add_i32(simd.add_i32(m0, sum), outer_sum),
        simd.add_i32(difference, twice),
        simd.add_i32(sum, simd.shl_i32::<2>(outer_sum)),
        simd.add_i32(simd.add_i32(difference, simd.shl_i32::<2>(twice)), simd.add_i32(m5, m5)),
    ]
}
