//! Measures training itself: real steps on real augmented data, alone in a process or several models step by step
//! beside each other. Trains nothing that is kept.

mod alone;
mod memory;
mod paired;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde::{Deserialize, Serialize};
use tch::Device;

use super::learner::Learner;
use super::loader::Loader;
use super::schedule::{Rates, Schedule};
use super::{ConvFormat, Decay, Hyper};
use crate::dataset::{Broken, Dataset, Source, Split};
use crate::model::{Activation, Architecture, Block, Overrides, initial_weights};
use crate::statistics::{mean, median};
use crate::{Error, Result};

pub use alone::{Alone, alone};
pub use paired::{Paired, paired};

/// Steps before the first that counts: libtorch prepares its kernels in them.
const WARM_UP_STEPS: usize = 4;
/// Key of weights, order and augmentation.
const SEED: u64 = 0;
/// Epochs of the run whose last steps are measured: their rates keep untrained weights from diverging, and each
/// optimizer step adds up a full nominal batch.
const EPOCHS: usize = 100;
/// Largest number of steps that can be asked for.
pub(crate) const MAX_STEPS: usize = 1_000_000;

/// A model to be measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// What it is called in the results.
    pub name: String,
    /// Name of a built-in model, or a YAML file.
    pub model: String,
    /// Activation instead of the model's own.
    pub act: Option<Activation>,
    /// Rep block instead of the model's own.
    pub block: Option<Block>,
}

/// What every model is measured with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// Dataset description; its training images are used.
    pub data: PathBuf,
    /// What to do about broken labels.
    pub broken: Broken,
    /// Side of the square input, px.
    pub imgsz: usize,
    /// Images a batch.
    pub batch: usize,
    /// Images that make up an optimizer step.
    pub nominal_batch: usize,
    /// Steps measured, after a few that are not.
    pub steps: usize,
    /// Threads libtorch computes with.
    pub threads: usize,
    /// Threads that prepare batches.
    pub workers: usize,
}

/// Time of a step in milliseconds, waiting for data not included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepTime {
    /// Mean: includes each optimizer step's share.
    pub mean_ms: f64,
    /// Half of the steps took no longer.
    pub median_ms: f64,
}

impl StepTime {
    fn of(steps: &[Duration]) -> Self {
        let times_ms: Vec<f64> = steps.iter().map(|time| time.as_secs_f64() * 1e3).collect();
        Self { mean_ms: mean(&times_ms), median_ms: median(&times_ms) }
    }
}

impl Workload {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Error::Input`] naming the number that cannot be measured with.
    pub fn validate(&self) -> Result<()> {
        for (name, value, limit) in [
            ("--imgsz", self.imgsz, artifact::MAX_SIDE_PX),
            ("--batch", self.batch, super::config::MAX_BATCH),
            ("--nbs", self.nominal_batch, super::config::MAX_BATCH),
            ("--steps", self.steps, MAX_STEPS),
            ("--threads", self.threads, super::config::MAX_THREADS),
            ("--workers", self.workers, super::config::MAX_THREADS),
        ] {
            if !(1..=limit).contains(&value) {
                return Err(Error::input(
                    format!("{name} {value}"),
                    format!("1 to {limit}"),
                    format!("correct {name}"),
                ));
            }
        }
        Ok(())
    }

    /// The training images, and libtorch made ready.
    fn prepare(&self) -> Result<Dataset> {
        self.validate()?;
        super::set_threads(self.threads);
        Source::open(&self.data, self.broken)?.split(Split::Train)
    }

    fn loader<'a>(&self, training: &'a Dataset) -> Loader<'a> {
        let strength = Hyper::default().strength();
        Loader::new(training, self.imgsz, self.batch, SEED, strength, self.workers)
    }

    fn learner(&self, subject: &Subject, classes: &[String]) -> Result<Learner> {
        let overrides = Overrides { act: subject.act, block: subject.block };
        let architecture = Architecture::load(&subject.model, &overrides, classes)?;
        architecture.check_imgsz(self.imgsz)?;
        let weights = initial_weights(&architecture, SEED);
        Learner::new(&architecture, &weights, Device::Cpu, ConvFormat::F32, self.imgsz, Hyper::default())
    }

    /// Rates and weight decay of the last steps of a run.
    fn rates(&self, batches: usize) -> (Rates, f64) {
        let schedule =
            Schedule::new(Hyper::default(), Decay::Linear, EPOCHS, batches, self.batch, self.nominal_batch);
        (schedule.at(EPOCHS - 1, EPOCHS.saturating_mul(batches).max(1 << 20)), schedule.weight_decay())
    }

    /// Epochs that hold the warm-up and the steps.
    fn epochs(&self, batches: usize) -> usize {
        (WARM_UP_STEPS + self.steps).div_ceil(batches.max(1))
    }

    fn bar(&self, what: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len} steps, {eta} left")
            .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
        let steps = (WARM_UP_STEPS + self.steps) as u64;
        ProgressBar::new(steps).with_style(style).with_message(what.to_owned())
    }
}
