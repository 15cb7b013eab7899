//! Integers of the portable path.

use super::Portable;
use crate::simd::BLOCK;
use crate::simd::integers::{Bytes, Integers};

/// Sums of half a block of stored values.
pub type Sums = [i32; BLOCK];
/// A block of stored values.
pub type Codes = [i16; 2 * BLOCK];

#[inline(always)]
fn zip<T: Copy, const N: usize>(a: [T; N], b: [T; N], f: impl Fn(T, T) -> T) -> [T; N] {
    std::array::from_fn(|lane| f(a[lane], b[lane]))
}

impl Integers for Portable {
    type I = Sums;
    type H = Codes;
    type P = Codes;
    type Q = [i8; 4 * BLOCK];

    const BYTES: Bytes = Bytes::EXACT;

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Sums {
        [value; BLOCK]
    }

    #[inline(always)]
    fn splat_i16(self, value: i16) -> Codes {
        [value; 2 * BLOCK]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> Sums {
        // SAFETY: the caller vouches for eight i32.
        unsafe { from.cast::<Sums>().read_unaligned() }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, value: Sums) {
        // SAFETY: the caller vouches for eight i32.
        unsafe { to.cast::<Sums>().write_unaligned(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i16(self, to: *mut i16, value: Codes) {
        // SAFETY: the caller vouches for sixteen i16.
        unsafe { to.cast::<Codes>().write_unaligned(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const i16) -> Codes {
        // SAFETY: the caller vouches for sixteen i16.
        unsafe { from.cast::<Codes>().read_unaligned() }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const i16) -> Codes {
        // SAFETY: the caller vouches for two i16.
        let pair = unsafe { from.cast::<[i16; 2]>().read_unaligned() };
        std::array::from_fn(|lane| pair[lane % 2])
    }

    #[inline(always)]
    fn dot(self, sum: Sums, a: Codes, b: Codes) -> Sums {
        let product = |lane: usize| i32::from(a[lane]) * i32::from(b[lane]);
        std::array::from_fn(|lane| {
            sum[lane].wrapping_add(product(2 * lane).wrapping_add(product(2 * lane + 1)))
        })
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Codes {
        // SAFETY: the caller vouches for sixteen bytes.
        unsafe { from.cast::<[i8; 2 * BLOCK]>().read_unaligned() }.map(i16::from)
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "they are bytes")]
    unsafe fn store_bytes(self, to: *mut u8, values: Codes) {
        // SAFETY: the caller vouches for sixteen bytes.
        unsafe { to.cast::<[i8; 2 * BLOCK]>().write_unaligned(values.map(|value| value as i8)) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "saturated, as stated")]
    unsafe fn store_saturated(self, to: *mut u8, [low, high]: [Sums; 2]) {
        let saturate = |sum: i32| sum.clamp(i32::from(i8::MIN), i32::from(i8::MAX)) as i8;
        // SAFETY: the caller vouches for sixteen bytes.
        unsafe { to.cast::<[[i8; BLOCK]; 2]>().write_unaligned([low.map(saturate), high.map(saturate)]) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_quads(self, from: *const i8) -> Self::Q {
        // SAFETY: the caller vouches for 32 weights.
        unsafe { from.cast::<Self::Q>().read_unaligned() }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_quad(self, from: *const u8) -> Self::Q {
        // SAFETY: the caller vouches for four bytes.
        let quad = unsafe { from.cast::<[i8; 4]>().read_unaligned() };
        std::array::from_fn(|lane| quad[lane % 4])
    }

    #[inline(always)]
    fn dot_quads(self, sum: Sums, bytes: Self::Q, weights: Self::Q) -> Sums {
        let product = |at: usize| i32::from(bytes[at]) * i32::from(weights[at]);
        std::array::from_fn(|lane| sum[lane].wrapping_add((4 * lane..4 * lane + 4).map(product).sum()))
    }

    #[inline(always)]
    fn add_i32(self, a: Sums, b: Sums) -> Sums {
        zip(a, b, i32::wrapping_add)
    }

    #[inline(always)]
    fn sub_i32(self, a: Sums, b: Sums) -> Sums {
        zip(a, b, i32::wrapping_sub)
    }

    #[inline(always)]
    fn mul_i32(self, a: Sums, b: Sums) -> Sums {
        zip(a, b, i32::wrapping_mul)
    }

    #[inline(always)]
    fn shl_i32<const N: i32>(self, a: Sums) -> Sums {
        a.map(|a| a << N)
    }

    #[inline(always)]
    fn shr_i32<const N: i32>(self, a: Sums) -> Sums {
        a.map(|a| a >> N)
    }

    #[inline(always)]
    fn add_i16(self, a: Codes, b: Codes) -> Codes {
        zip(a, b, i16::wrapping_add)
    }

    #[inline(always)]
    fn sub_i16(self, a: Codes, b: Codes) -> Codes {
        zip(a, b, i16::wrapping_sub)
    }

    #[inline(always)]
    fn shl_i16<const N: i32>(self, a: Codes) -> Codes {
        a.map(|a| a << N)
    }

    #[inline(always)]
    fn max_i16(self, a: Codes, b: Codes) -> Codes {
        zip(a, b, i16::max)
    }

    #[inline(always)]
    fn widen(self, lanes: Codes) -> [Sums; 2] {
        [0, BLOCK].map(|first| std::array::from_fn(|lane| i32::from(lanes[first + lane])))
    }
}
