//! `detect-image` as a user runs it.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../sdk/tests/common/mod.rs"]
mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use artifact::{BackendKind, Bundle};
use prost::Message;
use repedge::{Image, frame};
use serde_json::Value;

/// A folder with a bundle and three pictures: a red square left, a blue square right, nothing.
struct Scene {
    dir: tempfile::TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        common::write_bundle(&scene.path("squares.bundle"));
        for (name, left, color) in [("a", 0, [255, 0, 0]), ("b", 64, [0, 0, 255]), ("c", 0, [0, 0, 0])] {
            let mut image = Image::filled(128, 128, [0; 3]);
            for y in 0..64 {
                let start = (y * 128 + left) * 3;
                image.rgb[start..start + 64 * 3].copy_from_slice(&color.repeat(64));
            }
            frame::write_png(&scene.path(&format!("pictures/{name}.png")), &image).unwrap();
        }
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_detect-image"));
        command.args(args).arg("--allow-unsigned").current_dir(self.dir.path()).output().unwrap()
    }

    /// Runs what must fail with `code`, and gives its complaint.
    fn complaint(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        stderr
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn json_reports_backend_boxes_and_times() {
    let scene = Scene::new();
    let output = scene.run(&["squares.bundle", "pictures", "--out", "drawn", "--json"]);
    let report = json(&output);
    assert_eq!(report["backend"], "tract");
    assert_eq!(report["model"], "squares");
    let images = report["images"].as_array().unwrap();
    assert_eq!(images.len(), 3);
    let found = |index: usize| images[index]["detections"].as_array().unwrap();
    assert_eq!(found(0)[0]["name"], "red");
    assert_eq!(found(0)[0]["box_px"], serde_json::json!([0.0, 0.0, 64.0, 64.0]));
    assert_eq!(found(1)[0]["name"], "blue");
    assert_eq!(found(1)[0]["box_px"], serde_json::json!([64.0, 0.0, 128.0, 64.0]));
    assert!(found(2).is_empty());
    for stage in ["read", "preprocess", "inference", "decode"] {
        assert!(report["times_us"][stage]["median"].is_u64(), "{stage}");
        assert!(report["times_us"][stage]["mean"].is_u64(), "{stage}");
        assert!(images[0]["times_us"][stage].is_u64(), "{stage}");
    }
    assert_eq!(files_in(&scene.path("drawn")), ["a.png", "b.png", "c.png"]);
    let (before, after) = (scene.path("pictures/a.png"), scene.path("drawn/a.png"));
    assert_ne!(frame::read_image(&before).unwrap(), frame::read_image(&after).unwrap());
}

#[test]
fn people_get_a_line_an_image() {
    let scene = Scene::new();
    let output = scene.run(&["squares.bundle", "pictures/a.png", "pictures/c.png"]);
    let stdout = text(&output.stdout);
    assert!(stdout.contains("pictures/a.png: 128x128, 1 red, "), "{stdout}");
    assert!(stdout.contains("pictures/c.png: 128x128, nothing found, "), "{stdout}");
    assert!(stdout.contains("2 images, 1 objects, backend tract"), "{stdout}");
}

#[test]
fn json_can_go_to_a_file_and_thresholds_are_obeyed() {
    let scene = Scene::new();
    let output = scene.run(&["squares.bundle", "pictures/a.png", "--json=out/r.json", "--confidence", "1"]);
    assert!(text(&output.stdout).contains("nothing found"));
    let report: Value = serde_json::from_slice(&fs::read(scene.path("out/r.json")).unwrap()).unwrap();
    assert_eq!(report["images"][0]["detections"], serde_json::json!([]));
}

#[test]
fn a_broken_image_stops_the_run_unless_it_may_be_skipped() {
    let scene = Scene::new();
    let png = fs::read(scene.path("pictures/b.png")).unwrap();
    fs::write(scene.path("pictures/b.png"), &png[..png.len() / 2]).unwrap();
    let complaint = scene.complaint(1, &["squares.bundle", "pictures", "--out", "drawn"]);
    assert!(complaint.contains("pictures/b.png"), "{complaint}");
    assert_eq!(files_in(&scene.path("drawn")), ["a.png"], "no half-written picture");
    let report = json(&scene.run(&["squares.bundle", "pictures", "--json", "--skip-broken"]));
    assert_eq!(report["images"].as_array().unwrap().len(), 2);
    assert_eq!(report["skipped"][0]["image"], "pictures/b.png");
    let complaint = scene.complaint(1, &["squares.bundle", "pictures/b.png", "--skip-broken"]);
    assert!(complaint.contains("none of the 1 images"), "{complaint}");
}

#[test]
fn missing_files_are_named() {
    let scene = Scene::new();
    assert!(scene.complaint(1, &["squares.bundle", "nowhere.jpg"]).contains("nowhere.jpg"));
    assert!(scene.complaint(1, &["nothing.bundle", "pictures"]).contains("nothing.bundle"));
    fs::create_dir(scene.path("empty")).unwrap();
    assert!(scene.complaint(1, &["squares.bundle", "empty"]).contains("no image in this folder"));
}

#[test]
fn a_damaged_bundle_is_refused() {
    let scene = Scene::new();
    let mut bytes = fs::read(scene.path("squares.bundle")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(scene.path("squares.bundle"), &bytes).unwrap();
    let complaint = scene.complaint(1, &["squares.bundle", "pictures"]);
    assert!(complaint.contains("squares.bundle") && complaint.contains("digest"), "{complaint}");
}

#[test]
fn a_backend_that_is_not_there_is_never_replaced_silently() {
    let scene = Scene::new();
    let complaint = scene.complaint(1, &["squares.bundle", "pictures", "--backend", "rknn"]);
    assert!(complaint.contains("--backend tract"), "{complaint}");
    let onnx = common::onnx().encode_to_vec();
    let payloads = vec![
        common::payload("npu", BackendKind::Rknn, b"RKNN"),
        common::payload("cpu", BackendKind::Tract, &onnx),
    ];
    Bundle::write(&scene.path("both.bundle"), &common::manifest(payloads), &[b"RKNN", &onnx]).unwrap();
    let complaint = scene.complaint(1, &["both.bundle", "pictures", "--backend", "rknn"]);
    assert!(complaint.contains("no NPU runtime"), "{complaint}");
    let output = scene.run(&["both.bundle", "pictures/a.png", "--json"]);
    assert!(text(&output.stderr).contains("running on tract because"));
    let report = json(&output);
    assert_eq!(report["backend"], "tract");
    assert!(report["fallback"].as_str().unwrap().contains("no NPU runtime"));
}

#[test]
fn standard_output_that_cannot_be_written_is_no_panic() {
    let scene = Scene::new();
    let run = |json: &[&str], stdout: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_detect-image"));
        command.args(["squares.bundle", "pictures", "--allow-unsigned"]).args(json);
        command.current_dir(scene.dir.path());
        let output =
            command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        text(&output.stderr)
    };
    for json in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let said = run(json, writer.into());
        assert!(!said.contains("error") && !said.contains("panicked"), "{said}");
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let said = run(json, full.into());
        assert!(said.contains("error: standard output: ") && !said.contains("panicked"), "{said}");
    }
}

