//! The training loop: batches in, an epoch's weights and measurements out, until the epochs are done.

use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use super::config::{Config, device};
use super::learner::Learner;
use super::loader::{Batches, Loader};
use super::run::{Progress, RunFolder};
use super::schedule::Schedule;
use super::session::TorchSession;
use crate::Result;
use crate::console::say;
use crate::dataset::{Dataset, Source, Split};
use crate::evaluate::{self, Evaluation, Evaluator, Inputs, Options};
use crate::export::{bundle, onnx};
use crate::import;
use crate::model::{Architecture, Overrides, TrainedModel, initial_weights, warm_start};

/// Letterboxed validation images are kept in memory up to this many bytes.
const VALIDATION_BYTES: usize = 2 << 30;

/// Whether to begin or to go on.
#[derive(Debug)]
pub enum Start {
    /// A new run with these settings.
    New(Box<Config>),
    /// The run in the folder, from its last whole epoch.
    Resume,
}

/// What a finished run leaves.
#[derive(Debug, serde::Serialize)]
pub struct Outcome {
    /// Weights of the best epoch.
    pub best: PathBuf,
    /// Epoch (from 0) of the best fitness.
    pub best_epoch: Option<usize>,
    /// Epochs trained.
    pub epochs: usize,
    /// Training images a second in the last epoch, without validation.
    pub images_per_second: f64,
}

/// Trains in the folder `root`.
///
/// # Errors
/// Unusable settings, data or weights; a NaN loss; libtorch or I/O errors. The last whole epoch stays usable.
pub fn train(root: &Path, start: Start) -> Result<Outcome> {
    let (folder, mut config) = match start {
        Start::New(config) => {
            RunFolder::expect_none(root)?;
            (None, *config)
        }
        Start::Resume => {
            let (folder, config) = RunFolder::open(root)?;
            (Some(folder), config)
        }
    };
    config.validate()?;
    config.check_model()?;
    if folder.as_ref().is_some_and(RunFolder::has_state) {
        // The state replaces what the run started from, which may be gone by now.
        config.weights = None;
    }
    super::set_threads(config.threads);
    let source = Source::open(&config.data, config.broken)?;
    if !source.is_divided() {
        say(format_args!(
            "note: {} does not tell training from validation images: the best epoch is chosen on images it was trained on",
            config.data.display()
        ));
    }
    let overrides = Overrides { act: config.act, block: config.block };
    let architecture = Architecture::load(&config.model, &overrides, source.classes())?;
    architecture.check_imgsz(config.imgsz)?;
    let (training, validation) = (source.decoded_split(Split::Train)?, source.decoded_split(Split::Val)?);
    let mut trainer = Trainer::new(config, architecture, &validation)?;
    // Made last: settings that cannot be trained with leave no folder behind.
    let folder = match folder {
        Some(folder) => {
            if let Some(progress) = folder.restore(&mut trainer.learner)? {
                trainer.progress = progress;
            }
            folder
        }
        None => RunFolder::create(root, &trainer.config)?,
    };
    trainer.run(&training, &folder)
}

/// What the epochs of a run share.
struct Course<'a> {
    loader: Loader<'a>,
    schedule: Schedule,
    folder: &'a RunFolder,
    bar: ProgressBar,
}

struct Trainer {
    config: Config,
    architecture: Architecture,
    learner: Learner,
    evaluator: Evaluator,
    progress: Progress,
}

impl Trainer {
    fn new(config: Config, architecture: Architecture, validation: &Dataset) -> Result<Self> {
        let device = device(&config.device)?;
        let weights = match &config.weights {
            None => initial_weights(&architecture, config.seed),
            Some(path) => transfer(path, &architecture, config.seed)?,
        };
        let learner =
            Learner::new(&architecture, &weights, device, config.format, config.imgsz, config.hyper)?;
        let evaluator = Evaluator::new(
            validation,
            &bundle::preprocess(config.imgsz),
            &bundle::decode(&architecture.head),
            &onnx::model_specs(&architecture, config.imgsz)?.input,
            &Options {
                model: architecture.name.clone(),
                backend: "torch".into(),
                progress: evaluate::Progress::Bar,
                inputs: Inputs::Keep { limit_bytes: VALIDATION_BYTES },
                broken: config.broken,
                ..Options::default()
            },
        )?;
        Ok(Self { config, architecture, learner, evaluator, progress: Progress::default() })
    }

