//! Into blocks of channels and out of them: the images that callers have lie plane by plane.
//!
//! Bound by memory. An item is a band of rows, so that the eight planes that one block meets are read, or written, as eight
//! streams; [`Pack`] can also turn 2×2 pixels into channels, which makes the first convolution one of stride 1.

use super::memory::Memory;
use super::{BLOCK, Kernel, Simd};
use crate::layout::{Shape, View};

/// Planes into blocks.
#[derive(Debug, Clone, Copy)]
pub struct Pack {
    /// Size of the planes.
    pub input: Shape,
    /// What is written.
    pub output: View,
    /// Rows and columns of pixels that become channels: channel `(y · factor + x) · channels + c`.
    pub factor: usize,
}

/// Some rows of the output of a [`Pack`].
pub struct PackItem<'a> {
    /// What is done.
    pub step: &'a Pack,
    /// The rows.
    pub rows: std::ops::Range<usize>,
    /// The planes.
    pub planes: &'a [f32],
    /// Where the output lies.
    pub memory: Memory<'a>,
}

impl Kernel for PackItem<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for block in 0..self.step.output.shape.blocks() {
            for row in self.rows.clone() {
                self.line(block, row);
            }
        }
    }
}

impl PackItem<'_> {
    /// One row of one block.
    #[inline(always)]
    fn line(&self, block: usize, row: usize) {
        let (input, output, factor) = (self.step.input, self.step.output, self.step.factor);
        let to = self.memory.at(output.block(block) + row * output.shape.width * BLOCK);
        // SAFETY: a row of the output, which only this item writes.
        let pixels = unsafe { std::slice::from_raw_parts_mut(to.cast::<[f32; BLOCK]>(), output.shape.width) };
        for lane in 0..BLOCK {
            let channel = block * BLOCK + lane;
            let (part, plane) = (channel / input.channels, channel % input.channels);
            let (y, x) = (row * factor + part / factor, part % factor);
            let there = part < factor * factor && y < input.height;
            let start = (plane * input.height + y) * input.width;
            let line = if there { &self.planes[start..start + input.width] } else { &[] };
            let values = line.iter().skip(x).step_by(factor).copied().chain(std::iter::repeat(0.0));
            for (pixel, value) in pixels.iter_mut().zip(values) {
                pixel[lane] = value;
            }
        }
    }
}

/// Blocks into planes.
#[derive(Debug, Clone, Copy)]
pub struct Unpack {
    /// What is read.
    pub input: View,
}

/// One block of an [`Unpack`].
pub struct UnpackItem<'a> {
    /// What is done.
    pub step: &'a Unpack,
    /// Which block.
    pub block: usize,
    /// Where the input lies.
    pub memory: Memory<'a>,
    /// The planes.
    pub planes: Memory<'a>,
}

impl Kernel for UnpackItem<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let shape = self.step.input.shape;
        let pixels = shape.pixels();
        let first = self.block * BLOCK;
        let from = self.memory.at(self.step.input.block(self.block)).cast::<[f32; BLOCK]>();
        // SAFETY: a block of an image that nobody writes meanwhile.
        let from = unsafe { std::slice::from_raw_parts(from.cast_const(), pixels) };
        for lane in 0..BLOCK.min(shape.channels - first) {
            let to = self.planes.at((first + lane) * pixels);
            // SAFETY: a plane of the output, which only this item writes.
            let to = unsafe { std::slice::from_raw_parts_mut(to, pixels) };
            for (to, from) in to.iter_mut().zip(from) {
                *to = from[lane];
            }
        }
    }
}
