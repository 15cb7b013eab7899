//! `train-host ablate`: trains and compares the models of a plan.

use std::path::{Path, PathBuf};

use super::json::JsonArgs;
use super::train::absolute;
use crate::ablate::child::own_program;
use crate::ablate::plan::{Changes, Plan};
use crate::ablate::{Document, Place, run as run_plan};
use crate::console::say;
use crate::{Error, Result};

/// Trainings at once that can be asked for.
const MAX_JOBS: u64 = 256;

/// Arguments of `train-host ablate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What is compared: train-host/plans has examples that explain each key. Paths in it start from its folder.
    #[arg(value_name = "PLAN.yaml")]
    plan: PathBuf,
    /// Dataset instead of the plan's: data.yaml, a COCO json, or a Pascal VOC folder.
    #[arg(long, value_name = "DATA")]
    data: Option<PathBuf>,
    /// Lengths of the timings in frames instead of the plan's; a length given twice is timed twice.
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    frames: Option<Vec<usize>>,
    /// Trainings at once, each with the plan's threads.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=MAX_JOBS))]
    jobs: u64,
    /// Folder of the results. What is finished in it is kept: a run that was ended goes on.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the command.
///
/// # Errors
/// As [`run_plan`]; [`Error::Backend`], after everything has been written, when a fused model is slower than the plain
/// one or an unfused is not.
pub fn run(args: Args) -> Result<()> {
    let plan = Plan::read(&args.plan, Changes { data: args.data, frames: args.frames })?;
    let out = absolute(args.out)?;
    let jobs = usize::try_from(args.jobs).unwrap_or(1);
    let document = run_plan(&plan, &Place { program: own_program()?, out: out.clone(), jobs })?;
    args.json.emit(&document)?;
    let table = out.join("table.md");
    args.json.say(std::fs::read_to_string(&table).map_err(|e| Error::io(&table, e))?.trim_end())?;
    say(format_args!("results: {}", out.join("report.html").display()));
    judge(&document, &out)
}

fn judge(document: &Document, out: &Path) -> Result<()> {
    let failures = document.bar.failures();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::backend(
        failures.join("\n"),
        format!(
            "fused models that take at most {} of the plain model's time, and unfused models that take more than {}",
            document.bar.fused_limit, document.bar.unfused_limit
        ),
        format!("where something else ran meanwhile, remove {} and run again", out.join("timing").display()),
    ))
}
