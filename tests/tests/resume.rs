//! A run killed with SIGKILL and resumed ends with the same weights, bit for bit, as one that was not.

use anyhow::{Result, ensure};
use tests::{epochs_done, kill_after, refused, run, small_dataset, small_training, text};

const EPOCHS: &str = "10";
/// Without warm-up and with two batches a step, three batches an epoch leave a gradient waiting at every other
/// epoch's end.
const HYPER: &str = "warmup_epochs: 0\n";
const ACCUMULATE: [&str; 2] = ["--nbs", "16"];

#[test]
fn killed_and_resumed_run_ends_with_the_same_bits() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let hyper = folder.path().join("hyp.yaml");
    std::fs::write(&hyper, HYPER)?;
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let arguments = |out| -> Result<Vec<&str>> {
        let mut arguments = small_training("repyolov5n", text(&data)?, EPOCHS, out);
        arguments.extend(["--hyp", text(&hyper)?]);
        arguments.extend(ACCUMULATE);
        Ok(arguments)
    };
    run("train-host", &arguments(text(&whole)?)?)?;
    // Once with a gradient waiting, once without; wherever in the epoch after it the kill falls.
    kill_after(1, &arguments(text(&broken)?)?, &broken)?;
    kill_after(epochs_done(&broken) + 1, &["train", "--resume", "--out", text(&broken)?], &broken)?;
    run("train-host", &["train", "--resume", "--out", text(&broken)?])?;
    for file in ["last.safetensors", "best.safetensors"] {
        let same = std::fs::read(whole.join(file))? == std::fs::read(broken.join(file))?;
        ensure!(same, "{file} differs");
    }
    ensure!(epochs_done(&broken) == 10);
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

#[test]
fn a_warm_started_run_resumes_without_what_it_started_from() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    run("train-host", &small_training("yolov5n", text(&data)?, "1", text(&first)?))?;
    let mut arguments = small_training("repyolov5n", text(&data)?, EPOCHS, text(&second)?);
    arguments.extend(["--weights", text(&first)?]);
    kill_after(1, &arguments, &second)?;
    std::fs::remove_dir_all(&first)?;
    run("train-host", &["train", "--resume", "--out", text(&second)?])?;
    Ok(())
}

#[test]
fn settings_changed_into_nonsense_are_refused_on_resume() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let out = folder.path().join("run");
    run("train-host", &small_training("yolov5n", text(&data)?, "1", text(&out)?))?;
    let args = out.join("args.json");
    let changed = std::fs::read_to_string(&args)?.replace("\"threads\": 1", "\"threads\": 0");
    std::fs::write(&args, changed)?;
    let said = refused("train-host", &["train", "--resume", "--out", text(&out)?])?;
    ensure!(said.contains("--threads 0"), "{said}");
    Ok(())
}
