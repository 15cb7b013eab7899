//! The first convolution, read from the caller's planes as they lie: no image in blocks is made of a camera's three channels.
//!
//! Blocking: as in [`super::direct`], but what meets weights at a tap are the columns of the kernel in one row of one plane, which lie
//! side by side. Where a kernel reaches over the side, its values are copied into a patch of zeros first. *Measured*: on Emerald Rapids
//! 6×6 of stride 2 over three planes does 64 % of the FMA peak to 16 channels, whose image is written to memory meanwhile, and 85 % to 32.

use std::ops::Range;

use super::memory::Memory;
use super::tile::{self, End, Job, Row, Start, Sweep, Tap};
use super::{BLOCK, Kernel, Simd};
use crate::aligned::Aligned;
use crate::layout::{Shape, View};
use crate::network::{Activation, Windows};

/// Columns of a kernel.
pub const COLUMNS: usize = 6;
/// Most rows of a kernel, those in all planes together.
pub const MOST_ROWS: usize = 24;

/// A convolution, planned.
#[derive(Debug)]
pub struct FromPlanes {
    /// Size of the planes.
    pub input: Shape,
    /// What is written.
    pub output: View,
    /// Packed by [`crate::plan::weights::from_planes`].
    pub weights: Aligned<f32>,
    /// One for each lane of the output's blocks.
    pub bias: Vec<f32>,
    /// What follows the sums.
    pub activation: Activation,
    /// Where it stands over the planes.
    pub windows: Windows,
    /// The rows of the kernel that meet planes, and where they do, from the first of them on.
    pub taps: Vec<(Range<usize>, Vec<Tap>)>,
    /// All rows of the kernel, in a patch.
    pub patch: Vec<Tap>,
    /// Columns of the output for which all of the kernel's lie inside.
    pub middle: Range<usize>,
    /// Rows of the output of each item.
    pub items: Vec<Range<usize>>,
}

/// One item of a convolution.
pub struct Item<'a> {
    /// The convolution.
    pub conv: &'a FromPlanes,
    /// Which item.
    pub item: usize,
    /// The planes.
    pub planes: &'a [f32],
    /// Where the output lies.
    pub memory: Memory<'a>,
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        tile::sweep(simd, 0, self.conv.output.shape.blocks(), &self);
    }
}

impl Sweep for Item<'_> {
    #[inline(always)]
    fn compute<S: Simd, R: Row>(&self, simd: S, block: usize) {
        let FromPlanes { output, middle, items, .. } = self.conv;
        for y in items[self.item].clone() {
            if !middle.is_empty() {
                self.middle::<S, R>(simd, block, y);
            }
            for x in (0..middle.start).chain(middle.end..output.shape.width) {
                self.side::<S, R>(simd, block, [y, x]);
            }
        }
    }
}

impl Item<'_> {
    /// The pixels of a row for which all columns lie inside.
    #[inline(always)]
    fn middle<S: Simd, R: Row>(&self, simd: S, block: usize, y: usize) {
        let FromPlanes { input, windows: Windows { stride, pad, .. }, middle, .. } = self.conv;
        let rows = self.conv.windows.inside(0, y, input.height);
        let Some((_, taps)) = self.conv.taps.iter().find(|(known, _)| *known == rows) else { return };
        let first = [y * stride[0] + rows.start - pad[0], middle.start * stride[1] - pad[1]];
        let from = &self.planes[first[0] * input.width + first[1]..];
        let job = self.job::<R>(block, [y, middle.start], from, taps);
        // SAFETY: rows and columns of the planes that lie inside, for which weights are packed, as the plan sees to; the output's
        // rows are this item's own.
        unsafe { tile::run::<S, R, COLUMNS>(simd, &job, middle.len()) };
    }

    /// One pixel whose kernel reaches over the side.
    #[inline(always)]
    fn side<S: Simd, R: Row>(&self, simd: S, block: usize, [y, x]: [usize; 2]) {
        let mut patch = [[0.0; COLUMNS]; MOST_ROWS];
        self.copy([y, x], &mut patch);
        let job = self.job::<R>(block, [y, x], patch.as_flattened(), &self.conv.patch);
        // SAFETY: as above, with the patch in the place of planes.
        unsafe { tile::run::<S, R, COLUMNS>(simd, &job, 1) };
    }

    /// Copies what of a kernel's place lies inside the planes.
    #[inline(always)]
    fn copy(&self, [y, x]: [usize; 2], patch: &mut [[f32; COLUMNS]; MOST_ROWS]) {
        let FromPlanes { input, windows, .. } = self.conv;
        let [rows, columns] = [windows.inside(0, y, input.height), windows.inside(1, x, input.width)];
        let row = y * windows.stride[0] + rows.start - windows.pad[0];
        let column = x * windows.stride[1] + columns.start - windows.pad[1];
        for channel in 0..input.channels {
            for (number, at) in rows.clone().enumerate() {
                let start = (channel * input.height + row + number) * input.width + column;
                patch[channel * windows.kernel[0] + at][columns.clone()]
                    .copy_from_slice(&self.planes[start..start + columns.len()]);
            }
        }
    }

    /// What is computed from the values at the beginning of `from`, for pixels from the one at `y` and `x` on.
    #[inline(always)]
    fn job<'a, R: Row>(
        &'a self,
        block: usize,
        [y, x]: [usize; 2],
        from: &'a [f32],
        taps: &'a [Tap],
    ) -> Job<'a> {
        let FromPlanes { output, patch, weights, bias, windows, activation, .. } = self.conv;
        let lane = patch.len() * COLUMNS;
        Job {
            input: from.as_ptr(),
            blocks: 1,
            input_block: 0,
            input_pixel: windows.stride[1],
            taps,
            weights: weights[block * BLOCK * lane..].as_ptr(),
            weight_pair: R::PACKED * BLOCK * lane,
            weight_block: 0,
            output: self.memory.at(output.block(block) + (y * output.shape.width + x) * BLOCK),
            output_block: output.block_stride,
            output_pixel: BLOCK,
            start: Start::Bias(bias[block * BLOCK..].as_ptr()),
            end: End::Activate { activation: *activation, plus: None },
        }
    }
}
