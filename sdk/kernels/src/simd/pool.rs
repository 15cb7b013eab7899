//! Max pooling, separable: the maximum of each row's window first, then of those over rows. 2·k maxima a pixel, not k².
//!
//! Blocking: an item is a block of channels, whose row maxima lie in the worker's own memory, in L2 for the image sizes at
//! which detectors pool. Bound by loads: one a maximum.

use std::marker::PhantomData;

use super::memory::Memory;
use super::{BLOCK, Kernel, Simd};
use crate::layout::View;

/// What the lanes of a pixel hold; pixels of either kind take as many bytes.
pub trait Pixel {
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
    type V<S: Simd> = S::H;

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32) -> S::H {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.load_i16(from.cast()) }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store<S: Simd>(simd: S, to: *mut f32, value: S::H) {
        // SAFETY: the caller vouches for a pixel.
        unsafe { simd.store_i16(to.cast(), value) }
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

/// A max pooling, planned.
#[derive(Debug, Clone, Copy)]
pub struct MaxPool {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// Rows and columns of the window.
    pub kernel: [usize; 2],
    /// Rows and columns from a window to the next.
    pub stride: [usize; 2],
    /// Rows and columns before the image, which never are the maximum.
    pub pad: [usize; 2],
}

impl MaxPool {
    /// Floats that an item needs beside the images.
    pub fn scratch(&self) -> usize {
        self.input.shape.height * self.output.shape.width * BLOCK
    }
}

/// One block of channels, of pixels `P`.
pub struct Item<'a, P> {
    /// What is done.
    pub step: &'a MaxPool,
    /// Which block.
    pub block: usize,
    /// Where the images lie.
    pub memory: Memory<'a>,
    /// The worker's own part of the memory: its first float.
    pub scratch: usize,
    /// What pixels hold.
    pub pixel: PhantomData<P>,
}

/// A line to pool along. Strides are in floats.
#[derive(Clone, Copy)]
struct Line {
    from: *const f32,
    from_stride: usize,
    length: usize,
    to: *mut f32,
    to_stride: usize,
    outputs: usize,
}

impl<P: Pixel> Kernel for Item<'_, P> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (input, output) = (self.step.input.shape, self.step.output.shape);
        let from = self.memory.at(self.step.input.block(self.block));
        let rows = self.memory.at(self.scratch);
        let to = self.memory.at(self.step.output.block(self.block));
        for y in 0..input.height {
            let line = Line {
                from: from.wrapping_add(y * input.width * BLOCK),
                from_stride: BLOCK,
                length: input.width,
                to: rows.wrapping_add(y * output.width * BLOCK),
                to_stride: BLOCK,
                outputs: output.width,
            };
            // SAFETY: a row of the image, and one of the worker's own memory.
            unsafe { self.pool(simd, 1, line) };
        }
        for x in 0..output.width {
            let line = Line {
                from: rows.wrapping_add(x * BLOCK),
                from_stride: output.width * BLOCK,
                length: input.height,
                to: to.wrapping_add(x * BLOCK),
                to_stride: output.width * BLOCK,
                outputs: output.height,
            };
            // SAFETY: a column of row maxima, and one of the output, whose block only this item writes.
            unsafe { self.pool(simd, 0, line) };
        }
    }
}

impl<P: Pixel> Item<'_, P> {
    /// Pools along `line`, which is an image's `axis`.
    ///
    /// # Safety
    /// The line must lie in memory.
    #[inline(always)]
    unsafe fn pool<S: Simd>(&self, simd: S, axis: usize, line: Line) {
        let [kernel, stride, pad] =
            [self.step.kernel, self.step.stride, self.step.pad].map(|both| both[axis]);
        for output in 0..line.outputs {
            let first = (output * stride).saturating_sub(pad);
            let end = (output * stride + kernel).saturating_sub(pad).min(line.length);
            let mut maximum = P::least(simd);
            for at in first..end {
                // SAFETY: within the line.
                let value = unsafe { P::load(simd, line.from.add(at * line.from_stride)) };
                maximum = P::max(simd, maximum, value);
            }
            // SAFETY: within the line.
            unsafe { P::store(simd, line.to.add(output * line.to_stride), maximum) };
        }
    }
}
