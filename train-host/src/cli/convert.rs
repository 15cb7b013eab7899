//! `train-host convert`: a run, a weights file or a foreign ONNX model to a bundle a board can run. Fuses first where
//! that is still to do.

use std::path::PathBuf;

use boards::Board;
use serde::Serialize;

use super::json::JsonArgs;
use super::out_path;
use crate::export::{bundle, onnx};
use crate::fuse::fuse;
use crate::import;
use crate::model::FusedModel;
use crate::model::checkpoint::Checkpoint;
use crate::{Error, Result};

/// Arguments of `train-host convert`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folder (its best weights), weights file, YOLOv5 checkpoint (.pt) or ONNX detector (.onnx).
    #[arg(value_name = "RUN|WEIGHTS|ONNX")]
    model: PathBuf,
    /// Class names instead of the model's own: a data.yaml, or a text file with one a line.
    #[arg(long, value_name = "FILE|data.yaml")]
    names: Option<PathBuf>,
    /// Side of the square input in pixels [default: the model's own].
    #[arg(long, value_name = "N")]
    imgsz: Option<usize>,
    /// Board to convert for.
    #[arg(long, default_value = "host")]
    target: String,
    /// Number format on the board.
    #[arg(long, value_enum, default_value_t = Precision::Fp32)]
    precision: Precision,
    /// Where to write the bundle (.bundle).
    #[arg(long, value_name = "X.bundle", value_parser = out_path::bundle)]
    out: PathBuf,
    /// Also keep the ONNX model here.
    #[arg(long, value_name = "FILE")]
    onnx: Option<PathBuf>,
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
    payloads: Vec<artifact::Payload>,
    onnx: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for an unknown board, a precision it does not offer, or one name for both files; else what loading,
/// fusing and writing report. Nothing is left half-written.
pub fn run(args: Args) -> Result<()> {
    if let Some(path) = &args.onnx {
        out_path::expect_other("--onnx", path, "the bundle", &args.out)?;
    }
    let board = find_board(&args.target)?;
    let precision = match args.precision {
        Precision::Fp32 => boards::Precision::Fp32,
        Precision::Fp16 => boards::Precision::Fp16,
        Precision::Int8 => boards::Precision::Int8,
    };
    bundle::check_offer(&board, precision)?;
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    let model = load_fused(&args.model, &import::Options { names, imgsz: args.imgsz })?;
    if let Some(path) = &args.onnx {
        // Before the bundle, so that a bundle stands for a conversion that succeeded.
        artifact::atomic::write(path, &onnx::write(&model)?)?;
    }
    let packed = bundle::write(&model, &board, precision, &args.out)?;
    let summary = Summary {
        bundle: args.out,
        bytes: packed.bytes,
        sha256: packed.sha256,
        model: packed.manifest.model,
        target: board.name,
        precision,
        imgsz: model.imgsz,
        classes: packed.manifest.classes.len(),
        payloads: packed.manifest.payloads,
        onnx: args.onnx,
    };
    args.json.emit(&summary)?;
    args.json.say(&describe(&summary))
}

fn load_fused(path: &std::path::Path, options: &import::Options) -> Result<FusedModel> {
    match import::open_with(path, options)?.checkpoint {
        Checkpoint::Trained(model) => fuse(&model),
        Checkpoint::Fused(model) => Ok(model),
    }
}

fn find_board(name: &str) -> Result<Board> {
    Board::find(name).map_err(|error| match error {
        boards::Error::Unknown { name, known } => Error::input(
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
    format!(
        "{}: {model} {precision} for {target}, {imgsz}x{imgsz} px, {classes} classes\n{bytes} bytes, sha256 {sha256}, verified",
        bundle.display()
    )
}
