//! A run killed with SIGKILL and resumed ends with the same weights, bit for bit, as one that was not.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::{program, refused, run, small_dataset, small_training, text};

const EPOCHS: &str = "4";

/// Starts a training and kills it once its second epoch is on disk, wherever it then is.
fn kill_in_the_middle(data: &str, out: &str) -> Result<()> {
    let mut child = Command::new(program("train-host")?)
        .args(small_training("repyolov5n", data, EPOCHS, out))
        .stderr(Stdio::null())
        .spawn()?;
    let state = Path::new(out).join("results.csv");
    while rows(&state) < 2 {
        ensure!(running(&mut child)?, "the run ended before it could be killed");
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().context("cannot kill the run")?;
    child.wait()?;
    ensure!(rows(&state) < 4, "the run ended before it could be killed");
    Ok(())
}

fn running(child: &mut Child) -> Result<bool> {
    Ok(child.try_wait()?.is_none())
}

fn rows(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count().saturating_sub(1))
}

#[test]
fn killed_and_resumed_run_ends_with_the_same_bits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    run("train-host", &small_training("repyolov5n", text(&data)?, EPOCHS, text(&whole)?))?;
    kill_in_the_middle(text(&data)?, text(&broken)?)?;
    run("train-host", &["train", "--resume", "--out", text(&broken)?])?;
    for file in ["last.safetensors", "best.safetensors"] {
        let same = std::fs::read(whole.join(file))? == std::fs::read(broken.join(file))?;
        ensure!(same, "{file} differs");
    }
    ensure!(rows(&broken.join("results.csv")) == 4);
    Ok(())
}

#[test]
fn resume_says_what_it_lacks() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let said = refused("train-host", &["train", "--resume", "--out", text(&folder.path().join("none"))?])?;
    ensure!(said.contains("args.json") && said.contains("help:"), "{said}");
    Ok(())
}

#[test]
fn a_run_is_not_overwritten() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let out = folder.path().join("run");
    let arguments = small_training("yolov5n", text(&data)?, "1", text(&out)?);
    run("train-host", &arguments)?;
    let before = std::fs::read(out.join("last.safetensors"))?;
    let said = refused("train-host", &arguments)?;
    ensure!(said.contains("--resume"), "{said}");
    ensure!(before == std::fs::read(out.join("last.safetensors"))?);
    Ok(())
}
