//! The micro-kernel of every convolution and matrix product: up to six pixels times sixteen channels in registers.
//!
//! Blocking: a tile of P ≤ 6 pixels × 2 blocks of 8 output channels is held in 12 registers (24 with NEON) over all taps
//! and input channels of the job. Each step loads the 16 weights of one input channel and spreads one float of each of the
//! 6 pixels: 8 loads for 12 multiplications, so that two loads a cycle keep two FMA units busy. Weights lie in the order in
//! which they are read. With AVX-512 it is up to 24 registers of sixteen sums: 8 blocks of output channels a pixel, and 10 loads for
//! 24 multiplications, 4 blocks, or 2 blocks and two sums, so that none waits for another. Runs are cut into tiles of nearly equal length rather
//! than sixes and a rest. *Measured* by the example `profile`: 1×1 convolutions of 128 and more channels do 86 to 92 % of the
//! 103 GFLOP/s that [`super::peak`] does on Zen 3, and 81 to 90 % of 179 with AVX-512 on Emerald Rapids; of 16 to 64 channels, which end
//! before they have begun, 56 to 83 % and 45 to 84 %.

mod row;

use super::{BLOCK, Simd};
use crate::network::Activation;
pub use row::Row;
use row::{Double, Octuple, Quadruple, Single};

/// Most pixels of a tile.
pub const PIXELS: usize = 6;

/// Which pixel and which weights meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Tap {
    /// From a pixel's first tap to this one, in floats.
    pub input: usize,
    /// Its number in the kernel.
    pub weights: usize,
}

/// The one tap of a matrix product.
pub const POINT: [Tap; 1] = [Tap { input: 0, weights: 0 }];

/// What sums begin with.
#[derive(Clone, Copy)]
pub enum Start {
    /// Nothing.
    Zero,
    /// A value for each channel.
    Bias(*const f32),
    /// What an earlier job left in the output.
    Output,
}

/// What happens to sums in the end.
#[derive(Clone, Copy)]
pub enum End {
    /// They are stored.
    Store,
    /// They are activated, and the image at `plus`, if there is one, is added.
    Activate { activation: Activation, plus: Option<Plus> },
}

/// An image to add.
#[derive(Clone, Copy)]
pub struct Plus {
    /// Where it has the job's first output pixel.
    pub start: *const f32,
    /// From a block of channels to the next.
    pub block_stride: usize,
}

/// A run of pixels to compute for one, two, four or eight blocks of output channels. Strides are in floats. What meets weights at a tap
/// are values side by side, so many as a job is run for: the channels of a block, or columns of a plane, which is then the one block.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    /// The first tap of the first pixel, in the first block of input channels.
    pub input: *const f32,
    /// Number of blocks of input channels.
    pub blocks: usize,
    /// From a block of input channels to the next.
    pub input_block: usize,
    /// From a pixel's first tap to the next pixel's.
    pub input_pixel: usize,
    /// Which pixels and weights meet.
    pub taps: &'a [Tap],
    /// For each block of input channels, tap and value: a row of as many floats as there are output channels in a pair of blocks.
    pub weights: *const f32,
    /// From the weights of a pair of blocks of output channels to those of the next.
    pub weight_pair: usize,
    /// From the weights of a block of input channels to those of the next.
    pub weight_block: usize,
    /// The first output pixel.
    pub output: *mut f32,
    /// From a block of output channels to the next.
    pub output_block: usize,
    /// From an output pixel to the next.
    pub output_pixel: usize,
    /// What sums begin with.
    pub start: Start,
    /// What happens to them in the end.
    pub end: End,
}

/// Blocks of output channels of a tile where so many are left.
#[inline(always)]
fn blocks<S: Simd>(left: usize) -> usize {
    [8, 4, 2].into_iter().find(|&blocks| blocks <= left.min(S::BLOCKS)).unwrap_or(1)
}

/// Something that computes some blocks of output channels at a time.
pub trait Sweep {
    /// Computes the blocks of `R` from `block` on. Implementations are `#[inline(always)]`, as kernels are.
    fn compute<S: Simd, R: Row>(&self, simd: S, block: usize);
}

/// Computes `count` blocks of output channels from `first` on, as many at a time as the unit has registers for.
#[inline(always)]
pub fn sweep<S: Simd>(simd: S, first: usize, count: usize, work: &impl Sweep) {
    let (mut block, end) = (first, first + count);
    while block < end {
        let now = blocks::<S>(end - block);
        match now {
            8 if S::BLOCKS == 8 => work.compute::<S, Octuple>(simd, block),
            4 if S::BLOCKS >= 4 => work.compute::<S, Quadruple>(simd, block),
            2 => work.compute::<S, Double>(simd, block),
            _ => work.compute::<S, Single>(simd, block),
        }
        block += now;
    }
}

/// Computes `pixels` pixels of `job`, of `VALUES` values at a tap, which is an even number, for the blocks of output channels of `R`.
///
/// # Safety
/// Everything that `job` describes must be valid to read, and its output to write, with nobody else writing.
#[inline(always)]
pub unsafe fn run<S: Simd, R: Row, const VALUES: usize>(simd: S, job: &Job<'_>, pixels: usize) {
    let tiles = pixels.div_ceil(PIXELS);
    let mut done = 0;
    for tile in 0..tiles {
        let left = tiles - tile;
        let now = (pixels - done).div_ceil(left);
        // SAFETY: pixels `done..done + now` of the job, for which the caller vouches.
        unsafe {
            match now {
                6 => compute::<S, R, VALUES, 6>(simd, job, done),
                5 => compute::<S, R, VALUES, 5>(simd, job, done),
                4 => compute::<S, R, VALUES, 4>(simd, job, done),
                3 => compute::<S, R, VALUES, 3>(simd, job, done),
                2 => compute::<S, R, VALUES, 2>(simd, job, done),
                _ => compute::<S, R, VALUES, 1>(simd, job, done),
            }
        }
        done += now;
    }
}

