//! The micro-kernel of every convolution of stored values: up to six pixels times sixteen channels in registers.
//!
//! Blocking: as that of floats (`simd::tile`): 12 registers of eight sums each. A step takes a pair of input channels: it
//! loads the 32 weights of the pair as they lie, and spreads the pair of each of the 6 pixels: 8 loads for 12 multiplications of
//! 16 values (`pmaddwd`) and as many additions. Sums are exact modulo 2³², so it does not matter in which order they are made.
//! *Measured* on Zen 3: this loop alone does 1.6 times the multiplications of the FMA peak, not twice as many, since additions
//! get into the way of multiplications; by the example `profile` convolutions of 64 and more channels do 1.2 to 1.35 times it.

use super::epilogue::{self, Ending, Target};
use super::{LANES, PER_FLOAT};
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::simd::tile::{PIXELS, Tap};

/// What sums begin with.
#[derive(Clone, Copy)]
pub enum Start {
    /// Nothing.
    Zero,
    /// A value for each of the sixteen channels.
    Bias(*const i32),
}

/// What happens to sums in the end.
pub trait End: Copy {
    /// Takes the sums of `P` pixels from pixel `first` of the job on.
    ///
    /// # Safety
    /// Where they go must be valid to write, with nobody else writing.
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [[S::I; 2]; P]);
}

/// They are stored, sixteen a pixel.
#[derive(Clone, Copy)]
pub struct Store(pub *mut i32);

impl End for Store {
    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [[S::I; 2]; P]) {
        for (p, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller vouches for the pixels.
            unsafe {
                let output = self.0.add((first + p) * LANES);
                simd.store_i32(output, sums[0]);
                simd.store_i32(output.add(BLOCK), sums[1]);
            }
        }
    }
}

/// They end as this block of an output.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// What becomes of them.
    pub ending: &'a Ending,
    /// Which block of sixteen channels.
    pub block: usize,
    /// Where that is.
    pub to: Target,
}

impl End for Finish<'_> {
    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [[S::I; 2]; P]) {
        // SAFETY: the caller vouches for the pixels, and the plan for entries of the block.
        unsafe { epilogue::finish(simd, self.ending, self.block, sums, self.to.from(first)) }
    }
}

/// A run of pixels to compute for a block of output channels. Strides are in stored values.
#[derive(Clone, Copy)]
pub struct Job<'a, E> {
    /// The first tap of the first pixel, in the first block of input channels.
    pub input: *const i16,
    /// Number of blocks of input channels.
    pub blocks: usize,
    /// From a block of input channels to the next.
    pub input_block: usize,
    /// From a pixel's first tap to the next pixel's.
    pub input_pixel: usize,
    /// Which pixels and weights meet.
    pub taps: &'a [Tap],
    /// For each block of input channels and tap: eight pairs of channels, of which each has a pair of weights for each of
    /// sixteen output channels.
    pub weights: *const i16,
    /// From the weights of a block of input channels to those of the next.
    pub weight_block: usize,
    /// What sums begin with.
    pub start: Start,
    /// What happens to them in the end.
    pub end: E,
}

/// Computes `pixels` pixels of `job`.
///
/// # Safety
/// Everything that `job` describes must be valid to read, and its output to write, with nobody else writing.
#[inline(always)]
pub unsafe fn run<S: Simd, E: End>(simd: S, job: &Job<'_, E>, pixels: usize) {
    let tiles = pixels.div_ceil(PIXELS);
    let mut done = 0;
    for tile in 0..tiles {
        let now = (pixels - done).div_ceil(tiles - tile);
        // SAFETY: pixels `done..done + now` of the job, for which the caller vouches.
        unsafe {
            match now {
                6 => compute::<S, E, 6>(simd, job, done),
                5 => compute::<S, E, 5>(simd, job, done),
                4 => compute::<S, E, 4>(simd, job, done),
                3 => compute::<S, E, 3>(simd, job, done),
                2 => compute::<S, E, 2>(simd, job, done),
                _ => compute::<S, E, 1>(simd, job, done),
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
unsafe fn compute<S: Simd, E: End, const P: usize>(simd: S, job: &Job<'_, E>, first: usize) {
    // SAFETY: the caller vouches for all that the job describes.
    unsafe {
        let begin = match job.start {
            Start::Zero => [simd.splat_i32(0); 2],
            Start::Bias(bias) => [simd.load_i32(bias), simd.load_i32(bias.add(BLOCK))],
        };
        let mut sums = [begin; P];
        let mut input = job.input.add(first * job.input_pixel);
        let mut weights = job.weights;
        for _ in 0..job.blocks {
            for tap in job.taps {
                let (input, weights) =
                    (input.add(PER_FLOAT * tap.input), weights.add(tap.weights * LANES * LANES));
                sums = accumulate(simd, sums, input, job.input_pixel, weights);
            }
            input = input.add(job.input_block);
            weights = weights.add(job.weight_block);
        }
        job.end.take(simd, first, sums);
    }
}

/// Adds the products of sixteen input channels.
///
/// # Safety
/// `input` must hold `P` blocks, `pixel` apart, and `weights` those of eight pairs of channels.
#[inline(always)]
unsafe fn accumulate<S: Simd, const P: usize>(
    simd: S,
    mut sums: [[S::I; 2]; P],
    input: *const i16,
    pixel: usize,
    weights: *const i16,
) -> [[S::I; 2]; P] {
    for pair in 0..LANES / 2 {
        // SAFETY: within the pairs and the blocks that the caller vouches for.
        unsafe {
            let row = weights.add(pair * 2 * LANES);
            let row = [simd.load_pairs(row), simd.load_pairs(row.add(LANES))];
            for (p, sums) in sums.iter_mut().enumerate() {
                let values = simd.splat_pair(input.add(p * pixel + 2 * pair));
                for (sum, weights) in sums.iter_mut().zip(row) {
                    *sum = simd.dot(*sum, values, weights);
                }
            }
        }
    }
    sums
}
