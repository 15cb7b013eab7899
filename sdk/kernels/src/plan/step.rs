//! The steps of a plan: which kernel runs, on which images, in how many items.

use std::marker::PhantomData;

use super::Machine;
use super::convolution::{self, Planned};
use super::emit::Emit;
use super::entry;
use super::image::{Buffers, Given, Wanted};
use super::int8;
use super::place::Places;
use crate::Unsupported;
use crate::layout::{Kind, View};
use crate::network::{Activation, Network, Node, Operator, Value, Windows};
use crate::simd::convert::{Pack, PackItem, Unpack, UnpackItem};
use crate::simd::elementwise::{self, Elementwise, Slice};
use crate::simd::int8::convert::{self, Source};
use crate::simd::int8::elementwise::Function;
use crate::simd::pixel::{Codes, Reals};
use crate::simd::planes::{self, FromPlanes};
use crate::simd::pool::{self, MaxPool};
use crate::simd::upsample::{self, Upsample};
use crate::simd::{Isa, direct, winograd};

/// Rows of an item of a [`Pack`].
pub const PACKED_ROWS: usize = 16;

/// One kernel on its images.
#[derive(Debug)]
pub enum Step {
    /// A caller's image, by number, into blocks.
    Pack(Pack, usize),
    /// A convolution of a caller's image, by number.
    FromPlanes(FromPlanes, usize),
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
    /// A convolution to a caller's image, by number.
    Emit(Emit, usize),
    /// Of stored values.
    Int8(int8::Step),
}

/// The steps of `network`, whose images lie at `places`.
pub fn steps(network: &Network, places: &Places, machine: Machine) -> Result<Vec<Step>, Unsupported> {
    let mut steps = Vec::new();
    for (at, node) in network.nodes.iter().enumerate() {
        for &(_, input, output) in places.copies.iter().filter(|(copied, ..)| *copied == at) {
            // Enlarged by 1.
            steps.push(Step::Upsample(Upsample { input, output }));
        }
        let made = step(network, places, node, machine)?;
        let wanted = network.outputs.iter().enumerate().filter(|(_, value)| **value == node.output);
        let wanted: Vec<usize> = wanted.map(|(number, _)| number).collect();
        let is_read = network.nodes.iter().any(|other| other.inputs.contains(&node.output));
        match (made, wanted.as_slice()) {
            (Some(made), &[number]) if !is_read => match Emit::of(made) {
                Ok(emit) => steps.push(Step::Emit(emit, number)),
                Err(made) => steps.extend([*made, unpack(places, node.output, number)?]),
            },
            (made, wanted) => {
                steps.extend(made);
                for &number in wanted {
                    steps.push(unpack(places, node.output, number)?);
                }
            }
        }
    }
    Ok(steps)
}

fn unpack(places: &Places, value: Value, number: usize) -> Result<Step, Unsupported> {
    let input = places.view(value)?;
    Ok(match input.kind {
        Kind::Real => Step::Unpack(Unpack::whole(input), number),
        Kind::Stored => Step::Int8(int8::Step::Unpack(convert::Unpack { input }, number)),
    })
}

fn copy(input: View, output: View) -> Elementwise {
    Elementwise { input, plus: None, activation: Activation::None, output }
}

/// The step of a node, if it has one.
fn step(
    network: &Network,
    places: &Places,
    node: &Node,
    machine: Machine,
) -> Result<Option<Step>, Unsupported> {
    let output = places.view(node.output)?;
    let given = network.inputs.iter().position(|value| *value == node.inputs[0]);
    let view = |number: usize| places.view(node.inputs[number]);
    let plus = || node.inputs.get(1).map(|&value: &Value| places.view(value)).transpose();
    Ok(Some(match &node.operator {
        Operator::Convolution(conv) if let Some(given) = given => {
            let planned = entry::plan(conv, network.shape(node.inputs[0]), output, machine);
            Step::FromPlanes(planned, given)
        }
        Operator::Convolution(conv) => {
            Step::Convolution(convolution::plan(conv, view(0)?, output, plus()?, machine))
        }
        Operator::Add => Step::Elementwise(Elementwise { plus: Some(view(1)?), ..copy(view(0)?, output) }),
        Operator::Activate(activation) => {
            Step::Elementwise(Elementwise { activation: *activation, ..copy(view(0)?, output) })
        }
        // What they read or make lies where it belongs, or was copied there.
        Operator::Concat | Operator::Slice(_) => return Ok(None),
        Operator::MaxPool(windows) if output.kind == Kind::Stored => {
            Step::Int8(int8::Step::max_pool(view(0)?, output, *windows))
        }
        Operator::MaxPool(windows) => {
            let Windows { kernel, stride, pad, .. } = *windows;
            Step::MaxPool(MaxPool { input: view(0)?, output, kernel, stride, pad })
        }
        Operator::Upsample { .. } => Step::Upsample(Upsample { input: view(0)?, output }),
        Operator::Integer(conv) => Step::Int8(int8::Step::convolution(conv, view(0)?, output, machine)),
        Operator::Map(table) => elementwise(view(0)?, output, Function::Map(table.clone())),
        Operator::AddStored { from, to } => {
            elementwise(view(0)?, output, Function::Add { plus: view(1)?, from: *from, to: *to })
        }
        Operator::Dequantize(quant) => elementwise(view(0)?, output, Function::Real(*quant)),
        Operator::Quantize { factor, zero_point } => {
            let (factor, zero_point) = (*factor, i16::from(*zero_point));
            elementwise(view(0)?, output, Function::Quantize { factor, zero_point })
        }
        Operator::Enter { factor, quantize, border } => {
            let given = given.ok_or_else(|| Unsupported::new("an entry inside a network"))?;
            let (input, factor) = (network.shape(node.inputs[0]), *factor);
            if output.kind == Kind::Real {
                return Ok(Some(Step::Pack(Pack { input, output, factor }, given)));
            }
            let real = |(factor, zero_point)| Source::Reals { factor, zero_point: i16::from(zero_point) };
            let (source, border) = (quantize.map_or(Source::Codes, real), *border);
            let pack = convert::Pack { input, output, factor, source, border };
            Step::Int8(int8::Step::Pack(pack, given))
        }
    }))
}