/// Computes `P` pixels from pixel `first` on.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn compute<S: Simd, R: Row, const VALUES: usize, const P: usize>(
    simd: S,
    job: &Job<'_>,
    first: usize,
) {
    // SAFETY: the caller vouches for all that the job describes.
    unsafe {
        let output = job.output.add(first * job.output_pixel);
        let mut sums = begin::<S, R, P>(simd, job, output);
        // With one chain, nothing ever reads them, and the compiler leaves them out.
        let mut others = [R::splat(simd, 0.0); P];
        let mut input = job.input.add(first * job.input_pixel);
        let mut weights = job.weights;
        for _ in 0..job.blocks {
            for tap in job.taps {
                let weights = weights.add(tap.weights * VALUES * BLOCK * R::PACKED);
                let input = input.add(tap.input);
                [sums, others] = accumulate::<S, R, VALUES, P>(simd, job, [sums, others], input, weights);
            }
            input = input.add(job.input_block);
            weights = weights.add(job.weight_block);
        }
        if chains::<S, R>() > 1 {
            for (sum, other) in sums.iter_mut().zip(others) {
                *sum = R::add(simd, *sum, other);
            }
        }
        finish::<S, R, P>(simd, job, sums, first);
    }
}

/// Into how many sums a tile divides each of its own.
#[inline(always)]
const fn chains<S: Simd, R: Row>() -> usize {
    if R::BLOCKS > 2 { 1 } else { S::CHAINS }
}

/// Adds the products of a tap's values; those of every second one to the second sums, where the unit wants that.
///
/// # Safety
/// `input` must hold the values of each of `P` pixels of the job, and `weights` a row for each.
#[inline(always)]
unsafe fn accumulate<S: Simd, R: Row, const VALUES: usize, const P: usize>(
    simd: S,
    job: &Job<'_>,
    sums: [[R::V<S>; P]; 2],
    input: *const f32,
    weights: *const f32,
) -> [[R::V<S>; P]; 2] {
    let [mut even, mut odd] = sums;
    for value in (0..VALUES).step_by(2) {
        let weights = weights.wrapping_add(value * R::PACKED * BLOCK);
        // SAFETY: within the rows and values that the caller vouches for.
        unsafe {
            even = add_value::<S, R, P>(simd, job, even, input.add(value), weights);
            let (input, weights) = (input.add(value + 1), weights.add(R::PACKED * BLOCK));
            if chains::<S, R>() > 1 {
                odd = add_value::<S, R, P>(simd, job, odd, input, weights);
            } else {
                even = add_value::<S, R, P>(simd, job, even, input, weights);
            }
        }
    }
    [even, odd]
}

/// Adds the products of one value of each pixel.
///
/// # Safety
/// `input` must hold a float of each of `P` pixels of the job, and `weights` a row.
#[inline(always)]
unsafe fn add_value<S: Simd, R: Row, const P: usize>(
    simd: S,
    job: &Job<'_>,
    mut sums: [R::V<S>; P],
    input: *const f32,
    weights: *const f32,
) -> [R::V<S>; P] {
    // SAFETY: the caller vouches for both.
    unsafe {
        let row = R::load(simd, weights, job.weight_pair);
        for (p, sum) in sums.iter_mut().enumerate() {
            let value = R::splat(simd, *input.add(p * job.input_pixel));
            *sum = R::settle(simd, R::fma(simd, value, row, *sum));
        }
    }
    sums
}

/// What the sums begin with.
///
/// # Safety
/// As [`run`]; `output` is the tile's.
#[inline(always)]
unsafe fn begin<S: Simd, R: Row, const P: usize>(simd: S, job: &Job<'_>, output: *const f32) -> [R::V<S>; P] {
    let mut sums = [R::splat(simd, 0.0); P];
    for (p, sum) in sums.iter_mut().enumerate() {
        let mut blocks = [simd.splat(0.0); row::MOST];
        for (number, block) in blocks.iter_mut().enumerate().take(R::BLOCKS) {
            // SAFETY: the caller vouches for a bias for each channel, and for the output.
            unsafe {
                match job.start {
                    Start::Zero => {}
                    Start::Bias(bias) => *block = simd.load(bias.add(number * BLOCK)),
                    Start::Output => {
                        *block = simd.load(output.add(p * job.output_pixel + number * job.output_block));
                    }
                }
            }
        }
        *sum = R::join(simd, blocks);
    }
    sums
}

/// Stores the sums of the tile that begins with pixel `first`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn finish<S: Simd, R: Row, const P: usize>(simd: S, job: &Job<'_>, sums: [R::V<S>; P], first: usize) {
    for (p, mut sum) in sums.into_iter().enumerate() {
        if let End::Activate { activation, .. } = job.end {
            sum = R::activate(simd, activation, sum);
        }
        let pixel = (first + p) * job.output_pixel;
        for (number, mut block) in R::blocks(simd, sum).into_iter().enumerate().take(R::BLOCKS) {
            // SAFETY: pixels of the job's output, for which the caller vouches; the image to add has its pixels and blocks.
            unsafe {
                if let End::Activate { plus: Some(plus), .. } = job.end {
                    let other = simd.load(plus.start.add(pixel + number * plus.block_stride));
                    block = simd.add(block, other);
                }
                simd.store(job.output.add(pixel + number * job.output_block), block);
            }
        }
    }
}
