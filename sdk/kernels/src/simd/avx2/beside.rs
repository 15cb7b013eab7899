//! What processors with AVX2 may have beside: products of integers take two or three instructions each, or one with VNNI; sixteen
//! floats take two registers, or one with AVX-512.

use std::arch::asm;
use std::arch::x86_64::*;
use std::fmt::Debug;

use super::Avx2;
use super::whole::Whole;
use super::wide::{One, Registers};
use crate::simd::Kernel;
use crate::simd::integers::{Halves, Sixteen};
use crate::simd::reals::Pair;

/// What a processor with AVX2 and FMA has beside. A value is proof that it has all of them.
pub trait Beside: Copy + Debug {
    /// As [`crate::simd::integers::Bytes::limit`].
    const LIMIT: i32;
    /// Instructions of [`Beside::quads`].
    const QUAD_COST: usize;
    /// Instructions of [`Beside::pairs`].
    const PAIR_COST: usize;

    /// Sixteen floats.
    type Wide: Registers;
    /// Sixteen sums of integers.
    type Sixteen: Sixteen<Avx2<Self>>;

    /// Arithmetic of those.
    fn wide(simd: Avx2<Self>) -> Self::Wide;

    /// As [`crate::simd::reals::Reals::ratio`].
    fn ratio(self, a: __m256, b: __m256) -> __m256;

    /// The proof, where the processor has them.
    fn detect() -> Option<Self>;

    /// Runs `kernel` compiled for AVX2, FMA and them.
    fn run<K: Kernel>(simd: Avx2<Self>, kernel: K);

    /// `sum` plus, in each lane, the products of two 16-bit integers.
    fn pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i;

    /// `sum` plus, in each lane, the products of four bytes without a sign and four with one.
    fn quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i;
}

/// What every processor with AVX2 has.
#[derive(Debug, Clone, Copy)]
pub struct Multiply(());

/// AVX-512 as it came to servers first (F, BW, DQ and VL), for floats.
#[derive(Debug, Clone, Copy)]
pub struct Avx512(Multiply);

/// The same with VNNI, on 256 bits.
#[derive(Debug, Clone, Copy)]
pub struct Avx512Vnni(());

/// VNNI of processors without AVX-512.
#[derive(Debug, Clone, Copy)]
pub struct AvxVnni(());

impl Beside for Multiply {
    /// Sums of two products saturate at 16 bits: 255 · 128 is below 2¹⁵, 255 · 129 is not.
    const LIMIT: i32 = 128;
    const QUAD_COST: usize = 3;
    const PAIR_COST: usize = 2;

    type Wide = Pair<Avx2<Self>>;
    type Sixteen = Halves;

    #[inline(always)]
    fn wide(simd: Avx2<Self>) -> Self::Wide {
        Pair(simd)
    }

    #[inline(always)]
    fn ratio(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_div_ps(a, b) }
    }

    fn detect() -> Option<Self> {
        let here = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
        here.then_some(Self(()))
    }

    fn run<K: Kernel>(simd: Avx2<Self>, kernel: K) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<K: Kernel>(simd: Avx2<Multiply>, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: an `Avx2` exists only where both features were detected.
        unsafe { compiled(simd, kernel) }
    }

    #[inline(always)]
    fn pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of AVX2.
        unsafe { pairs(sum, a, b) }
    }

    #[inline(always)]
    fn quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { quads(sum, bytes, weights, _mm256_set1_epi16(1)) }
    }
}

