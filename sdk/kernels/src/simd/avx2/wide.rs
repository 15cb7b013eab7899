//! Sixteen floats: two registers of AVX2, or one of AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;
use std::fmt::Debug;

use crate::layout::BLOCK;

/// Arithmetic of sixteen floats. A value is proof that the processor has AVX2, FMA and what else it takes.
pub trait Wide: Copy + Debug {
    /// Sixteen floats.
    type W: Copy;

    /// As [`crate::simd::Simd::CHAINS`].
    const CHAINS: usize;
    /// As [`crate::simd::Simd::BLOCKS`].
    const BLOCKS: usize;
    /// Whether asking for memory early pays.
    const PREFETCHES: bool;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::W;

    /// Reads sixteen floats.
    ///
    /// # Safety
    /// `from` must be valid for reading sixteen floats.
    unsafe fn load(self, from: *const f32) -> Self::W;

    /// `a + b`.
    fn add(self, a: Self::W, b: Self::W) -> Self::W;
    /// `a · b + c`, fused.
    fn fma(self, a: Self::W, b: Self::W, c: Self::W) -> Self::W;
    /// As [`crate::simd::Simd::settle`].
    fn settle(self, wide: Self::W) -> Self::W {
        wide
    }
    /// The eight of one, then the eight of the other.
    fn join(self, halves: [__m256; 2]) -> Self::W;
    /// The first eight and the last.
    fn halves(self, wide: Self::W) -> [__m256; 2];
}

/// Two registers of AVX2.
#[derive(Debug, Clone, Copy)]
pub struct Two(());

/// One register of AVX-512.
#[derive(Debug, Clone, Copy)]
pub struct One(());

impl Two {
    /// # Safety
    /// The processor must have AVX2 and FMA.
    #[inline(always)]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

impl One {
    /// # Safety
    /// The processor must have AVX-512F.
    #[inline(always)]
    pub const unsafe fn new() -> Self {
        Self(())
    }
}

impl Wide for Two {
    type W = [__m256; 2];

    const CHAINS: usize = 1;
    const BLOCKS: usize = 2;
    const PREFETCHES: bool = true;

    #[inline(always)]
    fn splat(self, value: f32) -> [__m256; 2] {
        // SAFETY: `self` is proof of AVX.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [__m256; 2] {
        // SAFETY: `self` is proof of AVX, and the caller vouches for sixteen floats.
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(BLOCK))] }
    }

    #[inline(always)]
    fn add(self, a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: `self` is proof of AVX.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    fn fma(self, a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: `self` is proof of FMA.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    fn join(self, halves: [__m256; 2]) -> [__m256; 2] {
        halves
    }

    #[inline(always)]
    fn halves(self, wide: [__m256; 2]) -> [__m256; 2] {
        wide
    }
}

impl Wide for One {
    type W = __m512;

    /// Six sums of a tile would leave two units of four cycles waiting.
    const CHAINS: usize = 2;
    const BLOCKS: usize = 4;
    /// *Measured* on Emerald Rapids, where it costs a Winograd convolution 5 to 10 %: weights lie in order, and the processor
    /// sees them coming.
    const PREFETCHES: bool = false;

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

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn settle(self, wide: __m512) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F.
        unsafe { _mm512_castsi512_ps(settle(_mm512_castps_si512(wide))) }
    }

    #[inline(always)]
    fn join(self, [low, high]: [__m256; 2]) -> __m512 {
        // SAFETY: `self` is proof of AVX-512F; halves are moved as doubles, whose bits stay what they are.
        unsafe {
            let low = _mm512_castpd256_pd512(_mm256_castps_pd(low));
            _mm512_castpd_ps(_mm512_insertf64x4::<1>(low, _mm256_castps_pd(high)))
        }
    }

    #[inline(always)]
    fn halves(self, wide: __m512) -> [__m256; 2] {
        // SAFETY: as above.
        unsafe {
            let high = _mm512_extractf64x4_pd::<1>(_mm512_castps_pd(wide));
            [_mm512_castps512_ps256(wide), _mm256_castpd_ps(high)]
        }
    }
}

/// `register`, which the compiler takes to be made here: see [`crate::simd::Simd::settle`].
#[inline]
#[target_feature(enable = "avx512f")]
pub fn settle(mut register: __m512i) -> __m512i {
    // SAFETY: no instruction.
    unsafe {
        asm!("/* {} */", inout(zmm_reg) register, options(nomem, nostack, preserves_flags));
    }
    register
}
