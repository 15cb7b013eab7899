//! `train-host import`: another program's model into a weights file of our own.

use std::path::PathBuf;

use serde::Serialize;

use super::json::JsonArgs;
use super::out_path;
use crate::Result;
use crate::import::{self, Imported};
use crate::model::checkpoint::{self, Checkpoint, Provenance};
use crate::model::{Boxes, complexity};

/// Arguments of `train-host import`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// YOLOv5 checkpoint (.pt) of release 5, 6 or 7, or a detector in ONNX (.onnx). It is read as data; nothing in it
    /// is run.
    #[arg(value_name = "FILE.pt|FILE.onnx")]
    model: PathBuf,
    /// Class names instead of the model's own: a data.yaml, or a text file with one a line.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Where to save the weights (.safetensors).
    #[arg(long, value_name = "X.safetensors", value_parser = out_path::weights)]
    out: PathBuf,
    /// Side of the square images it was trained on, in pixels [default: what the checkpoint says, else 640].
    #[arg(long, value_name = "N")]
    imgsz: Option<usize>,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    stage: &'static str,
    classes: Vec<String>,
    parameters: usize,
    imgsz: usize,
    strides: Vec<usize>,
    /// Of a head with anchors.
    #[serde(skip_serializing_if = "Option::is_none")]
    anchors_px: Option<Vec<Vec<[f32; 2]>>>,
    /// Of a split head.
    #[serde(skip_serializing_if = "Option::is_none")]
    reg_max: Option<usize>,
    provenance: Option<Provenance>,
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// As [`import::open_with`]; [`crate::Error::Input`] for an image size that does not fit the model, or when `--out` is
/// the model's own file. Then nothing is saved.
pub fn run(args: Args) -> Result<()> {
    out_path::expect_other("--out", &args.out, "the model to import", &import::resolve(&args.model)?)?;
    args.json.expect_other("the imported model", &args.out)?;
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    let options = import::Options { names, imgsz: args.imgsz };
    let Imported { checkpoint, provenance } = import::open_with(&args.model, &options)?;
    checkpoint::save_with(&args.out, &checkpoint, provenance.as_ref())?;
    let summary = summarize(&checkpoint, provenance, args.out)?;
    args.json.emit(&summary)?;
    args.json.say(&describe(&summary))
}

fn summarize(checkpoint: &Checkpoint, provenance: Option<Provenance>, out: PathBuf) -> Result<Summary> {
    let architecture = checkpoint.architecture();
    let (anchors_px, reg_max) = match &architecture.head.boxes {
        Boxes::Anchors { anchors_px } => (Some(anchors_px.clone()), None),
        &Boxes::Distances { reg_max } => (None, Some(reg_max)),
    };
    Ok(Summary {
        model: architecture.name.clone(),
        stage: checkpoint.stage().name(),
        classes: architecture.head.classes.clone(),
        parameters: complexity::count(&architecture.graph, checkpoint.imgsz())?.parameters,
        imgsz: checkpoint.imgsz(),
        strides: architecture.head.strides.clone(),
        anchors_px,
        reg_max,
        provenance,
        out,
    })
}

fn describe(summary: &Summary) -> String {
    let Summary { model, stage, classes, parameters, imgsz, strides, provenance, out, .. } = summary;
    let mut text = format!(
        "{model}: {stage}, {} classes, {parameters} parameters, {imgsz}x{imgsz} px, strides {strides:?}\n",
        classes.len()
    );
    if let Some(Provenance { format, release, part, epoch, date, hyper_parameters }) = provenance {
        let epoch = epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
        let date = date.as_ref().map_or_else(String::new, |date| format!(", {date}"));
        text += &format!(
            "{format} of release {release} (a guess), part {part:?}{epoch}{date}, {} hyper-parameters\n",
            hyper_parameters.len()
        );
    }
    text + &format!("saved {}", out.display())
}
