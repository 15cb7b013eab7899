//! `train-host eval`: measures a run, a weights file or a bundle on a labeled dataset, without libtorch.

use std::path::{Path, PathBuf};

use artifact::{Bundle, Decode, Preprocess, Trust};
use repedge::backend::rknn::RknnOptions;
use repedge::backend::{BackendChoice, Session, open};
use repedge::decode::Limits;
use serde::Serialize;

use super::json::JsonArgs;
use super::npu::ToolkitArgs;
use crate::console::say;
use crate::dataset::{Broken, Source, Split};
use crate::evaluate::{Evaluation, Options, Progress, align, evaluate};
use crate::export;
use crate::import;
use crate::model::checkpoint::Checkpoint;
use crate::quantize::file;
use crate::report::{self, Surface};
use crate::rknn::{Rebuilt, Toolkit, rebuild};
use crate::{Error, Result};

/// The simulator's name in records.
const SIMULATOR: &str = "rknn simulator";

/// Arguments of `train-host eval`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folder (its best weights), weights file (.safetensors), YOLOv5 checkpoint (.pt), ONNX detector (.onnx) or
    /// bundle (.bundle).
    #[arg(value_name = "RUN|WEIGHTS|ONNX|BUNDLE")]
    model: PathBuf,
    /// Labeled dataset: a YOLO data.yaml, COCO json file or Pascal VOC folder.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Class names instead of the model's own: a data.yaml, or a text file with one a line.
    #[arg(long, value_name = "FILE")]
    names: Option<PathBuf>,
    /// Part of the dataset [default: test where there is one, else val].
    #[arg(long)]
    split: Option<Split>,
    /// Side of the square input in pixels [default: the size the model was trained for].
    #[arg(long, value_name = "N")]
    imgsz: Option<usize>,
    /// Detections need a score above this.
    #[arg(long, default_value_t = Limits::evaluation().confidence)]
    conf: f32,
    /// Of two boxes of a class that overlap more than this, the weaker is dropped.
    #[arg(long, default_value_t = Limits::evaluation().iou)]
    iou: f32,
    /// Engine that runs a bundle; weights always run in tract.
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
    /// Measure a bundle's NPU model in the vendor's simulator. It is built again from the build record beside the bundle,
    /// and needs rknn-toolkit2 (cargo xtask setup rknn).
    #[arg(long, conflicts_with = "backend")]
    simulate: bool,
    #[command(flatten)]
    toolkit: ToolkitArgs,
    /// Write pr.svg and confusion.svg into this folder.
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Leave out broken labels and images instead of stopping.
    #[arg(long)]
    skip_broken: bool,
    #[command(flatten)]
    json: JsonArgs,
}

/// Engine for a bundle.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Backend {
    /// The NPU where the bundle and this build have it, else the CPU.
    Auto,
    /// The CPU.
    Tract,
    /// The Rockchip NPU.
    Rknn,
}

/// A model ready to be measured.
struct Subject {
    session: Box<dyn Session>,
    backend: String,
    classes: Vec<String>,
    preprocess: Preprocess,
    decode: Decode,
    rebuilt: Option<Rebuilt>,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// What was built again to be measured; not there where the model itself ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    rebuilt: Option<Rebuilt>,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Data`] for a dataset that cannot be read or has other classes than the model; [`Error::Model`],
/// [`Error::Artifact`] or [`Error::Runtime`] for a model that cannot be run.
pub fn run(args: Args) -> Result<()> {
    let broken = if args.skip_broken { Broken::Skip } else { Broken::Refuse };
    let source = Source::open(&args.data, broken)?;
    let split = args.split.unwrap_or(if source.has(Split::Test) { Split::Test } else { Split::Val });
    if !source.is_divided() {
        say(format_args!("note: {} has no splits: evaluating on all of it", args.data.display()));
    }
    let mut subject = subject(&args)?;
    let dataset = align(source.split(split)?, &subject.classes)?;
    let options = Options {
        model: args.model.display().to_string(),
        dataset: format!("{} ({split})", args.data.display()),
        backend: subject.backend,
        limits: Limits { confidence: args.conf, iou: args.iou, ..Limits::evaluation() },
        broken,
        ..Options::default()
    };
    let evaluation =
        evaluate(&mut *subject.session, &subject.decode, &subject.preprocess, &dataset, &options)?;
    if let Some(folder) = &args.plots {
        write_plots(folder, &evaluation)?;
    }
    let summary = Summary { evaluation, rebuilt: subject.rebuilt };
    args.json.emit(&summary)?;
    args.json.say(&describe(&summary))
}

fn describe(summary: &Summary) -> String {
    let Summary { evaluation, rebuilt } = summary;
    match rebuilt {
        None => evaluation.to_string(),
        Some(Rebuilt { chip, toolkit, .. }) => {
            format!(
                "{evaluation}\nrebuilt from the build record for {chip}, in the simulator of rknn-toolkit2 {toolkit}"
            )
        }
    }
}

fn subject(args: &Args) -> Result<Subject> {
    if args.simulate {
        return simulated_subject(args);
    }
    if args.model.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("bundle")) {
        return bundle_subject(args);
    }
    let names = args.names.as_deref().map(import::read_names).transpose()?;
    if file::is_quantized(&args.model) {
        return quantized_subject(args, names);
    }
    let options = import::Options { names, imgsz: args.imgsz };
    let checkpoint = import::open_with(&args.model, &options)?.checkpoint;
    let session: Box<dyn Session> = match &checkpoint {
        Checkpoint::Trained(model) => Box::new(export::diagnostic_session(model)?),
        Checkpoint::Fused(model) => Box::new(export::session(model)?),
    };
    let head = &checkpoint.architecture().head;
    Ok(Subject {
        session,
        backend: artifact::BackendKind::Tract.to_string(),
        classes: head.classes.clone(),
        preprocess: export::bundle::preprocess(checkpoint.imgsz()),
        decode: export::bundle::decode(head),
        rebuilt: None,
    })
}

