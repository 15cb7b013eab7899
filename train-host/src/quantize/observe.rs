//! Runs the float model over images and counts the values of every tensor that int8 will store. Memory depends on the
//! graph alone; images pass one by one, and tensors are read in groups of bounded size.

use std::collections::BTreeMap;

use artifact::{Tensor, TensorData};
use rayon::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;

use super::histogram::{Histogram, NotFinite};
use super::images::{Images, Shown, input_spec};
use crate::export::onnx;
use crate::model::{FusedModel, Graph, NodeId, Op};
use crate::{Error, Result};

/// Most bytes of tensors that are read from one run; larger graphs are run several times an image.
const RUN_BYTES: usize = 192 << 20;

/// What was seen of one tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// All its values.
    pub histogram: Histogram,
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

    fn add(&mut self, values: &[f32]) {
        for &value in values {
            self.low = self.low.min(value);
            self.high = self.high.max(value);
            self.sum += f64::from(value);
        }
        self.count += values.len() as u64;
    }

    fn merge(&mut self, other: &Self) {
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
        self.sum += other.sum;
        self.count += other.count;
    }
}

impl Stats {
    fn add(&mut self, values: &[f32], channels: usize) -> std::result::Result<(), NotFinite> {
        self.histogram.add(values)?;
        self.channels.resize(channels, Channel::default());
        for (channel, values) in self.channels.iter_mut().zip(values.chunks(values.len() / channels)) {
            channel.add(values);
        }
        Ok(())
    }
}

/// What was seen of each observed tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observations {
    /// By node.
    pub nodes: BTreeMap<NodeId, Stats>,
    /// Number of images.
    pub images: usize,
}

impl Observations {
    /// Adds what `other` saw of the same graph.
    pub fn merge(&mut self, other: &Self) {
        for (id, more) in &other.nodes {
            let stats = self.nodes.entry(*id).or_default();
            stats.histogram.merge(&more.histogram);
            stats.channels.resize(more.channels.len(), Channel::default());
            for (channel, more) in stats.channels.iter_mut().zip(&more.channels) {
                channel.merge(more);
            }
        }
        self.images += other.images;
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
/// [`Content`]: super::images::Content
///
/// # Errors
/// [`Error::Data`] when every image is of one color, or an image cannot be read; [`Error::Model`] naming the node and
/// the image where a value is infinite or no number; [`Error::Runtime`] when tract refuses the model.
pub fn observe(model: &FusedModel, images: &Images) -> Result<Observations> {
    let graph = &model.architecture.graph;
    let nodes: Vec<NodeId> = (0..graph.nodes.len()).filter(|&id| makes_values(&graph.nodes[id].op)).collect();
    let mut runs = runs(model, &nodes)?;
    let mut observations = Observations::default();
    let mut colors = Colors::default();
    images.stream(model.imgsz, "calibrating", |shown| {
        colors.add(shown);
        observations.images += 1;
        for run in &mut runs {
            run.session.run(shown.tensor, &mut run.outputs)?;
            record(graph, run, shown, &mut observations)?;
        }
        Ok(())
    })?;
    colors.check(images)?;
    Ok(observations)
}

/// One run of the model and the tensors read from it.
struct Run {
    session: TractSession,
    nodes: Vec<NodeId>,
    outputs: Vec<Tensor>,
}

/// As few runs as bounded memory allows.
fn runs(model: &FusedModel, nodes: &[NodeId]) -> Result<Vec<Run>> {
    let graph = &model.architecture.graph;
    let shapes = graph.shapes(model.imgsz, model.imgsz)?;
    let mut runs = Vec::new();
    let mut group = Vec::new();
    let mut bytes = 0;
    for &id in nodes {
        let size = 4 * shapes[id].iter().product::<usize>();
        if !group.is_empty() && bytes + size > RUN_BYTES {
            runs.push(run_of(model, std::mem::take(&mut group))?);
            bytes = 0;
        }
        group.push(id);
        bytes += size;
    }
    if !group.is_empty() {
        runs.push(run_of(model, group)?);
    }
    Ok(runs)
}

fn run_of(model: &FusedModel, nodes: Vec<NodeId>) -> Result<Run> {
    let mut graph = model.architecture.graph.clone();
    graph.outputs.clone_from(&nodes);
    let names: Vec<String> = nodes.iter().map(|&id| graph.nodes[id].name.clone()).collect();
    let specs = onnx::specs(&graph, &names, model.imgsz)?;
    let bytes = onnx::write_graph(&graph, &model.weights, model.imgsz)?;
    let session = TractSession::from_onnx(&bytes, input_spec(model.imgsz), specs.outputs)?;
    let outputs = session.outputs().iter().map(Tensor::zeroed).collect();
    Ok(Run { session, nodes, outputs })
}

fn record(graph: &Graph, run: &Run, shown: &Shown<'_>, observations: &mut Observations) -> Result<()> {
    for &id in &run.nodes {
        observations.nodes.entry(id).or_default();
    }
    let outputs: BTreeMap<NodeId, &Tensor> = run.nodes.iter().copied().zip(&run.outputs).collect();
    let mut parts: Vec<(NodeId, &mut Stats)> = observations
        .nodes
        .iter_mut()
        .filter(|(id, _)| outputs.contains_key(id))
        .map(|(id, s)| (*id, s))
        .collect();
    // All are looked at, so that the first in the graph is the one that is named: those behind it only follow.
    let results: Vec<Result<()>> = parts.par_iter_mut().map(|(id, stats)| {
        let output = outputs[&*id];
        let TensorData::F32(values) = &output.data else { return Ok(()) };
        let (height, width) = output.height_width();
        let values = shown.content.crop(values, height, width);
        stats.add(&values, output.channels()).map_err(|NotFinite(value)| {
            Error::model(
                format!("node {:?} gives {value} for {}", graph.nodes[*id].name, shown.path.display()),
                "finite values for every image",
                "the weights are damaged or training diverged: take an earlier checkpoint, or leave the image out",
            )
        })
    }).collect();
    results.into_iter().collect()
}

/// Whether any image has two colors: without that, scales would be those of a single value.
#[derive(Default)]
struct Colors {
    varied: bool,
    last: f32,
}

impl Colors {
    fn add(&mut self, shown: &Shown<'_>) {
        let TensorData::F32(values) = &shown.tensor.data else { return };
        let (height, width) = shown.tensor.height_width();
        let picture = shown.content.crop(values, height, width);
        let planes = picture.chunks((picture.len() / shown.tensor.channels()).max(1));
        self.varied |= planes.into_iter().any(|plane| plane.iter().any(|value| *value != plane[0]));
        self.last = picture.first().copied().unwrap_or_default();
    }

    fn check(&self, images: &Images) -> Result<()> {
        if self.varied {
            return Ok(());
        }
        Err(Error::data(
            format!(
                "all {} calibration images are of one color each (the last begins with {:.0} of 255)",
                images.paths().len(),
                self.last * 255.0
            ),
            "photographs like those the device will see",
            "a camera with its lens covered, or a broken converter, makes such images: take others with --calib",
        ))
    }
}
