//! All code that is written for vector units: one trait over their arithmetic, one generic kernel for each operation.
//! `unsafe` stands in this folder only; what is computed where is decided by `plan`.
//!
//! A kernel is a struct with a method that is generic over [`Simd`]; [`Isa::run`] compiles it once for each instruction
//! set, inside a function that has the features, into which everything is inlined.

#[cfg(target_arch = "x86_64")]
mod avx2;
pub mod convert;
pub mod direct;
pub mod elementwise;
pub mod epilogue;
pub mod int8;
pub mod integers;
pub mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
pub mod peak;
pub mod pool;
mod portable;
pub mod tile;
pub mod upsample;
pub mod winograd;

pub use crate::layout::BLOCK;
use integers::Integers;

/// A vector unit, seen as lanes for one block of channels: eight floats, in as many registers as that takes. A value of
/// such a type is proof that the processor has the unit.
pub trait Simd: Integers {
    /// Eight floats.
    type V: Copy;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::V;

    /// Reads eight floats.
    ///
    /// # Safety
    /// `from` must be valid for reading eight floats.
    unsafe fn load(self, from: *const f32) -> Self::V;

    /// Writes eight floats.
    ///
    /// # Safety
    /// `to` must be valid for writing eight floats.
    unsafe fn store(self, to: *mut f32, value: Self::V);

    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a / b`.
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// The greater.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, fused where the unit can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// `a` times 2 to the power of n, where `shifted` is 1.5 · 2²³ + n and the result is a normal number.
    fn scale(self, a: Self::V, shifted: Self::V) -> Self::V;

    /// The numbers of `sums`, rounded to the nearest float, halves to even.
    fn real(self, sums: Self::I) -> Self::V;
    /// The whole numbers nearest to `values`, which are below 2²² in magnitude, halves to even.
    fn nearest(self, values: Self::V) -> Self::I;

    /// Asks for the cache line at `address`, which need not be valid, to be brought close.
    fn prefetch(self, _address: *const f32) {}
}

/// Something to run on a vector unit.
pub trait Kernel {
    /// Runs it. Implementations are `#[inline(always)]`, so that they are compiled with the unit's features.
    fn run<S: Simd>(self, simd: S);
}

/// An instruction set that kernels are compiled for.
#[derive(Debug, Clone, Copy)]
pub enum Isa {
    /// What every processor of the target has.
    Portable(PortableToken),
    /// 256-bit vectors with fused multiplication.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    /// 128-bit vectors with fused multiplication.
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon),
}

/// Stands for [`Isa::Portable`]'s vector unit.
pub type PortableToken = portable::Portable;

impl Isa {
    /// The best that this processor has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::portable())
    }

    /// What every processor has.
    pub fn portable() -> Self {
        Self::Portable(portable::Portable)
    }

    /// All that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let best = avx2::Avx2::detect().map(Self::Avx2);
        #[cfg(target_arch = "aarch64")]
        let best = Some(Self::Neon(neon::Neon));
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let best = None;
        std::iter::once(Self::portable()).chain(best).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
        }
    }

    /// Runs `kernel` compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) {
        match self {
            Self::Portable(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => kernel.run(simd),
        }
    }
}
