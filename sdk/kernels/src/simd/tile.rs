//! The micro-kernel of every convolution and matrix product: up to six pixels times sixteen channels in registers.
//!
//! Blocking: a tile of P ≤ 6 pixels × 2 blocks of 8 output channels is held in 12 registers (24 with NEON) over all taps
//! and input channels of the job. Each step loads the 16 weights of one input channel and spreads one float of each of the
//! 6 pixels: 8 loads for 12 multiplications, so that two loads a cycle keep two FMA units busy. Weights lie in the order in
//! which they are read. Runs are cut into tiles of nearly equal length rather than sixes and a rest. *Measured* on Zen 3 by the
//! example `profile`: 1×1 convolutions of 128 and more channels do 86 to 92 % of the 103 GFLOP/s that [`super::peak`] does,
//! of 16 to 64 channels, which end before they have begun, 56 to 83 %.

use super::epilogue::activate;
use super::{BLOCK, Simd};
use crate::network::Activation;

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

/// A run of pixels to compute for one or two blocks of output channels. Strides are in floats.
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
    /// For each block of input channels and tap: eight rows of as many floats as there are output channels.
    pub weights: *const f32,
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

/// Computes `pixels` pixels of `job` for `O` blocks of output channels.
///
/// # Safety
/// Everything that `job` describes must be valid to read, and its output to write, with nobody else writing.
#[inline(always)]
pub unsafe fn run<S: Simd, const O: usize>(simd: S, job: &Job<'_>, pixels: usize) {
    let tiles = pixels.div_ceil(PIXELS);
    let mut done = 0;
    for tile in 0..tiles {
        let left = tiles - tile;
        let now = (pixels - done).div_ceil(left);
        // SAFETY: pixels `done..done + now` of the job, for which the caller vouches.
        unsafe {
            match now {
                6 => compute::<S, 6, O>(simd, job, done),
                5 => compute::<S, 5, O>(simd, job, done),
                4 => compute::<S, 4, O>(simd, job, done),
                3 => compute::<S, 3, O>(simd, job, done),
                2 => compute::<S, 2, O>(simd, job, done),
                _ => compute::<S, 1, O>(simd, job, done),
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
unsafe fn compute<S: Simd, const P: usize, const O: usize>(simd: S, job: &Job<'_>, first: usize) {
    // SAFETY: the caller vouches for all that the job describes.
    unsafe {
        let output = job.output.add(first * job.output_pixel);
        let mut sums = begin::<S, P, O>(simd, job, output);
        let mut input = job.input.add(first * job.input_pixel);
        let mut weights = job.weights;
        for _ in 0..job.blocks {
            for tap in job.taps {
                sums = accumulate(
                    simd,
                    sums,
                    input.add(tap.input),
                    job.input_pixel,
                    weights.add(tap.weights * BLOCK * BLOCK * O),
                );
            }
            input = input.add(job.input_block);
            weights = weights.add(job.weight_block);
        }
        finish(simd, job, sums, first);
    }
}

/// Adds the products of eight input channels.
///
/// # Safety
/// `input` must hold `P` blocks, `pixel` apart, and `weights` eight rows.
#[inline(always)]
unsafe fn accumulate<S: Simd, const P: usize, const O: usize>(
    simd: S,
    mut sums: [[S::V; O]; P],
    input: *const f32,
    pixel: usize,
    weights: *const f32,
) -> [[S::V; O]; P] {
    for channel in 0..BLOCK {
        // SAFETY: within the eight rows and the blocks that the caller vouches for.
        unsafe {
            let mut row = [simd.splat(0.0); O];
            for (block, weight) in row.iter_mut().enumerate() {
                *weight = simd.load(weights.add((channel * O + block) * BLOCK));
            }
            for (p, sums) in sums.iter_mut().enumerate() {
                let value = simd.splat(*input.add(p * pixel + channel));
                for (sum, weight) in sums.iter_mut().zip(row) {
                    *sum = simd.fma(value, weight, *sum);
                }
            }
        }
    }
    sums
}

/// What the sums begin with.
///
/// # Safety
/// As [`run`]; `output` is the tile's.
#[inline(always)]
unsafe fn begin<S: Simd, const P: usize, const O: usize>(
    simd: S,
    job: &Job<'_>,
    output: *const f32,
) -> [[S::V; O]; P] {
    let mut sums = [[simd.splat(0.0); O]; P];
    for (p, sums) in sums.iter_mut().enumerate() {
        for (block, sum) in sums.iter_mut().enumerate() {
            // SAFETY: the caller vouches for a bias for each channel, and for the output.
            unsafe {
                match job.start {
                    Start::Zero => {}
                    Start::Bias(bias) => *sum = simd.load(bias.add(block * BLOCK)),
                    Start::Output => {
                        *sum = simd.load(output.add(p * job.output_pixel + block * job.output_block));
                    }
                }
            }
        }
    }
    sums
}

/// Stores the sums of the tile that begins with pixel `first`.
///
/// # Safety
/// As [`run`].
#[inline(always)]
unsafe fn finish<S: Simd, const P: usize, const O: usize>(
    simd: S,
    job: &Job<'_>,
    mut sums: [[S::V; O]; P],
    first: usize,
) {
    if let End::Activate { activation, plus } = job.end {
        for sum in sums.as_flattened_mut() {
            *sum = activate(simd, activation, *sum);
        }
        if let Some(plus) = plus {
            for (p, sums) in sums.iter_mut().enumerate() {
                for (block, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the image to add has the output's pixels and blocks.
                    let other = unsafe {
                        simd.load(plus.start.add((first + p) * job.output_pixel + block * plus.block_stride))
                    };
                    *sum = simd.add(*sum, other);
                }
            }
        }
    }
    for (p, sums) in sums.into_iter().enumerate() {
        for (block, sum) in sums.into_iter().enumerate() {
            // SAFETY: pixels of the job's output, for which the caller vouches.
            unsafe {
                simd.store(job.output.add((first + p) * job.output_pixel + block * job.output_block), sum)
            };
        }
    }
}
