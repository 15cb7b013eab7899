//! The steps of a plan: which kernel runs, on which images, in how many items.

use std::num::NonZero;

use super::convolution::{self, Planned};
use super::place::Places;
use crate::Unsupported;
use crate::layout::View;
use crate::network::{Activation, Network, Node, Operator, Value};
use crate::simd::convert::{Pack, PackItem, Unpack, UnpackItem};
use crate::simd::elementwise::{self, Elementwise};
use crate::simd::memory::Memory;
use crate::simd::pool::{self, MaxPool};
use crate::simd::upsample::{self, Upsample};
use crate::simd::{Isa, direct, winograd};

/// Rows of an item of a [`Pack`].
const PACKED_ROWS: usize = 16;

/// One kernel on its images.
#[derive(Debug)]
pub enum Step {
    /// A caller's image, by number, into blocks.
    Pack(Pack, usize),
    /// A convolution.
    Convolution(Planned),
    /// Sums, activations, copies.
    Elementwise(Elementwise),
    /// Max pooling.
    MaxPool(MaxPool),
    /// Nearest neighbor.
    Upsample(Upsample),
    /// An image out of blocks, to a caller's by number.
    Unpack(Unpack, usize),
}

/// What a run reads and writes.
pub struct Buffers<'a> {
    /// Images in blocks, and what workers have for themselves.
    pub memory: Memory<'a>,
    /// Images of the caller.
    pub inputs: &'a [&'a [f32]],
    /// Images for the caller.
    pub outputs: &'a [Memory<'a>],
}

/// The steps of `network`, whose images lie at `places`.
pub fn steps(network: &Network, places: &Places, threads: NonZero<usize>) -> Result<Vec<Step>, Unsupported> {
    let mut steps = Vec::new();
    for (at, node) in network.nodes.iter().enumerate() {
        for (_, number, output) in places.copies.iter().filter(|(copied, ..)| *copied == at) {
            let input = places.view(node.inputs[*number])?;
            steps.push(Step::Elementwise(copy(input, *output)));
        }
        steps.extend(step(network, places, node, threads)?);
        let given = network.outputs.iter().enumerate().filter(|(_, value)| **value == node.output);
        for (number, &value) in given {
            steps.push(Step::Unpack(Unpack { input: places.view(value)? }, number));
        }
    }
    Ok(steps)
}

fn copy(input: View, output: View) -> Elementwise {
    Elementwise { input, plus: None, activation: Activation::None, output }
}

/// The step of a node; a concatenation has none, since what it reads was made in its place.
fn step(
    network: &Network,
    places: &Places,
    node: &Node,
    threads: NonZero<usize>,
) -> Result<Option<Step>, Unsupported> {
    let output = places.view(node.output)?;
    let view = |number: usize| places.view(node.inputs[number]);
    let plus = || node.inputs.get(1).map(|&value: &Value| places.view(value)).transpose();
    Ok(Some(match &node.operator {
        Operator::Convolution(conv) => {
            Step::Convolution(convolution::plan(conv, view(0)?, output, plus()?, threads))
        }
        Operator::Add => Step::Elementwise(Elementwise { plus: Some(view(1)?), ..copy(view(0)?, output) }),
        Operator::Activate(activation) => {
            Step::Elementwise(Elementwise { activation: *activation, ..copy(view(0)?, output) })
        }
        Operator::Concat => return Ok(None),
        Operator::MaxPool { kernel, stride, pad, .. } => {
            let (kernel, stride, pad) = (*kernel, *stride, *pad);
            Step::MaxPool(MaxPool { input: view(0)?, output, kernel, stride, pad })
        }
        Operator::Upsample { .. } => Step::Upsample(Upsample { input: view(0)?, output }),
        Operator::SpaceToDepth { factor } => {
            let given = network.inputs.iter().position(|value| *value == node.inputs[0]);
            let given = given.ok_or_else(|| Unsupported::new("space to depth inside a network"))?;
            let input = network.shape(node.inputs[0]);
            Step::Pack(Pack { input, output, factor: *factor }, given)
        }
    }))
}

impl Step {
    /// Into how many parts it is divided, each of which one worker computes.
    pub fn items(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.output.shape.height.div_ceil(PACKED_ROWS),
            Self::Convolution(Planned::Direct(conv)) => conv.items.len(),
            Self::Convolution(Planned::Winograd(conv)) => conv.bounds.len() - 1,
            Self::Elementwise(step) => step.output.shape.blocks(),
            Self::MaxPool(step) => step.output.shape.blocks(),
            Self::Upsample(step) => step.output.shape.blocks(),
            Self::Unpack(step, _) => step.input.shape.blocks(),
        }
    }

    /// Floats that a worker needs beside the images.
    pub fn scratch(&self) -> usize {
        match self {
            Self::Convolution(Planned::Winograd(conv)) => convolution::scratch(conv),
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
                isa.run(PackItem { step, rows, planes: buffers.inputs[*input], memory });
            }
            Self::Convolution(Planned::Direct(conv)) => isa.run(direct::Item { conv, item, memory }),
            Self::Convolution(Planned::Winograd(conv)) => {
                isa.run(winograd::Item { conv, item, memory, scratch });
            }
            Self::Elementwise(step) => isa.run(elementwise::Item { step, block: item, memory }),
            Self::MaxPool(step) => isa.run(pool::Item { step, block: item, memory, scratch }),
            Self::Upsample(step) => isa.run(upsample::Item { step, block: item, memory }),
            Self::Unpack(step, output) => {
                isa.run(UnpackItem { step, block: item, memory, planes: buffers.outputs[*output] });
            }
        }
    }

    /// Multiplications and additions of floats, counted without what is saved.
    pub fn flops(&self) -> usize {
        match self {
            Self::Convolution(Planned::Direct(conv)) => {
                2 * conv.kernel * conv.input.shape.channels * conv.output.shape.len()
            }
            Self::Convolution(Planned::Winograd(conv)) => {
                2 * 9 * conv.input.shape.channels * conv.output.shape.len()
            }
            _ => 0,
        }
    }

    /// What it does, to which sizes.
    pub fn name(&self) -> String {
        let (name, view) = match self {
            Self::Pack(step, _) => ("pack", step.output),
            Self::Convolution(Planned::Direct(conv)) => {
                return format!(
                    "direct, {} taps, {} to {}",
                    conv.kernel, conv.input.shape, conv.output.shape
                );
            }
            Self::Convolution(Planned::Winograd(conv)) => {
                return format!("{:?}, {} to {}", conv.filtering, conv.input.shape, conv.output.shape);
            }
            Self::Elementwise(step) => ("elementwise", step.output),
            Self::MaxPool(step) => ("max pooling", step.output),
            Self::Upsample(step) => ("enlargement", step.output),
            Self::Unpack(step, _) => ("unpack", step.input),
        };
        format!("{name} {}", view.shape)
    }
}
