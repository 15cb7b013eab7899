//! Runs the float model over images and counts the values of every tensor that int8 will store, and how much an error of
//! each would cost the outputs. Memory depends on the graph alone: images pass one by one.

use std::collections::BTreeMap;
use std::path::Path;

use artifact::{Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;

use super::backward::Trace;
use super::histogram::{Histogram, NotFinite};
use super::images::{Content, Images, Shown, input_spec};
use super::passes::{Plane, apply};
use super::scheme::sole_activation;
use super::stakes;
use crate::console::counted;
use crate::export::onnx;
use crate::model::{FusedModel, Graph, NodeId, Op, Shape};
use crate::{Error, Result};

/// Most bytes of tensors that are read from one run, beside the copies of all of them; larger graphs are run several
/// times an image.
pub(super) const RUN_BYTES: usize = 192 << 20;

/// What was seen of one tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// All its values.
    pub histogram: Histogram,
    /// All its values, each counted by what a small squared error of it costs the outputs: see `stakes`. Of a
    /// convolution right before an activation: what an error of the activation's result costs.
    pub felt: Histogram,
    /// Each of its channels.
    pub channels: Vec<Channel>,
}

/// What was seen of one channel.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Channel {
    /// Smallest value, or 0.
    pub low: f32,
    /// Largest value, or 0.
    pub high: f32,
    /// Sum of all values.
    pub sum: f64,
    /// Number of values.
    pub count: u64,
}

impl Channel {
    /// Mean of all values.
    #[expect(clippy::cast_precision_loss, reason = "a mean")]
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    fn is_silent(&self) -> bool {
        self.count > 0 && self.low == 0.0 && self.high == 0.0
    }

    pub(super) fn add(&mut self, values: &[f32]) {
        for &value in values {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            self.sum += f64::from(value);
        }
        self.count += values.len() as u64;
    }
}

impl Stats {
    /// Adds the part that `content` is of planes of `height` × `width`.
    fn add(
        &mut self,
        values: &[f32],
        [channels, height, width]: Shape,
        content: Content,
    ) -> std::result::Result<(), NotFinite> {
        let picture = content.crop(values, height, width);
        self.histogram.add(&picture)?;
        self.channels.resize(channels, Channel::default());
        let planes = picture.chunks((picture.len() / channels).max(1));
        self.channels.iter_mut().zip(planes).for_each(|(channel, picture)| channel.add(picture));
        Ok(())
    }

    /// Adds what errors of `values` cost, `derivatives` being those of the outputs by each.
    fn feel(
        &mut self,
        values: &[f32],
        derivatives: &[f32],
        [_, height, width]: Shape,
        content: Content,
    ) -> std::result::Result<(), NotFinite> {
        let mut costs = content.crop(derivatives, height, width);
        costs.iter_mut().for_each(|derivative| *derivative *= *derivative);
        self.felt.add_weighted(&content.crop(values, height, width), &costs)
    }
}

/// What was seen of each observed tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    /// By node.
    pub nodes: BTreeMap<NodeId, Stats>,
    /// Number of images.
    pub images: usize,
    /// How many of them are of one color each.
    pub one_colored: usize,
}

impl Observations {
    /// Channels that were 0 for every image, by the name of their node in `graph`: behind ReLU, units that never fire.
    pub fn silent_channels(&self, graph: &Graph) -> BTreeMap<String, Vec<usize>> {
        let silent = |stats: &Stats| -> Vec<usize> {
            let channels = stats.channels.iter().enumerate();
            channels.filter(|(_, seen)| seen.is_silent()).map(|(channel, _)| channel).collect()
        };
        let named = self.nodes.iter().map(|(id, stats)| (graph.nodes[*id].name.clone(), silent(stats)));
        named.filter(|(_, channels)| !channels.is_empty()).collect()
    }
}

