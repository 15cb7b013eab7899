//! 3×3 convolutions with fewer multiplications: Winograd's minimal filtering (Lavin and Gray, arXiv 1509.09308), for
//! strides of 1 and 2. A tile of T×T outputs, 4×4 or 6×6, is computed from a patch of N×N inputs in N² products instead of 9T².
//!
//! Blocking: an item is a range of tiles, as many as keep the transformed patches in L2, in panels of six. Of a panel and a
//! block of channels all N² positions lie together (7, 12 or 16 KB), so that transforms write and read in L1 and in few pages.
//! Each position is a matrix product (tiles × input channels × output channels) by the same micro-kernel as a 1×1
//! convolution, whose weights stay in L1 from panel to panel; products of at most 64 output channels at a time are
//! transformed back at once, from L2, through bias, activation and sum. Patches that reach over the border are copied into a
//! patch of zeros first. *Measured* on Zen 3 by the example `profile`, counted as textbooks do: 1.8 to 2.3 times the FMA peak
//! for stride 1 and 32 or more channels, 1.1 times for 16, and 0.9 to 1.0 times for stride 2. On Emerald Rapids, whose peak is higher
//! and where transforms take registers of eight as well, 1.45 to 2.05 times, and 0.8 to 1.1 times for fewer channels.

mod scheme;

pub use scheme::{LargeStride1, Scheme, Stride1, Stride2};

use super::epilogue::activate;
use super::memory::Memory;
use super::tile::{self, End, Job, POINT, Row, Start, Sweep};
use super::{BLOCK, Kernel, Simd};
use crate::aligned::Aligned;
use crate::layout::{Shape, View};
use crate::network::Activation;

/// Blocks of output channels that are transformed back together.
pub const GROUP: usize = 8;
/// Tiles of a panel: the pixels of the micro-kernel.
pub const PANEL: usize = tile::PIXELS;

/// Which minimal filtering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filtering {
    /// [`Stride1`].
    Stride1,
    /// [`LargeStride1`].
    LargeStride1,
    /// [`Stride2`].
    Stride2,
}

/// A convolution, planned.
#[derive(Debug)]
pub struct Winograd {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// What is added behind the activation.
    pub plus: Option<View>,
    /// Packed by [`crate::plan::weights::winograd`].
    pub weights: Aligned<f32>,
    /// One for each lane of the output's blocks.
    pub bias: Vec<f32>,
    /// What follows the sums.
    pub activation: Activation,
    /// Which minimal filtering.
    pub filtering: Filtering,
    /// Rows and columns of zeros above and left of the input.
    pub pad: [usize; 2],
    /// Tiles from the first of an item to the first of the next.
    pub bounds: Vec<usize>,
}

/// Floats that an item of `tiles` tiles needs beside the images.
pub fn scratch(positions: usize, tiles: usize, input_blocks: usize, output_blocks: usize) -> usize {
    let group = output_blocks.min(GROUP);
    positions * (input_blocks + group) * tiles.div_ceil(PANEL) * PANEL * BLOCK
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

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.conv.filtering {
            Filtering::Stride1 => self.compute::<S, Stride1, _, _>(simd),
            Filtering::LargeStride1 => self.compute::<S, LargeStride1, _, _>(simd),
            Filtering::Stride2 => self.compute::<S, Stride2, _, _>(simd),
        }
    }
}

/// Where transformed patches, or products, of an item lie: by panel, block of channels, position and tile.
#[derive(Clone, Copy)]
struct Panels {
    start: *mut f32,
    /// Blocks of channels of a panel.
    blocks: usize,
    /// Positions of a block.
    positions: usize,
}

impl Panels {
    /// The first float of a position.
    #[inline(always)]
    fn at(self, panel: usize, block: usize, position: usize) -> *mut f32 {
        let index = ((panel * self.blocks + block) * self.positions + position) * PANEL * BLOCK;
        self.start.wrapping_add(index)
    }
}

/// The tiles of panel `panel` of `panels`, which share `tiles` as evenly as they can.
#[inline(always)]
pub fn tiles_of(panel: usize, panels: usize, tiles: usize) -> std::ops::Range<usize> {
    panel * tiles / panels..(panel + 1) * tiles / panels
}

