//! Inference time of all forms, paired: every frame goes through every form in turn, in one process, so that whatever
//! disturbs the machine disturbs all of them. Times the engine only: images are letterboxed before, nothing is decoded.

use std::fmt::Write as _;
use std::path::Path;

use artifact::Tensor;
use indicatif::{ProgressBar, ProgressStyle};
use repedge::backend::Session;
use repedge::frame::read_image;
use repedge::preprocess::Preprocessor;
use serde::{Deserialize, Serialize};

use super::evaluation::Labeled;
use super::forms::{Form, Role, Stage};
use super::machine::Machine;
use super::sealed;
use crate::clock::clock;
use crate::export::{self, bundle, onnx};
use crate::fuse::fuse;
use crate::statistics::{Ratio, mean, median, quantile, ratio};
use crate::train::{Net, TorchSession, set_threads};
use crate::{Error, Result};

/// Threads of each engine; tract has no more.
const THREADS: usize = 1;
/// Images that the frames are taken from, again and again.
const MAX_IMAGES: usize = 64;

/// What runs the models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The runtime's CPU engine.
    Tract,
    /// libtorch, in evaluation mode without gradients.
    Torch,
}

impl Engine {
    /// All engines, in the order they are timed.
    pub const ALL: [Self; 2] = [Self::Tract, Self::Torch];

    /// `tract` or `torch`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tract => "tract",
            Self::Torch => "torch",
        }
    }
}

/// One timing of all forms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timing {
    /// Where it was measured.
    pub machine: Machine,
    /// What ran the models.
    pub engine: Engine,
    /// Single-image frames timed.
    pub frames: usize,
    /// Number among the timings of this length, from 1.
    pub repeat: usize,
    /// Side of the square input, px.
    pub imgsz: usize,
    /// Threads of the engine.
    pub threads: usize,
    /// The forms, the deployed baseline first.
    pub forms: Vec<FormTime>,
}

/// Time of one form.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormTime {
    /// What it is called.
    pub name: String,
    /// The variant, or the baseline under another activation.
    pub variant: String,
    /// As trained or as deployed.
    pub stage: Stage,
    /// What its ratio to the plain model has to show.
    pub role: Role,
    /// Half of the frames took no longer.
    pub median_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// 5 % of the frames took no longer.
    pub p5_ms: f64,
    /// 95 % of the frames took no longer.
    pub p95_ms: f64,
    /// Beside the deployed baseline.
    pub to_baseline: Ratio,
    /// Name of the deployed plain model with the same activation.
    pub plain: Option<String>,
    /// Beside that.
    pub to_plain: Option<Ratio>,
}

/// What a timing depends on.
#[derive(Serialize)]
struct Inputs<'a> {
    machine: &'a Machine,
    engine: Engine,
    frames: usize,
    repeat: usize,
    imgsz: usize,
    threads: usize,
    labels: &'a str,
    /// Each form and the digest of its weights file.
    forms: Vec<(&'a str, &'a str)>,
}

/// Times forms on images, keeping each result in a folder.
pub struct Timer<'a> {
    folder: &'a Path,
    forms: &'a [Form],
    images: Vec<Tensor>,
    labels: &'a str,
    machine: Machine,
    imgsz: usize,
}

impl<'a> Timer<'a> {
    /// A timer of `forms` on letterboxed images of `labeled`, which keeps its results in `folder`.
    ///
    /// # Errors
    /// [`Error::Runtime`](crate::Error::Runtime) when an image cannot be read.
    pub fn new(folder: &'a Path, forms: &'a [Form], labeled: &'a Labeled, imgsz: usize) -> Result<Self> {
        let images = letterboxed(labeled, forms, imgsz)?;
        Ok(Self { folder, forms, images, labels: &labeled.digest, machine: Machine::here(), imgsz })
    }

    /// Times `frames` frames in `engine`, or reads what was timed before on this machine.
    ///
    /// # Errors
    /// Those of the engine; I/O errors.
    pub fn time(&self, engine: Engine, frames: usize, repeat: usize) -> Result<Timing> {
        let inputs = Inputs {
            machine: &self.machine,
            engine,
            frames,
            repeat,
            imgsz: self.imgsz,
            threads: THREADS,
            labels: self.labels,
            forms: self.forms.iter().map(|form| (form.name.as_str(), form.digest.as_str())).collect(),
        };
        let stem = stem(engine, frames, repeat);
        sealed::keep(&self.folder.join(format!("{stem}.json")), &inputs, || {
            let times_us = self.measure(engine, frames, repeat)?;
            let path = self.folder.join(format!("{stem}.csv"));
            artifact::atomic::write(&path, self.frames_csv(&times_us).as_bytes())?;
            Ok(self.summarize(engine, frames, repeat, &times_us))
        })
    }

