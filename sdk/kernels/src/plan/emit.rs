//! Convolutions whose output only the caller wants: what an item computes is turned into planes while it is in L2, and the image in
//! blocks is never made.

use std::ops::Range;

use super::convolution::Planned;
use super::int8;
use super::step::Step;
use crate::layout::{BLOCK, Kind, Shape, View};
use crate::simd::Isa;
use crate::simd::convert::{Unpack, UnpackItem};
use crate::simd::direct::{self, Direct, Run};
use crate::simd::int8::direct as bytes;
use crate::simd::memory::Memory;

/// Such a convolution, each item of which computes neighboring pixels.
#[derive(Debug)]
pub struct Emit {
    conv: Points,
    output: Shape,
    /// Of each item.
    pixels: Vec<Range<usize>>,
}

#[derive(Debug)]
enum Points {
    Reals(Direct),
    Bytes(bytes::Direct),
}

impl Emit {
    /// Emits what `step` computes.
    ///
    /// # Errors
    /// The step as it was, where it is none whose items compute neighboring pixels each.
    pub fn of(step: Step) -> Result<Self, Box<Step>> {
        let (items, output) = match &step {
            Step::Convolution(Planned::Direct(conv)) if conv.plus.is_none() => (&conv.items, conv.output),
            Step::Int8(int8::Step::Direct(conv)) if conv.output.kind == Kind::Real => {
                (&conv.items, conv.output)
            }
            _ => return Err(Box::new(step)),
        };
        let Some(pixels) = items.iter().map(|runs| neighbors(runs)).collect() else {
            return Err(Box::new(step));
        };
        let conv = match step {
            Step::Convolution(Planned::Direct(conv)) => {
                Points::Reals(Direct { items: from_the_first_on(conv.items), ..conv })
            }
            Step::Int8(int8::Step::Direct(conv)) => {
                Points::Bytes(bytes::Direct { items: from_the_first_on(conv.items), ..conv })
            }
            other => return Err(Box::new(other)),
        };
        Ok(Self { conv, output: output.shape, pixels })
    }

    /// Into how many parts it is divided, each of which one worker computes.
    pub fn items(&self) -> usize {
        self.pixels.len()
    }

    /// Floats that a worker needs beside the images.
    pub fn scratch(&self) -> usize {
        self.pixels.iter().map(|pixels| View::floats(self.part(pixels), Kind::Real)).max().unwrap_or(0)
    }

    /// Computes item `item` into `planes`; `scratch` is the first float of what the worker has for itself.
    pub fn run(&self, isa: Isa, item: usize, memory: Memory<'_>, scratch: usize, planes: Memory<'_>) {
        let pixels = &self.pixels[item];
        let output = View::whole(self.part(pixels), Kind::Real, scratch);
        match &self.conv {
            Points::Reals(conv) => isa.run(direct::Item { conv, item, memory, output }),
            Points::Bytes(conv) => isa.run_on_bytes(bytes::Item { conv, item, memory, output }),
        }
        let step = Unpack { input: output, first: pixels.start, plane: self.output.pixels() };
        (0..output.blocks()).for_each(|block| isa.run(UnpackItem { step, block, memory, planes }));
    }

    /// Multiplications and additions.
    pub fn flops(&self) -> usize {
        let (kernel, channels) = match &self.conv {
            Points::Reals(conv) => (conv.kernel, conv.input.shape.channels),
            Points::Bytes(conv) => (conv.kernel, conv.input.shape.channels),
        };
        2 * kernel * channels * self.output.len()
    }

    /// What it does, to which sizes.
    pub fn name(&self) -> String {
        let (name, input) = match &self.conv {
            Points::Reals(conv) => ("direct", conv.input),
            Points::Bytes(conv) => ("int8 direct", conv.input),
        };
        format!("{name}, to planes, {} to {}", input.shape, self.output)
    }

    /// The part of the output that so many pixels are.
    fn part(&self, pixels: &Range<usize>) -> Shape {
        Shape { channels: self.output.channels, height: 1, width: pixels.len() }
    }
}

/// The pixels of an item, where they are neighbors.
fn neighbors(runs: &[Run]) -> Option<Range<usize>> {
    let [run] = runs else { return None };
    let first = run.output / BLOCK;
    (run.output_pixel == BLOCK).then_some(first..first + run.pixels)
}

/// The runs with their outputs from the first pixel of memory on.
fn from_the_first_on(items: Vec<Vec<Run>>) -> Vec<Vec<Run>> {
    let moved = |runs: Vec<Run>| runs.into_iter().map(|run| Run { output: 0, ..run }).collect();
    items.into_iter().map(moved).collect()
}
