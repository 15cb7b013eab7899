//! The main job as a user runs it: data, train, fuse, convert, evaluate, detect, report.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use tests::{run, small_dataset, small_training, text};

struct Way {
    folder: TempDir,
}

impl Way {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn json(&self, name: &str) -> Result<Value> {
        let text = std::fs::read_to_string(self.folder.path().join(name)).with_context(|| name.to_owned())?;
        Ok(serde_json::from_str(&text)?)
    }

    fn number(&self, file: &str, field: &str) -> Result<f64> {
        self.json(file)?[field].as_f64().with_context(|| format!("{file} has no number {field}"))
    }
}

/// Goes the whole way with `model` and leaves the files in the returned folder.
fn go(model: &str) -> Result<Way> {
    let way = Way { folder: tempfile::tempdir()? };
    let data = small_dataset(way.folder.path())?;
    let data = text(&data)?;
    let (rundir, bundle) = (way.path("run"), way.path("x.bundle"));
    let json = |name: &str| format!("--json={}", way.path(name));
    run("train-host", &small_training(model, data, "2", &rundir))?;
    run("train-host", &["fuse", &rundir, "--out", &way.path("fused.safetensors"), &json("fuse.json")])?;
    run(
        "train-host",
        &["convert", &rundir, "--target", "host", "--out", &bundle, "--onnx", &way.path("x.onnx")],
    )?;
    for (what, file) in [(rundir.as_str(), "trained.json"), (bundle.as_str(), "fused.json")] {
        run("train-host", &["eval", what, "--data", data, "--split", "test", &json(file)])?;
    }
    let (images, pictures) = (way.path("synth/images/test"), way.path("pictures"));
    run(
        "detect-image",
        &[
            &bundle,
            &images,
            "--allow-unsigned",
            "--out",
            &pictures,
            "--confidence",
            "0.001",
            &json("found.json"),
        ],
    )?;
    let (trained, fused, fuse) = (way.path("trained.json"), way.path("fused.json"), way.path("fuse.json"));
    let (found, page) = (way.path("found.json"), way.path("report.html"));
    let inputs = ["--trained", &trained, "--fused", &fused, "--fuse", &fuse, "--detections", &found];
    run(
        "train-host",
        &[&["report", &rundir, "--out", &page, "--pictures", &pictures][..], &inputs].concat(),
    )?;
    Ok(way)
}

fn check(model: &str) -> Result<()> {
    let way = go(model)?;
    ensure!(way.number("fuse.json", "largest_error")? <= 1e-4);
    let gap = way.number("trained.json", "map50")? - way.number("fused.json", "map50")?;
    ensure!(gap.abs() < 1e-3, "fusing moved mAP50 by {gap}");
    ensure!(way.json("fused.json")?["backend"] == "tract");
    let pictures = std::fs::read_dir(way.path("pictures"))?.count();
    ensure!(pictures == 8, "{pictures} pictures of 8 images");
    let page = std::fs::read_to_string(way.path("report.html"))?;
    ensure!(page.contains("<svg") && page.contains("data:image/"), "a report without plots or pictures");
    let rows = std::fs::read_to_string(way.path("run/results.csv"))?.lines().count();
    ensure!(rows == 3, "{rows} lines for two epochs and a header");
    no_leftovers(way.folder.path())
}

/// Nothing half-written stays behind.
fn no_leftovers(folder: &Path) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        ensure!(!path.to_string_lossy().ends_with(".tmp"), "{} was left behind", path.display());
        if path.is_dir() {
            no_leftovers(&path)?;
        }
    }
    Ok(())
}

#[test]
fn repvgg_model_goes_the_whole_way() -> Result<()> {
    check("repyolov5n")
}

#[test]
fn plain_model_goes_the_whole_way() -> Result<()> {
    check("yolov5n")
}

#[test]
fn repvgg_backbone_goes_the_whole_way() -> Result<()> {
    check("v5lite-g")
}

#[test]
fn a_rep_model_starts_from_a_plain_one() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = small_dataset(folder.path())?;
    let (plain, rep) = (folder.path().join("plain"), folder.path().join("rep"));
    run("train-host", &small_training("yolov5n", text(&data)?, "1", text(&plain)?))?;
    let mut arguments = small_training("repyolov5n", text(&data)?, "1", text(&rep)?);
    arguments.extend(["--weights", text(&plain)?, "--block", "qarepvgg"]);
    run("train-host", &arguments)?;
    ensure!(rep.join("best.safetensors").is_file());
    Ok(())
}
