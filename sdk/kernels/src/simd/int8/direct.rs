//! Convolutions of stored values without a copy of their input: 1×1 as a matrix product, others tap by tap, any size and
//! stride.
//!
//! Blocking: items and runs are those of floats (`simd::direct`). Weights of all input channels for 16 output channels are swept
//! for each tile, 64 bytes for every ten multiplications: up to 113 of 3×3 or 1024 of 1×1 they stay in L1, beyond that they come
//! from L2. Pixels at the border miss taps, where the input's zero point would stand: each set of taps has a bias
//! of its own, which takes the zero point of just these taps out of the sums. *Measured* by the example `profile`, in multiplications of the
//! FMA peak: on Zen 3, 3×3 of stride 2 does 1.55 to 1.8 times as many, 1×1 of 64 and more channels 1.4 to 1.6 times, of 16 and 32,
//! which end before they have begun, 1.0 to 1.3 times; on Emerald Rapids, where 4.1 times would be the most, 2.7 to 3.3, 2.0 to 3.5 and
//! 1.1 to 1.5 times.

use super::epilogue::{Ending, Target};
use super::tile::{self, Channels, Finish, Job, Quads, Start};
use super::{LANES, PER_FLOAT};
use crate::aligned::Aligned;
use crate::layout::{Kind, View};
use crate::simd::direct::Run;
use crate::simd::integers::Sixteen;
use crate::simd::memory::Memory;
use crate::simd::{Kernel, Simd};

/// Pixels that meet the same taps.
#[derive(Debug)]
pub struct Taps {
    /// For each whole block of input channels and tap; weights are counted from those of a block of output channels on.
    pub channels: Vec<Channels>,
    /// For each block of output channels, single quads: of a block that is not whole. Weights are counted from the very first on.
    pub single: Vec<Vec<Channels>>,
    /// For each half of a block of output channels, what is left of quads whose products could saturate. Weights are counted so, too.
    pub rest: Vec<[Vec<Channels>; 2]>,
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
    pub weights: Aligned<i8>,
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
    /// What is written: the convolution's, or another with as many channels.
    pub output: View,
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let blocks = self.conv.output.shape.channels.div_ceil(LANES);
        let mut block = 0;
        while block < blocks {
            let now = tile::blocks::<S>(blocks - block);
            match now {
                2 if S::Sixteen::BLOCKS == 2 => self.runs(simd, [block, block + 1]),
                _ => self.runs(simd, [block]),
            }
            block += now;
        }
    }
}

impl Item<'_> {
    /// Some of the output's blocks, one after the other.
    #[inline(always)]
    fn runs<S: Simd, const B: usize>(&self, simd: S, blocks: [usize; B]) {
        let conv = self.conv;
        let size = conv.input.blocks() * conv.kernel * LANES * LANES;
        for run in &conv.items[self.item] {
            let taps = &conv.taps[run.taps];
            let job = Job {
                factors: blocks.map(|block| Quads {
                    single: &taps.single[block],
                    rest: taps.rest[block].each_ref().map(Vec::as_slice),
                    weights: conv.weights.as_ptr(),
                }),
                input: self.memory.at(conv.input.offset + run.input).cast_const().cast(),
                input_pixel: PER_FLOAT * run.input_pixel,
                channels: &taps.channels,
                weights: conv.weights[blocks[0] * size..].as_ptr(),
                weight_block: size,
                start: Start::Bias(taps.bias[blocks[0] * LANES..].as_ptr()),
                ends: blocks.map(|block| Finish {
                    ending: &conv.ending,
                    block,
                    to: target(self.memory, self.output, block, run.output, run.output_pixel),
                }),
            };
            // SAFETY: views and runs lie in the memory and weights are packed for them, which the plan sees to; items have pixels of their own, and no step writes what another of the same time reads.
            unsafe { tile::run(simd, &job, run.pixels) };
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
