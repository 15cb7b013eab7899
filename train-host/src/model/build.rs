//! Turns a parsed description into a graph: resolves `from`, scales depth and width, and adds the context (layer and
//! row) to every fault. What one module is made of is in `layers` and `rep_block`.

use artifact::Fault;

use super::graph::{Activation, Graph, NodeId, Op};
use super::infer::{infer_channels, infer_size};
use super::layers;
use super::validate::{MAX_NODES, Outcome};
use super::yaml::{Block, Description, From, Row, at_layer};
use crate::{Error, Result};

/// Image sides strides are measured with; every stride that is a power of two up to the first divides both.
const PROBE_SIDES_PX: [usize; 2] = [1024, 2048];

/// A graph under construction, with the shapes of what it holds so far.
pub(super) struct Builder<'a> {
    pub description: &'a Description,
    pub classes: usize,
    graph: Graph,
    channels: Vec<usize>,
    /// Height and width of each node's result for the two probe images.
    sizes: Vec<[[usize; 2]; 2]>,
}

/// What a description's graph is and at which strides its outputs lie.
pub(super) struct Built {
    pub graph: Graph,
    pub strides: Vec<usize>,
}

impl Builder<'_> {
    /// Appends a node after checking that its inputs fit.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> Outcome<NodeId> {
        if self.graph.nodes.len() >= MAX_NODES {
            return Err(Fault::new(
                format!("more than {MAX_NODES} nodes"),
                "a smaller model",
                "lower `number` or depth_multiple",
            ));
        }
        let channels: Vec<usize> = inputs.iter().map(|&id| self.channels[id]).collect();
        let channels = infer_channels(&op, &channels)?;
        let mut sizes = [[0; 2]; 2];
        for (probe, size) in sizes.iter_mut().enumerate() {
            let inputs: Vec<[usize; 2]> = inputs.iter().map(|&id| self.sizes[id][probe]).collect();
            *size = infer_size(&op, &inputs, [PROBE_SIDES_PX[probe]; 2])?;
        }
        self.channels.push(channels);
        self.sizes.push(sizes);
        Ok(self.graph.push(name, op, inputs))
    }

    /// Appends the description's activation.
    pub fn push_act(&mut self, name: impl Into<String>, input: NodeId) -> Outcome<NodeId> {
        self.push(name, Op::Act(self.act()), &[input])
    }

    /// Channels of a node's result.
    pub fn channels(&self, node: NodeId) -> usize {
        self.channels[node]
    }

    /// Activation after every convolution.
    pub fn act(&self) -> Activation {
        self.description.act
    }

    /// Form of the rep blocks.
    pub fn block(&self) -> Block {
        self.description.block
    }

    /// `channels` of the description scaled by its width multiple, rounded up to a multiple of 8.
    pub fn scale_width(&self, channels: usize) -> usize {
        round_up_to_8(as_f64(channels) * self.description.width_multiple)
    }

    /// `number` of the description scaled by its depth multiple, rounded half to even, at least 1.
    fn scale_depth(&self, number: usize) -> usize {
        if number == 1 {
            1
        } else {
            floor((as_f64(number) * self.description.depth_multiple).round_ties_even()).max(1)
        }
    }

    /// Stride of a node's result in pixels, when it is the same integer for both probe images.
    fn stride(&self, node: NodeId) -> Option<usize> {
        let stride = PROBE_SIDES_PX[0] / self.sizes[node][0][0];
        let fits = |(probe, size): (usize, &[usize; 2])| {
            size.iter().all(|side| side * stride == PROBE_SIDES_PX[probe])
        };
        self.sizes[node].iter().enumerate().all(fits).then_some(stride)
    }
}

