//! What a quantization costs and gains: the float model and every variant on the way, each with its mAP on labeled
//! images, its size, its arithmetic and its error, and the error of each node. Only measures; `report` shows it.

use std::collections::HashSet;
use std::path::PathBuf;

use repedge::backend::tract::{Arithmetic, TractSession};
use serde::Serialize;

use super::error::{NodeError, node_errors};
use super::images::{Images, input_spec};
use super::passes::{Sensitivity, sensitivities};
use super::pipeline::{Outcome, Record, Variant};
use super::ptq::beyond_half;
use super::scheme::MacCount;
use crate::Result;
use crate::dataset::Dataset;
use crate::evaluate::{Difference, Evaluation, Evaluator, Matches, Options, paired_difference};
use crate::export::{self, bundle, onnx, qdq};
use crate::model::FusedModel;

/// Images that signal-to-noise ratios are measured on.
const NODE_IMAGES: usize = 4;
/// Draws of the bootstrap follow from it.
const SEED: u64 = 0;

/// What is compared, and on what.
pub struct Judged<'a> {
    /// The float model.
    pub model: &'a FusedModel,
    /// The quantization.
    pub outcome: &'a Outcome,
    /// Images for errors by node.
    pub images: &'a Images,
    /// Labeled images for mAP.
    pub labels: Option<&'a Dataset>,
    /// Images that were calibrated or trained on.
    pub seen: &'a [PathBuf],
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison<'a> {
    /// Name of the model.
    pub model: &'a str,
    /// Side of its images in pixels.
    pub imgsz: usize,
    /// Number of images that mAP was measured on; 0 where none were given.
    pub images_labeled: usize,
    /// How many of them were also calibrated or trained on: mAP on those flatters int8.
    pub images_seen: usize,
    /// The float model, then every variant.
    pub rows: Vec<Row>,
    /// Error of each stored tensor whose values are new, of the model that was chosen.
    pub nodes: Vec<NodeError>,
    /// The convolutions of that model which tract computes in floats.
    pub float_convs: Vec<String>,
    /// Its other operators that tract computes in floats between stored values.
    pub float_others: Vec<String>,
    /// What each tensor costs, as measured when it was chosen what stays in floats; where nothing may, of that model.
    pub sensitivities: Vec<Sensitivity>,
    /// How it came about.
    pub record: &'a Record,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done to it.
    pub name: String,
    /// Whether it is the one that was chosen.
    pub chosen: bool,
    /// Size of its ONNX file.
    pub onnx_bytes: usize,
    /// Multiply-adds in int8; none for the float model.
    pub macs: Option<MacCount>,
    /// Convolutions that tract computes in int8.
    pub int8_convs: usize,
    /// All its convolutions.
    pub convs: usize,
    /// Error over all groups of output channels, on held-out calibration images.
    pub total: f64,
    /// mAP, 0..1, on the same images with what the float model finds for labels.
    pub agreement: Option<f64>,
    /// mAP50 on the labeled images.
    pub map50: Option<f64>,
    /// mAP on the labeled images.
    pub map: Option<f64>,
    /// Change of mAP50 and mAP against the float model.
    pub change: Option<[Difference; 2]>,
}

/// Measures the float model and every variant.
///
/// # Errors
/// As [`Evaluator::run`] and [`node_errors`].
pub fn compare<'a>(judged: &Judged<'a>) -> Result<Comparison<'a>> {
    let Judged { model, outcome, images, labels, seen } = *judged;
    let evaluator = labels.map(|labels| evaluator(model, labels)).transpose()?;
    let float = Measured::of(export::session(model)?, evaluator.as_ref())?;
    let mut rows = vec![float.row("float", onnx::write(model)?.len())];
    let mut arithmetic = Arithmetic::default();
    for (at, Variant { name, model, verdict }) in outcome.variants.iter().enumerate() {
        let int8 = Measured::of(export::quantized_session(model)?, evaluator.as_ref())?;
        let change = int8.change_from(&float);
        let row = int8.row(name, qdq::write(model)?.len());
        let chosen = at == outcome.chosen;
        rows.push(Row {
            chosen,
            macs: Some(model.macs()?),
            total: verdict.total,
            agreement: verdict.agreement,
            change,
            ..row
        });
        if chosen {
            arithmetic = int8.arithmetic;
        }
    }
    Ok(Comparison {
        model: &model.architecture.name,
        imgsz: model.imgsz,
        images_labeled: labels.map_or(0, |labels| labels.samples.len()),
        images_seen: labels.map_or(0, |labels| count_seen(labels, seen)),
        rows,
        nodes: node_errors(&outcome.float, &outcome.model, &images.spread(NODE_IMAGES))?,
        float_convs: arithmetic.float_convs,
        float_others: arithmetic.float_others,
        sensitivities: costs_of_tensors(outcome, images)?,
        record: &outcome.record,
    })
}

/// What each tensor costs, measured on a few of `images` where the quantization had no need of it.
fn costs_of_tensors(outcome: &Outcome, images: &Images) -> Result<Vec<Sensitivity>> {
    let Outcome { model, float, record, .. } = outcome;
    // Beyond what 16 bits hold, all else cannot be in floats as it would be in a file.
    if !record.sensitivities.is_empty() || beyond_half(float).is_some() {
        return Ok(record.sensitivities.clone());
    }
    sensitivities(float, model, &images.spread(NODE_IMAGES))
}

/// How many images of `labels` are among `seen`.
fn count_seen(labels: &Dataset, seen: &[PathBuf]) -> usize {
    // An image that cannot be resolved is known by the name it was given.
    let file = |path: &PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    let seen: HashSet<PathBuf> = seen.iter().map(file).collect();
    labels.samples.iter().filter(|sample| seen.contains(&file(&sample.image))).count()
}

/// A session and what it found.
struct Measured {
    arithmetic: Arithmetic,
    found: Option<(Evaluation, Matches)>,
}

impl Measured {
    fn of(mut session: TractSession, evaluator: Option<&Evaluator>) -> Result<Self> {
        let found = evaluator.map(|evaluator| evaluator.run_matched(&mut session)).transpose()?;
        Ok(Self { arithmetic: session.arithmetic().clone(), found })
    }

    fn row(&self, name: &str, onnx_bytes: usize) -> Row {
        let metrics = self.found.as_ref().map(|(evaluation, _)| &evaluation.metrics);
        let Arithmetic { int8_convs, float_convs, .. } = &self.arithmetic;
        Row {
            name: name.to_owned(),
            chosen: false,
            onnx_bytes,
            macs: None,
            int8_convs: int8_convs.len(),
            convs: int8_convs.len() + float_convs.len(),
            total: 0.0,
            agreement: None,
            map50: metrics.and_then(|metrics| metrics.map50),
            map: metrics.and_then(|metrics| metrics.map),
            change: None,
        }
    }

    fn change_from(&self, float: &Self) -> Option<[Difference; 2]> {
        let ((_, float), (_, int8)) = (float.found.as_ref()?, self.found.as_ref()?);
        paired_difference(&[[float, int8]], SEED)
    }
}

fn evaluator(model: &FusedModel, labels: &Dataset) -> Result<Evaluator> {
    let preprocess = bundle::preprocess(model.imgsz);
    let decode = bundle::decode(&model.architecture.head);
    Evaluator::new(labels, &preprocess, &decode, &input_spec(model.imgsz), &Options::default())
}
