//! The micro-kernel of every convolution of stored values: up to five or six pixels times sixteen channels in registers.
//!
//! Blocking: as that of floats (`simd::tile`), but of five pixels: 10 registers of eight sums each. A step takes a quad of input
//! channels: it loads the 64 weights of the quad as they lie, and spreads the quad of each of the 5 pixels: 7 loads for 10
//! multiplications of 32 bytes. Six pixels would leave no register for the ones that pairs of products are added with. Winograd's
//! transformed values are too large for bytes, so there a step takes a pair of 16 bits, of six pixels. Sums are exact modulo 2³², so
//! it does not matter in which order they are made. *Measured* on Zen 3: the loop alone does 1.95 times the multiplications of
//! the FMA peak with quads (`pmaddubsw`, `pmaddwd`, an addition) and 1.6 times with pairs (`pmaddwd`, an addition); 2 would be
//! the most of both, but additions get into the way of multiplications, of which pairs have more.

use super::LANES;
use super::epilogue::{self, Ending, Target};
use crate::layout::BLOCK;
use crate::simd::Simd;
use crate::simd::tile::PIXELS;

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

/// What a tile multiplies, and how it lies.
pub trait Factors: Copy {
    /// What stands for a stored value.
    type Value;
    /// What stands for a weight.
    type Weight;

    /// Most pixels of a tile.
    const PIXELS: usize;

    /// Adds the products of sixteen input channels.
    ///
    /// # Safety
    /// `input` must hold `P` blocks, `pixel` apart, and `weights` those of sixteen channels.
    unsafe fn accumulate<S: Simd, const P: usize>(
        self,
        simd: S,
        sums: [[S::I; 2]; P],
        input: *const Self::Value,
        pixel: usize,
        weights: *const Self::Weight,
    ) -> [[S::I; 2]; P];

    /// Adds the products of channels that are no sixteen, and what is left of others.
    ///
    /// # Safety
    /// `input` must hold `P` pixels, `pixel` apart, in all their channels, and `self` weights of those.
    #[inline(always)]
    unsafe fn single<S: Simd, const P: usize>(
        self,
        _: S,
        sums: [[S::I; 2]; P],
        _input: *const Self::Value,
        _pixel: usize,
    ) -> [[S::I; 2]; P] {
        sums
    }
}

/// Pairs of 16 bits: eight pairs of channels, of which each has a pair of weights for each of sixteen output channels.
#[derive(Clone, Copy)]
pub struct Pairs;

/// Quads of bytes: four quads of channels, of which each has a quad of weights for each of sixteen output channels.
#[derive(Clone, Copy)]
pub struct Quads<'a> {
    /// Quads for themselves.
    pub single: &'a [Channels],
    /// Those of the first eight output channels and of the last, of which something is left.
    pub rest: [&'a [Channels]; 2],
    /// What their weights are counted from.
    pub weights: *const i8,
}

/// Weights of a quad of input channels.
pub const QUAD: usize = 4 * LANES;
/// Those of them for eight output channels.
pub const HALF: usize = QUAD / 2;

/// Input channels that a tile multiplies, and their weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Channels {
    /// From a pixel's first tap in the first block to the first of them.
    pub input: usize,
    /// From the job's first weight to the first of theirs.
    pub weights: usize,
}