    fn run(&mut self, training: &Dataset, folder: &RunFolder) -> Result<Outcome> {
        let config = &self.config;
        let strength = config.hyper.strength();
        let loader = Loader::new(training, config.imgsz, config.batch, config.seed, strength, config.workers);
        let schedule = Schedule::new(
            config.hyper,
            config.decay,
            config.epochs,
            loader.batches(),
            config.batch,
            config.nominal_batch,
        );
        let bar = progress_bar(config.epochs * loader.batches());
        bar.set_position(self.progress.iteration as u64);
        let course = Course { loader, schedule, folder, bar };
        let epochs = self.progress.epochs_done..config.epochs;
        let images_per_second = course.loader.serve(epochs.clone(), |batches| {
            let mut latest = 0.0;
            for epoch in epochs {
                latest = self.epoch(epoch, batches, &course)?;
            }
            Ok(latest)
        })?;
        course.bar.finish();
        Ok(Outcome {
            best: folder.best_file(),
            best_epoch: self.progress.best.map(|(_, epoch)| epoch),
            epochs: self.config.epochs,
            images_per_second,
        })
    }

    /// Trains one epoch, measures it and saves it; returns training images a second.
    fn epoch(&mut self, epoch: usize, batches: &mut Batches, course: &Course<'_>) -> Result<f64> {
        let Course { loader, schedule, folder, bar } = course;
        let started = Instant::now();
        let (mut sums, mut count, mut images) = ([0.0; 3], 0.0, 0);
        let mut lr = 0.0;
        for _ in 0..loader.batches() {
            let (batch, _) = batches.next_batch()?;
            let rates = schedule.at(epoch, self.progress.iteration);
            lr = rates.lr;
            images += batch.boxes.len();
            let parts = self.learner.step(&batch, &rates, schedule.weight_decay(), &mut self.progress)?;
            for (sum, part) in sums.iter_mut().zip(parts) {
                *sum += part;
            }
            count += 1.0;
            bar.inc(1);
            bar.set_message(format!(
                "epoch {}/{}  box {:.4}  obj {:.4}  cls {:.4}",
                epoch + 1,
                self.config.epochs,
                sums[0] / count,
                sums[1] / count,
                sums[2] / count
            ));
        }
        let train_seconds = started.elapsed().as_secs_f64();
        let started = Instant::now();
        let metrics = bar.suspend(|| self.measure())?.metrics;
        let val_seconds = started.elapsed().as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "image counts are far below 2^52")]
        let images_per_second = images as f64 / train_seconds;
        let (map50, map) = (metrics.map50.unwrap_or(0.0), metrics.map.unwrap_or(0.0));
        let (precision, recall) = (metrics.precision.unwrap_or(0.0), metrics.recall.unwrap_or(0.0));
        let [boxes, objectness, classes] = sums.map(|sum| sum / count);
        self.progress.rows.push(format!(
            "{epoch},{boxes:.5},{objectness:.5},{classes:.5},{lr:.6},{precision:.5},{recall:.5},{map50:.5},{map:.5},\
             {images_per_second:.2},{train_seconds:.2},{val_seconds:.2}"
        ));
        self.progress.epochs_done = epoch + 1;
        let fitness = 0.1 * map50 + 0.9 * map;
        if self.progress.best.is_none_or(|(best, _)| fitness > best) {
            self.progress.best = Some((fitness, epoch));
        }
        let model = TrainedModel {
            architecture: self.architecture.clone(),
            weights: self.learner.ema.net.weights()?,
            imgsz: self.config.imgsz,
        };
        folder.save_epoch(&model, &self.learner, &self.progress)?;
        // Not the bar's own `println`: that is silent when stderr is a file, where these lines are the log.
        bar.suspend(|| {
            say(format_args!(
                "epoch {:>4}/{}  box {boxes:.4}  obj {objectness:.4}  cls {classes:.4}  mAP50 {map50:.4}  \
                 mAP {map:.4}  {images_per_second:.1} img/s",
                epoch + 1,
                self.config.epochs
            ));
        });
        Ok(images_per_second)
    }

    fn measure(&self) -> Result<Evaluation> {
        let specs = onnx::model_specs(&self.architecture, self.config.imgsz)?;
        let mut session = TorchSession::new(&self.learner.ema.net, specs.input, specs.outputs);
        self.evaluator.run(&mut session)
    }
}

fn transfer(path: &Path, architecture: &Architecture, seed: u64) -> Result<crate::model::Weights> {
    let source = import::load(path)?;
    let (weights, report) = warm_start::transfer(&source, architecture, seed)?;
    say(format_args!(
        "warm start: {} layers copied, {} derived, {} start from random values",
        report.copied.len(),
        report.derived.len(),
        report.reinitialized.len()
    ));
    for note in &report.notes {
        say(format_args!("warm start: {note}"));
    }
    Ok(weights)
}

fn progress_bar(batches: usize) -> ProgressBar {
    let bar = ProgressBar::new(batches as u64);
    if let Ok(style) = ProgressStyle::with_template("training {wide_bar} {pos}/{len} eta {eta}  {msg}") {
        bar.set_style(style);
    }
    bar
}
