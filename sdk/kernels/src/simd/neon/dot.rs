//! The products of bytes that processors with NEON have: four instructions, or one.

use std::arch::aarch64::*;
use std::arch::{asm, is_aarch64_feature_detected};
use std::fmt::Debug;

use super::Neon;
use crate::simd::Kernel;

/// Products of bytes. A value is proof that the processor has the instructions.
pub trait Dot: Copy + Debug {
    /// As [`crate::simd::integers::Bytes::limit`].
    const LIMIT: i32;
    /// Instructions of [`Dot::quads`].
    const COST: usize;

    /// The proof, where the processor has them.
    fn detect() -> Option<Self>;

    /// Runs `kernel` compiled for NEON and them.
    fn run<K: Kernel>(simd: Neon<Self>, kernel: K);

    /// `sum` plus, in each lane, the products of four bytes and four others.
    fn quads(self, sum: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t;
}

/// What every processor with NEON has.
#[derive(Debug, Clone, Copy)]
pub struct Multiply(());

impl Multiply {
    /// Every processor with NEON has them.
    pub const ALWAYS: Self = Self(());
}

/// The instruction for it, which Armv8.2 may have and Armv8.4 has.
#[derive(Debug, Clone, Copy)]
pub struct DotProduct(());

impl Dot for Multiply {
    /// Sums of two products wrap at 16 bits: 128 · 255 is below 2¹⁵, 128 · 256 is not.
    const LIMIT: i32 = 255;
    const COST: usize = 4;

    fn detect() -> Option<Self> {
        Some(Self(()))
    }

    fn run<K: Kernel>(simd: Neon<Self>, kernel: K) {
        kernel.run(simd);
    }

    #[inline(always)]
    fn quads(self, sum: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: aarch64 has NEON.
        unsafe {
            let low = vmull_s8(vget_low_s8(bytes), vget_low_s8(weights));
            vpadalq_s16(sum, vpaddq_s16(low, vmull_high_s8(bytes, weights)))
        }
    }
}

impl Dot for DotProduct {
    const LIMIT: i32 = i32::MAX;
    const COST: usize = 1;

    fn detect() -> Option<Self> {
        is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }

    fn run<K: Kernel>(simd: Neon<Self>, kernel: K) {
        #[target_feature(enable = "dotprod")]
        fn compiled<K: Kernel>(simd: Neon<DotProduct>, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: a `Neon` of this exists only where the feature was detected.
        unsafe { compiled(simd, kernel) }
    }

    #[inline(always)]
    fn quads(self, sum: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t {
        // SAFETY: `self` is proof of the feature.
        unsafe { sdot(sum, bytes, weights) }
    }
}

/// The instruction; the standard library's function for it is not stable.
#[inline]
#[target_feature(enable = "dotprod")]
fn sdot(mut sum: int32x4_t, bytes: int8x16_t, weights: int8x16_t) -> int32x4_t {
    // SAFETY: only the register is written.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {bytes:v}.16b, {weights:v}.16b",
            bytes = in(vreg) bytes,
            weights = in(vreg) weights,
            sum = inout(vreg) sum,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
