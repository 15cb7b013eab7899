//! Into blocks of stored values and out of them: the images that callers have lie plane by plane, as reals that are quantized on
//! the way or as stored values.
//!
//! An item is a band of rows, or a block. Lines are quantized as they lie, where that is fast, and spread into lanes then. *Measured*
//! on Zen 3 by the example `profile`: packing reads and writes 5.3 GB/s where the machine copies 9 to 10; spreading, two bytes a
//! store, is what it waits for.

use std::ops::Range;

use super::LANES;
use crate::layout::{Shape, View};
use crate::simd::memory::Memory;
use crate::simd::{Kernel, ROUND, Simd};

/// Pixels that are packed together.
const CHUNK: usize = 256;

/// How the planes of a caller become stored values.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// They are.
    Codes,
    /// They are multiplied by this and rounded, and the zero point is added.
    Reals { factor: f32, zero_point: i16 },
}

/// Planes into blocks.
#[derive(Debug, Clone, Copy)]
pub struct Pack {
    /// Size of the planes.
    pub input: Shape,
    /// What is written.
    pub output: View,
    /// Rows and columns of pixels that become channels: channel `(c · factor + y) · factor + x`.
    pub factor: usize,
    /// What planes hold.
    pub source: Source,
    /// What stands beyond the last pixel.
    pub border: i8,
}

/// Planes of a caller.
#[derive(Debug, Clone, Copy)]
pub enum Planes<'a> {
    /// Reals.
    Reals(&'a [f32]),
    /// Stored values.
    Codes(&'a [i8]),
}

/// Some rows of the output of a [`Pack`].
pub struct PackItem<'a> {
    /// What is done.
    pub step: &'a Pack,
    /// The rows.
    pub rows: Range<usize>,
    /// The planes.
    pub planes: Planes<'a>,
    /// Where the output lies.
    pub memory: Memory<'a>,
}

impl Kernel for PackItem<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for block in 0..self.step.output.blocks() {
            for row in self.rows.clone() {
                for first in (0..self.step.output.shape.width).step_by(CHUNK) {
                    let count = (self.step.output.shape.width - first).min(CHUNK);
                    self.part::<S>(block, row, first..first + count);
                }
            }
        }
    }
}

impl PackItem<'_> {
    /// Some pixels of one row of one block.
    #[inline(always)]
    fn part<S: Simd>(&self, block: usize, row: usize, columns: Range<usize>) {
        let Pack { output, factor, border, .. } = *self.step;
        let pixel = row * output.shape.width + columns.start;
        let to = self.memory.at(output.block(block) + pixel * output.kind.floats()).cast::<[u8; LANES]>();
        // SAFETY: pixels of the output, which only this item writes.
        let pixels = unsafe { std::slice::from_raw_parts_mut(to, columns.len()) };
        let mut line = [0_u8; 2 * CHUNK];
        for group in 0..LANES / factor {
            let channel = block * LANES + group * factor;
            let (plane, part) = (channel / (factor * factor), channel % (factor * factor) / factor);
            let line = &mut line[..columns.len() * factor];
            line.fill(S::BYTES.byte(border));
            self.read::<S>(plane, row * factor + part, columns.start * factor, line);
            if factor == 2 {
                for (pixel, pair) in pixels.iter_mut().zip(line.as_chunks::<2>().0) {
                    pixel[2 * group..2 * group + 2].copy_from_slice(pair);
                }
            } else {
                for (pixel, value) in pixels.iter_mut().zip(line) {
                    pixel[group] = *value;
                }
            }
        }
    }

    /// The bytes of row `y` of a plane from column `x` on, as far as there are any.
    #[inline(always)]
    fn read<S: Simd>(&self, plane: usize, y: usize, x: usize, line: &mut [u8]) {
        let Shape { channels, height, width } = self.step.input;
        if plane >= channels || y >= height {
            return;
        }
        let row = (plane * height + y) * width;
        let range = row + x..row + width;
        match (self.planes, self.step.source) {
            (Planes::Reals(reals), Source::Reals { factor, zero_point }) => {
                quantize::<S>(&reals[range], factor, zero_point, line);
            }
            (Planes::Codes(codes), _) => {
                line.iter_mut().zip(&codes[range]).for_each(|(to, &code)| *to = S::BYTES.byte(code));
            }
            (Planes::Reals(_), Source::Codes) => {}
        }
    }
}

/// Multiplied, rounded to the nearest whole number, halves to even, shifted and saturated. NaN becomes the zero point.
#[inline(always)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "bounded, the last eight bits; NaN is handled"
)]
pub fn quantize<S: Simd>(reals: &[f32], factor: f32, zero_point: i16, line: &mut [u8]) {
    let low = f32::from(-128 - zero_point);
    let high = f32::from(127 - zero_point);
    let zero = i32::from(zero_point) + S::BYTES.offset;
    for (to, real) in line.iter_mut().zip(reals) {
        let steps = (real * factor).clamp(low, high);
        let steps = if steps.is_nan() { 0.0 } else { steps };
        // SAFETY: bounded, and not NaN.
        *to = (unsafe { (steps + ROUND - ROUND).to_int_unchecked::<i32>() } + zero) as u8;
    }
}

/// Blocks into planes of stored values.
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
    pub planes: Memory<'a, i8>,
}

impl Kernel for UnpackItem<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let shape = self.step.input.shape;
        let pixels = shape.pixels();
        let first = self.block * LANES;
        let from = self.memory.at(self.step.input.block(self.block)).cast::<[u8; LANES]>();
        // SAFETY: a block of an image that nobody writes meanwhile.
        let from = unsafe { std::slice::from_raw_parts(from.cast_const(), pixels) };
        for (number, chunk) in from.chunks(CHUNK).enumerate() {
            for lane in 0..LANES.min(shape.channels - first) {
                let to = self.planes.at((first + lane) * pixels + number * CHUNK);
                // SAFETY: a part of a plane of the output, which only this item writes.
                let to = unsafe { std::slice::from_raw_parts_mut(to, chunk.len()) };
                for (to, from) in to.iter_mut().zip(chunk) {
                    *to = S::BYTES.code(from[lane]);
                }
            }
        }
    }
}
