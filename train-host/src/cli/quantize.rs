//! `train-host quantize`: a run or weights file to an int8 model, calibrated on images, with what that cost.

mod told;

use std::path::{Path, PathBuf};

use boards::Board;
use repedge::frame::IMAGE_EXTENSIONS;
use serde::Serialize;

use super::json::JsonArgs;
use super::out_path;
use crate::dataset::{Broken, Dataset, Source, Split};
use crate::evaluate::{Progress, align};
use crate::fuse::fuse;
use crate::import;
use crate::model::FusedModel;
use crate::model::checkpoint::Checkpoint;
use crate::quantize::{
    Calibration, Images, Judged, Method, Outcome, Recipe, Record, Switch, compare, file, run as quantize,
    spread, unquantizable,
};
use crate::report::quantization;
use crate::{Error, Result};
pub use told::told;

/// Arguments of `train-host quantize`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folder (its best weights), weights file, YOLOv5 checkpoint (.pt) or ONNX detector (.onnx).
    #[arg(value_name = "RUN|WEIGHTS|ONNX")]
    model: PathBuf,
    /// Class names instead of the model's own: a data.yaml, or a text file with one a line.
    #[arg(long, value_name = "FILE|data.yaml")]
    names: Option<PathBuf>,
    #[command(flatten)]
    calibration: CalibrationArgs,
    /// Board whose int8 engine the scales are for.
    #[arg(long, default_value = "host")]
    target: String,
    /// Side of the square input in pixels [default: the size the model was trained for].
    #[arg(long, value_name = "N")]
    imgsz: Option<usize>,
    /// Write index.html and plots into this folder: every variant on the way, measured.
    #[arg(long, value_name = "DIR", value_parser = out_path::folder)]
    report: Option<PathBuf>,
    /// Labeled dataset to measure mAP of the variants on, for the report; not the one calibrated on.
    #[arg(long, value_name = "DATA", requires = "report")]
    data: Option<PathBuf>,
    /// Part of that dataset [default: test where there is one, else val].
    #[arg(long, requires = "data")]
    split: Option<Split>,
    /// Where to save the int8 model (.safetensors).
    #[arg(long, value_name = "Q.safetensors", value_parser = out_path::weights)]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// How to calibrate and what to do about the loss; shared with `convert --precision int8`.
#[derive(Debug, clap::Args)]
pub struct CalibrationArgs {
    /// Images to calibrate on: a dataset (YOLO data.yaml, COCO json, VOC folder) or a folder of images.
    #[arg(long, value_name = "DATA")]
    pub calib: Option<PathBuf>,
    /// Part of the dataset to calibrate on [default: train where there is one, else val].
    #[arg(long)]
    calib_split: Option<Split>,
    /// Most images to calibrate on, spread over the dataset; a quarter as many of the others judge, at most 32. Where
    /// there are no others, that part of these judges.
    #[arg(long, value_name = "N", default_value_t = 64)]
    images: usize,
    /// How ranges are found [auto: the best of all, by measuring].
    #[arg(long, value_enum, default_value_t = MethodArg::Auto)]
    method: MethodArg,
    /// Cross-layer equalization: exact for Relu and LeakyRelu, not there for SiLU [auto: if it finds more, or as much with less error].
    #[arg(long, value_enum, default_value_t = Switch::Auto)]
    equalize: Switch,
    /// AdaRound: weights rounded for the least error of their layer's outputs [auto: if it finds more, or as much with less error].
    #[arg(long, value_enum, default_value_t = Switch::Auto)]
    adaround: Switch,
    /// Biases corrected by the mean error of their layer's outputs [auto: if it finds more, or as much with less error].
    #[arg(long, value_enum, default_value_t = Switch::Auto)]
    bias_correction: Switch,
    /// Most of the multiply-adds, in percent, that may stay in floats where int8 hurts most, with 3 % of the weights at
    /// most; 0 for none [default: 5; 0 for boards that compute in int8 only].
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    float_macs: Option<f64>,
    /// Box logits spread over the range of the scores, on boards that store both with one scale: finer boxes for nothing.
    /// Decoders that do not read the bundle's manifest need them as they were: off.
    #[arg(long, value_enum, default_value_t = SpreadBoxes::On)]
    spread_boxes: SpreadBoxes,
    #[cfg(feature = "torch")]
    #[command(flatten)]
    qat: super::qat::QatArgs,
}

