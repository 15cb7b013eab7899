//! The steps of a plan that compute stored values of int8 models.

mod convolution;
pub mod weights;

use std::marker::PhantomData;

use crate::layout::View;
use crate::network::{IntegerConvolution, Windows};
use crate::simd::Isa;
use crate::simd::elementwise::Slice;
use crate::simd::int8::convert::{Pack, PackItem, Planes, Unpack, UnpackItem};
use crate::simd::int8::direct::{self, Direct};
use crate::simd::int8::elementwise::{self, Elementwise, Function};
use crate::simd::int8::winograd::{self, Winograd};
use crate::simd::pixel::Codes;
use crate::simd::pool::{self, MaxPool};

use super::Machine;
use super::image::{Buffers, Given, Wanted};
use super::step::PACKED_ROWS;

/// One kernel on its images.
#[derive(Debug)]
pub enum Step {
    /// A caller's image, by number, into blocks.
    Pack(Pack, usize),
    /// A convolution tap by tap.
    Direct(Direct),
    /// A convolution with fewer multiplications.
    Winograd(Winograd),
    /// A function of each value.
    Elementwise(Elementwise),
    /// Max pooling.
    MaxPool(MaxPool),
    /// An image out of blocks, to a caller's by number.
    Unpack(Unpack, usize),
}

impl Step {
    /// Plans `conv` from `input` to `output`.
    pub fn convolution(conv: &IntegerConvolution, input: View, output: View, machine: Machine) -> Self {
        convolution::plan(conv, input, output, machine)
    }

    /// Plans a function of each value.
    pub fn elementwise(input: View, output: View, function: Function) -> Self {
        Self::Elementwise(Elementwise { input, output, function })
    }

    /// Plans a max pooling.
    pub fn max_pool(input: View, output: View, windows: Windows) -> Self {
        let Windows { kernel, stride, pad, .. } = windows;
        Self::MaxPool(MaxPool { input, output, kernel, stride, pad })
    }

    /// Into how many parts it is divided, each of which one worker computes.
    pub fn items(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.output.shape.height.div_ceil(PACKED_ROWS),
            Self::Direct(conv) => conv.items.len(),
            Self::Winograd(conv) => conv.bounds.len() - 1,
            Self::Elementwise(step) => Slice::count(step.blocks()),
            Self::MaxPool(step) => step.output.blocks(),
            Self::Unpack(step, _) => step.input.blocks(),
        }
    }

    /// Floats that a worker needs beside the images.
    pub fn scratch(&self) -> usize {
        match self {
            Self::Winograd(conv) => convolution::scratch(conv),
            Self::MaxPool(step) => step.scratch(),
            _ => 0,
        }
    }

    /// Computes item `item`; `scratch` is the first float of what the worker has for itself.
    pub fn run(&self, isa: Isa, item: usize, buffers: &Buffers<'_>, scratch: usize) {
        let memory = buffers.memory;
        match self {
            Self::Pack(step, input) => {
                let rows = item * PACKED_ROWS..((item + 1) * PACKED_ROWS).min(step.output.shape.height);
                let planes = match buffers.inputs[*input] {
                    Given::Real(reals) => Planes::Reals(reals),
                    Given::Stored(codes) => Planes::Codes(codes),
                };
                isa.run(PackItem { step, rows, planes, memory });
            }
            Self::Direct(conv) => isa.run_on_bytes(direct::Item { conv, item, memory, output: conv.output }),
            Self::Winograd(conv) => isa.run(winograd::Item { conv, item, memory, scratch }),
            Self::Elementwise(step) => {
                let slice = Slice::of(item, step.blocks(), step.output.shape.pixels());
                isa.run(elementwise::Item { step, slice, memory });
            }
            Self::MaxPool(step) => {
                isa.run(pool::Item { step, block: item, memory, scratch, pixel: PhantomData::<Codes> });
            }
            Self::Unpack(step, output) => {
                if let Wanted::Stored(planes) = buffers.outputs[*output] {
                    isa.run(UnpackItem { step, block: item, memory, planes });
                }
            }
        }
    }

    /// Multiplications and additions, counted without what is saved.
    pub fn flops(&self) -> usize {
        match self {
            Self::Direct(conv) => 2 * conv.kernel * conv.input.shape.channels * conv.output.shape.len(),
            Self::Winograd(conv) => 2 * 9 * conv.input.shape.channels * conv.output.shape.len(),
            _ => 0,
        }
    }

    /// What it does, to which sizes.
    pub fn name(&self) -> String {
        match self {
            Self::Pack(step, _) => format!("int8 pack {}", step.output.shape),
            Self::Direct(conv) => {
                format!("int8 direct, {} taps, {} to {}", conv.kernel, conv.input.shape, conv.output.shape)
            }
            Self::Winograd(conv) => {
                format!("int8 Winograd 4x4, {} to {}", conv.input.shape, conv.output.shape)
            }
            Self::Elementwise(step) => format!("int8 {} {}", step.function.name(), step.output.shape),
            Self::MaxPool(step) => format!("int8 max pooling {}", step.output.shape),
            Self::Unpack(step, _) => format!("int8 unpack {}", step.input.shape),
        }
    }
}
