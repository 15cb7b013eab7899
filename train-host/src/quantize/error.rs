//! How far a quantized model is from its float model: by group of output channels, as a whole-tensor figure hides dead
//! scores, and by node. Runs both side by side; judges nothing.

use std::collections::BTreeMap;
use std::path::Path;

use artifact::{Spread, Tensor, TensorData, TensorSpec};
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use repedge::int8;
use serde::{Deserialize, Serialize};

use super::images::{Images, Shown};
use super::observe::{RUN_BYTES, in_runs, makes_values, observed_session};
use super::scheme::QuantizedModel;
use super::stakes;
use crate::export::{self, qdq};
use crate::fuse::{ChannelGroup, group_of};
use crate::model::{Architecture, FusedModel, Head, NodeId};
use crate::{Error, Result};

/// Signal-to-noise ratio of values without any noise, in dB, and with the other sign of noise without any values.
const NOISELESS_DB: f64 = 120.0;

/// Error of a group of channels of one output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputError {
    /// Name of the output in the ONNX file.
    pub output: String,
    /// Which of its channels.
    pub group: ChannelGroup,
    /// Power of the values over power of the error, in dB.
    pub sqnr_db: f64,
    /// Largest error.
    pub max_abs: f64,
    /// Mean error: how far the values are shifted.
    pub mean_shift: f64,
    /// Squared errors by what they cost, summed and divided by the sum of all scores: what an error of the group costs
    /// a detection. See `stakes`.
    pub cost: f64,
}

/// Error of a node's result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeError {
    /// The node.
    pub node: String,
    /// Power of the values over power of the error, in dB.
    pub sqnr_db: f64,
}

/// Sums over pairs of values.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    signal: f64,
    noise: f64,
    shift: f64,
    max_abs: f64,
    cost: f64,
}

impl Sums {
    fn add(&mut self, expected: f64, found: f64) {
        let error = found - expected;
        self.count += 1.0;
        self.signal += expected * expected;
        self.noise += error * error;
        self.shift += error;
        self.max_abs = self.max_abs.max(error.abs());
    }

    /// Adds a pair of raw outputs, which tell logits as `spread` says, and whose squared error costs `cost`.
    fn add_costly(&mut self, spread: Spread, expected: f32, found: f32, cost: f64) {
        self.add(f64::from(spread.logit(expected)), f64::from(spread.logit(found)));
        let error = f64::from(found) - f64::from(expected);
        self.cost += cost * error * error;
    }

    fn sqnr_db(&self) -> f64 {
        if self.noise > 0.0 {
            (10.0 * (self.signal / self.noise).log10()).clamp(-NOISELESS_DB, NOISELESS_DB)
        } else {
            NOISELESS_DB
        }
    }
}

/// Raw outputs of a float model for images, kept to compare several quantized models with.
pub struct Reference<'a> {
    head: &'a Head,
    images: Images,
    imgsz: usize,
    /// Of each image and output, the picture's part.
    outputs: Vec<Vec<Vec<f32>>>,
}

impl<'a> Reference<'a> {
    /// Runs `model` over `images`.
    ///
    /// # Errors
    /// [`Error::Runtime`] when tract refuses the model or an image cannot be read.
    pub fn of(model: &'a FusedModel, images: &Images) -> Result<Self> {
        let mut session = export::session(model)?;
        let mut tensors: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
        let mut outputs = Vec::new();
        images.stream(model.imgsz, "float outputs", |shown| {
            session.run(shown.tensor, &mut tensors)?;
            outputs.push(tensors.iter().map(|tensor| picture(tensor, &reals(tensor), shown)).collect());
            Ok(())
        })?;
        Ok(Self { head: &model.architecture.head, images: images.clone(), imgsz: model.imgsz, outputs })
    }

