//! Sums, activations and copies that could not be made part of a convolution. Bound by memory: one pass, a block of
//! channels an item.

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

/// One block of channels.
pub struct Item<'a> {
    /// What is done.
    pub step: &'a Elementwise,
    /// Which block.
    pub block: usize,
    /// Where the images lie.
    pub memory: Memory<'a>,
}

impl Kernel for Item<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let step = self.step;
        let from = self.memory.at(step.input.block(self.block));
        let plus = step.plus.map(|view| self.memory.at(view.block(self.block)));
        let to = self.memory.at(step.output.block(self.block));
        for pixel in 0..step.output.shape.pixels() {
            // SAFETY: a pixel of each image; only this item writes this block.
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
