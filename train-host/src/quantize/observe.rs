//! Runs the float model over images and counts the values of every tensor that int8 will store. Memory depends on the
//! graph alone; images pass one by one, and tensors are read in groups of bounded size.

use std::collections::BTreeMap;
use std::path::Path;

use artifact::{Tensor, TensorData};
use rayon::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;

use super::focus::Focus;
use super::histogram::{Histogram, NotFinite};
use super::images::{Images, Shown, input_spec};
use super::{importance, objects};
use crate::export::onnx;
use crate::model::{FusedModel, Graph, NodeId, Op};
use crate::{Error, Result};

/// Most bytes of tensors that are read from one run; larger graphs are run several times an image.
const RUN_BYTES: usize = 192 << 20;

/// What one value counts in [`Stats::felt`] where channels are of mean importance and there is no object.
const UNIT: f64 = 256.0;
/// The most that one value counts: sums of very many still fit their counters.
const MOST: f64 = 1e7;

/// What was seen of one tensor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stats {
    /// All its values.
    pub histogram: Histogram,
    /// All its values, each counted by how much an error in it would count: by the importance of its channel, and as
    /// much where the float model finds objects, altogether, as over the whole picture.
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
    /// Adds a result of planes of `height` × `width`, looked at in `focus`; `importance` is that of its channels.
    fn add(
        &mut self,
        values: &[f32],
        [height, width]: [usize; 2],
        focus: &Focus,
        importance: &[f64],
    ) -> std::result::Result<(), NotFinite> {
        let picture = focus.content.crop(values, height, width);
        self.histogram.add(&picture, 1)?;
        self.channels.resize(importance.len(), Channel::default());
        let objects = focus.object_places(height, width);
        let size = picture.len() / importance.len();
        let planes = picture.chunks(size).zip(values.chunks(height * width));
        for ((channel, importance), (picture, plane)) in self.channels.iter_mut().zip(importance).zip(planes)
        {
            channel.add(picture);
            self.felt.add(picture, weight(*importance))?;
            let on_objects: Vec<f32> = objects.iter().map(|&place| plane[place]).collect();
            self.felt.add(&on_objects, weight(importance * share(size, objects.len())))?;
        }
        Ok(())
    }
}

/// How often each of `on_objects` places counts, to count as much as `all` places; never less than once.
#[expect(clippy::cast_precision_loss, reason = "a weight")]
fn share(all: usize, on_objects: usize) -> f64 {
    (all as f64 / on_objects.max(1) as f64).max(1.0)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
fn weight(importance: f64) -> u64 {
    (importance * UNIT).round().clamp(1.0, MOST) as u64
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
            stats.felt.merge(&more.felt);
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
    let importance = importance::of_channels(model)?;
    let mut found = objects::found(model, images)?.samples.into_iter();
    images.stream(model.imgsz, "calibrating", |shown| {
        colors.add(shown);
        observations.images += 1;
        let objects = found.next().map(|sample| sample.boxes).unwrap_or_default();
        let focus = Focus { content: shown.content, objects };
        for run in &mut runs {
            run.session.run(shown.tensor, &mut run.outputs)?;
            let look = Look { graph, path: shown.path, focus: &focus, importance: &importance };
            record(run, &look, &mut observations)?;
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

/// How the results of one image are looked at.
struct Look<'a> {
    graph: &'a Graph,
    path: &'a Path,
    focus: &'a Focus,
    importance: &'a [Vec<f64>],
}

fn record(run: &Run, look: &Look<'_>, observations: &mut Observations) -> Result<()> {
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
        let added = stats.add(values, [height, width], look.focus, &look.importance[*id]);
        added.map_err(|NotFinite(value)| {
            Error::model(
                format!("node {:?} gives {value} for {}", look.graph.nodes[*id].name, look.path.display()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::LabelBox;
    use crate::quantize::images::Content;

    #[test]
    fn objects_count_as_much_as_the_picture_and_channels_by_importance() {
        // Two channels of 4 × 4 places; the object covers the first of them.
        let object = LabelBox { class: 0, cx: 0.125, cy: 0.125, w: 0.2, h: 0.2 };
        let focus = Focus { content: Content::whole(4), objects: vec![object] };
        let values: Vec<f32> = [[3.0; 1].as_slice(), &[1.0; 15], &[4.0; 1], &[2.0; 15]].concat();
        let mut stats = Stats::default();
        stats.add(&values, [4, 4], &focus, &[0.5, 2.0]).unwrap();
        let counts: Vec<u64> = stats.felt.bins().into_iter().map(|(_, count)| count).collect();
        // 1, 2, 3, 4: fifteen places without object, or one that counts as all sixteen and once more.
        assert_eq!(counts, [15 * 128, 15 * 512, 17 * 128, 17 * 512]);
        assert_eq!(stats.histogram.len(), 32);
        assert_eq!((stats.channels[1].high, stats.channels[1].count), (4.0, 16));
    }

    #[test]
    fn a_value_counts_once_at_least_and_never_beyond_bounds() {
        assert_eq!((weight(0.0), weight(1.0), weight(1e30)), (1, 256, 10_000_000));
        assert_eq!((share(16, 1), share(16, 0), share(4, 8)), (16.0, 16.0, 1.0));
    }
}