/// Whether the values of a node are new, and not only moved from its inputs.
pub fn makes_values(op: &Op) -> bool {
    match op {
        Op::Conv(_) | Op::Act(_) | Op::Add | Op::BatchNorm { .. } | Op::Attention(_) => true,
        Op::Input { .. }
        | Op::Concat
        | Op::MaxPool { .. }
        | Op::Upsample { .. }
        | Op::Slice { .. }
        | Op::SpaceToDepth => false,
    }
}

/// Counts the values of every node of `model` that [`makes_values`], where the pictures are: see [`Content`].
///
/// # Errors
/// [`Error::Data`] when every image is of one color, or an image cannot be read; [`Error::Model`] naming the node and
/// the image where a value is infinite or no number; [`Error::Runtime`] when tract refuses the model.
pub fn observe(model: &FusedModel, images: &Images) -> Result<Observations> {
    let graph = &model.architecture.graph;
    let nodes: Vec<NodeId> = (0..graph.nodes.len()).filter(|&id| makes_values(&graph.nodes[id].op)).collect();
    let mut runs = runs(model, &nodes)?;
    let mut observations = Observations::default();
    nodes.iter().for_each(|&id| _ = observations.nodes.entry(id).or_default());
    let mut colors = Colors::default();
    let shapes = graph.shapes(model.imgsz, model.imgsz)?;
    let mut trace = Trace::of(graph, &model.weights, &shapes);
    images.stream(model.imgsz, "calibrating", |shown| {
        colors.add(shown);
        observations.images += 1;
        let look = Look { model, shapes: &shapes, path: shown.path, content: shown.content };
        let values = results(&look, &mut runs, shown)?;
        look.count(&values, &mut observations)?;
        look.feel(&mut trace, &values, &mut observations)
    })?;
    colors.check(images, "to calibrate on")?;
    observations.one_colored = colors.plain;
    Ok(observations)
}

/// Checks that `images` can judge: that they are not all of one color, and every node of `model` gives finite values for
/// each of them.
///
/// # Errors
/// As [`observe`].
pub fn expect_judges(model: &FusedModel, images: &Images) -> Result<()> {
    let graph = &model.architecture.graph;
    let nodes: Vec<NodeId> = (0..graph.nodes.len()).filter(|&id| makes_values(&graph.nodes[id].op)).collect();
    let (mut runs, shapes) = (runs(model, &nodes)?, graph.shapes(model.imgsz, model.imgsz)?);
    let mut colors = Colors::default();
    images.stream(model.imgsz, "checking", |shown| {
        colors.add(shown);
        let look = Look { model, shapes: &shapes, path: shown.path, content: shown.content };
        let values = results(&look, &mut runs, shown)?;
        let first =
            |id: &NodeId| values[*id].iter().find(|value| !value.is_finite()).map(|value| (*id, *value));
        match nodes.iter().find_map(first) {
            Some((id, value)) => Err(look.not_finite(id, value)),
            None => Ok(()),
        }
    })?;
    colors.check(images, "to judge by")
}

/// The result of every node for an image.
fn results(look: &Look<'_>, runs: &mut [Run], shown: &Shown<'_>) -> Result<Vec<Plane>> {
    let graph = &look.model.architecture.graph;
    let mut values: Vec<Plane> = vec![Plane::new(); graph.nodes.len()];
    for run in runs {
        run.session.run(shown.tensor, &mut run.outputs)?;
        for (&id, output) in run.nodes.iter().zip(&run.outputs) {
            values[id] = floats(output);
        }
    }
    for (id, node) in graph.nodes.iter().enumerate() {
        if matches!(node.op, Op::Input { .. }) {
            values[id] = floats(shown.tensor);
        } else if !makes_values(&node.op) {
            let operands: Vec<&Plane> = node.inputs.iter().map(|&input| &values[input]).collect();
            values[id] = apply(&node.op, &operands, look.shapes[node.inputs[0]])?;
        }
    }
    Ok(values)
}

fn floats(tensor: &Tensor) -> Plane {
    match &tensor.data {
        TensorData::F32(values) => values.clone(),
        TensorData::I8(_) | TensorData::U8(_) => Plane::new(),
    }
}

