//! End-to-end suites: they live in `tests/` and drive the built programs as a user would. This library only finds and
//! runs programs, and holds the README, whose examples compile here.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;

/// The built program called `name`, from the folder this test was built into.
///
/// # Errors
/// When it has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe().context("no path of the running test")?;
    let folder = test.ancestors().nth(2).context("a test outside of a target folder")?;
    let path = folder.join(name);
    ensure!(path.is_file(), "{} is not built: run `cargo build --workspace` first", path.display());
    Ok(path)
}

/// Runs `name` with `arguments` and returns its standard output.
///
/// # Errors
/// When it cannot be run or fails; the error holds what it printed.
pub fn run(name: &str, arguments: &[&str]) -> Result<String> {
    let output = output(name, arguments)?;
    if !output.status.success() {
        bail!(
            "{name} {arguments:?} ended with {}:\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Runs `name` with `arguments`, which must fail with exit code 1 or 2 and not be ended by a panic or a signal; returns
/// what it printed to standard error.
///
/// # Errors
/// When it succeeds, or ends in another way.
pub fn refused(name: &str, arguments: &[&str]) -> Result<String> {
    let output = output(name, arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        matches!(output.status.code(), Some(1 | 2)),
        "{name} {arguments:?} ended with {}:\n{said}",
        output.status
    );
    ensure!(!said.contains("panicked"), "{name} {arguments:?} panicked:\n{said}");
    Ok(said)
}

fn output(name: &str, arguments: &[&str]) -> Result<Output> {
    Command::new(program(name)?).args(arguments).output().with_context(|| format!("cannot run {name}"))
}

/// The folder of real images, for tests that are ignored where it is absent.
///
/// # Errors
/// When neither REPEDGE_SHARED_DATA nor `../shared/data` beside the workspace is there.
pub fn shared_data() -> Result<PathBuf> {
    let folder = std::env::var_os("REPEDGE_SHARED_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    ensure!(folder.is_dir(), "{} is not there", folder.display());
    Ok(folder)
}

/// Starts a training in `out` and kills it with SIGKILL once `epochs` and a state to resume from are on
/// disk, wherever it then is.
///
/// # Errors
/// When it cannot be started, or ends before it can be killed.
pub fn kill_after(epochs: usize, arguments: &[&str], out: &Path) -> Result<()> {
    let mut child = Command::new(program("train-host")?).args(arguments).stderr(Stdio::null()).spawn()?;
    while epochs_done(out) < epochs || !out.join("state.safetensors").exists() {
        ensure!(child.try_wait()?.is_none(), "the run ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().context("cannot kill the run")?;
    let status = child.wait()?;
    ensure!(status.code().is_none(), "the run ended before it could be killed: {status}");
    Ok(())
}

/// Epochs that a run's `results.csv` holds.
pub fn epochs_done(out: &Path) -> usize {
    std::fs::read_to_string(out.join("results.csv")).map_or(0, |text| text.lines().count().saturating_sub(1))
}

/// A path as an argument.
///
/// # Errors
/// When it is not UTF-8.
pub fn text(path: &Path) -> Result<&str> {
    path.to_str().context("a temporary path that is not UTF-8")
}

/// A small synthetic dataset in `folder`; returns its `data.yaml`.
///
/// # Errors
/// When `train-host data synth` fails.
pub fn small_dataset(folder: &Path) -> Result<PathBuf> {
    let out = folder.join("synth");
    let arguments = ["data", "synth", "--train", "24", "--val", "8", "--test", "8", "--size", "128", "--out"];
    run("train-host", &[&arguments[..], &[text(&out)?]].concat())?;
    Ok(out.join("data.yaml"))
}

/// Arguments that train `model` for `epochs` on small pictures, in one thread, with a fixed seed.
pub fn small_training<'a>(model: &'a str, data: &'a str, epochs: &'a str, out: &'a str) -> Vec<&'a str> {
    let fixed = ["--imgsz", "64", "--batch", "8", "--threads", "1", "--seed", "7"];
    let mut arguments = vec!["train", "--model", model, "--data", data, "--epochs", epochs, "--out", out];
    arguments.extend(fixed);
    arguments
}