/// Builds the graph of `description` for `classes` classes; `origin` names it in errors.
pub(super) fn build(origin: &str, description: &Description, classes: usize) -> Result<Built> {
    let mut builder =
        Builder { description, classes, graph: Graph::default(), channels: Vec::new(), sizes: Vec::new() };
    let image = builder
        .push("images", Op::Input { channels: description.image_channels }, &[])
        .map_err(|fault| Error::Model(Fault { found: format!("{origin}: ch: {}", fault.found), ..fault }))?;
    let last = description.rows.len() - 1;
    let mut results: Vec<NodeId> = Vec::new();
    for (index, row) in description.rows[..last].iter().enumerate() {
        let result =
            resolve(&row.from, &results, image).and_then(|inputs| add_row(&mut builder, index, row, &inputs));
        results.push(result.map_err(|fault| at_layer(origin, index, &row.show(), fault))?);
    }
    let detect = &description.rows[last];
    let strides = resolve(&detect.from, &results, image)
        .and_then(|inputs| add_detect(&mut builder, last, detect, &inputs))
        .map_err(|fault| at_layer(origin, last, &detect.show(), fault))?;
    refuse_unread(origin, description, &builder.graph, &results)?;
    builder.graph.validate()?;
    Ok(Built { graph: builder.graph, strides })
}

fn add_row(builder: &mut Builder, index: usize, row: &Row, inputs: &[NodeId]) -> Outcome<NodeId> {
    let number = builder.scale_depth(row.number);
    if layers::repeats_inside(&row.module) {
        return layers::add(builder, row, &format!("model.{index}"), inputs, number);
    }
    if number == 1 {
        return layers::add(builder, row, &format!("model.{index}"), inputs, 1);
    }
    let mut inputs = inputs.to_vec();
    for repeat in 0..number {
        inputs = vec![layers::add(builder, row, &format!("model.{index}.{repeat}"), &inputs, 1)?];
    }
    Ok(inputs[0])
}

fn add_detect(builder: &mut Builder, index: usize, row: &Row, inputs: &[NodeId]) -> Outcome<Vec<usize>> {
    let outputs = layers::detect(builder, row, &format!("model.{index}"), inputs)?;
    let strides = outputs.iter().map(|&output| {
        builder.stride(output).ok_or_else(|| {
            Fault::new(
                "an output whose stride is no power of two",
                "outputs at strides such as 8, 16 and 32",
                "halve the image's side between outputs with stride-2 convolutions that keep their padding",
            )
        })
    });
    let strides = strides.collect::<Outcome<_>>()?;
    builder.graph.outputs = outputs;
    Ok(strides)
}

/// Rows to nodes: −1 is the row before (the image for row 0), other numbers count from row 0 or back from this row.
fn resolve(from: &From, results: &[NodeId], image: NodeId) -> Outcome<Vec<NodeId>> {
    let list = match from {
        From::One(from) => std::slice::from_ref(from),
        From::Many(list) => list,
    };
    let resolve_one = |&from: &i64| {
        if from == -1 && results.is_empty() {
            return Ok(image);
        }
        let row = match usize::try_from(from) {
            Ok(row) => Some(row),
            Err(_) => {
                usize::try_from(from.unsigned_abs()).ok().and_then(|back| results.len().checked_sub(back))
            }
        };
        row.and_then(|row| results.get(row)).copied().ok_or_else(|| {
            Fault::new(
                format!("`from` {from}"),
                format!("a layer before this one, which is number {}", results.len()),
                "count layers from 0, backbone and head together, or back from this one with negative numbers",
            )
        })
    };
    list.iter().map(resolve_one).collect()
}

/// A row nobody reads costs memory and time and gets no gradient: surely a mistake in some `from`.
fn refuse_unread(origin: &str, description: &Description, graph: &Graph, results: &[NodeId]) -> Result<()> {
    let users = graph.users();
    match results.iter().position(|&node| users[node].is_empty()) {
        None => Ok(()),
        Some(index) => Err(at_layer(
            origin,
            index,
            &description.rows[index].show(),
            Fault::new(
                "a layer that no later layer reads",
                "every layer used",
                "correct the `from` of a later row",
            ),
        )),
    }
}

fn round_up_to_8(channels: f64) -> usize {
    floor((channels / 8.0).ceil()).saturating_mul(8)
}

/// `value · ratio` without its fraction.
pub(super) fn scale_down(value: usize, ratio: f64) -> usize {
    floor(as_f64(value) * ratio)
}

#[expect(clippy::cast_precision_loss, reason = "channel counts and repeats are far below 2^52")]
fn as_f64(value: usize) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and every caller's value is non-negative; limits are checked on the integer"
)]
fn floor(value: f64) -> usize {
    value as usize
}