/// One run of the model and the tensors read from it.
struct Run {
    session: TractSession,
    nodes: Vec<NodeId>,
    outputs: Vec<Tensor>,
}

/// As few runs as bounded memory allows.
fn runs(model: &FusedModel, nodes: &[NodeId]) -> Result<Vec<Run>> {
    let shapes = model.architecture.graph.shapes(model.imgsz, model.imgsz)?;
    let run = |nodes: Vec<NodeId>| {
        let session = observed_session(model, &nodes)?;
        let outputs = session.outputs().iter().map(Tensor::zeroed).collect();
        Ok(Run { session, nodes, outputs })
    };
    in_runs(nodes, &shapes, RUN_BYTES).into_iter().map(run).collect()
}

/// `nodes` in order, in as few groups as there can be of which none takes more than `limit_bytes`; a larger node is a
/// group of its own.
pub(super) fn in_runs(nodes: &[NodeId], shapes: &[Shape], limit_bytes: usize) -> Vec<Vec<NodeId>> {
    let mut groups: Vec<Vec<NodeId>> = Vec::new();
    let mut bytes = 0;
    for &id in nodes {
        let size = 4 * shapes[id].iter().product::<usize>();
        match groups.last_mut() {
            Some(group) if bytes + size <= limit_bytes => {
                group.push(id);
                bytes += size;
            }
            _ => {
                groups.push(vec![id]);
                bytes = size;
            }
        }
    }
    groups
}

/// The float model with the results of `nodes` for outputs.
pub(super) fn observed_session(model: &FusedModel, nodes: &[NodeId]) -> Result<TractSession> {
    let mut graph = model.architecture.graph.clone();
    graph.outputs = nodes.to_vec();
    let names: Vec<String> = nodes.iter().map(|&id| graph.nodes[id].name.clone()).collect();
    let specs = onnx::specs(&graph, &names, model.imgsz)?;
    let bytes = onnx::write_graph(&graph, &model.weights, model.imgsz)?;
    Ok(TractSession::from_onnx(&bytes, input_spec(model.imgsz), specs.outputs)?)
}

/// How the results of one image are looked at.
struct Look<'a> {
    model: &'a FusedModel,
    shapes: &'a [Shape],
    path: &'a Path,
    content: Content,
}

impl Look<'_> {
    fn count(&self, values: &[Plane], observations: &mut Observations) -> Result<()> {
        let mut parts: Vec<(NodeId, &mut Stats)> =
            observations.nodes.iter_mut().map(|(id, stats)| (*id, stats)).collect();
        // All are looked at, so that the first in the graph is the one that is named: those behind it only follow.
        let of_node = |(id, stats): &mut (NodeId, &mut Stats)| {
            let added = stats.add(&values[*id], self.shapes[*id], self.content);
            added.map_err(|NotFinite(value)| self.not_finite(*id, value))
        };
        let results: Vec<Result<()>> = parts.par_iter_mut().map(of_node).collect();
        results.into_iter().collect()
    }

    /// Traces the cost of errors back from the outputs: each output with a sign by chance, so that squares of what
    /// comes back are sums of the outputs' squares in the mean (Hutchinson 1990).
    fn feel(&self, trace: &mut Trace<'_>, values: &[Plane], observations: &mut Observations) -> Result<()> {
        let graph = &self.model.architecture.graph;
        let users = graph.users();
        let outputs: Vec<&[f32]> = graph.outputs.iter().map(|&id| values[id].as_slice()).collect();
        let planes: Vec<usize> =
            graph.outputs.iter().map(|&id| self.shapes[id][1] * self.shapes[id][2]).collect();
        let costs = stakes::of_outputs(&self.model.architecture.head, &outputs, &planes);
        let seeds = costs.iter().enumerate().map(|(output, costs)| signed_roots(costs, output)).collect();
        let nodes = &mut observations.nodes;
        trace.run(values, seeds, |id, derivatives| {
            let input = graph.nodes[id].inputs.first().copied();
            let before = input.filter(|&input| sole_activation(graph, &users, input).is_some());
            let behind = sole_activation(graph, &users, id).is_some();
            for id in before.into_iter().chain((!behind).then_some(id)) {
                let Some(stats) = nodes.get_mut(&id) else { continue };
                let felt = stats.feel(&values[id], derivatives, self.shapes[id], self.content);
                felt.map_err(|NotFinite(value)| self.not_finite(id, value))?;
            }
            Ok(())
        })
    }

    fn not_finite(&self, id: NodeId, value: f32) -> Error {
        let node = &self.model.architecture.graph.nodes[id].name;
        Error::model(
            format!("node {node:?} gives {value} for {}", self.path.display()),
            "finite values for every image",
            "the weights are damaged or training diverged: take an earlier checkpoint, or leave the image out",
        )
    }
}

