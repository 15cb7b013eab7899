//! `train-host fuse`: folds a trained model, measures what the folding cost, and saves the fused weights.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde::Serialize;

use super::json::JsonArgs;
use super::out_path;
use crate::fuse::{GroupError, MAX_FUSE_ERROR, fuse, fuse_error, largest};
use crate::import::{self, Imported};
use crate::model::checkpoint::{self, Checkpoint};
use crate::model::{Graph, complexity};
use crate::{Error, Result};

/// Arguments of `train-host fuse`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Run folder (its best weights), weights file or YOLOv5 checkpoint (.pt) of a trained model.
    #[arg(value_name = "RUN|WEIGHTS")]
    model: PathBuf,
    /// Where to save the fused weights (.safetensors).
    #[arg(long, value_name = "X.safetensors", value_parser = out_path::weights)]
    out: PathBuf,
    /// Seed of the images that the two forms are compared on.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    model: String,
    before: Size,
    after: Size,
    groups: Vec<GroupError>,
    largest_error: f64,
    error_bar: f64,
    out: PathBuf,
}

/// Size of a graph.
#[derive(Debug, Serialize)]
struct Size {
    nodes: usize,
    parameters: usize,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] when `--out` is the trained model's own file; [`Error::Model`] when the model is already fused, cannot
/// be folded, or folding it changed its outputs by more than [`MAX_FUSE_ERROR`]; then nothing is saved.
pub fn run(args: Args) -> Result<()> {
    out_path::expect_other("--out", &args.out, "the trained model", &import::resolve(&args.model)?)?;
    args.json.expect_other("the fused model", &args.out)?;
    let Imported { checkpoint, provenance } = import::open(&args.model)?;
    let trained = match checkpoint {
        Checkpoint::Trained(model) => model,
        Checkpoint::Fused(_) => return Err(already_fused(&args)),
    };
    let fused = fuse(&trained)?;
    let groups = fuse_error(&trained, &fused, args.seed)?;
    let size = |graph: &Graph| -> Result<Size> {
        let parameters = complexity::count(graph, trained.imgsz)?.parameters;
        Ok(Size { nodes: graph.nodes.len(), parameters })
    };
    let summary = Summary {
        model: trained.architecture.name.clone(),
        before: size(&trained.architecture.graph)?,
        after: size(&fused.architecture.graph)?,
        largest_error: largest(&groups),
        error_bar: MAX_FUSE_ERROR,
        groups,
        out: args.out.clone(),
    };
    let holds = summary.largest_error <= MAX_FUSE_ERROR;
    if holds {
        // Before anything is told, so that a document stands for a model that was saved or refused.
        checkpoint::save_with(&args.out, &Checkpoint::Fused(fused), provenance.as_ref())?;
    }
    args.json.emit(&summary)?;
    args.json.say(&table(&summary))?;
    if !holds {
        return Err(beyond_bar(&summary));
    }
    args.json.say(&format!("saved {}", args.out.display()))
}

fn table(summary: &Summary) -> String {
    let Summary { model, before, after, .. } = summary;
    let mut text = format!(
        "{model}: {} nodes, {} parameters → {} nodes, {} parameters\n{:<10}{:<14}{:>16}{:>12}{:>12}\n",
        before.nodes,
        before.parameters,
        after.nodes,
        after.parameters,
        "output",
        "channels",
        "max|a-b|",
        "max|a|",
        "relative"
    );
    for error in &summary.groups {
        let group = format!("{:?}", error.group).to_lowercase();
        let GroupError { output, max_abs_difference, max_abs, relative, .. } = error;
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{output:<10}{group:<14}{max_abs_difference:>16.3e}{max_abs:>12.3e}{relative:>12.3e}"
        );
    }
    let _ = write!(text, "largest relative error {:.3e}, bar {MAX_FUSE_ERROR:.0e}", summary.largest_error);
    text
}

fn already_fused(args: &Args) -> Error {
    Error::model(
        format!("{} is already fused", args.model.display()),
        "a trained model",
        "convert it: `train-host convert`",
    )
}

fn beyond_bar(summary: &Summary) -> Error {
    Error::model(
        format!("folding changed the outputs by {:.3e} of their range", summary.largest_error),
        format!("at most {MAX_FUSE_ERROR:.0e}"),
        "a variance near 0 or a huge weight makes f32 lose digits: train on, or take another checkpoint",
    )
}
