//! The plan of an ablation: which models are trained on what, and what is measured. Holds every choice that decides a
//! figure; where the results go and how many trainings run at once is not part of it.

mod text;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::dataset::{Broken, Split};
use crate::model::{Activation, Block};
use crate::train::bench::{Subject, Workload};
use crate::train::{Config, ConvFormat, Decay, Hyper};
use crate::{Error, Result};

/// A checked plan with its paths resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the plan: the stem of its file.
    pub name: String,
    /// Dataset description.
    pub data: PathBuf,
    /// Part of the dataset that is evaluated.
    pub split: Split,
    /// Passes over the training images.
    pub epochs: usize,
    /// Side of the square input, px.
    pub imgsz: usize,
    /// Images a batch.
    pub batch: usize,
    /// Images that make up an optimizer step.
    pub nominal_batch: usize,
    /// Keys of the trainings: each variant is trained once with each.
    pub seeds: Vec<u64>,
    /// `cpu` or `cuda:N`: what the variants are trained on. Everything else is measured on the CPU.
    pub device: String,
    /// Threads that each training computes with.
    pub threads: usize,
    /// Threads that prepare each training's batches.
    pub workers: usize,
    /// Hyper-parameters.
    pub hyper: Hyper,
    /// What to do about broken labels and images.
    pub broken: Broken,
    /// What is compared, in the order of the results.
    pub variants: Vec<Variant>,
    /// Index of the variant that the others are compared to.
    pub baseline: usize,
    /// Lengths of the timings in single-image frames; a length that stands there twice is timed twice.
    pub frames: Vec<usize>,
    /// Images that detections are drawn on.
    pub pictures: usize,
    /// Training steps that time and memory are measured over.
    pub bench_steps: usize,
}

/// One model of the comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Variant {
    /// Its name in the results, and of its folder.
    pub name: String,
    /// Name of a built-in model, or a YAML file.
    pub model: String,
    /// Activation instead of the model's own.
    pub act: Option<Activation>,
    /// Rep block instead of the model's own.
    pub block: Option<Block>,
}

/// What a caller wants different from the plan's file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changes {
    /// Dataset instead of the plan's.
    pub data: Option<PathBuf>,
    /// Lengths of the timings instead of the plan's.
    pub frames: Option<Vec<usize>>,
}

impl Plan {
    /// Reads the plan at `path`. Paths in it start from its own folder.
    ///
    /// # Errors
    /// [`Error::Input`] naming the key or value that is wrong, with its line; an I/O error when a file cannot be read.
    pub fn read(path: &Path, changes: Changes) -> Result<Self> {
        text::read(path, changes)
    }

    /// The settings that `variant` is trained with under `seed`; `model_digest` is that of its model, where that is a file.
    pub fn config(&self, variant: &Variant, seed: u64, model_digest: Option<String>) -> Config {
        Config {
            model: variant.model.clone(),
            model_digest,
            act: variant.act,
            block: variant.block,
            data: self.data.clone(),
            epochs: self.epochs,
            imgsz: self.imgsz,
            batch: self.batch,
            nominal_batch: self.nominal_batch,
            device: self.device.clone(),
            weights: None,
            seed,
            hyper: self.hyper,
            decay: Decay::Linear,
            format: ConvFormat::F32,
            threads: self.threads,
            workers: self.workers,
            broken: self.broken,
        }
    }

    /// What the cost of training is measured with.
    pub fn workload(&self) -> Workload {
        Workload {
            data: self.data.clone(),
            broken: self.broken,
            imgsz: self.imgsz,
            batch: self.batch,
            nominal_batch: self.nominal_batch,
            steps: self.bench_steps,
            threads: self.threads,
            workers: self.workers,
        }
    }

    /// The variants as subjects of that measurement, the baseline first.
    pub fn subjects(&self) -> Vec<Subject> {
        let mut subjects: Vec<Subject> = self.variants.iter().map(Variant::subject).collect();
        subjects[..=self.baseline].rotate_right(1);
        subjects
    }

    /// The timings by length, each with its number among those of the same length, from 1.
    pub fn timings(&self) -> Vec<(usize, usize)> {
        let number = |at: usize| self.frames[..=at].iter().filter(|&&f| f == self.frames[at]).count();
        self.frames.iter().enumerate().map(|(at, &frames)| (frames, number(at))).collect()
    }

    /// The variant that the others are compared to.
    pub fn baseline(&self) -> &Variant {
        &self.variants[self.baseline]
    }
}

impl Variant {
    fn subject(&self) -> Subject {
        let Self { name, model, act, block } = self.clone();
        Subject { name, model, act, block }
    }
}

/// An error in the plan's file.
fn wrong(path: &Path, found: impl std::fmt::Display, expected: impl Into<String>, hint: &str) -> Error {
    Error::input(format!("{}: {found}", path.display()), expected, hint)
}
