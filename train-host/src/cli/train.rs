//! `train-host train`: arguments of a training run.

use std::path::PathBuf;

use super::json::JsonArgs;
use crate::Result;
use crate::console::say;
use crate::dataset::Broken;
use crate::model::{Activation, Block, description_digest};
use crate::train::{Config, ConvFormat, Decay, Hyper, Start, train};

/// Arguments of `train-host train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Built-in model or a YAML file.
    #[arg(long, value_name = "NAME|FILE.yaml", required_unless_present = "resume", help = super::models())]
    model: Option<String>,
    /// Activation instead of the model's own.
    #[arg(long, value_enum)]
    act: Option<Activation>,
    /// Rep block instead of the model's own.
    #[arg(long, value_enum)]
    block: Option<Block>,
    /// Dataset: data.yaml, a COCO json, or a Pascal VOC folder.
    #[arg(long, value_name = "DATA", required_unless_present = "resume")]
    data: Option<PathBuf>,
    /// Passes over the training images.
    #[arg(long, default_value_t = 100)]
    epochs: usize,
    /// Side of the square input in pixels, a multiple of 32.
    #[arg(long, default_value_t = 640)]
    imgsz: usize,
    /// Images a batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Nominal batch size: images that make up an optimizer step.
    #[arg(long, default_value_t = 64)]
    nbs: usize,
    /// cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Weights to start from: a run, a .safetensors file, a YOLOv5 .pt or its ONNX; a plain model may start a rep model.
    #[arg(long, value_name = "RUN|FILE")]
    weights: Option<PathBuf>,
    /// Continue the run in --out from its last whole epoch, with its own settings.
    #[arg(long, conflicts_with_all = ["model", "act", "block", "data", "epochs", "imgsz", "batch", "nbs", "device",
        "weights", "seed", "hyp", "cos_lr", "precision", "threads", "workers", "skip_broken"])]
    resume: bool,
    /// Key of all randomness.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Hyper-parameters in YOLOv5's YAML; keys left out keep YOLOv5's scratch-low defaults.
    #[arg(long, value_name = "FILE")]
    hyp: Option<PathBuf>,
    /// Let the learning rate fall along a cosine instead of a line.
    #[arg(long)]
    cos_lr: bool,
    /// Number format of convolutions.
    #[arg(long, value_enum, default_value_t)]
    precision: ConvFormat,
    /// Threads to compute with [default: all].
    #[arg(long)]
    threads: Option<usize>,
    /// Threads that prepare batches.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Leave out broken labels and images instead of refusing the dataset.
    #[arg(long)]
    skip_broken: bool,
    /// Stop when standard input closes: how `ablate` takes its trainings along when it ends, however it ends.
    #[arg(long, hide = true)]
    tethered: bool,
    /// Run folder.
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// Trains and reports where the weights are.
///
/// # Errors
/// As [`train`].
pub fn run(args: Args) -> Result<()> {
    if args.tethered {
        std::thread::spawn(|| {
            // Files are whole at any moment, so a training may end at any.
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(1);
        });
    }
    let start = if args.resume { Start::Resume } else { Start::New(Box::new(config(&args)?)) };
    let outcome = train(&args.out, start)?;
    say(format_args!("best weights: {}", outcome.best.display()));
    args.json.emit(&outcome)
}

fn config(args: &Args) -> Result<Config> {
    let hyper = args.hyp.as_deref().map(Hyper::read).transpose()?.unwrap_or_default();
    let model = args.model.clone().unwrap_or_default();
    Ok(Config {
        model_digest: description_digest(&model)?,
        model,
        act: args.act,
        block: args.block,
        data: absolute(args.data.clone().unwrap_or_default())?,
        epochs: args.epochs,
        imgsz: args.imgsz,
        batch: args.batch,
        nominal_batch: args.nbs,
        device: args.device.clone(),
        weights: args.weights.clone().map(absolute).transpose()?,
        seed: args.seed,
        hyper,
        decay: if args.cos_lr { Decay::Cosine } else { Decay::Linear },
        format: args.precision,
        threads: args.threads.unwrap_or_else(all_cores),
        workers: args.workers,
        broken: if args.skip_broken { Broken::Skip } else { Broken::Refuse },
    })
}

/// Threads that libtorch uses unless told otherwise.
pub(super) fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Paths are stored absolute, so that a run can be resumed from any folder.
pub(super) fn absolute(path: PathBuf) -> Result<PathBuf> {
    std::path::absolute(&path).map_err(|e| crate::Error::io(&path, e))
}