/// Most of the multiply-adds that stay in floats, in percent, unless asked otherwise.
const FLOAT_PERCENT: f64 = 5.0;

/// Whether box logits are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum SpreadBoxes {
    /// Where that makes boxes finer.
    On,
    /// Never.
    Off,
}

/// A method, or the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "lowercase")]
enum MethodArg {
    /// The best of all, by measuring.
    Auto,
    /// All that occurred.
    MinMax,
    /// All but one value in ten thousand at each end.
    Percentile,
    /// The least squared error.
    Mse,
    /// The least divergence.
    Kl,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    imgsz: usize,
    out: PathBuf,
    #[serde(flatten)]
    record: Record,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for arguments that cannot be used, `--out` being the model's own file among them; [`Error::Data`] for
/// images that cannot; [`Error::Model`] for a model that cannot be quantized. Then nothing is saved. Of a report that
/// cannot be written, once the model is saved: what that says.
pub fn run(args: Args) -> Result<()> {
    out_path::expect_other("--out", &args.out, "the model to quantize", &import::resolve(&args.model)?)?;
    args.json.expect_other("the int8 model", &args.out)?;
    out_path::expect_writable("--out", &args.out)?;
    args.json.expect_writable()?;
    args.report.iter().try_for_each(|folder| out_path::expect_writable("--report", folder))?;
    let board = super::convert::find_board(&args.target)?;
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    let model = load_fused(&args.model, &import::Options { names, imgsz: args.imgsz })?;
    let calibration = args.calibration.images(&model)?;
    let labels = args.data.as_deref().map(|data| labels(data, args.split, &model)).transpose()?;
    let (model, mut outcome) = args.calibration.calibrate(&model, &calibration, &board)?;
    let trained = args.calibration.train(&model, &calibration, &mut outcome);
    // Before the report, which takes long and shall not take the model with it where it fails; nor shall a training.
    file::save(&args.out, &outcome.model)?;
    if let Some(folder) = &args.report {
        let seen = args.calibration.seen(&model, &calibration)?;
        let images = calibration.judges();
        let labels = labels.as_ref();
        let judged = Judged { model: &model, outcome: &outcome, images, labels, seen: &seen };
        quantization::write(folder, &compare(&judged)?)?;
    }
    let summary = Summary {
        model: model.architecture.name.clone(),
        imgsz: model.imgsz,
        out: args.out,
        record: outcome.record,
    };
    args.json.emit(&summary)?;
    let told = told(&model, &summary.record);
    let before = if trained.is_err() { " as it was before the training" } else { "" };
    args.json.say(&format!("{told}\nsaved {}{before}", summary.out.display()))?;
    trained
}

/// The dataset that mAP is measured on.
fn labels(data: &Path, split: Option<Split>, model: &FusedModel) -> Result<Dataset> {
    let source = Source::open(data, Broken::Refuse)?;
    let split = split.unwrap_or(if source.has(Split::Test) { Split::Test } else { Split::Val });
    align(source.split(split)?, &model.architecture.head.classes)
}

fn percent(text: &str) -> std::result::Result<f64, String> {
    text.parse().ok().filter(|value| (0.0..=100.0).contains(value)).ok_or_else(|| "0 to 100".to_owned())
}

impl CalibrationArgs {
    /// The images to calibrate on and to judge by, with their labels where those speak of the model's classes.
    pub fn images(&self, model: &FusedModel) -> Result<Calibration> {
        let Some(path) = &self.calib else {
            return Err(Error::input(
                "no calibration images",
                "--calib with a dataset or a folder of images like those the device will see",
                "64 images are enough; labels are used where there are any",
            ));
        };
        if self.images == 0 {
            return Err(Error::input("--images 0", "at least one image", "64 are enough for most models"));
        }
        Ok(Calibration::of(&images_in(path, self.calib_split, model)?, self.images))
    }

