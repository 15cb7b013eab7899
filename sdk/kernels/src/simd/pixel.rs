//! A pixel of a block of channels, whatever it holds: for kernels that move and compare values.

use super::Simd;
use crate::layout::Kind;

/// What the lanes of a pixel hold.
pub trait Pixel {
    /// In floats or what takes their place.
    const KIND: Kind;

    /// A pixel in registers.
    type V<S: Simd>: Copy;

    /// Reads a pixel.
    ///
    /// # Safety
    /// `from` must be valid for reading it.
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> Self::V<S>;

    /// Writes a pixel.
    ///
    /// # Safety
    /// `to` must be valid for writing it.
    unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: Self::V<S>);

    /// The greater in each lane.
    fn max<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;

    /// No greater than anything.
    fn least<S: Simd>(simd: S) -> Self::V<S>;
}

/// Floats.
pub struct Reals;

impl Pixel for Reals {
    const KIND: Kind = Kind::Real;

    type V<S: Simd> = S::V;

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> S::V {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.load(from) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::V) {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.store(to, value) }
    }

    #[inline(always)]
    fn max<S: Simd>(simd: S, a: S::V, b: S::V) -> S::V {
        simd.max(a, b)
    }

    #[inline(always)]
    fn least<S: Simd>(simd: S) -> S::V {
        simd.splat(f32::NEG_INFINITY)
    }
}

/// Stored values of int8 models.
pub struct Codes;

impl Pixel for Codes {
    const KIND: Kind = Kind::Stored;

    type V<S: Simd> = S::H;

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> S::H {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.load_bytes(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::H) {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.store_bytes(to.cast(), value) }
    }

    #[inline(always)]
    fn max<S: Simd>(simd: S, a: S::H, b: S::H) -> S::H {
        simd.max_i16(a, b)
    }

    #[inline(always)]
    fn least<S: Simd>(simd: S) -> S::H {
        simd.splat_i16(i16::MIN)
    }
}