#[test]
fn json_can_go_to_standard_output_by_its_path() {
    let scene = Scene::new();
    assert_eq!(json(&scene.run(&["squares.bundle", "pictures", "--json=/dev/stdout"]))["model"], "squares");
}

#[test]
fn wrong_usage_ends_with_2() {
    let scene = Scene::new();
    for args in [
        &["squares.bundle"][..],
        &["squares.bundle", "pictures", "--backend", "gpu"],
        &["squares.bundle", "pictures", "--confidence", "1.5"],
        &["squares.bundle", "pictures", "--iou", "x"],
        &["squares.bundle", "pictures", "--frobnicate"],
    ] {
        scene.complaint(2, args);
    }
}

#[test]
fn pictures_never_overwrite_inputs_or_each_other() {
    let scene = Scene::new();
    let complaint = scene.complaint(1, &["squares.bundle", "pictures", "--out", "pictures"]);
    assert!(complaint.contains("would overwrite an input"), "{complaint}");
    fs::create_dir(scene.path("more")).unwrap();
    fs::copy(scene.path("pictures/c.png"), scene.path("more/a.png")).unwrap();
    let output = scene.run(&["squares.bundle", "pictures/a.png", "more/a.png", "--out", "drawn"]);
    assert!(output.status.success());
    assert_eq!(files_in(&scene.path("drawn")), ["a-2.png", "a.png"]);
}
