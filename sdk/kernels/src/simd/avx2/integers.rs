//! Integers of AVX2: a block of stored values is one register, its sums are two.

use std::arch::x86_64::*;

use super::{Avx2, Beside};
use crate::simd::integers::{Bytes, Integers};

impl<D: Beside> Integers for Avx2<D> {
    type I = __m256i;
    type H = __m256i;
    type P = __m256i;
    type Q = __m256i;

    /// The instructions multiply bytes without a sign by bytes with one.
    const BYTES: Bytes =
        Bytes { offset: 128, limit: D::LIMIT, quad_cost: D::QUAD_COST, pair_cost: D::PAIR_COST };

    #[inline(always)]
    fn splat_i32(self, value: i32) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_set1_epi32(value) }
    }

    #[inline(always)]
    fn splat_i16(self, value: i16) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_set1_epi16(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_i32(self, from: *const i32) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for eight i32.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i32(self, to: *mut i32, value: __m256i) {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for eight i32.
        unsafe { _mm256_storeu_si256(to.cast(), value) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_i16(self, to: *mut i16, value: __m256i) {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen i16.
        unsafe { _mm256_storeu_si256(to.cast(), value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_pairs(self, from: *const i16) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen i16.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const i16) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for two i16.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        self.0.pairs(sum, a, b)
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_bytes(self, from: *const u8) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen bytes.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.cast())) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_bytes(self, to: *mut u8, values: __m256i) {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen bytes.
        unsafe {
            let (low, high) = (_mm256_castsi256_si128(values), _mm256_extracti128_si256::<1>(values));
            _mm_storeu_si128(to.cast(), _mm_packus_epi16(low, high));
        }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_saturated(self, to: *mut u8, [low, high]: [__m256i; 2]) {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen bytes.
        unsafe {
            // Four of the low ones, four of the high ones, then the other four of each.
            let words = _mm256_packs_epi32(low, high);
            let bytes = _mm256_packus_epi16(words, words);
            let sorted = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5));
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(sorted));
        }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_quads(self, from: *const i8) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for 32 weights.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_quad(self, from: *const u8) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for four bytes.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot_quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i {
        self.0.quads(sum, bytes, weights)
    }

    #[inline(always)]
    fn add_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn mul_i32(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_mullo_epi32(a, b) }
    }

    #[inline(always)]
    fn shl_i32<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_slli_epi32::<N>(a) }
    }

    #[inline(always)]
    fn shr_i32<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_srai_epi32::<N>(a) }
    }

    #[inline(always)]
    fn add_i16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_add_epi16(a, b) }
    }

    #[inline(always)]
    fn sub_i16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn shl_i16<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_slli_epi16::<N>(a) }
    }

    #[inline(always)]
    fn max_i16(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_max_epi16(a, b) }
    }

    #[inline(always)]
    fn widen(self, lanes: __m256i) -> [__m256i; 2] {
        // SAFETY: `self` is proof of AVX2.
        unsafe {
            [
                _mm256_cvtepi16_epi32(_mm256_castsi256_si128(lanes)),
                _mm256_cvtepi16_epi32(_mm256_extracti128_si256::<1>(lanes)),
            ]
        }
    }
}
