//! Sixteen floats: two registers of AVX2, or one of AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{Avx2, Beside};
use crate::simd::reals::{Pair, Reals};

/// The registers of sixteen floats, and what pays with them.
pub trait Registers: Reals {
    /// As [`crate::simd::Simd::CHAINS`].
    const CHAINS: usize;
    /// As [`crate::simd::Simd::BLOCKS`].
    const BLOCKS: usize;
    /// Whether asking for memory early pays.
    const PREFETCHES: bool;

    /// The eight of one, then the eight of the other.
    fn join(self, halves: [__m256; 2]) -> Self::V;
    /// The first eight and the last.
    fn halves(self, wide: Self::V) -> [__m256; 2];
}

impl<D: Beside> Registers for Pair<Avx2<D>> {
    const CHAINS: usize = 1;
    const BLOCKS: usize = 2;
    const PREFETCHES: bool = true;

    #[inline(always)]
    fn join(self, halves: [__m256; 2]) -> [__m256; 2] {
        halves
    }

    #[inline(always)]
    fn halves(self, wide: [__m256; 2]) -> [__m256; 2] {
        wide
    }
}

/// One register of AVX-512.
#[derive(Debug, Clone, Copy)]
pub struct One(());

impl One {
    /// # Safety
    /// The processor must have AVX-512 F and DQ.
    #[inline(always)]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

impl Registers for One {
    /// Six sums of a tile would leave two units of four cycles waiting.
    const CHAINS: usize = 2;
    const BLOCKS: usize = 8;
    /// *Measured* on Emerald Rapids, where it costs a Winograd convolution 5 to 10 %: weights lie in order, and the processor
    /// sees them coming.
    const PREFETCHES: bool = false;

    #[inline(always)]
    fn join(self, [low, high]: [__m256; 2]) -> __m512 {
        // SAFETY: `self` is proof of AVX-512 F and DQ.
        unsafe { _mm512_insertf32x8::<1>(_mm512_castps256_ps512(low), high) }
    }

    #[inline(always)]
    fn halves(self, wide: __m512) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe { [_mm512_castps512_ps256(wide), _mm512_extractf32x8_ps::<1>(wide)] }
    }
}

impl Reals for One {
    type V = __m512;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_set1_ps(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F, and the caller vouches for sixteen floats.
        unsafe { _mm512_loadu_ps(from) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m512) {
        // SAFETY: `self` is proof of AVX-512F, and the caller vouches for sixteen floats.
        unsafe { _mm512_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_min_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn scale(self, a: __m512, shifted: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe {
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), exponent))
        }
    }

    /// A division takes as long as eight products.
    #[inline(always)]
    fn ratio(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe {
            let guess = _mm512_rcp14_ps(b);
            let inverse = _mm512_mul_ps(guess, _mm512_fnmadd_ps(b, guess, _mm512_set1_ps(2.0)));
            _mm512_mul_ps(a, inverse)
        }
    }

    #[inline(always)]
    fn settle(self, value: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_castsi512_ps(settle(_mm512_castps_si512(value))) }
    }
}

/// `register`, which the compiler takes to be made here: see [`Reals::settle`].
#[inline]
#[target_feature(enable = "avx512f")]
pub fn settle(mut register: __m512i) -> __m512i {
    // SAFETY: no instruction.
    unsafe {
        asm!("/* {} */", inout(zmm_reg) register, options(nomem, nostack, preserves_flags));
    }
    register
}
