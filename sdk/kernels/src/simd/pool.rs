//! Max pooling, separable: the maximum of each row's window first, then of those over rows. 2·k maxima a pixel, not k².
//!
//! Blocking: an item is a block of channels, whose row maxima lie in the worker's own memory, in L2 for the image sizes at
//! which detectors pool. Bound by loads: one a maximum. *Measured* on Zen 3 by the
//! example `profile`: a maximum of a vector takes 2.7 cycles, of which two loads a cycle would need half a one; three poolings of
//! 128 channels are 0.3 % of a yolov5n.

use std::marker::PhantomData;

use super::memory::Memory;
use super::pixel::Pixel;
use super::{Kernel, Simd};
use crate::layout::View;

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
        self.input.shape.height * self.output.shape.width * self.output.kind.floats()
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
        let pixel = P::KIND.floats();
        let from = self.memory.at(self.step.input.block(self.block));
        let rows = self.memory.at(self.scratch);
        let to = self.memory.at(self.step.output.block(self.block));
        for y in 0..input.height {
            let line = Line {
                from: from.wrapping_add(y * input.width * pixel),
                from_stride: pixel,
                length: input.width,
                to: rows.wrapping_add(y * output.width * pixel),
                to_stride: pixel,
                outputs: output.width,
            };
            // SAFETY: a row of the image, and one of the worker's own memory.
            unsafe { self.pool(simd, 1, line) };
        }
        for x in 0..output.width {
            let line = Line {
                from: rows.wrapping_add(x * pixel),
                from_stride: output.width * pixel,
                length: input.height,
                to: to.wrapping_add(x * pixel),
                to_stride: output.width * pixel,
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
