//! Sums, activations and copies that could not be made part of a convolution. Bound by memory: one pass, a slice of a block of
//! channels an item. None of the models that are measured has one: their sums end convolutions.

use std::ops::Range;

use super::epilogue::activate;
use super::memory::Memory;
use super::{BLOCK, Kernel, Simd};
use crate::layout::View;
use crate::network::Activation;

/// The activation of an image, or of the sum of two.
#[derive(Debug, Clone, Copy)]
pub struct Elementwise {
    /// What is read.
    pub input: View,
    /// What is added before the activation.
    pub plus: Option<View>,
    /// What follows.
    pub activation: Activation,
    /// What is written.
    pub output: View,
}

/// Slices of a block: some images have a single block, which threads share.
const SLICES: usize = 4;

/// Some pixels of a block of channels.
#[derive(Debug)]
pub struct Slice {
    /// Which block.
    pub block: usize,
    /// Which of its pixels.
    pub pixels: Range<usize>,
}

impl Slice {
    /// How many there are of so many blocks.
    pub fn count(blocks: usize) -> usize {
        blocks * SLICES
    }

    /// The one with this number, of so many blocks with so many pixels: the first ones of all blocks, then the next.
    pub fn of(number: usize, blocks: usize, pixels: usize) -> Self {
        let (slice, block) = (number / blocks, number % blocks);
        Self { block, pixels: slice * pixels / SLICES..(slice + 1) * pixels / SLICES }
    }
}

/// One slice.
pub struct Item<'a> {
    /// What is done.
    pub step: &'a Elementwise,
    /// Which slice.
    pub slice: Slice,
    /// Where the images lie.
    pub memory: Memory<'a>,
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (step, Slice { block, pixels }) = (self.step, self.slice);
        let from = self.memory.at(step.input.block(block));
        let plus = step.plus.map(|view| self.memory.at(view.block(block)));
        let to = self.memory.at(step.output.block(block));
        for pixel in pixels {
            // SAFETY: a pixel of each image; only this item writes this slice.
            unsafe {
                let value = simd.load(from.add(pixel * BLOCK));
                let value = match plus {
                    Some(plus) => simd.add(value, simd.load(plus.add(pixel * BLOCK))),
                    None => value,
                };
                simd.store(to.add(pixel * BLOCK), activate(simd, step.activation, value));
            }
        }
    }
}
