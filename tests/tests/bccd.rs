//! The main job on real microscope images.

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tests::{run, shared_data, text};

#[test]
#[ignore = "needs ../shared/data (BCCD)"]
fn two_epochs_on_real_images_and_pictures_of_them() -> Result<()> {
    let data = shared_data()?.join("bccd");
    let folder = tempfile::tempdir()?;
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (out, bundle) = (path("run"), path("bccd.bundle"));
    let sizes = ["--epochs", "2", "--imgsz", "160", "--batch", "16", "--threads", "1"];
    let training = ["train", "--model", "repyolov5n", "--data", text(&data)?, "--out", &out];
    run("train-host", &[&training[..], &sizes].concat())?;
    run("train-host", &["convert", &out, "--target", "host", "--out", &bundle])?;
    let measured =
        run("train-host", &["eval", &bundle, "--data", text(&data)?, "--split", "test", "--json"])?;
    let measured: Value = serde_json::from_str(&measured)?;
    ensure!(measured["images"] == 72, "{measured}");
    let classes = measured["per_class"].as_array().context("per_class")?;
    ensure!(classes.len() == 3, "{measured}");

    let images: Vec<String> = ["00007", "00011", "00016"]
        .iter()
        .map(|n| data.join(format!("JPEGImages/BloodImage_{n}.jpg")).to_string_lossy().into_owned())
        .collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    let pictures = path("pictures");
    let found = run(
        "detect-image",
        &[
            &[bundle.as_str()],
            &images[..],
            &["--allow-unsigned", "--out", &pictures, "--confidence", "0.001", "--json"],
        ]
        .concat(),
    )?;
    let found: Value = serde_json::from_str(&found)?;
    let reports = found["images"].as_array().context("images")?;
    ensure!(reports.len() == 3);
    for report in reports {
        let boxes = report["detections"].as_array().context("detections")?;
        ensure!(!boxes.is_empty(), "two epochs find something at so low a threshold");
    }
    ensure!(std::fs::read_dir(&pictures)?.count() == 3);
    Ok(())
}