    /// `model` as it is quantized for `board`, with its boxes spread where they share a scale with scores.
    ///
    /// # Errors
    /// What keeps it from being quantized or trained, which is better known before minutes are spent.
    fn spread(&self, model: &FusedModel, images: &Calibration, board: &Board) -> Result<FusedModel> {
        if let Some((node, why)) = unquantizable(&model.architecture.graph)? {
            expect_floats(board, &node, &why)?;
        }
        self.recipe(board)?;
        #[cfg(feature = "torch")]
        self.trainer(model, images)?;
        match self.spread_boxes {
            SpreadBoxes::On => spread(model, images.calibrated(), board.int8),
            SpreadBoxes::Off => Ok(model.clone()),
        }
    }

    /// Quantizes `model` for `board` with `images`, and trains on where that is asked for; with it the floats that were
    /// quantized, their boxes spread where they share a scale with scores.
    pub fn quantize(
        &self,
        model: &FusedModel,
        images: &Calibration,
        board: &Board,
    ) -> Result<(FusedModel, Outcome)> {
        let (model, mut outcome) = self.calibrate(model, images, board)?;
        self.train(&model, images, &mut outcome)?;
        Ok((model, outcome))
    }

    /// As [`CalibrationArgs::quantize`], without training.
    fn calibrate(
        &self,
        model: &FusedModel,
        images: &Calibration,
        board: &Board,
    ) -> Result<(FusedModel, Outcome)> {
        let model = self.spread(model, images, board)?;
        let outcome = quantize(&model, images, &self.recipe(board)?)?;
        Ok((model, outcome))
    }

    /// Trains what was quantized on, where that is asked for. Where it fails, `outcome` stays what it was.
    #[cfg(feature = "torch")]
    fn train(&self, model: &FusedModel, images: &Calibration, outcome: &mut Outcome) -> Result<()> {
        match self.trainer(model, images)? {
            Some(trainer) => crate::quantize::tune(model, images, outcome, &trainer),
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "torch"))]
    fn train(&self, _: &FusedModel, _: &Calibration, _: &mut Outcome) -> Result<()> {
        Ok(())
    }

    /// The images that calibration and training see, those that only judge among them.
    fn seen(&self, model: &FusedModel, images: &Calibration) -> Result<Vec<PathBuf>> {
        match &self.calib {
            Some(path) if self.trains() => {
                images_in(path, self.calib_split, model).map(|all| all.paths().to_vec())
            }
            _ => Ok(images.paths()),
        }
    }

    #[cfg(feature = "torch")]
    fn trains(&self) -> bool {
        self.qat.is_asked()
    }

    #[cfg(not(feature = "torch"))]
    fn trains(&self) -> bool {
        false
    }

    /// What trains on all images at hand; none where that is not asked for.
    #[cfg(feature = "torch")]
    fn trainer(&self, model: &FusedModel, images: &Calibration) -> Result<Option<crate::train::Qat>> {
        match &self.calib {
            Some(path) if self.trains() => {
                let all = images_in(path, self.calib_split, model)?;
                self.qat.trainer(all.paths(), images).map(Some)
            }
            _ => Ok(None),
        }
    }

    /// What is asked of the quantization, for `board`.
    ///
    /// # Errors
    /// [`Error::Input`] when layers are to stay in floats on a board that computes none.
    pub fn recipe(&self, board: &Board) -> Result<Recipe> {
        let method = match self.method {
            MethodArg::Auto => None,
            MethodArg::MinMax => Some(Method::MinMax),
            MethodArg::Percentile => Some(Method::Percentile),
            MethodArg::Mse => Some(Method::Mse),
            MethodArg::Kl => Some(Method::Kl),
        };
        Ok(Recipe {
            method,
            rules: board.int8,
            equalize: self.equalize,
            adaround: self.adaround,
            bias_correction: self.bias_correction,
            float_macs: self.float_percent(board)? / 100.0,
        })
    }

