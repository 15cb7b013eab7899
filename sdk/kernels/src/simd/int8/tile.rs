//! The micro-kernel of every convolution of stored values: up to five or six pixels times 16 or 32 channels in registers.
//!
//! Blocking: as that of floats (`simd::tile`), but of five pixels: 10 registers of eight sums each. A step takes a quad of input
//! channels: it loads the 64 weights of the quad as they lie, and spreads the quad of each of the 5 pixels: 7 loads for 10
//! multiplications of 32 bytes. Six pixels would leave no register for the ones that pairs of products are added with. Winograd's
//! transformed values are too large for bytes, so there a step takes a pair of 16 bits, of six pixels. With VNNI in registers of
//! sixteen sums it is six pixels of two blocks: 8 loads for 12 multiplications of 64 bytes. Sums are exact modulo 2³², so
//! it does not matter in which order they are made. *Measured* on Zen 3: the loop alone does 1.95 times the multiplications of
//! the FMA peak with quads (`pmaddubsw`, `pmaddwd`, an addition) and 1.6 times with pairs (`pmaddwd`, an addition); 2 would be
//! the most of both, but additions get into the way of multiplications, of which pairs have more. VNNI does 4.1 times the
//! multiplications of the FMA peak with quads on Emerald Rapids.

mod end;
mod factors;

pub use end::{End, Finish, Store};
pub use factors::{Factors, HALF, Pairs, QUAD, Quads};

use super::LANES;
use crate::simd::Simd;
use crate::simd::integers::Sixteen;

/// Sixteen sums.
pub type Sums<S> = <<S as Simd>::Sixteen as Sixteen<S>>::Sums;

/// What sums begin with.
#[derive(Clone, Copy)]
pub enum Start {
    /// Nothing.
    Zero,
    /// A value for each channel.
    Bias(*const i32),
}

/// Input channels that a tile multiplies, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// From a pixel's first tap in the first block to the first of them.
    pub input: usize,
    /// From the job's first weight to the first of theirs.
    pub weights: usize,
}

/// A run of pixels to compute for `B` blocks of output channels.
#[derive(Clone, Copy)]
pub struct Job<'a, F: Factors, E, const B: usize> {
    /// What is multiplied for each block.
    pub factors: [F; B],
    /// The first tap of the first pixel, in the first block of input channels.
    pub input: *const F::Value,
    /// From a pixel's first tap to the next pixel's, in values.
    pub input_pixel: usize,
    /// For each block of input channels and tap, its sixteen.
    pub channels: &'a [Channels],
    /// The first weight.
    pub weights: *const F::Weight,
    /// From the weights of a block of output channels to those of the next.
    pub weight_block: usize,
    /// What sums begin with.
    pub start: Start,
    /// What happens to those of each block in the end.
    pub ends: [E; B],
}

/// Blocks of output channels of a tile where so many are left.
#[inline(always)]
pub fn blocks<S: Simd>(left: usize) -> usize {
    left.min(S::Sixteen::BLOCKS)
}

/// Computes `pixels` pixels of `job`.
///
/// # Safety
/// Everything that `job` describes must be valid to read, and its output to write, with nobody else writing.
#[inline(always)]
pub unsafe fn run<S: Simd, F: Factors, E: End, const B: usize>(
    simd: S,
    job: &Job<'_, F, E, B>,
    pixels: usize,
) {
    let tiles = pixels.div_ceil(F::pixels::<S>());
    let mut done = 0;
    for tile in 0..tiles {
        let now = (pixels - done).div_ceil(tiles - tile);
        // SAFETY: pixels `done..done + now` of the job, for which the caller vouches.
        unsafe {
            match now {
                // Not compiled for tiles that are smaller.
                6 if F::pixels::<S>() == 6 => compute::<S, F, E, 6, B>(simd, job, done),
                5 => compute::<S, F, E, 5, B>(simd, job, done),
                4 => compute::<S, F, E, 4, B>(simd, job, done),
                3 => compute::<S, F, E, 3, B>(simd, job, done),
                2 => compute::<S, F, E, 2, B>(simd, job, done),
                _ => compute::<S, F, E, 1, B>(simd, job, done),
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
unsafe fn compute<S: Simd, F: Factors, E: End, const P: usize, const B: usize>(
    simd: S,
    job: &Job<'_, F, E, B>,
    first: usize,
) {
    // SAFETY: the caller vouches for all that the job describes.
    unsafe {
        let mut sums = [[S::Sixteen::splat(simd, 0); P]; B];
        if let Start::Bias(bias) = job.start {
            for (block, sums) in sums.iter_mut().enumerate() {
                *sums = [S::Sixteen::load(simd, bias.add(block * LANES)); P];
            }
        }
        let input = job.input.add(first * job.input_pixel);
        for channels in job.channels {
            let (values, weights) = (input.add(channels.input), job.weights.add(channels.weights));
            sums = F::accumulate(
                simd,
                sums,
                values,
                job.input_pixel,
                [weights, weights.wrapping_add(job.weight_block)],
            );
        }
        for ((factors, end), sums) in job.factors.iter().zip(job.ends).zip(sums) {
            end.take(simd, first, factors.single(simd, sums, input, job.input_pixel));
        }
    }
}
