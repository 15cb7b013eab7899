//! `cargo xtask bench`: our kernels, plain tract and other engines on the same ONNX files, turn about in one run. The timing
//! is done by a program of the sdk and a script in a pinned environment; here they are made ready and their rows shown.

mod plot;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::python::ENGINES;
use crate::workspace::{Workspace, run};
use rows::Row;

const MODELS: &str = include_str!("models.py");
const TIMES: &str = include_str!("time_models.py");

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Rounds, each of which runs every engine once.
    #[arg(long, default_value_t = 30)]
    rounds: usize,
    /// Numbers of threads.
    #[arg(long, value_delimiter = ',', default_value = "1,2")]
    threads: Vec<usize>,
    /// Only models whose name (yolov5n-relu-640, say) holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Time these files too, such as a fused model that `train-host convert` wrote beside a bundle.
    #[arg(long, value_name = "FILE.onnx")]
    onnx: Vec<PathBuf>,
    /// Write the rows as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Draw what the best of the others needs over ours, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the machine cannot be made ready, or no model has the name.
pub fn run_command(args: &Args) -> Result<()> {
    ensure!(args.rounds > 0, "no rounds to run");
    let workspace = Workspace::find()?;
    let python = ENGINES.provide(&workspace)?;
    run(workspace.cargo("build").args(["--workspace", "--example", "time-onnx"]))?;
    let folder = workspace.target_folder()?;
    let program = folder.join("debug/examples/time-onnx");
    let models = models(&python, &folder.join("bench"))?;
    let ours = models.iter().filter(|path| name(path).contains(&args.only));
    let chosen: Vec<&PathBuf> = ours.chain(&args.onnx).collect();
    if chosen.is_empty() {
        bail!(
            "no model is called {:?}: there are {}",
            args.only,
            models.iter().map(|path| name(path)).collect::<Vec<_>>().join(", ")
        );
    }
    let threads = args.threads.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    // A file, because it calls itself.
    let script = folder.join("bench/time_models.py");
    fs::write(&script, TIMES).with_context(|| format!("cannot write {}", script.display()))?;
    let mut timing = Command::new(&python);
    timing.args([&script, &program]).args([args.rounds.to_string(), threads]).args(chosen);
    let output = timing.stderr(Stdio::inherit()).output().context("cannot start Python")?;
    ensure!(output.status.success(), "the timing script failed");
    if let Some(path) = &args.json {
        fs::write(path, &output.stdout).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let rows: Vec<Row> = serde_json::from_slice(&output.stdout).context("what the timing script printed")?;
    print!("{}", rows::table(&rows));
    println!("{}", rows::sizes(&rows));
    if let Some(path) = &args.plot {
        fs::write(path, plot::svg(&rows)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The models, written anew: they are made in seconds.
fn models(python: &Path, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    run(Command::new(python).args(["-c", MODELS]).arg(folder))?;
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut models: Vec<PathBuf> =
        paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "onnx")).collect();
    models.sort();
    Ok(models)
}
