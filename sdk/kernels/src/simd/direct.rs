//! Convolutions without a copy of their input: 1×1 as a matrix product, others tap by tap, any size and stride.
//!
//! Blocking: an item is a range of pixels (1×1) or rows (others) that is small enough to stay in L2. Within it, input
//! channels are taken in slabs whose weights for the tile's output channels, at most 20 KB (40 KB for 64 channels, with
//! AVX-512), stay in L1 while the range is swept; sums rest in the output between slabs. Pixels at the border miss taps: runs
//! of pixels with the same taps are found when the plan is made, along rows in the middle and along columns at the sides, so
//! that the kernel knows no border. *Measured*:
//! 3×3 of stride 2 does 83 to 88 % of the FMA peak on Zen 3, and 78 to 88 % on Emerald Rapids; see `tile` for 1×1.

use super::memory::Memory;
use super::tile::{self, End, Job, Plus, Row, Start, Sweep, Tap};
use super::{BLOCK, Kernel, Simd};
use crate::aligned::Aligned;
use crate::layout::View;
use crate::network::Activation;

/// Floats of weights for up to four blocks of output channels that stay in L1, which is larger where there are registers for eight.
const SLAB: usize = 5 * 1024;

/// Pixels of one row or column that meet the same taps. Offsets are in floats from the first of a block.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// Of the first pixel's first tap.
    pub input: usize,
    /// From a pixel's first tap to the next pixel's.
    pub input_pixel: usize,
    /// Of the first pixel in the output.
    pub output: usize,
    /// From an output pixel to the next.
    pub output_pixel: usize,
    /// Number of pixels.
    pub pixels: usize,
    /// Which of [`Direct::taps`].
    pub taps: usize,
}

/// A convolution, planned.
#[derive(Debug)]
pub struct Direct {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// What is added behind the activation.
    pub plus: Option<View>,
    /// Packed by [`crate::plan::weights::direct`].
    pub weights: Aligned<f32>,
    /// One for each lane of the output's blocks.
    pub bias: Vec<f32>,
    /// What follows the sums.
    pub activation: Activation,
    /// Taps of the whole kernel.
    pub kernel: usize,
    /// The sets of taps that pixels meet.
    pub taps: Vec<Vec<Tap>>,
    /// The pixels of each item.
    pub items: Vec<Vec<Run>>,
}

/// One item of a convolution.
pub struct Item<'a> {
    /// The convolution.
    pub conv: &'a Direct,
    /// Which item.
    pub item: usize,
    /// Where its images lie.
    pub memory: Memory<'a>,
    /// What is written: the convolution's, or another with as many channels.
    pub output: View,
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
        let conv = self.conv;
        let blocks = conv.input.shape.blocks();
        let weight_block = conv.kernel * BLOCK * BLOCK * R::PACKED;
        let weights = conv.weights[block * blocks * conv.kernel * BLOCK * BLOCK..].as_ptr();
        let slabs = (blocks * conv.kernel * BLOCK * BLOCK * R::BLOCKS)
            .div_ceil(SLAB * R::BLOCKS.div_ceil(4))
            .min(blocks);
        for slab in 0..slabs {
            let [first, end] = [slab, slab + 1].map(|slab| slab * blocks / slabs);
            for run in &conv.items[self.item] {
                let job = Job {
                    input: self.memory.at(conv.input.block(first) + run.input),
                    blocks: end - first,
                    input_block: conv.input.block_stride,
                    input_pixel: run.input_pixel,
                    taps: &conv.taps[run.taps],
                    weights: weights.wrapping_add(first * weight_block),
                    weight_pair: blocks * weight_block,
                    weight_block,
                    output: self.memory.at(self.output.block(block) + run.output),
                    output_block: self.output.block_stride,
                    output_pixel: run.output_pixel,
                    start: if slab == 0 {
                        Start::Bias(conv.bias[block * BLOCK..].as_ptr())
                    } else {
                        Start::Output
                    },
                    end: if end == blocks { self.end(block, run) } else { End::Store },
                };
                // SAFETY: views and runs lie in the memory and weights are packed for them, which the plan sees to;
                // items have pixels of their own, and no step writes what another of the same time reads.
                unsafe { tile::run::<S, R, BLOCK>(simd, &job, run.pixels) };
            }
        }
    }
}

impl Item<'_> {
    #[inline(always)]
    fn end(&self, block: usize, run: &Run) -> End {
        let plus = self.conv.plus.map(|view| Plus {
            start: self.memory.at(view.block(block) + run.output).cast_const(),
            block_stride: view.block_stride,
        });
        End::Activate { activation: self.conv.activation, plus }
    }
}
