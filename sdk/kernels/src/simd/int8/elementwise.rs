//! Tables, sums and real values of stored values that could not be made part of a convolution. One pass, a slice of a block of
//! channels an item; tables are looked up lane by lane.
//! *Measured* on Zen 3 by the example `profile`: a sum of sixteen values takes 18 cycles, most of them for its two divisions, and
//! reads and writes 8 GB/s where the machine copies 9 to 10.

use std::ops::Range;

use super::LANES;
use crate::layout::{BLOCK, View};
use crate::network::Quant;
use crate::simd::elementwise::Slice;
use crate::simd::memory::Memory;
use crate::simd::{Kernel, Simd};

/// What is done to each stored value.
#[derive(Debug)]
pub enum Function {
    /// It is looked up, by its bits.
    Map(Box<[i8; 256]>),
    /// Its real value and that of another image are added and stored.
    Add {
        /// The other image.
        plus: View,
        /// Of both.
        from: [Quant; 2],
        /// Of the sum.
        to: Quant,
    },
    /// It becomes its real value.
    Real(Quant),
    /// A real value times this is rounded, and the zero point is added.
    Quantize {
        /// Steps of a real value of 1.
        factor: f32,
        /// What 0 is stored as.
        zero_point: i16,
    },
}

impl Function {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Map(_) => "table",
            Self::Add { .. } => "sum",
            Self::Real(_) => "dequantization",
            Self::Quantize { .. } => "quantization",
        }
    }
}

/// A function of an image, planned.
#[derive(Debug)]
pub struct Elementwise {
    /// What is read.
    pub input: View,
    /// What is written.
    pub output: View,
    /// What is done.
    pub function: Function,
}

impl Elementwise {
    /// Blocks of stored values, on either side.
    pub fn blocks(&self) -> usize {
        self.output.shape.channels.div_ceil(LANES)
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
        let step = self.step;
        let place = |view: View| self.memory.at(view.block(self.slice.block));
        // SAFETY: images of one size, of whose output only this item writes this slice.
        unsafe {
            match &step.function {
                Function::Map(table) => {
                    self.map::<S>(table, place(step.input).cast_const().cast(), place(step.output).cast());
                }
                Function::Add { plus, from, to } => {
                    let images = [step.input, *plus].map(|view| place(view).cast_const().cast());
                    self.add(simd, images, *from, *to, place(step.output).cast());
                }
                Function::Real(quant) => self.real(simd, place(step.input).cast_const().cast(), *quant),
                Function::Quantize { factor, zero_point } => {
                    self.quantize::<S>(*factor, *zero_point, place(step.output).cast());
                }
            }
        }
    }
}

impl Item<'_> {
    fn pixels(&self) -> Range<usize> {
        self.slice.pixels.clone()
    }

    /// Looks every value up.
    ///
    /// # Safety
    /// Both must be blocks of the output's size.
    #[inline(always)]
    unsafe fn map<S: Simd>(&self, table: &[i8; 256], from: *const u8, to: *mut u8) {
        let (first, values) = (self.pixels().start * LANES, self.pixels().len() * LANES);
        // SAFETY: the slice of a block, for which the caller vouches.
        let from = unsafe { std::slice::from_raw_parts(from.add(first), values) };
        // SAFETY: as above.
        let to = unsafe { std::slice::from_raw_parts_mut(to.add(first), values) };
        for (to, from) in to.iter_mut().zip(from) {
            let code = S::BYTES.code(*from).cast_unsigned();
            *to = S::BYTES.byte(table[usize::from(code)]);
        }
    }

    /// Adds real values one after the other, as stated: nothing is fused.
    ///
    /// # Safety
    /// All must be blocks of the output's size.
    #[inline(always)]
    unsafe fn add<S: Simd>(
        &self,
        simd: S,
        from: [*const u8; 2],
        quants: [Quant; 2],
        to: Quant,
        output: *mut u8,
    ) {
        let bounds = to.bounds();
        let (low, high) = (simd.splat(bounds[0]), simd.splat(bounds[1]));
        let (scale, zero_point) = (simd.splat(to.scale), simd.splat_i32(to.zero_point + S::BYTES.offset));
        for pixel in self.pixels() {
            // SAFETY: a pixel of each block, for which the caller vouches.
            unsafe {
                let first = reals(simd, from[0].add(pixel * LANES), quants[0]);
                let second = reals(simd, from[1].add(pixel * LANES), quants[1]);
                let mut codes = [zero_point; 2];
                for (half, code) in codes.iter_mut().enumerate() {
                    let steps = simd.div(simd.add(first[half], second[half]), scale);
                    *code = simd.add_i32(*code, simd.nearest(simd.min(simd.max(steps, low), high)));
                }
                simd.store_saturated(output.add(pixel * LANES), codes);
            }
        }
    }

    /// Stores real values, in one or two blocks of floats.
    ///
    /// # Safety
    /// `from` must be a block of the output's size.
    #[inline(always)]
    unsafe fn real<S: Simd>(&self, simd: S, from: *const u8, quant: Quant) {
        let to = super::direct::target(self.memory, self.step.output, self.slice.block, 0, BLOCK);
        for pixel in self.pixels() {
            // SAFETY: a pixel of each block, for which the caller vouches.
            unsafe {
                let [first, second] = reals(simd, from.add(pixel * LANES), quant);
                simd.store(to.start.add(pixel * BLOCK), first);
                if let Some(to) = to.second {
                    simd.store(to.add(pixel * BLOCK), second);
                }
            }
        }
    }

    /// Quantizes one or two blocks of floats.
    ///
    /// # Safety
    /// `to` must be a block of the output's size.
    #[inline(always)]
    unsafe fn quantize<S: Simd>(&self, factor: f32, zero_point: i16, to: *mut u8) {
        let input = self.step.input;
        let first = LANES / BLOCK * self.slice.block;
        for (half, block) in (first..input.blocks().min(first + LANES / BLOCK)).enumerate() {
            let from = self.memory.at(input.block(block)).cast_const().cast::<[f32; BLOCK]>();
            for pixel in self.pixels() {
                // SAFETY: a pixel of each block, for which the caller vouches.
                unsafe {
                    let to = to.add(pixel * LANES + half * BLOCK).cast::<[u8; BLOCK]>();
                    super::convert::quantize::<S>(&*from.add(pixel), factor, zero_point, &mut *to);
                }
            }
        }
    }
}

/// The real values of sixteen stored ones.
///
/// # Safety
/// `from` must be valid for reading them.
#[inline(always)]
unsafe fn reals<S: Simd>(simd: S, from: *const u8, quant: Quant) -> [S::V; 2] {
    let zero_point = simd.splat_i32(quant.zero_point + S::BYTES.offset);
    // SAFETY: the caller vouches for sixteen values.
    let codes = simd.widen(unsafe { simd.load_bytes(from) });
    let scale = simd.splat(quant.scale);
    let mut reals = [scale; 2];
    for (real, codes) in reals.iter_mut().zip(codes) {
        *real = simd.mul(simd.real(simd.sub_i32(codes, zero_point)), scale);
    }
    reals
}
