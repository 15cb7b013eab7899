//! `train-host bench-train`: how fast training is, and whether data keeps up with it.

use std::path::PathBuf;

use super::json::JsonArgs;
use super::train::{absolute, all_cores};
use crate::Result;
use crate::ablate::child::own_program;
use crate::ablate::cost;
use crate::dataset::Broken;
use crate::model::{Activation, Block};
use crate::train::bench::{Subject, Workload};

/// Arguments of `train-host bench-train`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Built-in model or a YAML file; several are also compared with the first, step by step on the same batches.
    #[arg(long, value_name = "NAME|FILE.yaml", required = true)]
    model: Vec<String>,
    /// Activation instead of the models' own.
    #[arg(long, value_enum)]
    act: Option<Activation>,
    /// Rep block instead of the models' own.
    #[arg(long, value_enum)]
    block: Option<Block>,
    /// Dataset: data.yaml, a COCO json, or a Pascal VOC folder.
    #[arg(long, value_name = "DATA")]
    data: PathBuf,
    /// Side of the square input in pixels, a multiple of 32.
    #[arg(long, default_value_t = 640)]
    imgsz: usize,
    /// Images a batch.
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// Nominal batch size: images that make up an optimizer step.
    #[arg(long, default_value_t = 64)]
    nbs: usize,
    /// Steps measured, after a few that are not.
    #[arg(long, default_value_t = 32)]
    steps: usize,
    /// Threads to compute with [default: all].
    #[arg(long)]
    threads: Option<usize>,
    /// Threads that prepare batches.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Leave out broken labels instead of refusing the dataset.
    #[arg(long)]
    skip_broken: bool,
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the command.
///
/// # Errors
/// As [`cost::measure`].
pub fn run(args: Args) -> Result<()> {
    let subject = |model: &String| Subject {
        name: model.clone(),
        model: model.clone(),
        act: args.act,
        block: args.block,
    };
    let subjects: Vec<Subject> = args.model.iter().map(subject).collect();
    let workload = Workload {
        data: absolute(args.data)?,
        broken: if args.skip_broken { Broken::Skip } else { Broken::Refuse },
        imgsz: args.imgsz,
        batch: args.batch,
        nominal_batch: args.nbs,
        steps: args.steps,
        threads: args.threads.unwrap_or_else(all_cores),
        workers: args.workers,
    };
    let cost = cost::measure(&own_program()?, &subjects, &workload)?;
    args.json.emit(&cost)?;
    args.json.say(&cost.to_string())
}
