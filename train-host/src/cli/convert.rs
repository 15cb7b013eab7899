//! `train-host convert`: a run, a weights file or a foreign ONNX model to a bundle a board can run. Fuses and quantizes
//! first where that is still to do.

mod given;

use std::path::PathBuf;

use boards::Board;
use serde::Serialize;

use super::json::JsonArgs;
use super::npu::{self, NpuArgs, NpuSummary};
use super::out_path;
use super::quantize::{CalibrationArgs, told};
use super::release::ReleaseArgs;
use crate::console;
use crate::export::bundle::{self, Deployed, Packed};
use crate::import;
use crate::model::FusedModel;
use crate::quantize::{QuantizedModel, expect_kept, file, unquantizable};
use crate::rknn::expect_floats;
use crate::{Error, Result};
pub(super) use given::{BOXES, Given, METHODS, TRAINING, calibration};

/// Arguments of `train-host convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) given: Given,
    /// Run folder (its best weights), weights file, YOLOv5 checkpoint (.pt) or ONNX detector (.onnx), trained, fused or
    /// quantized.
    #[arg(value_name = "RUN|WEIGHTS|ONNX")]
    pub(super) model: PathBuf,
    /// Class names instead of the model's own: a data.yaml, or a text file with one a line.
    #[arg(long, value_name = "FILE|data.yaml")]
    pub(super) names: Option<PathBuf>,
    /// Side of the square input in pixels [default: the model's own].
    #[arg(long, value_name = "N")]
    pub(super) imgsz: Option<usize>,
    /// Board to convert for: host, or a chip with an NPU, which needs rknn-toolkit2 (cargo xtask setup rknn).
    #[arg(long, default_value = "host")]
    target: String,
    /// Number format on the board [default: int8 for an NPU or a quantized model, else fp32]; int8 needs --calib or a
    /// quantized model.
    #[arg(long, value_enum)]
    precision: Option<Precision>,
    #[command(flatten)]
    pub(super) calibration: CalibrationArgs,
    #[command(flatten)]
    pub(super) npu: NpuArgs,
    #[command(flatten)]
    pub(super) release: ReleaseArgs,
    /// Where to write the bundle (.bundle).
    #[arg(long, value_name = "X.bundle", value_parser = out_path::bundle)]
    pub(super) out: PathBuf,
    /// Also keep the CPU's ONNX model here.
    #[arg(long, value_name = "FILE")]
    pub(super) onnx: Option<PathBuf>,
    #[command(flatten)]
    json: JsonArgs,
}

/// Number formats there are; what a board offers of them is in its file.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Precision {
    /// 32-bit float.
    Fp32,
    /// 16-bit float.
    Fp16,
    /// 8-bit integer.
    Int8,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    bundle: PathBuf,
    bytes: u64,
    sha256: String,
    model: String,
    target: String,
    precision: boards::Precision,
    imgsz: usize,
    classes: usize,
    security_version: u32,
    is_signed: bool,
    check_images: usize,
    payloads: Vec<artifact::Payload>,
    onnx: Option<PathBuf>,
    #[serde(flatten)]
    npu: Option<NpuSummary>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for an unknown board, a precision it does not offer, a quantized model that keeps less than its int8
/// rules, or one name for two files; else what loading, fusing and writing report. Nothing is left half-written.
pub fn run(args: Args) -> Result<()> {
    if let Some(path) = &args.onnx {
        out_path::expect_other("--onnx", path, "the bundle", &args.out)?;
        args.json.expect_other("the ONNX file", path)?;
        out_path::expect_writable("--onnx", path)?;
    }
    args.json.expect_other("the bundle", &args.out)?;
    out_path::expect_writable("--out", &args.out)?;
    args.json.expect_writable()?;
    let board = find_board(&args.target)?;
    let asked = args.precision.map(boards::Precision::from);
    if let Some(precision) = asked {
        bundle::check_offer(&board, precision)?;
    }
    let json = args.json.clone();
    let summary = if board.npu.is_some() {
        let (packed, precision, npu) = npu::convert(&args, &board, asked)?;
        summarize(args, board, (packed, precision), Some(npu))
    } else {
        npu::expect_none(&args.given, &board)?;
        let (packed, precision) = convert(&args, &board, asked)?;
        summarize(args, board, (packed, precision), None)
    };
    json.emit(&summary)?;
    json.say(&describe(&summary))
}

/// Converts for the CPU.
fn convert(
    args: &Args,
    board: &Board,
    asked: Option<boards::Precision>,
) -> Result<(Packed, boards::Precision)> {
    let (model, images) = load(args, board, asked)?;
    let model = model.deployed();
    keep_onnx(args, model)?;
    let packed = args.release.release(&images, |release| bundle::write(model, board, release, &args.out))?;
    Ok((packed, model.precision()))
}

/// Writes the ONNX that was asked for: before the bundle, so that a bundle stands for a conversion that succeeded.
pub(super) fn keep_onnx(args: &Args, model: Deployed<'_>) -> Result<()> {
    match &args.onnx {
        Some(path) => Ok(artifact::atomic::write(path, &model.onnx()?)?),
        None => Ok(()),
    }
}

