//! `cargo xtask demo`: the main job from nothing to an HTML report, on embedded data or the user's own.
//! It only starts the product's programs, as a user would; it never computes anything itself.

mod place;
mod steps;
mod summary;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::libtorch;
use crate::system::{self, COMPILER};
use crate::workspace::{self, Workspace};
use steps::Programs;
use summary::Summary;

/// What is built, by cargo's arguments: whoever builds the same has it at once.
pub const PROGRAMS: [&str; 4] = ["--package", "train-host", "--package", "examples"];
const MODEL: &str = "repyolov5n";
/// Enough for a detector worth looking at, in the minutes a demo may take on two cores.
const EPOCHS: usize = 45;
const SIDE_PX: usize = 192;
/// Small batches, each a step: many steps in little time.
const BATCH: usize = 8;
/// What makes so short a run find anything.
const HYPER: &str = "train-host/models/hyp.short-run.yaml";
/// Pictures drawn for the report.
const PICTURES: usize = 12;
/// Fusing rewrites weights, not the function: mAP may move by rounding only.
const MAX_MAP_CHANGE: f64 = 0.005;

/// Arguments of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Your own dataset (YOLO data.yaml, COCO json or Pascal VOC folder) instead of the embedded one.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Passes over the training images.
    #[arg(long, default_value_t = EPOCHS)]
    epochs: usize,
    /// Side of the square input in pixels, a multiple of 32.
    #[arg(long, default_value_t = SIDE_PX)]
    imgsz: usize,
    /// Folder for everything that the demo makes; an earlier demo's folder is replaced.
    #[arg(long, value_name = "DIR", default_value = "runs/demo")]
    out: PathBuf,
    /// Print the results as one JSON document on stdout.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
///
/// # Errors
/// When the machine cannot be made ready, a step fails, or fusing changed the mAP.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let data = args.data.clone();
    if let Some(data) = &data {
        ensure!(data.exists(), "{} does not exist: --data takes a dataset", data.display());
    }
    let out = args.out.clone();
    place::expect_replaceable(&out)?;

    let mut clock = steps::Clock::new();
    clock.step("make the machine ready", || {
        system::provide(&[COMPILER])?;
        libtorch::provide(&workspace).map(drop)
    })?;
    clock.step("build the programs", || workspace::run(workspace.cargo("build").args(PROGRAMS)))?;
    let programs = Programs::of(&workspace)?;
    let data = match data {
        Some(data) => data,
        None => {
            clock.step("make the embedded dataset", || programs.synthesize(&workspace.shown("data/synth")))?
        }
    };
    place::replace(&out)?;
    let hyper = workspace.shown(HYPER);
    let job = steps::Job { programs, data, out, hyper, epochs: args.epochs, side_px: args.imgsz };
    job.run(&mut clock)?;

    let summary = Summary::read(&job.out, clock.times())?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&summary).context("the summary is no JSON")?);
    } else {
        println!("\n{summary}");
    }
    summary.expect_same_map(MAX_MAP_CHANGE)
}