    /// Errors of `session`, which takes the same images, by output and group of channels.
    ///
    /// # Errors
    /// [`Error::Runtime`] when the session fails, [`Error::Model`] when its outputs are not finite.
    pub fn errors(&self, session: &mut dyn Session) -> Result<Vec<OutputError>> {
        let specs = session.outputs().to_vec();
        let mut tensors: Vec<Tensor> = specs.iter().map(Tensor::zeroed).collect();
        let mut sums: BTreeMap<(usize, ChannelGroup), Sums> = BTreeMap::new();
        let mut scores = 0.0;
        let mut expected = self.outputs.iter();
        self.images.stream(self.imgsz, "int8 outputs", |shown| {
            session.run(shown.tensor, &mut tensors)?;
            let mut pairs = Vec::with_capacity(tensors.len());
            for (at, (tensor, expected)) in
                tensors.iter().zip(expected.next().into_iter().flatten()).enumerate()
            {
                let found = reals(tensor);
                let cropped = picture(tensor, &found, shown);
                if cropped.len() != expected.len() || found.iter().any(|value| !value.is_finite()) {
                    return Err(not_finite(&specs[at].name, shown.path));
                }
                pairs.push((expected.as_slice(), cropped));
            }
            scores += self.add_image(&pairs, &specs, &mut sums);
            Ok(())
        })?;
        let error = |((at, group), sums): ((usize, ChannelGroup), Sums)| OutputError {
            output: specs[at].name.clone(),
            group,
            sqnr_db: sums.sqnr_db(),
            max_abs: sums.max_abs,
            mean_shift: sums.shift / sums.count,
            cost: if scores > 0.0 { sums.cost / scores } else { sums.noise / sums.count },
        };
        Ok(sums.into_iter().map(error).collect())
    }

    /// Adds the outputs of one image, expected and found; the sum of the scores of its boxes. An output costs what it
    /// costs in the model, float or int8, that makes more of it.
    fn add_image(
        &self,
        pairs: &[(&[f32], Vec<f32>)],
        specs: &[TensorSpec],
        sums: &mut BTreeMap<(usize, ChannelGroup), Sums>,
    ) -> f64 {
        let planes: Vec<usize> = pairs
            .iter()
            .zip(specs)
            .map(|((values, _), spec)| values.len() / spec.channels().max(1))
            .collect();
        let expected: Vec<&[f32]> = pairs.iter().map(|(expected, _)| *expected).collect();
        let found: Vec<&[f32]> = pairs.iter().map(|(_, found)| found.as_slice()).collect();
        let stakes = [expected, found].map(|outputs| stakes::of_outputs(self.head, &outputs, &planes));
        let mut scores = 0.0;
        for (at, (expected, found)) in pairs.iter().enumerate() {
            let costs: Vec<f64> = stakes[0][at].iter().zip(&stakes[1][at]).map(|(a, b)| a.max(*b)).collect();
            let plane = planes[at].max(1);
            let channels = expected.chunks(plane).zip(found.chunks(plane)).zip(costs.chunks(plane));
            for (channel, ((expected, found), costs)) in channels.enumerate() {
                let kind = group_of(at, channel, self.head);
                let group = sums.entry((at, kind)).or_default();
                let spread = self.head.spread_of(at, channel);
                for ((&a, &b), &cost) in expected.iter().zip(found).zip(costs) {
                    group.add_costly(spread, a, b, cost);
                }
                if kind == ChannelGroup::Class {
                    scores += costs.iter().sum::<f64>();
                }
            }
        }
        scores
    }
}

fn not_finite(output: &str, image: &Path) -> Error {
    Error::model(
        format!("output {output:?} is not finite for {}", image.display()),
        "finite outputs for any image",
        "the weights are damaged: take an earlier checkpoint",
    )
}

/// One figure for all outputs: the root of what their errors cost a detection.
pub fn total(errors: &[OutputError]) -> f64 {
    errors.iter().map(|error| error.cost).sum::<f64>().sqrt()
}

