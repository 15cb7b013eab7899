//! All code that is written for vector units: one trait over their arithmetic, one generic kernel for each operation.
//! `unsafe` stands in this folder only; what is computed where is decided by `plan`.
//!
//! A kernel is a struct with a method that is generic over [`Simd`]; [`Isa::run`] compiles it once for each instruction
//! set, inside a function that has the features, into which everything is inlined.

#[cfg(not(any(feature = "portable", target_arch = "aarch64")))]
compile_error!(
    "only 64-bit Arm can be without the unit in plain Rust: build `kernels` with its feature `portable`"
);

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
pub mod pixel;
pub mod planes;
pub mod pool;
#[cfg(feature = "portable")]
mod portable;
pub mod reals;
pub mod tile;
pub mod upsample;
pub mod winograd;

pub use crate::layout::BLOCK;
use integers::{Bytes, Integers, Sixteen};
use reals::Reals;

/// Adding and subtracting it rounds floats below 2²² in magnitude to whole numbers, halves to even, without a call. Between the two
/// the last bits are that number.
const ROUND: f32 = 12_582_912.0;

/// Sixteen floats.
pub type Wide<S> = <<S as Simd>::Wide as Reals>::V;

/// A vector unit, seen as lanes for one block of channels: eight floats, in as many registers as that takes. A value of
/// such a type is proof that the processor has the unit.
pub trait Simd: Reals + Integers {
    /// Sixteen floats, in as few registers as the unit has.
    type Wide: Reals;
    /// Sixteen sums of integers, likewise.
    type Sixteen: Sixteen<Self>;

    /// Into how many sums, which do not wait for each other, a tile divides each of its own: enough to keep the unit busy.
    const CHAINS: usize = 1;
    /// Most blocks of output channels that a tile of six pixels has registers for, and still some for weights: two, four or eight.
    const BLOCKS: usize = 2;

    /// Arithmetic of sixteen floats.
    fn wide(self) -> Self::Wide;

    /// The lanes of both in turn, the first eight of them and the last.
    fn zip(self, a: Self::V, b: Self::V) -> [Self::V; 2];

    /// The numbers of `sums`, rounded to the nearest float, halves to even.
    fn real(self, sums: Self::I) -> Self::V;
    /// The whole numbers nearest to `values`, halves to even; of values from 2²² on to 2³⁰ in magnitude, some that are nearly as
    /// large.
    fn nearest(self, values: Self::V) -> Self::I;

    /// The eight of one, then the eight of the other.
    fn join(self, halves: [Self::V; 2]) -> Wide<Self>;
    /// The first eight and the last.
    fn halves(self, wide: Wide<Self>) -> [Self::V; 2];

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
    /// What every processor has.
    #[cfg(feature = "portable")]
    Portable(PortableToken),
    /// 256-bit vectors with fused multiplication.
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2<avx2::Multiply>),
    /// The same with products of integers added in one instruction.
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx2::Avx2<avx2::AvxVnni>),
    /// The same without it, with sixteen floats a register.
    #[cfg(target_arch = "x86_64")]
    Avx512(avx2::Avx2<avx2::Avx512>),
    /// With both.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(avx2::Avx2<avx2::Avx512Vnni>),
    /// 128-bit vectors with fused multiplication.
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon<neon::Multiply>),
    /// The same with products of bytes added in one instruction.
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::Neon<neon::DotProduct>),
}

/// Stands for [`Isa::Portable`]'s vector unit.
#[cfg(feature = "portable")]
pub type PortableToken = portable::Portable;

impl Isa {
    /// The best that this processor has.
    pub fn detect() -> Self {
        Self::available().pop().unwrap_or(Self::ALWAYS)
    }

    /// What every processor of the target has.
    #[cfg(feature = "portable")]
    const ALWAYS: Self = Self::Portable(portable::Portable);
    /// What every processor of the target has.
    #[cfg(not(feature = "portable"))]
    const ALWAYS: Self = Self::Neon(neon::Neon::ALWAYS);

    /// All that this processor has, the best last.
    pub fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let better = [
            avx2::Avx2::detect().map(Self::Avx2),
            avx2::Avx2::detect().map(Self::AvxVnni),
            avx2::Avx2::detect().map(Self::Avx512),
            avx2::Avx2::detect().map(Self::Avx512Vnni),
        ];
        #[cfg(target_arch = "aarch64")]
        let better = [neon::Neon::detect().map(Self::Neon), neon::Neon::detect().map(Self::NeonDot)];
        #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
        let better = [];
        let portable = cfg!(feature = "portable").then_some(Self::ALWAYS);
        portable.into_iter().chain(better.into_iter().flatten()).collect()
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "portable")]
            Self::Portable(_) => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(_) => "avx2 with vnni",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) => "avx512",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(_) => "avx512 with vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot(_) => "neon with sdot",
        }
    }

    /// Whether sixteen floats are one register.
    pub(crate) fn has_wide_registers(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(_) | Self::Avx512Vnni(_) => true,
            _ => false,
        }
    }

    /// How its bytes stand for stored values.
    pub fn bytes(self) -> Bytes {
        struct Ask<'a>(&'a mut Bytes);
        impl Kernel for Ask<'_> {
            #[inline(always)]
            fn run<S: Simd>(self, _: S) {
                *self.0 = S::BYTES;
            }
        }
        let mut bytes = Bytes::EXACT;
        self.run_on_bytes(Ask(&mut bytes));
        bytes
    }

    /// Runs `kernel` compiled for this instruction set.
    pub fn run<K: Kernel>(self, kernel: K) {
        match self {
            #[cfg(feature = "portable")]
            Self::Portable(simd) => kernel.run(simd),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::AvxVnni(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512(simd) => simd.run(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni(simd) => simd.run(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon(simd) => simd.run(kernel),
            // What does not multiply bytes is the same, and programs of boards have no room for it twice.
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot(simd) => Self::Neon(simd.without()).run(kernel),
        }
    }

    /// As [`Isa::run`], for a kernel that multiplies bytes.
    pub fn run_on_bytes<K: Kernel>(self, kernel: K) {
        #[cfg(target_arch = "aarch64")]
        if let Self::NeonDot(simd) = self {
            return simd.run(kernel);
        }
        self.run(kernel);
    }
}
