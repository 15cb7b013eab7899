//! What an ablation found, as one JSON document. Puts measurements together; measures and judges nothing itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::bar::Bar;
use super::cell::Cell;
use super::cost::Cost;
use super::forms::Sizes;
use super::machine::Machine;
use super::plan::Plan;
use super::timing::Timing;
use crate::Result;
use crate::evaluate::{Evaluation, Metrics};
use crate::model::{Activation, Block};
use crate::report::Epoch;
use crate::statistics::{Spread, spread};

/// Everything that was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    /// What was asked for.
    pub plan: Summary,
    /// Where this was put together; each timing names where it was measured.
    pub machine: Machine,
    /// The variants, in the plan's order.
    pub variants: Vec<VariantResult>,
    /// What training costs.
    pub cost: Cost,
    /// Inference times.
    pub timings: Vec<Timing>,
    /// Whether the fused models are never slower than the plain one, and the unfused are.
    pub bar: Bar,
    /// Files with drawn detections, relative to the folder of the results.
    pub pictures: Vec<PathBuf>,
}

/// The plan, as far as it decides the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the plan.
    pub name: String,
    /// Dataset description.
    pub data: PathBuf,
    /// Part of it that was evaluated.
    pub split: String,
    /// Images in that part.
    pub images: usize,
    /// Passes over the training images.
    pub epochs: usize,
    /// Side of the square input, px.
    pub imgsz: usize,
    /// Images a batch.
    pub batch: usize,
    /// Keys of the trainings.
    pub seeds: Vec<u64>,
    /// Threads of each training.
    pub threads: usize,
    /// What the variants were trained on.
    pub device: String,
    /// The variant that the others are compared to.
    pub baseline: String,
}

/// What was found about one variant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantResult {
    /// Its name.
    pub name: String,
    /// Name of a built-in model, or a YAML file.
    pub model: String,
    /// Activation instead of the model's own.
    pub act: Option<Activation>,
    /// Rep block instead of the model's own.
    pub block: Option<Block>,
    /// Size and cost.
    pub sizes: Sizes,
    /// Over the seeds.
    pub accuracy: Accuracy,
    /// Each seed.
    pub seeds: Vec<SeedResult>,
}

/// Accuracy over the seeds; what no seed could measure is absent. Fractions 0..1, mAP at IoU 0.50:0.95 but for `map50`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// mAP at IoU 0.5.
    pub map50: Option<Spread>,
    /// mAP.
    pub map: Option<Spread>,
    /// mAP of objects under 32² px of the source image.
    pub ap_small: Option<Spread>,
    /// mAP of objects from 32² to 96² px.
    pub ap_medium: Option<Spread>,
    /// mAP of objects over 96² px.
    pub ap_large: Option<Spread>,
}

/// What was found about one cell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SeedResult {
    /// Key of its randomness.
    pub seed: u64,
    /// mAP at IoU 0.5.
    pub map50: Option<f64>,
    /// mAP at IoU 0.50:0.95.
    pub map: Option<f64>,
    /// mAP of small objects.
    pub ap_small: Option<f64>,
    /// mAP of medium objects.
    pub ap_medium: Option<f64>,
    /// mAP of large objects.
    pub ap_large: Option<f64>,
    /// The course of its training; not part of the document.
    #[serde(skip)]
    pub epochs: Vec<Epoch>,
}

impl Summary {
    /// The summary of `plan`, evaluated on `images` images.
    pub fn new(plan: &Plan, images: usize) -> Self {
        Self {
            name: plan.name.clone(),
            data: plan.data.clone(),
            split: plan.split.to_string(),
            images,
            epochs: plan.epochs,
            imgsz: plan.imgsz,
            batch: plan.batch,
            seeds: plan.seeds.clone(),
            threads: plan.threads,
            device: plan.device.clone(),
            baseline: plan.baseline().name.clone(),
        }
    }
}

impl SeedResult {
    /// What `evaluation` found about `cell`.
    ///
    /// # Errors
    /// As [`Cell::epochs`].
    pub fn new(cell: &Cell, evaluation: &Evaluation) -> Result<Self> {
        let Metrics { map50, map, ap_small, ap_medium, ap_large, .. } = evaluation.metrics;
        Ok(Self { seed: cell.seed, map50, map, ap_small, ap_medium, ap_large, epochs: cell.epochs()? })
    }
}

impl Accuracy {
    /// Over `seeds`.
    pub fn over(seeds: &[SeedResult]) -> Self {
        let of = |value: fn(&SeedResult) -> Option<f64>| {
            spread(&seeds.iter().filter_map(value).collect::<Vec<_>>())
        };
        Self {
            map50: of(|s| s.map50),
            map: of(|s| s.map),
            ap_small: of(|s| s.ap_small),
            ap_medium: of(|s| s.ap_medium),
            ap_large: of(|s| s.ap_large),
        }
    }
}

#[cfg(test)]
pub mod tests;
