//! NEON: a block of channels is two registers of four lanes. Only arithmetic; what is computed stands in the kernels.

mod dot;
mod integers;

use std::arch::aarch64::*;

pub use dot::{Dot, DotProduct, Multiply};

use super::integers::Halves;
use super::reals::{Pair, Reals};
use super::{Kernel, Simd};

/// NEON, which every aarch64 processor that Rust targets has, and proof that this one has the instructions of `D`.
#[derive(Debug, Clone, Copy)]
pub struct Neon<D>(D);

impl<D: Dot> Neon<D> {
    /// The proof, where the processor has them.
    pub fn detect() -> Option<Self> {
        D::detect().map(Self)
    }

    /// The unit without them.
    pub(super) fn without(self) -> Neon<Multiply> {
        Neon::ALWAYS
    }

    /// Runs `kernel` compiled for them.
    pub(super) fn run<K: Kernel>(self, kernel: K) {
        D::run(self, kernel);
    }
}

impl Neon<Multiply> {
    /// Every processor with NEON has what it needs.
    pub(super) const ALWAYS: Self = Self(Multiply::ALWAYS);
}

/// A block of channels.
pub type Lanes = [float32x4_t; 2];

impl<D: Dot> Reals for Neon<D> {
    type V = Lanes;

    #[inline(always)]
    fn splat(self, value: f32) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdupq_n_f32(value); 2] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> Lanes {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight floats.
        unsafe { [vld1q_f32(from), vld1q_f32(from.add(4))] }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: Lanes) {
        // SAFETY: aarch64 has NEON, and the caller vouches for eight floats.
        unsafe {
            vst1q_f32(to, value[0]);
            vst1q_f32(to.add(4), value[1]);
        }
    }

    #[inline(always)]
    fn add(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vaddq_f32(a[0], b[0]), vaddq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn sub(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vsubq_f32(a[0], b[0]), vsubq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn mul(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmulq_f32(a[0], b[0]), vmulq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn div(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vdivq_f32(a[0], b[0]), vdivq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn max(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vmaxq_f32(a[0], b[0]), vmaxq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn min(self, a: Lanes, b: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vminq_f32(a[0], b[0]), vminq_f32(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: Lanes, b: Lanes, c: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [vfmaq_f32(c[0], a[0], b[0]), vfmaq_f32(c[1], a[1], b[1])] }
    }

    #[inline(always)]
    fn scale(self, a: Lanes, shifted: Lanes) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { [scale(a[0], shifted[0]), scale(a[1], shifted[1])] }
    }
}

impl<D: Dot> Simd for Neon<D> {
    type Wide = Pair<Self>;
    type Sixteen = Halves;

    #[inline(always)]
    fn wide(self) -> Pair<Self> {
        Pair(self)
    }

    #[inline(always)]
    fn zip(self, a: Lanes, b: Lanes) -> [Lanes; 2] {
        // SAFETY: aarch64 has NEON.
        unsafe { [0, 1].map(|half| [vzip1q_f32(a[half], b[half]), vzip2q_f32(a[half], b[half])]) }
    }

    #[inline(always)]
    fn real(self, sums: integers::Sums) -> Lanes {
        // SAFETY: aarch64 has NEON.
        unsafe { sums.map(|half| vcvtq_f32_s32(half)) }
    }

    #[inline(always)]
    fn nearest(self, values: Lanes) -> integers::Sums {
        // SAFETY: aarch64 has NEON.
        unsafe { values.map(|half| vcvtnq_s32_f32(half)) }
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

/// One half of [`Reals::scale`].
// SAFETY: aarch64 has NEON.
#[inline(always)]
unsafe fn scale(a: float32x4_t, shifted: float32x4_t) -> float32x4_t {
    // SAFETY: aarch64 has NEON.
    unsafe {
        let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted));
        vreinterpretq_f32_s32(vaddq_s32(vreinterpretq_s32_f32(a), exponent))
    }
}