/// The root of each cost, with a sign that chance gave to its place.
fn signed_roots(costs: &[f64], output: usize) -> Plane {
    let mut rng = ChaCha8Rng::seed_from_u64(output as u64);
    #[expect(clippy::cast_possible_truncation, reason = "derivatives are f32")]
    let signed = |cost: &f64| if rng.random::<bool>() { cost.sqrt() as f32 } else { -cost.sqrt() as f32 };
    costs.iter().map(signed).collect()
}

/// How many images are of one color each: of nothing but such, scales would be those of a single value.
#[derive(Default)]
struct Colors {
    plain: usize,
    last: f32,
}

impl Colors {
    fn add(&mut self, shown: &Shown<'_>) {
        let TensorData::F32(values) = &shown.tensor.data else { return };
        let (height, width) = shown.tensor.height_width();
        let picture = shown.content.crop(values, height, width);
        let planes = picture.chunks((picture.len() / shown.tensor.channels()).max(1));
        let varied = planes.into_iter().any(|plane| plane.iter().any(|value| *value != plane[0]));
        self.plain += usize::from(!varied);
        self.last = picture.first().copied().unwrap_or_default();
    }

    fn check(&self, images: &Images, what: &str) -> Result<()> {
        if self.plain < images.paths().len() {
            return Ok(());
        }
        Err(Error::data(
            format!(
                "{} {what}, of one color each (the last begins with {:.0} of 255)",
                counted(images.paths().len(), "image"),
                self.last * 255.0
            ),
            "photographs like those the device will see",
            "a camera with its lens covered, or a broken converter, makes such images: take others with --calib",
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_are_always_0_are_told_from_others() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let sum = graph.push("sum", Op::Add, &[image, image]);
        let other = graph.push("other", Op::Add, &[image, image]);
        let seen = |channels: [&[f32]; 2]| {
            let channels = channels.map(|values| {
                let mut channel = Channel::default();
                channel.add(values);
                channel
            });
            Stats { channels: channels.into(), ..Stats::default() }
        };
        let nodes = BTreeMap::from([(sum, seen([&[0.0, 0.0], &[0.0, -1.0]])), (other, seen([&[1.0], &[]]))]);
        let observed = Observations { nodes, images: 1, one_colored: 0 };
        assert_eq!(observed.silent_channels(&graph), BTreeMap::from([("sum".to_owned(), vec![0])]));
    }

    #[test]
    fn tensors_are_read_in_as_few_runs_as_memory_allows() {
        let shapes = [[1, 1, 1], [1, 1, 2], [2, 1, 1], [9, 1, 1], [1, 1, 1], [1, 1, 3]];
        assert_eq!(in_runs(&[0, 1, 2, 3, 4, 5], &shapes, 16), [vec![0, 1], vec![2], vec![3], vec![4, 5]]);
        assert_eq!(in_runs(&[1, 2, 4], &shapes, 20), [[1, 2, 4]]);
        assert!(in_runs(&[], &shapes, 16).is_empty());
    }
}
