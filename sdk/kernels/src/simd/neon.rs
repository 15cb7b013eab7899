//! NEON: a block of channels is two registers of four lanes. Only arithmetic; what is computed stands in the kernels.

mod integers;

use std::arch::aarch64::*;

use super::Simd;

/// NEON, which every aarch64 processor that Rust targets has.
#[derive(Debug, Clone, Copy)]
pub struct Neon;

/// A block of channels.
pub type Pair = [float32x4_t; 2];

impl Simd for Neon {
    type V = Pair;

    #[inline(always)]
    fn splat(self, value: f32) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdupq_n_f32(value); 2] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Pair {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight floats.
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Pair) {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight floats.
        unsafe {
            vst1q_f32(to, value[0]);
            vst1q_f32(to.add(4), value[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vsubq_f32(a[0], b[0]), vsubq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdivq_f32(a[0], b[0]), vdivq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmaxq_f32(a[0], b[0]), vmaxq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn min(self, a: Pair, b: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vminq_f32(a[0], b[0]), vminq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: Pair, b: Pair, c: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }

    #[inline(always)]
    fn scale(self, a: Pair, shifted: Pair) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { [scale(a[0], shifted[0]), scale(a[1], shifted[1])] }
    }

    #[inline(always)]
    fn real(self, sums: integers::Sums) -> Pair {
        // SAFETY: aarch64 has NEON.
        unsafe { sums.map(|half| vcvtq_f32_s32(half)) }
    }

    #[inline(always)]
    fn nearest(self, values: Pair) -> integers::Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { values.map(|half| vcvtnq_s32_f32(half)) }
    }
}

/// One half of [`Simd::scale`].
// SAFETY: aarch64 has NEON.
#[inline(always)]
unsafe fn scale(a: float32x4_t, shifted: float32x4_t) -> float32x4_t {
    // SAFETY: aarch64 has NEON.
    unsafe {
        let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted));
        vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent))
    }
}
