//! What happens to the sums of a tile.

use super::Sums;
use crate::simd::Simd;
use crate::simd::int8::LANES;
use crate::simd::int8::epilogue::{self, Ending, Target};
use crate::simd::integers::Sixteen;

/// What happens to sums in the end.
pub trait End: Copy {
    /// Takes the sums of `P` pixels from pixel `first` of the job on.
    ///
    /// # Safety
    /// Where they go must be valid to write, with nobody else writing.
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [Sums<S>; P]);
}

/// They are stored, sixteen a pixel.
#[derive(Clone, Copy)]
pub struct Store(pub *mut i32);

impl End for Store {
    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [Sums<S>; P]) {
        for (p, sums) in sums.into_iter().enumerate() {
            // SAFETY: the caller vouches for the pixels.
            unsafe { S::Sixteen::store(simd, self.0.add((first + p) * LANES), sums) };
        }
    }
}

/// They end as this block of an output.
#[derive(Clone, Copy)]
pub struct Finish<'a> {
    /// What becomes of them.
    pub ending: &'a Ending,
    /// Which block of sixteen channels.
    pub block: usize,
    /// Where that is.
    pub to: Target,
}

impl End for Finish<'_> {
    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn take<S: Simd, const P: usize>(self, simd: S, first: usize, sums: [Sums<S>; P]) {
        // SAFETY: the caller vouches for the pixels, and the plan for entries of the block.
        unsafe { epilogue::finish(simd, self.ending, self.block, sums, self.to.from(first)) }
    }
}
