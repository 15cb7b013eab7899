//! The portable path: a block of channels is an array, and the compiler makes of it what the target has.

mod integers;

use super::integers::Halves;
use super::reals::{Pair, Reals};
use super::{BLOCK, ROUND, Simd};

/// Any processor.
#[derive(Debug, Clone, Copy)]
pub struct Portable;

/// A block of channels.
pub type Lanes = [f32; BLOCK];

#[inline(always)]
fn zip(a: Lanes, b: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Reals for Portable {
    type V = Lanes;

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        [value; BLOCK]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        // SAFETY: the caller vouches for eight floats.
        unsafe { from.cast::<Lanes>().read_unaligned() }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Lanes) {
        // SAFETY: the caller vouches for eight floats.
        unsafe { to.cast::<Lanes>().write_unaligned(value) }
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a * b)
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, |a, b| a / b)
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, f32::max)
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        zip(a, b, f32::min)
    }

    /// Rounds twice: a fused multiplication is a call where the target has none.
    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        std::array::from_fn(|lane| a[lane] * b[lane] + c[lane])
    }

    #[inline(always)]
    fn scale(self, a: Lanes, shifted: Lanes) -> Lanes {
        zip(a, shifted, |a, shifted| f32::from_bits(a.to_bits().wrapping_add(shifted.to_bits() << 23)))
    }
}

impl Simd for Portable {
    type Wide = Pair<Self>;
    type Sixteen = Halves;

    #[inline(always)]
    fn wide(self) -> Pair<Self> {
        Pair(self)
    }

    #[inline(always)]
    fn zip(self, a: Lanes, b: Lanes) -> [Lanes; 2] {
        let lane = |lane: usize| [a, b][lane % 2][lane / 2];
        [std::array::from_fn(lane), std::array::from_fn(|at| lane(BLOCK + at))]
    }

    #[inline(always)]
    #[expect(clippy::cast_precision_loss, reason = "rounded, as stated")]
    fn real(self, sums: [i32; BLOCK]) -> Lanes {
        sums.map(|sum| sum as f32)
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "whole numbers within bounds, as stated")]
    fn nearest(self, values: Lanes) -> [i32; BLOCK] {
        values.map(|value| (value + ROUND - ROUND) as i32)
    }

    #[inline(always)]
    fn join(self, halves: [Lanes; 2]) -> [Lanes; 2] {
        halves
    }

    #[inline(always)]
    fn halves(self, wide: [Lanes; 2]) -> [Lanes; 2] {
        wide
    }
}