impl Item<'_> {
    #[inline(always)]
    fn compute<S: Simd, F: Scheme<N, T>, const N: usize, const T: usize>(&self, simd: S) {
        let conv = self.conv;
        let tiles = conv.bounds[self.item + 1] - conv.bounds[self.item];
        let (blocks, outputs) = (conv.input.shape.blocks(), conv.output.shape.blocks());
        let (panels, positions) = (tiles.div_ceil(PANEL), N * N);
        let patches = Panels { start: self.memory.at(self.scratch), blocks, positions };
        let used = positions * blocks * panels * PANEL * BLOCK;
        let start = self.memory.at(self.scratch + used);
        let products = Panels { start, blocks: outputs.min(GROUP), positions };
        for panel in 0..panels {
            self.forward::<S, F, N, T>(simd, patches, panel, tiles_of(panel, panels, tiles));
        }
        for first in (0..outputs).step_by(GROUP) {
            let group = first..(first + GROUP).min(outputs);
            for position in 0..positions {
                let group = group.clone();
                let work = Position { conv, position, group, patches, products, tiles };
                tile::sweep(simd, first, work.group.len(), &work);
            }
            for panel in 0..panels {
                self.backward::<S, F, N, T>(
                    simd,
                    group.clone(),
                    products,
                    panel,
                    tiles_of(panel, panels, tiles),
                );
            }
        }
    }

    /// Row and column of a tile of the item.
    #[inline(always)]
    fn place<const T: usize>(&self, tile: usize) -> [usize; 2] {
        let columns = self.conv.output.shape.width.div_ceil(T);
        let tile = self.conv.bounds[self.item] + tile;
        [tile / columns, tile % columns]
    }

    /// Transforms the patches of a panel.
    #[inline(always)]
    fn forward<S: Simd, F: Scheme<N, T>, const N: usize, const T: usize>(
        &self,
        simd: S,
        patches: Panels,
        panel: usize,
        tiles: std::ops::Range<usize>,
    ) {
        let (input, pad) = (&self.conv.input, self.conv.pad);
        let Shape { height, width, .. } = input.shape;
        let mut copy = [[[0.0_f32; BLOCK]; N]; N];
        for block in 0..input.shape.blocks() {
            for (at, tile) in tiles.clone().enumerate() {
                let [row, column] = self.place::<T>(tile).map(|at| at * F::STEP);
                let inside = row >= pad[0]
                    && column >= pad[1]
                    && row - pad[0] + N <= height
                    && column - pad[1] + N <= width;
                let to = patches.at(panel, block, 0).wrapping_add(at * BLOCK);
                // SAFETY: a patch inside the image, or a copy of one; `to` lies in the worker's own memory, which the
                // plan made large enough.
                unsafe {
                    if inside {
                        let pixel = (row - pad[0]) * width + column - pad[1];
                        let from = self.memory.at(input.block(block) + pixel * BLOCK);
                        transform::<S, F, N, T>(simd, from, width * BLOCK, to);
                    } else {
                        self.copy(simd, block, [row, column], &mut copy);
                        transform::<S, F, N, T>(simd, copy.as_ptr().cast(), N * BLOCK, to);
                    }
                }
            }
        }
    }

    /// Copies the part of a patch that lies inside the image; the rest of `patch` becomes zero.
    #[inline(always)]
    fn copy<S: Simd, const N: usize>(
        &self,
        simd: S,
        block: usize,
        [row, column]: [usize; 2],
        patch: &mut [[[f32; BLOCK]; N]; N],
    ) {
        let input = &self.conv.input;
        let plane = self.memory.at(input.block(block));
        for (y, line) in patch.iter_mut().enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let y = (row + y).checked_sub(self.conv.pad[0]).filter(|y| *y < input.shape.height);
                let x = (column + x).checked_sub(self.conv.pad[1]).filter(|x| *x < input.shape.width);
                // SAFETY: the pixel lies inside the image, or in `patch`.
                unsafe {
                    let value = match (y, x) {
                        (Some(y), Some(x)) => simd.load(plane.add((y * input.shape.width + x) * BLOCK)),
                        _ => simd.splat(0.0),
                    };
                    simd.store(pixel.as_mut_ptr(), value);
                }
            }
        }
    }

    /// Transforms products of a panel into outputs.
    #[inline(always)]
    fn backward<S: Simd, F: Scheme<N, T>, const N: usize, const T: usize>(
        &self,
        simd: S,
        group: std::ops::Range<usize>,
        products: Panels,
        panel: usize,
        tiles: std::ops::Range<usize>,
    ) {
        for block in group.clone() {
            for (at, tile) in tiles.clone().enumerate() {
                let from = products.at(panel, block - group.start, 0).wrapping_add(at * BLOCK);
                // SAFETY: products of this item, computed before.
                let outputs = unsafe { transform_back::<S, F, N, T>(simd, from) };
                self.store(simd, block, self.place::<T>(tile), outputs);
            }
        }
    }

    /// Writes the pixels of a tile that lie inside the output.
    #[inline(always)]
    fn store<S: Simd, const T: usize>(
        &self,
        simd: S,
        block: usize,
        [row, column]: [usize; 2],
        tile: [[S::V; T]; T],
    ) {
        let conv = self.conv;
        let shape = conv.output.shape;
        let rows = (shape.height - row * T).min(T);
        let columns = (shape.width - column * T).min(T);
        let bias = conv.bias[block * BLOCK..].as_ptr();
        for (y, line) in tile.into_iter().enumerate().take(rows) {
            let pixel = ((row * T + y) * shape.width + column * T) * BLOCK;
            let to = self.memory.at(conv.output.block(block) + pixel);
            let plus = conv.plus.map(|view| self.memory.at(view.block(block) + pixel));
            for (x, sum) in line.into_iter().enumerate().take(columns) {
                // SAFETY: a pixel inside the output, which only this item writes, and inside what is added, which is as
                // large; the bias has as many floats as the output has lanes.
                unsafe {
                    let sum = activate(simd, conv.activation, simd.add(sum, simd.load(bias)));
                    let sum = match plus {
                        Some(plus) => simd.add(sum, simd.load(plus.add(x * BLOCK))),
                        None => sum,
                    };
                    simd.store(to.add(x * BLOCK), sum);
                }
            }
        }
    }
}