fn quantized_subject(args: &Args, names: Option<Vec<String>>) -> Result<Subject> {
    let mut model = file::load(&args.model)?;
    if let Some(names) = names {
        model.architecture.head.rename(names)?;
    }
    if let Some(imgsz) = args.imgsz.filter(|&imgsz| imgsz != model.imgsz) {
        return Err(other_imgsz(imgsz, [model.imgsz; 2], "model quantized"));
    }
    let head = &model.architecture.head;
    Ok(Subject {
        session: Box::new(export::quantized_session(&model)?),
        backend: artifact::BackendKind::Tract.to_string(),
        classes: head.classes.clone(),
        preprocess: export::bundle::preprocess(model.imgsz),
        decode: export::bundle::decode(head),
        rebuilt: None,
    })
}

fn bundle_subject(args: &Args) -> Result<Subject> {
    if args.names.is_some() {
        return Err(Error::input(
            "--names for a bundle",
            "the names in the bundle",
            "leave --names out, or convert the weights again with it",
        ));
    }
    let mut bundle = Bundle::open(&args.model, &Trust::anyone())?;
    let choice = match args.backend {
        Backend::Auto => BackendChoice::Auto,
        Backend::Tract => BackendChoice::Tract,
        Backend::Rknn => BackendChoice::Rknn,
    };
    let opened = open(&mut bundle, choice, &RknnOptions::default())?;
    if let Some(reason) = &opened.fallback {
        say(format_args!("note: running on {} instead of the NPU: {reason}", opened.backend));
    }
    let manifest = bundle.manifest();
    let preprocess = manifest.preprocess;
    if let Some(imgsz) = args.imgsz
        && (preprocess.width_px, preprocess.height_px) != (imgsz, imgsz)
    {
        return Err(other_imgsz(imgsz, [preprocess.width_px, preprocess.height_px], "bundle"));
    }
    Ok(Subject {
        backend: opened.backend.to_string(),
        session: opened.session,
        classes: manifest.classes.clone(),
        decode: manifest.decode.clone(),
        preprocess,
        rebuilt: None,
    })
}

fn simulated_subject(args: &Args) -> Result<Subject> {
    for (flag, is_given) in [("--names", args.names.is_some()), ("--imgsz", args.imgsz.is_some())] {
        if is_given {
            return Err(Error::input(
                format!("{flag} with --simulate"),
                "the bundle as it is",
                format!("leave {flag} out, or convert again with it"),
            ));
        }
    }
    let toolkit = Toolkit::find()?;
    let (simulator, manifest, rebuilt) = rebuild(&toolkit, &args.model, args.toolkit.limit(), Progress::Bar)?;
    Ok(Subject {
        session: Box::new(simulator),
        backend: SIMULATOR.to_owned(),
        classes: manifest.classes,
        preprocess: manifest.preprocess,
        decode: manifest.decode,
        rebuilt: Some(rebuilt),
    })
}

fn other_imgsz(imgsz: usize, made: [usize; 2], what: &str) -> Error {
    Error::input(
        format!("--imgsz {imgsz} for a {what} for {}x{} pixels", made[0], made[1]),
        "the size it was made for",
        "leave --imgsz out, or make it again at that size",
    )
}

fn write_plots(folder: &Path, evaluation: &Evaluation) -> Result<()> {
    let metrics = &evaluation.metrics;
    if let Some(svg) = report::pr_curves(&metrics.pr_curves, Surface::File)? {
        artifact::atomic::write(&folder.join("pr.svg"), svg.as_bytes())?;
    }
    let svg = report::confusion(&metrics.confusion, Surface::File)?;
    Ok(artifact::atomic::write(&folder.join("confusion.svg"), svg.as_bytes())?)
}
