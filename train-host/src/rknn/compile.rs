//! From ONNX to `.rknn`: lays out what the toolkit reads in a temporary folder, has it build, and checks what came out by
//! its trailer. Decides nothing about numbers: the model brings its scales, or the toolkit finds them on the images.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use artifact::rknn::RknnInfo;
use artifact::{DType, Layout, Preprocess, Tensor, TensorData, TensorSpec};
use indicatif::{ProgressBar, ProgressStyle};
use repedge::frame::{Image, read_image, write_png};
use repedge::preprocess::Preprocessor;

use super::check::check;
use super::config::Config;
use super::protocol::{Algorithm, Answer, Build, Quantize};
use super::simulator::Simulator;
use super::toolkit::Toolkit;
use super::worker::Worker;
use crate::evaluate::Progress;
use crate::{Error, Result};

/// Time between two moves of the spinner.
const TICK: Duration = Duration::from_millis(120);
/// Pixels are 0..255 where a manifest's mean and deviation are 0..1.
const PIXEL_MAX: f32 = 255.0;

/// A model to compile.
#[derive(Debug, Clone)]
pub struct Job<'a> {
    /// The model: float, or quantized by us with its scales in it.
    pub onnx: &'a [u8],
    /// Chip, by the toolkit's name: `rk3588`.
    pub platform: &'a str,
    /// Who decides the numbers.
    pub quantizer: Quantizer<'a>,
    /// How pixels become its input; mean and deviation are compiled in.
    pub preprocess: Preprocess,
    /// Names and shapes of its outputs; of a model that brings its scales, also how they are stored.
    pub outputs: &'a [TensorSpec],
    /// The longest that one step may take.
    pub limit: Duration,
}

/// Who decides the numbers of a compiled model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quantizer<'a> {
    /// The model itself: its scales are kept, and what has none stays in half floats.
    Model,
    /// The toolkit, on these images, as the device would see them.
    Toolkit {
        /// How it finds ranges.
        algorithm: Algorithm,
        /// Images to calibrate on.
        images: &'a [PathBuf],
    },
}

impl Quantizer<'_> {
    /// How the toolkit finds ranges, where it does.
    fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Model => None,
            Self::Toolkit { algorithm, .. } => Some(algorithm),
        }
    }
}

/// What the toolkit made.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// The `.rknn` file.
    pub rknn: Vec<u8>,
    /// What the toolkit was told.
    pub config: Config,
    /// What it says about itself.
    pub info: RknnInfo,
    /// What the device gives it: pixels.
    pub input: TensorSpec,
    /// What it gives the device: stored in int8 with their scales, or floats.
    pub outputs: Vec<TensorSpec>,
    /// Tensors that an int8 model computes in half floats.
    pub half_tensors: Vec<String>,
}

/// Compiles `job`.
///
/// # Errors
/// [`Error::Runtime`] for an image that cannot be read; [`Error::Backend`] when the toolkit fails or takes too long, or
/// what it made is for another chip or has other outputs.
pub fn compile(toolkit: &Toolkit, job: &Job<'_>, progress: Progress) -> Result<Compiled> {
    Ok(build(toolkit, job, progress, Then::Nothing)?.1)
}

/// Compiles `job` and starts the vendor's simulator on it, which only the process that compiled can do.
///
/// # Errors
/// As [`compile`].
pub fn simulate(toolkit: &Toolkit, job: &Job<'_>, progress: Progress) -> Result<(Compiled, Simulator)> {
    let (worker, compiled) = build(toolkit, job, progress, Then::Simulate)?;
    let simulator = Simulator::new(worker, &compiled);
    Ok((compiled, simulator))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    Simulate,
}

fn build(toolkit: &Toolkit, job: &Job<'_>, progress: Progress, then: Then) -> Result<(Worker, Compiled)> {
    let folder = tempfile::tempdir().map_err(|e| Error::io("a temporary folder", e))?;
    let [onnx, out] = ["model.onnx", "model.rknn"].map(|name| folder.path().join(name));
    fs::write(&onnx, job.onnx).map_err(|e| Error::io(&onnx, e))?;
    let list = match job.quantizer {
        Quantizer::Model => None,
        Quantizer::Toolkit { images, .. } => Some(lay_out(images, &job.preprocess, folder.path())?),
    };
    let config = Config::of(job.quantizer.algorithm());
    let request = Build {
        onnx: &onnx,
        target: job.platform,
        config: &config,
        quantize: list.as_deref().map(|dataset| Quantize { dataset }),
        mean: job.preprocess.mean.map(|mean| mean * PIXEL_MAX),
        std: job.preprocess.std.map(|std| std * PIXEL_MAX),
        out: &out,
        simulate: then == Then::Simulate,
    };
    let mut worker = Worker::start(toolkit, folder.path(), job.limit)?;
    let spinner = spinner(progress);
    worker.ask(&request, &[])?;
    let message = worker.answer(|stage| spinner.set_message(format!("rknn-toolkit2: {stage}")))?;
    spinner.finish_and_clear();
    let Answer::Built { scales, .. } = message.answer else { return Err(unexpected(&message.answer)) };
    let rknn = fs::read(&out).map_err(|e| Error::io(&out, e))?;
    let info = RknnInfo::read(Cursor::new(&rknn))?;
    let outputs = check(&info, job, &scales)?;
    let half_tensors = worker.half_tensors();
    Ok((worker, Compiled { rknn, config, info, input: pixels(&job.preprocess), outputs, half_tensors }))
}

/// Error for an answer to another question.
pub(super) fn unexpected(answer: &Answer) -> Error {
    Error::backend(
        format!("the toolkit's worker answered {answer:?}"),
        "an answer to what it was asked",
        "report this: worker and program belong to the same version",
    )
}

/// Letterboxes the images as the device does and names them in a list; returns the list.
fn lay_out(images: &[PathBuf], recipe: &Preprocess, folder: &Path) -> Result<PathBuf> {
    if images.is_empty() {
        return Err(Error::input(
            "no images to calibrate on",
            "images like those the device will see",
            "name them with --calib",
        ));
    }
    let spec = pixels(recipe);
    let mut preprocessor = Preprocessor::new(recipe, &spec)?;
    let mut input = Tensor::zeroed(&spec);
    let mut list = String::new();
    for (number, path) in images.iter().enumerate() {
        preprocessor.run(read_image(path)?.frame(), &mut input)?;
        let TensorData::U8(rgb) = &input.data else { return Err(unexpected_input(&spec)) };
        let image = Image { width_px: recipe.width_px, height_px: recipe.height_px, rgb: rgb.clone() };
        let file = folder.join(format!("{number}.png"));
        write_png(&file, &image)?;
        list.push_str(&file.to_string_lossy());
        list.push('\n');
    }
    let path = folder.join("images.txt");
    fs::write(&path, list).map_err(|e| Error::io(&path, e))?;
    Ok(path)
}

fn unexpected_input(spec: &TensorSpec) -> Error {
    Error::model(format!("an input of {:?}", spec.dtype), "pixels in bytes", "report this")
}

/// The model's input on the device: pixels as they are.
pub(super) fn pixels(recipe: &Preprocess) -> TensorSpec {
    TensorSpec {
        name: "images".into(),
        dtype: DType::U8,
        layout: Layout::Nhwc,
        shape: [1, recipe.height_px, recipe.width_px, 3],
        quant: None,
    }
}

fn spinner(progress: Progress) -> ProgressBar {
    if progress == Progress::Hidden {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
    let spinner = ProgressBar::new_spinner()
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        .with_message("rknn-toolkit2: starting");
    spinner.enable_steady_tick(TICK);
    spinner
}
