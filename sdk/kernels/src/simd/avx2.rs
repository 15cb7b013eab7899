//! AVX2 with FMA: a block of channels is one register. Only arithmetic; what is computed stands in the kernels.

mod beside;
mod integers;
mod whole;
mod wide;

use std::arch::x86_64::*;

pub use beside::{Avx512, Avx512Vnni, AvxVnni, Beside, Multiply};
use wide::Registers;

use super::reals::Reals;
use super::{Kernel, Simd, Wide};

/// Proof that this processor has AVX2, FMA and the instructions of `D`.
#[derive(Debug, Clone, Copy)]
pub struct Avx2<D>(D);

impl<D: Beside> Avx2<D> {
    /// The proof, where the processor has them.
    pub fn detect() -> Option<Self> {
        D::detect().map(Self)
    }

    /// Runs `kernel` compiled for them.
    pub(super) fn run<K: Kernel>(self, kernel: K) {
        D::run(self, kernel);
    }
}

impl<D: Beside> Reals for Avx2<D> {
    type V = __m256;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_set1_ps(value) }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> __m256 {
        // SAFETY: `self` is proof of AVX, and the caller vouches for eight floats.
        unsafe { _mm256_loadu_ps(from) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, value: __m256) {
        // SAFETY: `self` is proof of AVX, and the caller vouches for eight floats.
        unsafe { _mm256_storeu_ps(to, value) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_min_ps(a, b) }
    }

    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` is proof of FMA.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn scale(self, a: __m256, shifted: __m256) -> __m256 {
        // SAFETY: `self` is proof of AVX2.
        unsafe {
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted));
            _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), exponent))
        }
    }

    #[inline(always)]
    fn ratio(self, a: __m256, b: __m256) -> __m256 {
        self.0.ratio(a, b)
    }
}

impl<D: Beside> Simd for Avx2<D> {
    type Wide = D::Wide;
    type Sixteen = D::Sixteen;

    const CHAINS: usize = D::Wide::CHAINS;
    const BLOCKS: usize = D::Wide::BLOCKS;

    #[inline(always)]
    fn wide(self) -> D::Wide {
        D::wide(self)
    }

    #[inline(always)]
    fn join(self, halves: [__m256; 2]) -> Wide<Self> {
        self.wide().join(halves)
    }

    #[inline(always)]
    fn halves(self, wide: Wide<Self>) -> [__m256; 2] {
        self.wide().halves(wide)
    }

    #[inline(always)]
    fn zip(self, a: __m256, b: __m256) -> [__m256; 2] {
        // SAFETY: `self` is proof of AVX.
        unsafe {
            // Of each half of both.
            let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
        }
    }

    #[inline(always)]
    fn real(self, sums: __m256i) -> __m256 {
        // SAFETY: `self` is proof of AVX.
        unsafe { _mm256_cvtepi32_ps(sums) }
    }

    #[inline(always)]
    fn nearest(self, values: __m256) -> __m256i {
        // SAFETY: `self` is proof of AVX; rounding is to nearest, as Rust asks of the environment.
        unsafe { _mm256_cvtps_epi32(values) }
    }

    #[inline(always)]
    fn prefetch(self, address: *const f32) {
        if D::Wide::PREFETCHES {
            // SAFETY: a hint, for which any address will do.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }
    }
}