/// A run of pixels to compute for a block of output channels.
#[derive(Clone, Copy)]
pub struct Job<'a, F: Factors, E> {
    /// What is multiplied.
    pub factors: F,
    /// The first tap of the first pixel, in the first block of input channels.
    pub input: *const F::Value,
    /// From a pixel's first tap to the next pixel's, in values.
    pub input_pixel: usize,
    /// For each block of input channels and tap, its sixteen.
    pub channels: &'a [Channels],
    /// The first weight.
    pub weights: *const F::Weight,
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
pub unsafe fn run<S: Simd, F: Factors, E: End>(simd: S, job: &Job<'_, F, E>, pixels: usize) {
    let tiles = pixels.div_ceil(F::PIXELS);
    let mut done = 0;
    for tile in 0..tiles {
        let now = (pixels - done).div_ceil(tiles - tile);
        // SAFETY: pixels `done..done + now` of the job, for which the caller vouches.
        unsafe {
            match now {
                // Not compiled for tiles that are smaller.
                6 if F::PIXELS == 6 => compute::<S, F, E, 6>(simd, job, done),
                5 => compute::<S, F, E, 5>(simd, job, done),
                4 => compute::<S, F, E, 4>(simd, job, done),
                3 => compute::<S, F, E, 3>(simd, job, done),
                2 => compute::<S, F, E, 2>(simd, job, done),
                _ => compute::<S, F, E, 1>(simd, job, done),
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
unsafe fn compute<S: Simd, F: Factors, E: End, const P: usize>(simd: S, job: &Job<'_, F, E>, first: usize) {
    // SAFETY: the caller vouches for all that the job describes.
    unsafe {
        let begin = match job.start {
            Start::Zero => [simd.splat_i32(0); 2],
            Start::Bias(bias) => [simd.load_i32(bias), simd.load_i32(bias.add(BLOCK))],
        };
        let mut sums = [begin; P];
        let input = job.input.add(first * job.input_pixel);
        for channels in job.channels {
            let (values, weights) = (input.add(channels.input), job.weights.add(channels.weights));
            sums = job.factors.accumulate(simd, sums, values, job.input_pixel, weights);
        }
        sums = job.factors.single(simd, sums, input, job.input_pixel);
        job.end.take(simd, first, sums);
    }
}

impl Factors for Pairs {
    type Value = i16;
    type Weight = i16;

    const PIXELS: usize = PIXELS;

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize>(
        self,
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
}

impl Factors for Quads<'_> {
    type Value = u8;
    type Weight = i8;

    // For the sake of AVX2, whose products take a register of ones; others would have room for six.
    const PIXELS: usize = 5;

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize>(
        self,
        simd: S,
        mut sums: [[S::I; 2]; P],
        input: *const u8,
        pixel: usize,
        weights: *const i8,
    ) -> [[S::I; 2]; P] {
        // Not a loop, which the compiler would leave one, with a jump for each of the four.
        // SAFETY: within the quads and the blocks that the caller vouches for.
        unsafe {
            sums = add_quad(simd, sums, input, pixel, weights);
            sums = add_quad(simd, sums, input.add(4), pixel, weights.add(QUAD));
            sums = add_quad(simd, sums, input.add(8), pixel, weights.add(2 * QUAD));
            add_quad(simd, sums, input.add(12), pixel, weights.add(3 * QUAD))
        }
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn single<S: Simd, const P: usize>(
        self,
        simd: S,
        mut sums: [[S::I; 2]; P],
        input: *const u8,
        pixel: usize,
    ) -> [[S::I; 2]; P] {
        for quad in self.single {
            let (input, weights) = (input.wrapping_add(quad.input), self.weights.wrapping_add(quad.weights));
            // SAFETY: a quad of the channels that the caller vouches for, and weights that were packed for it.
            sums = unsafe { add_quad(simd, sums, input, pixel, weights) };
        }
        for half in 0..2 {
            for quad in self.rest[half] {
                // SAFETY: as above, with weights of eight output channels.
                unsafe {
                    let weights = simd.load_quads(self.weights.add(quad.weights));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let values = simd.splat_quad(input.add(quad.input + p * pixel));
                        sums[half] = simd.dot_quads(sums[half], values, weights);
                    }
                }
            }
        }
        sums
    }
}

/// Adds the products of a quad of input channels.
///
/// # Safety
/// `input` must hold a quad of `P` pixels, `pixel` apart, and `weights` those of the quad.
#[inline(always)]
unsafe fn add_quad<S: Simd, const P: usize>(
    simd: S,
    mut sums: [[S::I; 2]; P],
    input: *const u8,
    pixel: usize,
    weights: *const i8,
) -> [[S::I; 2]; P] {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let row = [simd.load_quads(weights), simd.load_quads(weights.add(HALF))];
        for (p, sums) in sums.iter_mut().enumerate() {
            let values = simd.splat_quad(input.add(p * pixel));
            for (sum, weights) in sums.iter_mut().zip(row) {
                *sum = simd.dot_quads(*sum, values, weights);
            }
        }
    }
    sums
}
