//! Quantization-aware training: a quantized model learns to answer as the float model does, on the kernels it ships with.
//! Starts from post-training quantization and trains weights, biases and activation scales by distillation; needs no labels.
//! Never decides whether its result is worth keeping: see `quantize::tune`.

mod distill;
mod fake;
mod learned;

use std::f64::consts::PI;
use std::path::PathBuf;

use indicatif::{ProgressBar, ProgressStyle};
use tch::{Device, Kind, Tensor};

use self::distill::Distillation;
use self::fake::FakeNet;
use super::config::{MAX_BATCH, MAX_EPOCHS, MAX_THREADS, device};
use super::loader::{Batch, Loader};
use super::net::{ConvFormat, Mode, Net, to_i64};
use crate::dataset::Dataset;
use crate::dataset::augment::Strength;
use crate::evaluate::Progress;
use crate::model::{FusedModel, Graph, NodeId};
use crate::quantize::{QuantizedModel, Trained, Trainer};
use crate::{Error, Result};

/// Threads that prepare batches.
const WORKERS: usize = 1;
/// Part of the steps in which the rate rises: moments are not known yet.
const WARM_UP: f64 = 0.05;

/// Weight of what decoding sees beside that of every channel: errors that scores forgive are twenty times as large.
const SEEN: f64 = 20.0;

/// How the pictures are varied: as a camera's are, and by no more than keeps them like those that are calibrated on.
const STRENGTH: Strength = Strength {
    hsv_h: 0.01,
    hsv_s: 0.2,
    hsv_v: 0.2,
    degrees: 0.0,
    translate: 0.05,
    scale: 0.2,
    shear: 0.0,
    flipud: 0.0,
    fliplr: 0.5,
    mosaic: 0.0,
};

/// What is asked of a training.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Passes over the images.
    pub epochs: usize,
    /// Images a step.
    pub batch: usize,
    /// How far a step moves at its farthest, root mean square over an output channel, in steps of int8.
    pub rate: f64,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Key of all randomness.
    pub seed: u64,
    /// Threads libtorch computes with.
    pub threads: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { epochs: 20, batch: 16, rate: 0.1, device: "cpu".into(), seed: 0, threads: 1 }
    }
}

/// Trains quantized models on some images.
#[derive(Debug)]
pub struct Qat {
    settings: Settings,
    images: Dataset,
    progress: Progress,
    device: Device,
}

impl Qat {
    /// A training on `images`.
    ///
    /// # Errors
    /// [`Error::Input`] for settings that cannot be trained with, [`Error::Data`] without images or for a broken one,
    /// [`Error::Backend`] for a device that is not there.
    pub fn new(settings: Settings, images: &[PathBuf], progress: Progress) -> Result<Self> {
        for (name, value, limit) in [
            ("--qat", settings.epochs, MAX_EPOCHS),
            ("--qat-batch", settings.batch, MAX_BATCH),
            ("--qat-threads", settings.threads, MAX_THREADS),
        ] {
            if !(1..=limit).contains(&value) {
                return Err(Error::input(
                    format!("{name} {value}"),
                    format!("1 to {limit}"),
                    format!("correct {name}"),
                ));
            }
        }
        if images.is_empty() {
            return Err(Error::data(
                "no image to train on beside those that judge",
                "more images than those that judge",
                "give more images with --calib",
            ));
        }
        let device = device(&settings.device)?;
        Ok(Self { settings, images: Dataset::unlabeled(images)?, progress, device })
    }
}

impl Trainer for Qat {
    fn name(&self) -> &'static str {
        "qat"
    }

    fn train(&self, float: &FusedModel, start: &QuantizedModel) -> Result<Trained> {
        super::set_threads(self.settings.threads);
        let mut course = Course::new(self, float, start)?;
        let Settings { epochs, batch, seed, .. } = self.settings;
        let loader = Loader::new(&self.images, start.imgsz, batch, seed, STRENGTH, WORKERS);
        let steps = epochs * loader.batches();
        let bar = bar(steps, self.progress);
        let losses = loader.serve(0..epochs, |batches| {
            let mut losses = Vec::with_capacity(epochs);
            for epoch in 0..epochs {
                let mut sum = 0.0;
                for at in 0..loader.batches() {
                    let rate = self.settings.rate * share(epoch * loader.batches() + at, steps);
                    sum += course.step(&batches.next_batch()?.0, rate)?;
                    bar.inc(1);
                }
                let mean = sum / count(loader.batches());
                bar.set_message(format!("epoch {}/{epochs}  loss {mean:.5}", epoch + 1));
                losses.push(mean);
            }
            Ok(losses)
        })?;
        bar.finish_and_clear();
        let note = format!(
            "loss {:.5} in the first of {epochs} epochs over {} images, {:.5} in the last",
            losses.first().copied().unwrap_or_default(),
            self.images.samples.len(),
            losses.last().copied().unwrap_or_default()
        );
        Ok(Trained { model: course.student.quantized(start)?, note })
    }
}

