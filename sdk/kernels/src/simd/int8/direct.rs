//! Convolutions of stored values without a copy of their input: 1×1 as a matrix product, others tap by tap, any size and
//! stride.
//!
//! Blocking: items and runs are those of floats (`simd::direct`). Weights of all input channels for 16 output channels are swept
//! for each tile, 32 bytes for every six multiplications: up to 64 of 3×3 or 512 of 1×1 they stay in L1, beyond that they come
//! from L2. Pixels at the border miss taps, where the input's zero point would stand: each set of taps has a bias
//! of its own, which takes the zero point of just these taps out of the sums.

use super::epilogue::{Ending, Target};
use super::tile::{self, Finish, Job, Start};
use super::{LANES, PER_FLOAT};
use crate::layout::{Kind, View};
use crate::simd::direct::Run;
use crate::simd::memory::Memory;
use crate::simd::tile::Tap;
use crate::simd::{Kernel, Simd};

/// Pixels that meet the same taps.
#[derive(Debug)]
pub struct Taps {
    /// Inputs in floats, weights in taps.
    pub taps: Vec<Tap>,
    /// What sums begin with, for each lane of the output's blocks.
    pub bias: Vec<i32>,
}

/// A convolution, planned.
#[derive(Debug)]
pub struct Direct {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// Packed by [`crate::plan::int8::weights::direct`].
    pub weights: Vec<i16>,
    /// What becomes of sums.
    pub ending: Ending,
    /// Taps of the whole kernel.
    pub kernel: usize,
    /// The sets of taps that pixels meet.
    pub taps: Vec<Taps>,
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
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let conv = self.conv;
        let blocks = conv.input.blocks();
        let weight_block = conv.kernel * LANES * LANES;
        for block in 0..conv.output.shape.channels.div_ceil(LANES) {
            for run in &conv.items[self.item] {
                let taps = &conv.taps[run.taps];
                let job = Job {
                    input: self.memory.at(conv.input.offset + run.input).cast_const().cast(),
                    blocks,
                    input_block: PER_FLOAT * conv.input.block_stride,
                    input_pixel: PER_FLOAT * run.input_pixel,
                    taps: &taps.taps,
                    weights: conv.weights[block * blocks * weight_block..].as_ptr(),
                    weight_block,
                    start: Start::Bias(taps.bias[block * LANES..].as_ptr()),
                    end: Finish {
                        ending: &conv.ending,
                        block,
                        to: target(self.memory, conv.output, block, run.output, run.output_pixel),
                    },
                };
                // SAFETY: views and runs lie in the memory and weights are packed for them, which the plan sees to;
                // items have pixels of their own, and no step writes what another of the same time reads.
                unsafe { tile::run(simd, &job, run.pixels) };
            }
        }
    }
}

/// Where `output` has block `block` of sixteen channels, from `offset` floats into its planes on.
pub fn target(memory: Memory<'_>, output: View, block: usize, offset: usize, pixel: usize) -> Target {
    let half = LANES / output.kind.lanes();
    let place = |block: usize| memory.at(output.block(block) + offset);
    let second =
        (output.kind == Kind::Real && half * block + 1 < output.blocks()).then(|| place(half * block + 1));
    Target { start: place(half * block), pixel, second }
}
