//! What an ablation found, as one JSON document. Puts measurements together and judges the bar; measures nothing itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::cost::Cost;
use super::forms::{Role, Sizes, Stage};
use super::machine::Machine;
use super::plan::Plan;
use super::timing::Timing;
use crate::Result;
use crate::evaluate::{Evaluation, Metrics};
use crate::model::{Activation, Block};
use crate::report::Epoch;
use crate::statistics::{Spread, spread};

/// A fused model may take this much of the plain model's time, frame by frame, at most: the same graph, and 2 % for what
/// two copies of it differ by on a machine.
pub const FUSED_LIMIT: f64 = 1.02;
/// An unfused model takes more than this.
pub const UNFUSED_LIMIT: f64 = 1.0;

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

/// The bar of re-parameterization.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// Largest ratio of a fused model to the plain one.
    pub fused_limit: f64,
    /// Ratio that an unfused model exceeds.
    pub unfused_limit: f64,
    /// Ratios judged: the medians of the frame-by-frame ratios.
    pub judged: usize,
    /// What does not hold, one sentence each.
    pub failures: Vec<String>,
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

impl Bar {
    /// Judges every ratio of a re-parameterized form to the plain model.
    pub fn judge(timings: &[Timing]) -> Self {
        let mut bar =
            Self { fused_limit: FUSED_LIMIT, unfused_limit: UNFUSED_LIMIT, judged: 0, failures: Vec::new() };
        for timing in timings {
            let subjects = timing.forms.iter().filter(|form| form.role == Role::Reparameterized);
            for (form, ratio) in subjects.filter_map(|form| Some((form, form.to_plain?))) {
                bar.judged += 1;
                let (holds, limit) = match form.stage {
                    Stage::Fused => (ratio.median <= FUSED_LIMIT, format!("at most {FUSED_LIMIT}")),
                    Stage::Unfused => (ratio.median > UNFUSED_LIMIT, format!("more than {UNFUSED_LIMIT}")),
                };
                if !holds {
                    bar.failures.push(format!(
                        "{} takes {:.4} of the time of {} on {} over {} frames (timing {}), not {limit}",
                        form.name,
                        ratio.median,
                        form.plain.as_deref().unwrap_or("the plain model"),
                        timing.engine.name(),
                        timing.frames,
                        timing.repeat
                    ));
                }
            }
        }
        bar
    }

    /// Whether everything judged holds.
    pub fn holds(&self) -> bool {
        self.failures.is_empty()
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::forms::Size;
    use super::super::timing::{Engine, FormTime};
    use super::*;
    use crate::statistics::Ratio;
    use crate::train::bench::Workload;

    pub fn form(name: &str, stage: Stage, role: Role, ratio: f64) -> FormTime {
        let ratio = Ratio { of_sums: ratio, median: ratio, low: ratio, high: ratio };
        FormTime {
            name: name.into(),
            variant: name.into(),
            stage,
            role,
            median_ms: 10.0 * ratio.median,
            mean_ms: 10.0 * ratio.median,
            p5_ms: 9.0,
            p95_ms: 12.0,
            to_baseline: ratio,
            plain: Some("plain fused".into()),
            to_plain: Some(ratio),
        }
    }

    pub fn timing(engine: Engine, forms: Vec<FormTime>) -> Timing {
        Timing { machine: Machine::here(), engine, frames: 500, repeat: 1, imgsz: 64, threads: 1, forms }
    }

    fn variant(name: &str, map: [f64; 2]) -> VariantResult {
        let size = |parameters| Size { parameters, flops: 2_000_000_000, layers: 9 };
        let epoch = |epoch, map| Epoch { epoch, map: Some(map), ..Epoch::default() };
        let seed = |(seed, &map): (u64, &f64)| SeedResult {
            seed,
            map50: Some(map),
            map: Some(map / 2.0),
            ap_small: None,
            ap_medium: Some(map),
            ap_large: Some(map),
            epochs: vec![epoch(0.0, map / 4.0), epoch(1.0, map / 2.0)],
        };
        let seeds: Vec<SeedResult> = (0..).zip(&map).map(seed).collect();
        VariantResult {
            name: name.into(),
            model: name.into(),
            act: None,
            block: Some(Block::Repvgg),
            sizes: Sizes { unfused: size(2_000_000), fused: size(1_000_000) },
            accuracy: Accuracy::over(&seeds),
            seeds,
        }
    }

    /// Two variants, of which `rep` takes `unfused` and `fused` times the plain one's time.
    pub fn document(unfused: f64, fused: f64) -> Document {
        let forms = vec![
            form("plain fused", Stage::Fused, Role::Compared, 1.0),
            form("rep unfused", Stage::Unfused, Role::Reparameterized, unfused),
            form("rep fused", Stage::Fused, Role::Reparameterized, fused),
        ];
        let timings = vec![timing(Engine::Tract, forms)];
        let workload = Workload {
            data: "d".into(),
            broken: crate::dataset::Broken::Refuse,
            imgsz: 64,
            batch: 8,
            nominal_batch: 64,
            steps: 4,
            threads: 1,
            workers: 1,
        };
        Document {
            plan: Summary {
                name: "p".into(),
                data: "sets/d".into(),
                split: "test".into(),
                images: 8,
                epochs: 2,
                imgsz: 64,
                batch: 8,
                seeds: vec![0, 1],
                threads: 1,
                device: "cpu".into(),
                baseline: "plain".into(),
            },
            machine: Machine::here(),
            variants: vec![variant("plain", [0.59, 0.61]), variant("rep", [0.60, 0.62])],
            cost: Cost { machine: Machine::here(), workload, alone: Vec::new(), paired: Vec::new() },
            bar: Bar::judge(&timings),
            timings,
            pictures: Vec::new(),
        }
    }

    #[test]
    fn a_document_survives_its_json() {
        let mut document = document(1.3, 1.01);
        let json = serde_json::to_string(&document).unwrap();
        for seed in document.variants.iter_mut().flat_map(|variant| &mut variant.seeds) {
            seed.epochs.clear();
        }
        assert_eq!(serde_json::from_str::<Document>(&json).unwrap(), document);
    }

    #[test]
    fn the_bar_is_judged_for_rep_forms_only_and_names_what_fails() {
        let bar_of = |unfused, fused| {
            let forms = vec![
                form("plain fused", Stage::Fused, Role::Compared, 1.0),
                form("lite fused", Stage::Fused, Role::Compared, 1.9),
                form("rep unfused", Stage::Unfused, Role::Reparameterized, unfused),
                form("rep fused", Stage::Fused, Role::Reparameterized, fused),
            ];
            Bar::judge(&[timing(Engine::Tract, forms)])
        };
        let sound = bar_of(1.2, 1.02);
        assert!(sound.holds() && sound.judged == 2);
        let failed = bar_of(1.0, 1.021);
        assert_eq!(failed.failures.len(), 2);
        assert!(
            failed.failures[0].starts_with("rep unfused takes 1.0000 of the time of plain fused on tract")
        );
        assert!(failed.failures[1].contains("1.0210") && failed.failures[1].contains("at most 1.02"));
    }

    #[test]
    fn accuracy_leaves_out_what_no_seed_measured() {
        let seed = |map50| SeedResult {
            seed: 0,
            map50: Some(map50),
            map: None,
            ap_small: None,
            ap_medium: None,
            ap_large: None,
            epochs: Vec::new(),
        };
        let accuracy = Accuracy::over(&[seed(0.5), seed(0.7)]);
        assert!((accuracy.map50.unwrap().mean - 0.6).abs() < 1e-12);
        assert_eq!(accuracy.map, None);
    }
}
