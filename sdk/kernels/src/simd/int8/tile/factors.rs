//! What a tile of stored values multiplies: pairs of 16 bits, or quads of bytes.

use super::{Channels, Sums};
use crate::simd::Simd;
use crate::simd::int8::LANES;
use crate::simd::integers::Sixteen;
use crate::simd::tile::PIXELS;

/// What a tile multiplies, and how it lies.
pub trait Factors: Copy {
    /// What stands for a stored value.
    type Value;
    /// What stands for a weight.
    type Weight;

    /// Most pixels of a tile.
    fn pixels<S: Simd>() -> usize;

    /// Adds the products of sixteen input channels.
    ///
    /// # Safety
    /// `input` must hold `P` blocks, `pixel` apart, and `weights` those of sixteen channels for each of `B` blocks.
    unsafe fn accumulate<S: Simd, const P: usize, const B: usize>(
        simd: S,
        sums: [[Sums<S>; P]; B],
        input: *const Self::Value,
        pixel: usize,
        weights: [*const Self::Weight; 2],
    ) -> [[Sums<S>; P]; B];

    /// Adds the products of channels that are no sixteen, and what is left of others, for a block.
    ///
    /// # Safety
    /// `input` must hold `P` pixels, `pixel` apart, in all their channels, and `self` weights of those.
    #[inline(always)]
    unsafe fn single<S: Simd, const P: usize>(
        self,
        _: S,
        sums: [Sums<S>; P],
        _input: *const Self::Value,
        _pixel: usize,
    ) -> [Sums<S>; P] {
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

impl Factors for Pairs {
    type Value = i16;
    type Weight = i16;

    #[inline(always)]
    fn pixels<S: Simd>() -> usize {
        PIXELS
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize, const B: usize>(
        simd: S,
        mut sums: [[Sums<S>; P]; B],
        input: *const i16,
        pixel: usize,
        weights: [*const i16; 2],
    ) -> [[Sums<S>; P]; B] {
        for pair in 0..LANES / 2 {
            // SAFETY: within the pairs and the blocks that the caller vouches for.
            unsafe {
                let input = input.add(2 * pair);
                let weights = weights.map(|weights| weights.wrapping_add(pair * 2 * LANES));
                let mut rows = [S::Sixteen::load_pairs(simd, weights[0]); B];
                for (row, &weights) in rows.iter_mut().zip(&weights) {
                    *row = S::Sixteen::load_pairs(simd, weights);
                }
                for p in 0..P {
                    let values = S::Sixteen::splat_pair(simd, input.add(p * pixel));
                    for (sums, row) in sums.iter_mut().zip(rows) {
                        sums[p] = S::Sixteen::dot(simd, sums[p], values, row);
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

    #[inline(always)]
    fn pixels<S: Simd>() -> usize {
        S::Sixteen::QUAD_PIXELS
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn accumulate<S: Simd, const P: usize, const B: usize>(
        simd: S,
        mut sums: [[Sums<S>; P]; B],
        input: *const u8,
        pixel: usize,
        weights: [*const i8; 2],
    ) -> [[Sums<S>; P]; B] {
        // Not a loop, which the compiler would leave one, with a jump for each of the four.
        // SAFETY: within the quads and the blocks that the caller vouches for.
        unsafe {
            sums = add_quad(simd, sums, input, pixel, weights);
            sums = add_quad(simd, sums, input.add(4), pixel, weights.map(|quad| quad.wrapping_add(QUAD)));
            sums = add_quad(simd, sums, input.add(8), pixel, weights.map(|quad| quad.wrapping_add(2 * QUAD)));
            add_quad(simd, sums, input.add(12), pixel, weights.map(|quad| quad.wrapping_add(3 * QUAD)))
        }
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn single<S: Simd, const P: usize>(
        self,
        simd: S,
        mut sums: [Sums<S>; P],
        input: *const u8,
        pixel: usize,
    ) -> [Sums<S>; P] {
        for quad in self.single {
            let (input, weights) = (input.wrapping_add(quad.input), self.weights.wrapping_add(quad.weights));
            // SAFETY: a quad of the channels that the caller vouches for, and weights that were packed for it.
            [sums] = unsafe { add_quad(simd, [sums], input, pixel, [weights; 2]) };
        }
        for half in 0..2 {
            for quad in self.rest[half] {
                // SAFETY: as above, with weights of eight output channels.
                unsafe {
                    let weights = simd.load_quads(self.weights.add(quad.weights));
                    for (p, sums) in sums.iter_mut().enumerate() {
                        let values = simd.splat_quad(input.add(quad.input + p * pixel));
                        let mut halves = S::Sixteen::halves(simd, *sums);
                        halves[half] = simd.dot_quads(halves[half], values, weights);
                        *sums = S::Sixteen::join(simd, halves);
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
/// `input` must hold a quad of `P` pixels, `pixel` apart, and `weights` those of the quad for each of `B` blocks.
#[inline(always)]
unsafe fn add_quad<S: Simd, const P: usize, const B: usize>(
    simd: S,
    mut sums: [[Sums<S>; P]; B],
    input: *const u8,
    pixel: usize,
    weights: [*const i8; 2],
) -> [[Sums<S>; P]; B] {
    // SAFETY: the caller vouches for all of it.
    unsafe {
        let mut rows = [S::Sixteen::load_quads(simd, weights[0]); B];
        for (row, &weights) in rows.iter_mut().zip(&weights) {
            *row = S::Sixteen::load_quads(simd, weights);
        }
        for p in 0..P {
            let values = S::Sixteen::splat_quad(simd, input.add(p * pixel));
            for (sums, row) in sums.iter_mut().zip(rows) {
                sums[p] = S::Sixteen::dot_quads(simd, sums[p], values, row);
            }
        }
    }
    sums
}