    /// Most of the multiply-adds, in percent, that may stay in floats on `board`.
    fn float_percent(&self, board: &Board) -> Result<f64> {
        match self.float_macs {
            Some(percent) if percent > 0.0 && !computes_floats(board) => Err(Error::input(
                format!("--float-macs {percent} for {}", board.name),
                "0: this board computes in int8 only",
                "leave --float-macs away",
            )),
            Some(percent) => Ok(percent),
            None if computes_floats(board) => Ok(FLOAT_PERCENT),
            None => Ok(0.0),
        }
    }
}

/// Whether what int8 hurts most may stay in floats: on CPUs, and on NPUs that know half floats.
fn computes_floats(board: &Board) -> bool {
    board.npu.is_none() || board.precisions.contains(&boards::Precision::Fp16)
}

/// Where images lie.
enum Place {
    Dataset(Source),
    Folder,
}

/// What is at `path`.
///
/// # Errors
/// An I/O error when nothing is there; [`Error::Data`] when it is a dataset that cannot be read, or no dataset and no folder.
fn place(path: &Path) -> Result<Place> {
    let is_folder = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.is_dir();
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    match Source::open(path, Broken::Refuse) {
        Ok(source) => Ok(Place::Dataset(source)),
        Err(_) if is_folder && !Source::is_at(path) => Ok(Place::Folder),
        Err(_) if IMAGE_EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension)) => {
            Err(Error::data(
                format!("{} is a single image", path.display()),
                "a dataset, or a folder of images",
                "give the folder that the image lies in",
            ))
        }
        Err(error) => Err(error),
    }
}

/// Checks that `board` computes floats, in which `node` stays.
///
/// # Errors
/// [`Error::Model`] naming the node and the board.
pub fn expect_floats(board: &Board, node: &str, why: &str) -> Result<()> {
    if computes_floats(board) {
        return Ok(());
    }
    Err(Error::model(
        format!("node {node:?} stays in floats: {why}"),
        format!("a model that is int8 throughout: the NPU of board {:?} computes nothing else", board.name),
        "quantize for this board with --target, take a model without such nodes, or another board",
    ))
}

/// The images at `path`, a dataset or a folder, with their labels where those speak of the model's classes.
pub fn images_in(path: &Path, split: Option<Split>, model: &FusedModel) -> Result<Images> {
    match place(path)? {
        Place::Dataset(source) => {
            let usual = [Split::Train, Split::Val, Split::Test].into_iter().find(|&split| source.has(split));
            let dataset = source.split(split.or(usual).unwrap_or(Split::Train))?;
            match align(dataset.clone(), &model.architecture.head.classes) {
                Ok(dataset) => Images::labeled(dataset, Progress::Bar),
                // Other classes: the pictures serve all the same.
                Err(_) => Images::new(paths(&dataset), Progress::Bar),
            }
        }
        Place::Folder if split.is_some() => Err(Error::input(
            format!("--calib-split, and {} is a folder of images", path.display()),
            "a dataset, which has splits",
            "leave --calib-split away, or give the dataset's data.yaml",
        )),
        Place::Folder => Images::in_folder(path, Progress::Bar),
    }
}

/// The images at `path`, a dataset or a folder, whatever is on them.
pub fn pictures_in(path: &Path, split: Split) -> Result<Vec<PathBuf>> {
    match place(path)? {
        Place::Dataset(source) => {
            let split = if source.has(split) { split } else { Split::Train };
            Ok(paths(&source.split(split)?))
        }
        Place::Folder => Ok(Images::in_folder(path, Progress::Hidden)?.paths().to_vec()),
    }
}

fn paths(dataset: &Dataset) -> Vec<PathBuf> {
    dataset.samples.iter().map(|sample| sample.image.clone()).collect()
}

/// The fused model at `path`, folded first where that is still to do.
pub fn load_fused(path: &Path, options: &import::Options) -> Result<FusedModel> {
    match import::open_with(path, options)?.checkpoint {
        Checkpoint::Trained(model) => fuse(&model),
        Checkpoint::Fused(model) => Ok(model),
    }
}
