//! Sixteen sums in one register of AVX-512, with products that take one instruction: VNNI.

use std::arch::x86_64::*;

use super::wide::settle;
use super::{Avx2, Avx512Vnni};
use crate::simd::integers::Sixteen;
use crate::simd::tile::PIXELS;

/// One register.
#[derive(Debug, Clone, Copy)]
pub struct Whole;

impl Sixteen<Avx2<Avx512Vnni>> for Whole {
    type Sums = __m512i;
    type Pairs = __m512i;
    type Quads = __m512i;

    const BLOCKS: usize = 2;
    const QUAD_PIXELS: usize = PIXELS;

    #[inline(always)]
    fn splat(_: Avx2<Avx512Vnni>, value: i32) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { _mm512_set1_epi32(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(_: Avx2<Avx512Vnni>, from: *const i32) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for sixteen i32.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(_: Avx2<Avx512Vnni>, to: *mut i32, sums: __m512i) {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for sixteen i32.
        unsafe { _mm512_storeu_si512(to.cast(), sums) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_saturated(_: Avx2<Avx512Vnni>, to: *mut u8, values: __m512i) {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for sixteen bytes.
        unsafe {
            let positive = _mm512_max_epi32(values, _mm512_setzero_si512());
            _mm_storeu_si128(to.cast(), _mm512_cvtusepi32_epi8(positive));
        }
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn look_up(_: Avx2<Avx512Vnni>, table: *const u8, places: __m512i, to: *mut u8) {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for four bytes at each place.
        unsafe {
            let read = _mm512_i32gather_epi32::<1>(places, table.cast());
            _mm_storeu_si128(to.cast(), _mm512_cvtepi32_epi8(read));
        }
    }

    #[inline(always)]
    fn add(_: Avx2<Avx512Vnni>, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sub(_: Avx2<Avx512Vnni>, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn real(_: Avx2<Avx512Vnni>, sums: __m512i) -> __m512 {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { _mm512_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    fn nearest(_: Avx2<Avx512Vnni>, values: __m512) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F; rounding is to nearest, as Rust asks of the environment.
        unsafe { _mm512_cvtps_epi32(values) }
    }

    #[inline(always)]
    fn join(_: Avx2<Avx512Vnni>, [low, high]: [__m256i; 2]) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) }
    }

    #[inline(always)]
    fn halves(_: Avx2<Avx512Vnni>, sums: __m512i) -> [__m256i; 2] {
        // SAFETY: the unit is proof of AVX-512F.
        unsafe { [_mm512_castsi512_si256(sums), _mm512_extracti64x4_epi64::<1>(sums)] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_pairs(_: Avx2<Avx512Vnni>, from: *const i16) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for sixteen pairs.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(_: Avx2<Avx512Vnni>, from: *const i16) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for a pair.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot(_: Avx2<Avx512Vnni>, sums: __m512i, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F and VNNI.
        unsafe { settle(_mm512_dpwssd_epi32(sums, a, b)) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_quads(_: Avx2<Avx512Vnni>, from: *const i8) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for sixteen quads.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_quad(_: Avx2<Avx512Vnni>, from: *const u8) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F, and the caller vouches for a quad.
        unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    fn dot_quads(_: Avx2<Avx512Vnni>, sums: __m512i, bytes: __m512i, weights: __m512i) -> __m512i {
        // SAFETY: the unit is proof of AVX-512F and VNNI.
        unsafe { settle(_mm512_dpbusd_epi32(sums, bytes, weights)) }
    }
}
