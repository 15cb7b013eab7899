//! Integers of NEON: a block of stored values is two registers, its sums are four.

use std::arch::aarch64::*;

use super::{Dot, Neon};
use crate::simd::integers::{Bytes, Integers};

/// Half of a block's sums.
pub type Sums = [int32x4_t; 2];
/// A block of stored values.
pub type Codes = [int16x8_t; 2];
/// The first values of eight pairs, and the second.
pub type Pairs = int16x8x2_t;
/// Eight quads of bytes.
pub type Quads = [int8x16_t; 2];

impl<D: Dot> Integers for Neon<D> {
    type I = Sums;
    type H = Codes;
    type P = Pairs;
    type Q = Quads;

    const BYTES: Bytes = Bytes { offset: 0, limit: D::LIMIT, quad_cost: 2 * D::COST, pair_cost: 4 };

    #[inline(always)]
    fn splat_i32(self, value: i32) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdupq_n_s32(value); 2] }
    }

    #[inline(always)]
    fn splat_i16(self, value: i16) -> Codes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdupq_n_s16(value); 2] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> Sums {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight i32.
        unsafe { [vld1q_s32(from), vld1q_s32(from.add(4))] }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, value: Sums) {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight i32.
        unsafe {
            vst1q_s32(to, value[0]);
            vst1q_s32(to.add(4), value[1]);
        }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i16(self, to: *mut i16, value: Codes) {
        // SAFETY: aarch64 has NEON, and the caller vouches for sixteen i16.
        unsafe {
            vst1q_s16(to, value[0]);
            vst1q_s16(to.add(8), value[1]);
        }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const i16) -> Pairs {
        // SAFETY: aarch64 has NEON, and the caller vouches for sixteen i16.
        unsafe { vld2q_s16(from) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const i16) -> Pairs {
        // SAFETY: aarch64 has NEON, and the caller vouches for two i16.
        unsafe { int16x8x2_t(vld1q_dup_s16(from), vld1q_dup_s16(from.add(1))) }
    }

    #[inline(always)]
    fn dot(self, sum: Sums, a: Pairs, b: Pairs) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe {
            let low = vmlal_s16(sum[0], vget_low_s16(a.0), vget_low_s16(b.0));
            let high = vmlal_high_s16(sum[1], a.0, b.0);
            [vmlal_s16(low, vget_low_s16(a.1), vget_low_s16(b.1)), vmlal_high_s16(high, a.1, b.1)]
        }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> Codes {
        // SAFETY: aarch64 has NEON, and the caller vouches for sixteen bytes.
        unsafe {
            let bytes = vld1q_s8(from.cast());
            [vmovl_s8(vget_low_s8(bytes)), vmovl_high_s8(bytes)]
        }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, values: Codes) {
        // SAFETY: aarch64 has NEON, and the caller vouches for sixteen bytes.
        unsafe { vst1q_s8(to.cast(), vmovn_high_s16(vmovn_s16(values[0]), values[1])) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_saturated(self, to: *mut u8, values: [Sums; 2]) {
        // SAFETY: aarch64 has NEON, and the caller vouches for sixteen bytes.
        unsafe {
            let [low, high] = values.map(|sums| vqmovn_high_s32(vqmovn_s32(sums[0]), sums[1]));
            vst1q_s8(to.cast(), vqmovn_high_s16(vqmovn_s16(low), high));
        }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_quads(self, from: *const i8) -> Quads {
        // SAFETY: aarch64 has NEON, and the caller vouches for 32 weights.
        unsafe { [vld1q_s8(from), vld1q_s8(from.add(16))] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_quad(self, from: *const u8) -> Quads {
        // SAFETY: aarch64 has NEON, and the caller vouches for four bytes.
        unsafe { [vreinterpretq_s8_s32(vdupq_n_s32(from.cast::<i32>().read_unaligned())); 2] }
    }

    #[inline(always)]
    fn dot_quads(self, sum: Sums, bytes: Quads, weights: Quads) -> Sums {
        std::array::from_fn(|half| self.0.quads(sum[half], bytes[half], weights[half]))
    }

    #[inline(always)]
    fn add_i32(self, a: Sums, b: Sums) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vaddq_s32(a[0], b[0]), vaddq_s32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub_i32(self, a: Sums, b: Sums) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vsubq_s32(a[0], b[0]), vsubq_s32(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul_i32(self, a: Sums, b: Sums) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmulq_s32(a[0], b[0]), vmulq_s32(a[1], b[1])] }
    }

    #[inline(always)]
    fn shl_i32<const N: i32>(self, a: Sums) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vshlq_n_s32::<N>(a[0]), vshlq_n_s32::<N>(a[1])] }
    }

    #[inline(always)]
    fn shr_i32<const N: i32>(self, a: Sums) -> Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { [vshrq_n_s32::<N>(a[0]), vshrq_n_s32::<N>(a[1])] }
    }

    #[inline(always)]
    fn add_i16(self, a: Codes, b: Codes) -> Codes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vaddq_s16(a[0], b[0]), vaddq_s16(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub_i16(self, a: Codes, b: Codes) -> Codes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vsubq_s16(a[0], b[0]), vsubq_s16(a[1], b[1])] }
    }

    #[inline(always)]
    fn shl_i16<const N: i32>(self, a: Codes) -> Codes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vshlq_n_s16::<N>(a[0]), vshlq_n_s16::<N>(a[1])] }
    }

    #[inline(always)]
    fn max_i16(self, a: Codes, b: Codes) -> Codes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmaxq_s16(a[0], b[0]), vmaxq_s16(a[1], b[1])] }
    }

    #[inline(always)]
    fn widen(self, lanes: Codes) -> [Sums; 2] {
        // SAFETY: aarch64 has NEON.
        unsafe { lanes.map(|codes| [vmovl_s16(vget_low_s16(codes)), vmovl_high_s16(codes)]) }
    }
}