/// Teacher and student on the way.
struct Course<'a> {
    float: &'a FusedModel,
    teacher: Net,
    student: FakeNet,
    loss: Distillation<'a>,
    side_px: i64,
    device: Device,
    taken: i32,
}

impl<'a> Course<'a> {
    fn new(qat: &Qat, float: &'a FusedModel, start: &QuantizedModel) -> Result<Self> {
        if float.architecture.graph != start.architecture.graph {
            return Err(Error::model(
                "two models of different graphs",
                "the model that was quantized",
                "report this",
            ));
        }
        let compared = compared(&float.architecture.graph);
        let graph = Graph { outputs: compared.clone(), ..float.architecture.graph.clone() };
        Ok(Self {
            float,
            teacher: Net::new(&graph, &float.weights, qat.device, ConvFormat::F32)?,
            student: FakeNet::new(start, &compared, qat.device)?,
            loss: Distillation::new(&float.architecture.head),
            side_px: to_i64(float.imgsz),
            device: qat.device,
            taken: 0,
        })
    }

    /// Learns from one batch; returns its loss.
    fn step(&mut self, batch: &Batch, rate: f64) -> Result<f64> {
        let size = [to_i64(batch.boxes.len()), self.side_px, self.side_px, 3];
        let images = Tensor::f_from_data_size(&batch.rgb, &size, Kind::Uint8)?
            .f_to_device(self.device)?
            .f_permute([0, 3, 1, 2])?
            .f_to_kind(Kind::Float)?
            .f_div_scalar(255.0)?;
        let wanted = self.teacher.forward(&images, Mode::Eval)?;
        let [seen, channels] = self.loss.loss(&wanted, &self.student.forward(&images)?)?;
        let loss = seen.f_mul_scalar(SEEN)?.f_add(&channels)?;
        loss.f_backward()?;
        self.taken = self.taken.saturating_add(1);
        learned::step(self.student.learned(), rate, self.taken)?;
        let loss = f64::try_from(&loss)?;
        if loss.is_finite() { Ok(loss) } else { Err(self.not_finite(loss, &images)?) }
    }

    /// What made `loss` of a batch of `images`: a layer of the float model, or training itself.
    fn not_finite(&self, loss: f64, images: &Tensor) -> Result<Error> {
        let node = first_not_finite(self.float, images, self.device)?;
        Ok(node.map_or_else(|| diverged(loss), |node| of_teacher(&node, loss)))
    }
}

/// The nodes that are compared: the raw outputs, then what they are made of.
fn compared(graph: &Graph) -> Vec<NodeId> {
    let mut nodes = graph.outputs.clone();
    for &output in &graph.outputs {
        nodes.extend(
            graph.nodes[output]
                .inputs
                .iter()
                .copied()
                .filter(|input| !nodes.contains(input))
                .collect::<Vec<_>>(),
        );
    }
    nodes
}

/// Part of the rate at step `at` of `steps`: up in a line, then down along half a cosine to 0, so that the weights come to
/// rest on one side of each rounding.
fn share(at: usize, steps: usize) -> f64 {
    let done = (count(at) + 0.5) / count(steps.max(1));
    if done < WARM_UP {
        return done / WARM_UP;
    }
    (1.0 + (PI * (done - WARM_UP) / (1.0 - WARM_UP)).cos()) / 2.0
}

#[expect(clippy::cast_precision_loss, reason = "counts of steps are far below 2^52")]
fn count(steps: usize) -> f64 {
    steps as f64
}

fn bar(steps: usize, progress: Progress) -> ProgressBar {
    match progress {
        Progress::Hidden => ProgressBar::hidden(),
        Progress::Bar => {
            let bar = ProgressBar::new(steps as u64);
            match ProgressStyle::with_template("training int8 {wide_bar} {pos}/{len} eta {eta}  {msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        }
    }
}

/// The first node of `float` whose values for one of `images` are not all finite. One image after the other, because the
/// results of all nodes are kept.
fn first_not_finite(float: &FusedModel, images: &Tensor, device: Device) -> Result<Option<String>> {
    let graph = &float.architecture.graph;
    let all = Graph { outputs: (0..graph.nodes.len()).collect(), ..graph.clone() };
    let net = Net::new(&all, &float.weights, device, ConvFormat::F32)?;
    for at in 0..images.size().first().copied().unwrap_or_default() {
        let results = net.forward(&images.f_narrow(0, at, 1)?, Mode::Eval)?;
        for (node, result) in graph.nodes.iter().zip(&results) {
            if !bool::try_from(&result.f_isfinite()?.f_all()?)? {
                return Ok(Some(node.name.clone()));
            }
        }
    }
    Ok(None)
}

fn of_teacher(node: &str, loss: f64) -> Error {
    Error::model(
        format!("node {node:?} gives what is not finite for an image trained on, and so a loss of {loss}"),
        "finite values for every image",
        "the weights are damaged or training diverged: take an earlier checkpoint, or leave --qat out",
    )
}

fn diverged(loss: f64) -> Error {
    Error::backend(
        format!("a loss of {loss} in quantization-aware training"),
        "a finite loss",
        "train on images like those the device will see, or leave --qat out",
    )
}

#[cfg(test)]
mod tests;
