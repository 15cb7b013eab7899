//! `show` as a user runs it: for a name, a description, a run folder and fused weights, and what it refuses.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use clap::Parser;
use serde_json::{Value, json};
use support::random_model;
use train_host::Result;
use train_host::cli::Cli;
use train_host::fuse::fuse;
use train_host::model::checkpoint::{self, Checkpoint};
use train_host::model::{MODEL_NAMES, Overrides};

fn show(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host", "show"], words].concat()).unwrap().run()
}

/// What `--json` gives for these arguments, written into `folder`.
fn document(folder: &Path, words: &[&str]) -> Value {
    let file = folder.join("show.json");
    show(&[words, &[&format!("--json={}", file.display())]].concat()).unwrap();
    serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_name_is_shown_as_published_and_drawn_twice() {
    let dir = tempfile::tempdir().unwrap();
    let pictures = dir.path().join("pictures");
    let shown = document(dir.path(), &["repyolov5n", "--svg", text(&pictures)]);
    assert_eq!(shown["fused"]["parameters"], 1_867_405);
    assert_eq!(
        (&shown["classes"], &shown["imgsz"], &shown["block"]),
        (&json!(80), &json!(640), &json!("repvgg"))
    );
    let layer = &shown["layers"][12];
    assert_eq!((&layer["module"], &layer["from"]), (&json!("Concat"), &json!([{"layer": 11}, {"layer": 6}])));
    assert_eq!(layer["outputs"], json!([[256, 40, 40]]));
    let files = ["trained", "fused"].map(|form| pictures.join(format!("repyolov5n-{form}.svg")));
    assert_eq!(shown["svg"], json!(files));
    let [trained, fused] = files.map(|file| std::fs::read_to_string(file).unwrap());
    assert!(trained.contains(">BN<") && !fused.contains(">BN<"), "branches are gone");
}

#[test]
fn overrides_change_what_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let description = dir.path().join("mine.yaml");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("models");
    std::fs::copy(models.join("repyolov5n.yaml"), &description).unwrap();
    let words = ["--classes", "3", "--imgsz", "320", "--act", "mish", "--block", "qarepvgg"];
    let shown = document(dir.path(), &[&[text(&description)], &words[..]].concat());
    assert_eq!((&shown["model"], &shown["activations"]), (&json!("mine"), &json!(["mish"])));
    assert_eq!((&shown["block"], &shown["imgsz"]), (&json!("qarepvgg"), &json!(320)));
    assert_eq!(shown["layers"][24]["outputs"], json!([[24, 40, 40], [24, 20, 20], [24, 10, 10]]));
}

#[test]
fn runs_and_fused_weights_are_shown_in_the_forms_they_have() {
    let dir = tempfile::tempdir().unwrap();
    let model = random_model("repyolov5n", &Overrides::default(), 2, 64);
    let fused = dir.path().join("fused.safetensors");
    checkpoint::save(&fused, &Checkpoint::Fused(fuse(&model).unwrap())).unwrap();
    checkpoint::save(&dir.path().join("best.safetensors"), &Checkpoint::Trained(model)).unwrap();
    let run = document(dir.path(), &[text(dir.path())]);
    let alone = document(dir.path(), &[text(&fused), "--imgsz", "96"]);
    assert_eq!((&run["imgsz"], &alone["imgsz"]), (&json!(64), &json!(96)));
    assert!(run["trained"].is_object() && alone["trained"].is_null());
    assert_eq!(run["fused"]["parameters"], alone["fused"]["parameters"]);

    for option in [["--classes", "3"], ["--act", "relu"], ["--block", "repvgg"]] {
        let error = show(&[text(&fused), option[0], option[1]]).unwrap_err().to_string();
        assert!(error.contains(option[0]), "{error}");
    }
}

#[test]
fn what_is_not_there_or_does_not_fit_is_named() {
    let error = show(&["yolov9"]).unwrap_err().to_string();
    assert!(error.contains("yolov9") && MODEL_NAMES.iter().all(|name| error.contains(name)), "{error}");
    assert!(show(&["yolov5n", "--imgsz", "100"]).unwrap_err().to_string().contains("multiple of 32"));
    assert!(show(&["yolov5n", "--classes", "0"]).unwrap_err().to_string().contains("0 classes"));
    assert!(show(&["nowhere.yaml"]).unwrap_err().to_string().contains("nowhere.yaml"));
}