fn elementwise(input: View, output: View, function: Function) -> Step {
    Step::Int8(int8::Step::elementwise(input, output, function))
}

impl Step {
    /// Into how many parts it is divided, each of which one worker computes.
    pub fn items(&self) -> usize {
        match self {
            Self::Pack(pack, _) => pack.output.shape.height.div_ceil(PACKED_ROWS),
            Self::FromPlanes(conv, _) => conv.items.len(),
            Self::Convolution(Planned::Direct(conv)) => conv.items.len(),
            Self::Convolution(Planned::Winograd(conv)) => conv.bounds.len() - 1,
            Self::Elementwise(step) => Slice::count(step.output.blocks()),
            Self::MaxPool(step) => step.output.blocks(),
            Self::Upsample(step) => step.output.blocks(),
            Self::Unpack(step, _) => step.input.blocks(),
            Self::Emit(step, _) => step.items(),
            Self::Int8(step) => step.items(),
        }
    }

    /// Floats that a worker needs beside the images.
    pub fn scratch(&self) -> usize {
        match self {
            Self::Convolution(Planned::Winograd(conv)) => convolution::scratch(conv),
            Self::MaxPool(step) => step.scratch(),
            Self::Emit(step, _) => step.scratch(),
            Self::Int8(step) => step.scratch(),
            _ => 0,
        }
    }

    /// Computes item `item`; `scratch` is the first float of what the worker has for itself.
    pub fn run(&self, isa: Isa, item: usize, buffers: &Buffers<'_>, scratch: usize) {
        let memory = buffers.memory;
        match self {
            Self::Pack(step, input) => {
                let rows = item * PACKED_ROWS..((item + 1) * PACKED_ROWS).min(step.output.shape.height);
                if let Given::Real(planes) = buffers.inputs[*input] {
                    isa.run(PackItem { step, rows, planes, memory });
                }
            }
            Self::FromPlanes(conv, input) => {
                if let Given::Real(planes) = buffers.inputs[*input] {
                    isa.run(planes::Item { conv, item, planes, memory });
                }
            }
            Self::Convolution(Planned::Direct(conv)) => {
                isa.run(direct::Item { conv, item, memory, output: conv.output })
            }
            Self::Convolution(Planned::Winograd(conv)) => {
                isa.run(winograd::Item { conv, item, memory, scratch });
            }
            Self::Elementwise(step) => {
                let slice = Slice::of(item, step.output.blocks(), step.output.shape.pixels());
                isa.run(elementwise::Item { step, slice, memory });
            }
            Self::MaxPool(step) => {
                isa.run(pool::Item { step, block: item, memory, scratch, pixel: PhantomData::<Reals> });
            }
            Self::Upsample(step) if step.output.kind == Kind::Stored => {
                isa.run(upsample::Item { step, block: item, memory, pixel: PhantomData::<Codes> });
            }
            Self::Upsample(step) => {
                isa.run(upsample::Item { step, block: item, memory, pixel: PhantomData::<Reals> });
            }
            Self::Unpack(step, output) => {
                if let Wanted::Real(planes) = buffers.outputs[*output] {
                    isa.run(UnpackItem { step: *step, block: item, memory, planes });
                }
            }
            Self::Emit(step, output) => {
                if let Wanted::Real(planes) = buffers.outputs[*output] {
                    step.run(isa, item, memory, scratch, planes);
                }
            }
            Self::Int8(step) => step.run(isa, item, buffers, scratch),
        }
    }

    /// Multiplications and additions of floats, counted without what is saved.
    pub fn flops(&self) -> usize {
        match self {
            Self::FromPlanes(conv, _) => {
                2 * conv.windows.taps() * conv.input.channels * conv.output.shape.len()
            }
            Self::Convolution(Planned::Direct(conv)) => {
                2 * conv.kernel * conv.input.shape.channels * conv.output.shape.len()
            }
            Self::Convolution(Planned::Winograd(conv)) => {
                2 * 9 * conv.input.shape.channels * conv.output.shape.len()
            }
            Self::Emit(step, _) => step.flops(),
            Self::Int8(step) => step.flops(),
            _ => 0,
        }
    }

    /// What it does, to which sizes.
    pub fn name(&self) -> String {
        let (name, view) = match self {
            Self::Pack(step, _) => ("pack", step.output),
            Self::FromPlanes(conv, _) => {
                return format!("direct, from planes, {} to {}", conv.input, conv.output.shape);
            }
            Self::Convolution(Planned::Direct(conv)) => {
                return format!(
                    "direct, {} taps, {} to {}",
                    conv.kernel, conv.input.shape, conv.output.shape
                );
            }
            Self::Convolution(Planned::Winograd(conv)) => {
                return format!("{}, {} to {}", conv.filtering.name(), conv.input.shape, conv.output.shape);
            }
            Self::Elementwise(step) => ("elementwise", step.output),
            Self::MaxPool(step) => ("max pooling", step.output),
            Self::Upsample(step) => ("enlargement", step.output),
            Self::Unpack(step, _) => ("unpack", step.input),
            Self::Emit(step, _) => return step.name(),
            Self::Int8(step) => return step.name(),
        };
        format!("{name} {}", view.shape)
    }
}