/// Signal-to-noise ratio of every stored tensor whose values are new, over `images`.
///
/// # Errors
/// [`Error::Runtime`] when tract refuses a model or an image cannot be read.
pub fn node_errors(
    model: &FusedModel,
    quantized: &QuantizedModel,
    images: &Images,
) -> Result<Vec<NodeError>> {
    // The tensors of both models are there at once.
    node_errors_within(RUN_BYTES / 2, model, quantized, images)
}

/// As [`node_errors`], with at most `limit_bytes` of tensors read from a run of a model.
fn node_errors_within(
    limit_bytes: usize,
    model: &FusedModel,
    quantized: &QuantizedModel,
    images: &Images,
) -> Result<Vec<NodeError>> {
    let graph = &model.architecture.graph;
    let is_meant =
        |id: &NodeId| quantized.scheme.tensors[*id].is_some() && makes_values(&graph.nodes[*id].op);
    let nodes: Vec<NodeId> = (0..graph.nodes.len()).filter(is_meant).collect();
    let mut errors = Vec::with_capacity(nodes.len());
    for nodes in in_runs(&nodes, &graph.shapes(model.imgsz, model.imgsz)?, limit_bytes) {
        errors.extend(errors_of(&nodes, model, quantized, images)?);
    }
    Ok(errors)
}

/// Errors of `nodes`, which are read from one run.
fn errors_of(
    nodes: &[NodeId],
    model: &FusedModel,
    quantized: &QuantizedModel,
    images: &Images,
) -> Result<Vec<NodeError>> {
    let mut float = observed_session(model, nodes)?;
    let (bytes, specs) = qdq::write_observed(quantized, nodes)?;
    let mut int8 = TractSession::from_onnx(&bytes, specs.input, specs.outputs)?;
    let mut expected: Vec<Tensor> = float.outputs().iter().map(Tensor::zeroed).collect();
    let mut found = expected.clone();
    let mut sums = vec![Sums::default(); nodes.len()];
    images.stream(model.imgsz, "error by node", |shown| {
        float.run(shown.tensor, &mut expected)?;
        int8.run(shown.tensor, &mut found)?;
        for ((sums, id), (a, b)) in sums.iter_mut().zip(nodes).zip(expected.iter().zip(&found)) {
            let (TensorData::F32(expected), TensorData::F32(found)) = (&a.data, &b.data) else { continue };
            let [expected, found] = [expected, found].map(|values| picture(a, values, shown));
            let plane = (expected.len() / a.channels().max(1)).max(1);
            for (at, (&a, &b)) in expected.iter().zip(&found).enumerate() {
                let told = spread_of(&model.architecture, *id, at / plane);
                sums.add(f64::from(told.logit(a)), f64::from(told.logit(b)));
            }
        }
        Ok(())
    })?;
    let name = |&id: &NodeId| model.architecture.graph.nodes[id].name.clone();
    let error = |(id, sums): (&NodeId, Sums)| NodeError { node: name(id), sqnr_db: sums.sqnr_db() };
    Ok(nodes.iter().zip(sums).map(error).collect())
}

/// What `channel` of node `id` tells of its logit, where the node is a raw output.
fn spread_of(Architecture { graph, head, .. }: &Architecture, id: NodeId, channel: usize) -> Spread {
    let output = graph.outputs.iter().position(|&output| output == id);
    output.map_or(Spread::NONE, |output| head.spread_of(output, channel))
}

/// The picture's part of `values`, which are those of `tensor`.
fn picture(tensor: &Tensor, values: &[f32], shown: &Shown<'_>) -> Vec<f32> {
    let (height, width) = tensor.height_width();
    shown.content.crop(values, height, width)
}

/// The real values of a tensor.
fn reals(tensor: &Tensor) -> Vec<f32> {
    match (&tensor.data, tensor.quant) {
        (TensorData::F32(values), _) => values.clone(),
        (TensorData::I8(values), Some(quant)) => {
            values.iter().map(|&stored| int8::dequantize(stored, quant)).collect()
        }
        (TensorData::I8(_) | TensorData::U8(_), _) => Vec::new(),
    }
}

#[cfg(test)]
mod tests;