/// Two instructions that belong together: where the compiler sees the additions of an unrolled loop, it regroups them, so that
/// products wait in registers, of which there are none left.
#[inline]
#[target_feature(enable = "avx2")]
fn pairs(mut sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
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

/// Three instructions that belong together, as in [`pairs`]; `ones` are sixteen 16-bit ones.
#[inline]
#[target_feature(enable = "avx2")]
fn quads(mut sum: __m256i, bytes: __m256i, weights: __m256i, ones: __m256i) -> __m256i {
    // SAFETY: only the two registers are written.
    unsafe {
        asm!(
            "vpmaddubsw {product}, {bytes}, {weights}",
            "vpmaddwd {product}, {product}, {ones}",
            "vpaddd {sum}, {sum}, {product}",
            bytes = in(ymm_reg) bytes,
            weights = in(ymm_reg) weights,
            ones = in(ymm_reg) ones,
            sum = inout(ymm_reg) sum,
            product = out(ymm_reg) _,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

impl Beside for Avx512 {
    const LIMIT: i32 = Multiply::LIMIT;
    const QUAD_COST: usize = Multiply::QUAD_COST;
    const PAIR_COST: usize = Multiply::PAIR_COST;

    type Wide = One;
    type Sixteen = Halves;

    #[inline(always)]
    fn wide(_: Avx2<Self>) -> One {
        // SAFETY: an `Avx2` of this is proof of AVX-512.
        unsafe { One::new() }
    }

    #[inline(always)]
    fn ratio(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX-512.
        unsafe { ratio(a, b) }
    }

    fn detect() -> Option<Self> {
        let all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512vl");
        Multiply::detect().filter(|_| all).map(Self)
    }

    fn run<K: Kernel>(simd: Avx2<Self>, kernel: K) {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl")]
        fn compiled<K: Kernel>(simd: Avx2<Avx512>, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: an `Avx2` of this exists only where all these features were detected.
        unsafe { compiled(simd, kernel) }
    }

    #[inline(always)]
    fn pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        self.0.pairs(sum, a, b)
    }

    #[inline(always)]
    fn quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i {
        self.0.quads(sum, bytes, weights)
    }
}

impl Beside for Avx512Vnni {
    const LIMIT: i32 = i32::MAX;
    const QUAD_COST: usize = 1;
    const PAIR_COST: usize = 1;

    type Wide = One;
    type Sixteen = Whole;

    #[inline(always)]
    fn wide(_: Avx2<Self>) -> One {
        // SAFETY: an `Avx2` of this is proof of AVX-512.
        unsafe { One::new() }
    }

    #[inline(always)]
    fn ratio(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX-512.
        unsafe { ratio(a, b) }
    }

    fn detect() -> Option<Self> {
        Avx512::detect().filter(|_| is_x86_feature_detected!("avx512vnni")).map(|_| Self(()))
    }

    fn run<K: Kernel>(simd: Avx2<Self>, kernel: K) {
        #[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
        fn compiled<K: Kernel>(simd: Avx2<Avx512Vnni>, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: an `Avx2` of this exists only where all these features were detected.
        unsafe { compiled(simd, kernel) }
    }

    #[inline(always)]
    fn pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of both features.
        unsafe { _mm256_dpwssd_epi32(sum, a, b) }
    }

    #[inline(always)]
    fn quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpbusd_epi32(sum, bytes, weights) }
    }
}

impl Beside for AvxVnni {
    const LIMIT: i32 = i32::MAX;
    const QUAD_COST: usize = 1;
    const PAIR_COST: usize = 1;

    type Wide = Pair<Avx2<Self>>;
    type Sixteen = Halves;

    #[inline(always)]
    fn wide(simd: Avx2<Self>) -> Self::Wide {
        Pair(simd)
    }

    #[inline(always)]
    fn ratio(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_div_ps(a, b) }
    }

    fn detect() -> Option<Self> {
        Multiply::detect().filter(|_| is_x86_feature_detected!("avxvnni")).map(|_| Self(()))
    }

    fn run<K: Kernel>(simd: Avx2<Self>, kernel: K) {
        #[target_feature(enable = "avx2,fma,avxvnni")]
        fn compiled<K: Kernel>(simd: Avx2<AvxVnni>, kernel: K) {
            kernel.run(simd);
        }
        // SAFETY: an `Avx2` of this exists only where all three features were detected.
        unsafe { compiled(simd, kernel) }
    }

    #[inline(always)]
    fn pairs(self, sum: __m256i, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` is proof of the feature.
        unsafe { _mm256_dpwssd_avx_epi32(sum, a, b) }
    }

    #[inline(always)]
    fn quads(self, sum: __m256i, bytes: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_dpbusd_avx_epi32(sum, bytes, weights) }
    }
}

/// A division takes as long as five products.
#[inline]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
fn ratio(a: __m256, b: __m256) -> __m256 {
    let guess = _mm256_rcp14_ps(b);
    let inverse = _mm256_mul_ps(guess, _mm256_fnmadd_ps(b, guess, _mm256_set1_ps(2.0)));
    _mm256_mul_ps(a, inverse)
}