fn summarize(
    args: Args,
    board: Board,
    (packed, precision): (Packed, boards::Precision),
    npu: Option<NpuSummary>,
) -> Summary {
    Summary {
        bundle: args.out,
        bytes: packed.bytes,
        sha256: packed.sha256,
        model: packed.manifest.model,
        target: board.name,
        precision,
        imgsz: packed.manifest.preprocess.width_px,
        classes: packed.manifest.classes.len(),
        security_version: packed.manifest.security_version,
        is_signed: args.release.is_signed(),
        check_images: packed.manifest.check_images.len(),
        payloads: packed.manifest.payloads,
        onnx: args.onnx,
        npu,
    }
}

/// The model to pack.
pub(super) enum Loaded {
    Fused(FusedModel),
    Quantized(QuantizedModel),
}

impl Loaded {
    pub(super) fn deployed(&self) -> Deployed<'_> {
        match self {
            Self::Fused(model) => Deployed::Fused(model),
            Self::Quantized(model) => Deployed::Quantized(model),
        }
    }
}

/// Loads the model in the precision that was asked for, quantizing it where that is still to do; and the images that it
/// was quantized on. What that cost is said on standard error, where nothing is saved that could tell it later.
pub(super) fn load(
    args: &Args,
    board: &Board,
    asked: Option<boards::Precision>,
) -> Result<(Loaded, Vec<PathBuf>)> {
    let int8 = asked == Some(boards::Precision::Int8);
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    let options = import::Options { names, imgsz: args.imgsz };
    if file::is_quantized(&args.model) {
        let model = load_quantized(args, options, asked)?;
        expect_kept(&args.model.display().to_string(), &model, board)?;
        return Ok((Loaded::Quantized(model), Vec::new()));
    }
    if !int8 {
        args.given.expect_none(calibration(), |flag| {
            let hint = format!("add --precision int8, or leave {flag} out");
            Error::input(format!("{flag} without --precision int8"), "both", hint)
        })?;
    }
    let model = super::quantize::load_fused(&args.model, &options)?;
    if !int8 {
        return Ok((Loaded::Fused(model), Vec::new()));
    }
    if board.npu.is_some()
        && let Some((node, why)) = unquantizable(&model.architecture.graph)?
    {
        // Before our quantizer says so, which does not know the way that works on an NPU.
        expect_floats(board, &node, &why)?;
    }
    let images = args.calibration.images(&model)?;
    let (model, outcome) = args.calibration.quantize(&model, &images, board)?;
    console::say(told(&model, &outcome.record));
    Ok((Loaded::Quantized(outcome.model), images.paths()))
}

/// A model that is quantized already.
fn load_quantized(
    args: &Args,
    options: import::Options,
    asked: Option<boards::Precision>,
) -> Result<QuantizedModel> {
    if let Some(precision) = asked.filter(|&precision| precision != boards::Precision::Int8) {
        return Err(Error::input(
            format!("--precision {precision} for {}, which is quantized", args.model.display()),
            "--precision int8, or nothing",
            "convert the model it was made of for another precision",
        ));
    }
    args.given.expect_none(calibration(), |flag| {
        Error::input(
            format!("{flag} for {}, which is quantized", args.model.display()),
            "a model still to be quantized",
            format!("leave {flag} out, or convert the model it was made of"),
        )
    })?;
    let mut model = file::load(&args.model)?;
    if let Some(names) = options.names {
        model.architecture.head.rename(names)?;
    }
    if let Some(imgsz) = options.imgsz.filter(|&imgsz| imgsz != model.imgsz) {
        return Err(Error::input(
            format!("--imgsz {imgsz} for a model quantized at {} px", model.imgsz),
            format!("--imgsz {}, or nothing", model.imgsz),
            "quantize the model it was made of at the other size",
        ));
    }
    Ok(model)
}

impl From<Precision> for boards::Precision {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Fp32 => Self::Fp32,
            Precision::Fp16 => Self::Fp16,
            Precision::Int8 => Self::Int8,
        }
    }
}

pub(super) fn find_board(name: &str) -> Result<Board> {
    Board::find(name).map_err(|error| match error {
        boards::Error::Unknown { name, known, .. } => Error::input(
            format!("unknown board {name:?}"),
            format!("one of: {known}"),
            "choose with --target",
        ),
        broken => {
            Error::input(broken.to_string(), "a valid board file", "report this: board files are tested")
        }
    })
}

fn describe(summary: &Summary) -> String {
    let Summary { bundle, bytes, sha256, model, target, precision, imgsz, classes, .. } = summary;
    let npu = summary.npu.as_ref().map_or_else(String::new, |npu| format!("\n{npu}"));
    let signed = if summary.is_signed { "signed" } else { "unsigned" };
    let checks = match summary.check_images {
        0 => "no images for self-test to judge accuracy by (--check-images)".to_owned(),
        count => format!("{count} check images for self-test"),
    };
    format!(
        "{}: {model} {precision} for {target}, {imgsz}x{imgsz} px, {classes} classes\n{bytes} bytes, sha256 {sha256}, verified\n\
         {signed}, security version {}, {checks}{npu}",
        bundle.display(),
        summary.security_version
    )
}
