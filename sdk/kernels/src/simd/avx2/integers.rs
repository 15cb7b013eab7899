//! Integers of AVX2: a block of stored values is one register, its sums are two.

use std::arch::asm;
use std::arch::x86_64::*;

use super::Avx2;
use crate::simd::integers::Integers;

impl Integers for Avx2 {
    type I = __m256i;
    type H = __m256i;
    type P = __m256i;

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

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_i16(self, from: *const i16) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen i16.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_i8(self, from: *const i8) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for sixteen i8.
        unsafe { _mm256_cvtepi8_epi16(_mm_loadu_si128(from.cast())) }
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
        // SAFETY: the caller vouches for sixteen i16.
        unsafe { self.load_i16(from) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(self, from: *const i16) -> __m256i {
        // SAFETY: `self` is proof of AVX2, and the caller vouches for two i16.
        unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { dot(sum, a, b) }
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
    fn narrow(self, lanes: [__m256i; 2]) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(lanes[0], lanes[1])) }
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

/// [`Integers::dot`] as two instructions that belong together: where the compiler sees the additions of an unrolled loop, it
/// regroups them, so that products wait in registers, of which there are none left.
#[inline]
#[target_feature(enable = "avx2")]
fn dot(mut sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
    // SAFETY: only the two registers are written.
    unsafe {
        asm!(
            "vpmaddwd {product}, {a}, {b}",
            "vpaddd {sum}, {sum}, {product}",
            a = in(ymm_reg) a,
            b = in(ymm_reg) b,
            sum = inout(ymm_reg) sum,
            product = lateout(ymm_reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}