    fn measure(&self, engine: Engine, frames: usize, repeat: usize) -> Result<Vec<Vec<f64>>> {
        set_threads(THREADS);
        // Made anew each time: where a model's weights happen to lie in memory is one chance among several then.
        let mut sessions: Vec<Box<dyn Session>> =
            self.forms.iter().map(|form| session(form, engine)).collect::<Result<_>>()?;
        let bar = bar(frames, &format!("timing {}, {frames} frames, {repeat}.", engine.name()));
        let times = clock(&mut sessions, &self.images, frames, repeat as u64, &bar);
        bar.finish_and_clear();
        times
    }

    fn summarize(&self, engine: Engine, frames: usize, repeat: usize, times_us: &[Vec<f64>]) -> Timing {
        let seed = repeat as u64;
        let of_form = |(form, own): (&Form, &Vec<f64>)| FormTime {
            name: form.name.clone(),
            variant: form.variant.clone(),
            stage: form.stage,
            role: form.role,
            median_ms: median(own) / 1e3,
            mean_ms: mean(own) / 1e3,
            p5_ms: quantile(own, 0.05) / 1e3,
            p95_ms: quantile(own, 0.95) / 1e3,
            to_baseline: ratio(own, &times_us[0], seed),
            plain: form.plain.map(|at| self.forms[at].name.clone()),
            to_plain: form.plain.map(|at| ratio(own, &times_us[at], seed)),
        };
        Timing {
            machine: self.machine.clone(),
            engine,
            frames,
            repeat,
            imgsz: self.imgsz,
            threads: THREADS,
            forms: self.forms.iter().zip(times_us).map(of_form).collect(),
        }
    }

    /// Every single time, in microseconds: a row a frame, a column a form.
    fn frames_csv(&self, times_us: &[Vec<f64>]) -> String {
        let names: Vec<&str> = self.forms.iter().map(|form| form.name.as_str()).collect();
        let mut text = format!("frame,{}\n", names.join(","));
        for frame in 0..times_us.first().map_or(0, Vec::len) {
            // Writing to a String cannot fail.
            let _ = write!(text, "{frame}");
            for of_form in times_us {
                let _ = write!(text, ",{:.1}", of_form[frame]);
            }
            text.push('\n');
        }
        text
    }
}

/// Name of a timing's files without extension.
pub fn stem(engine: Engine, frames: usize, repeat: usize) -> String {
    format!("{}-{frames}-{repeat}", engine.name())
}

fn session(form: &Form, engine: Engine) -> Result<Box<dyn Session>> {
    let Form { model, stage, .. } = form;
    Ok(match (engine, stage) {
        (Engine::Tract, Stage::Unfused) => Box::new(export::diagnostic_session(model)?),
        (Engine::Tract, Stage::Fused) => Box::new(export::session(&fuse(model)?)?),
        (Engine::Torch, stage) => {
            let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
            let net = match stage {
                Stage::Unfused => Net::on_cpu(&model.architecture.graph, &model.weights)?,
                Stage::Fused => {
                    let fused = fuse(model)?;
                    Net::on_cpu(&fused.architecture.graph, &fused.weights)?
                }
            };
            Box::new(TorchSession::new(&net, specs.input, specs.outputs))
        }
    })
}

/// Up to [`MAX_IMAGES`] images as the models take them, evenly spread over the split.
fn letterboxed(labeled: &Labeled, forms: &[Form], imgsz: usize) -> Result<Vec<Tensor>> {
    let Some(first) = forms.first() else {
        return Err(Error::input("no form to time", "at least one variant", "add variants to the plan"));
    };
    let spec = onnx::model_specs(&first.model.architecture, imgsz)?.input;
    let mut preprocessor = Preprocessor::new(&bundle::preprocess(imgsz), &spec)?;
    let samples = &labeled.dataset.samples;
    let count = samples.len().min(MAX_IMAGES);
    (0..count)
        .map(|at| {
            let image = read_image(&samples[at * samples.len() / count].image)?;
            let mut tensor = Tensor::zeroed(&spec);
            preprocessor.run(image.frame(), &mut tensor)?;
            Ok(tensor)
        })
        .collect()
}

fn bar(frames: usize, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:32}] {pos}/{len}, {eta} left")
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
    ProgressBar::new(frames as u64).with_style(style).with_message(what.to_owned())
}
