//! `fuse` and `convert` as a user runs them: what they write, and what they refuse.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use artifact::{BackendKind, Bundle, Decode, Precision};
use clap::Parser;
use serde_json::Value;
use support::random_model;
use train_host::Result;
use train_host::cli::Cli;
use train_host::model::checkpoint::{self, Checkpoint};
use train_host::model::{Overrides, TrainedModel};

const IMGSZ: usize = 64;

fn train_host(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host"], words].concat()).unwrap().run()
}

/// A run folder as `train` leaves it.
fn run_folder(dir: &Path) -> TrainedModel {
    let model = random_model("repyolov5n", &Overrides::default(), 2, IMGSZ);
    checkpoint::save(&dir.join("best.safetensors"), &Checkpoint::Trained(model.clone())).unwrap();
    model
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn convert_writes_a_bundle_that_opens_and_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let model = run_folder(dir.path());
    let [bundle, onnx, report] = ["x.bundle", "x.onnx", "x.json"].map(|name| dir.path().join(name));
    let json_flag = format!("--json={}", report.display());
    train_host(&["convert", text(dir.path()), "--out", text(&bundle), "--onnx", text(&onnx), &json_flag])
        .unwrap();

    let mut opened = Bundle::open(&bundle, &artifact::Trust::anyone()).unwrap();
    let manifest = opened.manifest().clone();
    assert_eq!(manifest.classes, model.architecture.head.classes);
    assert!(matches!(manifest.decode, Decode::Yolov5 { ref strides, .. } if *strides == [8, 16, 32]));
    let payload = &manifest.payloads[0];
    assert_eq!((payload.backend, payload.precision), (BackendKind::Tract, Precision::Fp32));
    assert_eq!(payload.input.shape, [1, 3, IMGSZ, IMGSZ]);
    let outputs: Vec<_> = payload.outputs.iter().map(|spec| (spec.name.as_str(), spec.shape)).collect();
    assert_eq!(outputs, [("p3", [1, 21, 8, 8]), ("p4", [1, 21, 4, 4]), ("p5", [1, 21, 2, 2])]);
    assert_eq!(opened.read_payload(0).unwrap(), std::fs::read(&onnx).unwrap());
    assert_eq!(json(&report)["bytes"], std::fs::metadata(&bundle).unwrap().len());
}

#[test]
fn fused_weights_convert_to_the_same_bundle_as_the_run() {
    let dir = tempfile::tempdir().unwrap();
    run_folder(dir.path());
    let [fused, report, a, b] =
        ["fused.safetensors", "fuse.json", "a.bundle", "b.bundle"].map(|name| dir.path().join(name));
    let json_flag = format!("--json={}", report.display());
    train_host(&["fuse", text(dir.path()), "--out", text(&fused), &json_flag]).unwrap();
    train_host(&["convert", text(dir.path()), "--out", text(&a)]).unwrap();
    train_host(&["convert", text(&fused), "--out", text(&b)]).unwrap();
    assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());

    let report = json(&report);
    assert_eq!(report["groups"].as_array().unwrap().len(), 9);
    assert!(report["largest_error"].as_f64().unwrap() <= report["error_bar"].as_f64().unwrap());
    assert!(report["after"]["parameters"].as_u64() < report["before"]["parameters"].as_u64());
}

#[test]
fn fusing_twice_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    run_folder(dir.path());
    let [once, twice] = ["once.safetensors", "twice.safetensors"].map(|name| dir.path().join(name));
    train_host(&["fuse", text(dir.path()), "--out", text(&once)]).unwrap();
    let error = train_host(&["fuse", text(&once), "--out", text(&twice)]).unwrap_err().to_string();
    assert!(error.contains("already fused"), "{error}");
    assert!(!twice.exists());
}

#[test]
fn what_a_board_does_not_offer_is_refused_with_what_it_does() {
    let dir = tempfile::tempdir().unwrap();
    run_folder(dir.path());
    let out = dir.path().join("x.bundle");
    let refused = |words: &[&str]| {
        train_host(&[&["convert", text(dir.path()), "--out", text(&out)], words].concat())
            .unwrap_err()
            .to_string()
    };
    let error = refused(&["--precision", "fp16"]);
    assert!(error.contains("fp16") && error.contains("one of: fp32, int8"), "{error}");
    let error = refused(&["--target", "toaster"]);
    assert!(error.contains("toaster") && error.contains("host"), "{error}");
    assert!(!out.exists());
}

#[test]
fn file_names_of_another_kind_are_wrong_usage() {
    for (command, out, expected) in
        [("convert", "x.zip", ".bundle"), ("fuse", "x", ".safetensors"), ("fuse", "x.pt", ".safetensors")]
    {
        let parsed = Cli::try_parse_from(["train-host", command, "run", "--out", out]);
        assert!(parsed.unwrap_err().to_string().contains(expected), "{command} --out {out}");
    }
}

#[test]
fn an_onnx_file_never_replaces_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    run_folder(dir.path());
    let bundle = dir.path().join("x.bundle");
    for same in [bundle.clone(), dir.path().join("new/../x.bundle")] {
        let words = ["convert", text(dir.path()), "--out", text(&bundle), "--onnx", text(&same)];
        let error = train_host(&words).unwrap_err().to_string();
        assert!(error.contains("--onnx"), "{error}");
        assert!(!bundle.exists());
    }
}

#[test]
fn no_bundle_is_left_where_the_onnx_file_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    run_folder(dir.path());
    let [bundle, folder] = ["x.bundle", "x.onnx"].map(|name| dir.path().join(name));
    std::fs::create_dir(&folder).unwrap();
    let words = ["convert", text(dir.path()), "--out", text(&bundle), "--onnx", text(&folder)];
    assert!(train_host(&words).unwrap_err().to_string().contains("x.onnx"));
    assert!(!bundle.exists());
}

#[test]
fn fused_weights_never_replace_the_trained_ones() {
    let dir = tempfile::tempdir().unwrap();
    let model = run_folder(dir.path());
    let best = dir.path().join("best.safetensors");
    let error = train_host(&["fuse", text(dir.path()), "--out", text(&best)]).unwrap_err().to_string();
    assert!(error.contains("--out"), "{error}");
    assert_eq!(checkpoint::load(&best).unwrap(), Checkpoint::Trained(model));
}