/// The products of one position of an item's tiles, for a group of blocks of output channels.
struct Position<'a> {
    conv: &'a Winograd,
    position: usize,
    group: std::ops::Range<usize>,
    patches: Panels,
    products: Panels,
    tiles: usize,
}

impl Sweep for Position<'_> {
    #[inline(always)]
    fn compute<S: Simd, R: Row>(&self, simd: S, block: usize) {
        let Self { conv, position, ref group, patches, products, tiles } = *self;
        let (blocks, positions) = (patches.blocks, patches.positions);
        let panels = tiles.div_ceil(PANEL);
        let size = blocks * BLOCK * BLOCK * R::BLOCKS;
        let pair = group.start * positions + position * group.len() + block - group.start;
        let weights = conv.weights[pair * blocks * BLOCK * BLOCK..].as_ptr();
        // Each is read once for a few panels only, so the next has to be on its way.
        for line in (0..size).step_by(2 * BLOCK) {
            simd.prefetch(weights.wrapping_add(size + line));
        }
        for panel in 0..panels {
            let packed = BLOCK * BLOCK * R::PACKED;
            let job = Job {
                input: patches.at(panel, 0, position),
                blocks,
                input_block: positions * PANEL * BLOCK,
                input_pixel: BLOCK,
                taps: &POINT,
                weights,
                weight_pair: blocks * packed,
                weight_block: packed,
                output: products.at(panel, block - group.start, position),
                output_block: positions * PANEL * BLOCK,
                output_pixel: BLOCK,
                start: Start::Zero,
                end: End::Store,
            };
            // SAFETY: both lie in the worker's own memory, and weights are packed in this order.
            unsafe { tile::run::<S, R, BLOCK>(simd, &job, tiles_of(panel, panels, tiles).len()) };
        }
    }
}

/// Transforms a patch: columns, then rows.
///
/// # Safety
/// `from` must hold N rows of N blocks, `row` floats apart, and `to` the first of N² positions of a panel.
#[inline(always)]
unsafe fn transform<S: Simd, F: Scheme<N, T>, const N: usize, const T: usize>(
    simd: S,
    from: *const f32,
    row: usize,
    to: *mut f32,
) {
    let mut columns = [[simd.splat(0.0); N]; N];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut pixels = [simd.splat(0.0); N];
        for (y, pixel) in pixels.iter_mut().enumerate() {
            // SAFETY: a pixel of the patch.
            *pixel = unsafe { simd.load(from.add(y * row + x * BLOCK)) };
        }
        *column = F::forward(simd, pixels);
    }
    for y in 0..N {
        let mut line = [simd.splat(0.0); N];
        for (value, column) in line.iter_mut().zip(&columns) {
            *value = column[y];
        }
        for (x, value) in F::forward(simd, line).into_iter().enumerate() {
            // SAFETY: one of the N² positions.
            unsafe { simd.store(to.add((y * N + x) * PANEL * BLOCK), value) };
        }
    }
}

/// Transforms the products of a tile: columns, then rows.
///
/// # Safety
/// `from` must hold the first of N² positions of a panel.
#[inline(always)]
unsafe fn transform_back<S: Simd, F: Scheme<N, T>, const N: usize, const T: usize>(
    simd: S,
    from: *const f32,
) -> [[S::V; T]; T] {
    let mut columns = [[simd.splat(0.0); T]; N];
    for (x, column) in columns.iter_mut().enumerate() {
        let mut products = [simd.splat(0.0); N];
        for (y, product) in products.iter_mut().enumerate() {
            // SAFETY: one of the N² positions.
            *product = unsafe { simd.load(from.add((y * N + x) * PANEL * BLOCK)) };
        }
        *column = F::backward(simd, products);
    }
    let mut tile = [[simd.splat(0.0); T]; T];
    for (y, pixels) in tile.iter_mut().enumerate() {
        let mut line = [simd.splat(0.0); N];
        for (value, column) in line.iter_mut().zip(&columns) {
            *value = column[y];
        }
        *pixels = F::backward(simd, line);
    }
    tile
}
