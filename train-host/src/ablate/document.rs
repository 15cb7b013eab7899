//! What an ablation found, as one JSON document. Puts measurements together and judges the bar; measures nothing itself.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::cell::Cell;
use super::cost::Cost;
use super::forms::{Role, Sizes, Stage};
use super::machine::Machine;
use super::plan::Plan;
use super::timing::{Engine, Timing};
use crate::Result;
use crate::evaluate::{Evaluation, Metrics};
use crate::model::{Activation, Block};
use crate::report::Epoch;
use crate::statistics::{Spread, median, spread};

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
    /// One for each re-parameterized form in each engine.
    pub verdicts: Vec<Verdict>,
}

/// Whether one form keeps to its limit in one engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// What ran the models.
    pub engine: Engine,
    /// The form.
    pub form: String,
    /// Its stage, which decides the limit.
    pub stage: Stage,
    /// The deployed plain model with the same activation.
    pub plain: String,
    /// Median frame-by-frame ratio of each timing.
    pub ratios: Vec<f64>,
    /// Their median: a copy of a model that lies badly in memory is slow in one timing, and no timing alone decides.
    pub ratio: f64,
    /// Whether that keeps to the limit.
    pub holds: bool,
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
    /// Judges every re-parameterized form of `timings` in each engine.
    pub fn judge(timings: &[Timing]) -> Self {
        let mut verdicts: Vec<Verdict> = Vec::new();
        for timing in timings {
            for form in timing.forms.iter().filter(|form| form.role == Role::Reparameterized) {
                let Some((ratio, plain)) = form.to_plain.zip(form.plain.clone()) else { continue };
                let is_same = |v: &&mut Verdict| v.engine == timing.engine && v.form == form.name;
                match verdicts.iter_mut().find(is_same) {
                    Some(verdict) => verdict.ratios.push(ratio.median),
                    None => verdicts.push(Verdict {
                        engine: timing.engine,
                        form: form.name.clone(),
                        stage: form.stage,
                        plain,
                        ratios: vec![ratio.median],
                        ratio: 0.0,
                        holds: false,
                    }),
                }
            }
        }
        for verdict in &mut verdicts {
            verdict.ratio = median(&verdict.ratios);
            verdict.holds = match verdict.stage {
                Stage::Fused => verdict.ratio <= FUSED_LIMIT,
                Stage::Unfused => verdict.ratio > UNFUSED_LIMIT,
            };
        }
        Self { fused_limit: FUSED_LIMIT, unfused_limit: UNFUSED_LIMIT, verdicts }
    }

    /// What does not hold, a sentence each.
    pub fn failures(&self) -> Vec<String> {
        let sentence = |v: &Verdict| {
            let limit = match v.stage {
                Stage::Fused => format!("at most {}", self.fused_limit),
                Stage::Unfused => format!("more than {}", self.unfused_limit),
            };
            format!(
                "{} takes {:.4} of the time of {} on {}, not {limit}",
                v.form,
                v.ratio,
                v.plain,
                v.engine.name()
            )
        };
        self.verdicts.iter().filter(|verdict| !verdict.holds).map(sentence).collect()
    }
}

#[cfg(test)]
pub mod tests {
    use super::super::forms::Size;
    use super::super::timing::FormTime;
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
        assert!(sound.failures().is_empty() && sound.verdicts.len() == 2);
        let failures = bar_of(1.0, 1.021).failures();
        assert_eq!(failures.len(), 2);
        assert_eq!(
            failures[0],
            "rep unfused takes 1.0000 of the time of plain fused on tract, not more than 1"
        );
        assert!(failures[1].contains("1.0210") && failures[1].contains("at most 1.02"));
    }

    #[test]
    fn one_disturbed_timing_of_three_does_not_decide() {
        let timing_of = |engine, ratio| {
            timing(engine, vec![form("rep fused", Stage::Fused, Role::Reparameterized, ratio)])
        };
        let [tract, torch] = Engine::ALL;
        let timings = [1.0, 1.1, 1.01].map(|ratio| timing_of(tract, ratio));
        let bar = Bar::judge(&[&timings[..], &[timing_of(torch, 1.05)]].concat());
        let found: Vec<(f64, bool)> = bar.verdicts.iter().map(|v| (v.ratio, v.holds)).collect();
        assert_eq!(found, [(1.01, true), (1.05, false)]);
        assert_eq!(bar.verdicts[0].ratios, [1.0, 1.1, 1.01]);
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
