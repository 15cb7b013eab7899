//! The programs on a machine with an NPU, which the stand-in library plays: found as the real one is, through the
//! dynamic linker's path.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../sdk/tests/common/mod.rs"]
mod common;
#[path = "../../sdk/tests/common/npu.rs"]
mod npu;
mod reports;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use artifact::{BackendKind, Bundle, CheckImage, ExpectedBox, Manifest};
use prost::Message;
use repedge::{Image, frame};
use serde_json::{Value, json};
use stand_in::{Action, Scenario};

/// A bundle with the NPU model of a scenario and a CPU model, and a picture that is all red.
fn scene(scenario: &Scenario) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(npu::runtime(), dir.path().join("librknnrt.so")).unwrap();
    let (file, onnx) = (npu::rknn(scenario), common::onnx().encode_to_vec());
    let payloads = vec![npu::payload(&file), common::payload("host", BackendKind::Tract, &onnx)];
    let manifest = common::manifest(payloads);
    Bundle::write(&dir.path().join("squares.bundle"), &manifest, &[&file, &onnx]).unwrap();
    frame::write_png(&dir.path().join("red.png"), &Image::filled(64, 64, [255, 0, 0])).unwrap();
    dir
}

/// On a runtime as new as the boards' files ask.
fn on_new_runtime(name: &str) -> Scenario {
    Scenario { runtime: "2.5.0 (stand-in)".into(), ..npu::scenario(name) }
}

/// The bundle that guests of `cargo xtask test-board` run on the NPU that the stand-in plays there, without computing: its
/// model replays what this one computes for a red picture.
fn guest_bundle(folder: &Path) -> PathBuf {
    let picture = folder.join("red.png");
    frame::write_png(&picture, &Image::filled(64, 64, [255, 0, 0])).unwrap();
    let picture = fs::read(picture).unwrap();
    let square = |x, y| ExpectedBox { class: 0, score: 0.99, box_px: [x, y, x + 32.0, y + 32.0] };
    let squares = vec![square(0.0, 0.0), square(32.0, 0.0), square(0.0, 32.0), square(32.0, 32.0)];
    let model = npu::replay(on_new_runtime("guest"), &[0], &[255]).pack();
    let manifest = Manifest {
        check_images: vec![CheckImage::new("red.png", squares, &picture)],
        ..common::manifest(vec![npu::payload(&model)])
    };
    let bundle = folder.join("npu.bundle");
    Bundle::write(&bundle, &manifest, &[&model, &picture]).unwrap();
    bundle
}

fn detect(dir: &Path, backend: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_detect-image"));
    command.args(["squares.bundle", "red.png", "--json", "--allow-unsigned", "--backend", backend]);
    command.current_dir(dir);
    command.env("LD_LIBRARY_PATH", dir).output().unwrap()
}

fn report(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_npu_is_used_where_its_runtime_is_found() {
    let dir = scene(&npu::scenario("program"));
    let with_npu = report(&detect(dir.path(), "auto"));
    assert_eq!((&with_npu["backend"], &with_npu["payload"]), (&"rknn".into(), &"npu".into()));
    assert_eq!(with_npu["fallback"], Value::Null);
    assert_eq!(
        with_npu["npu"],
        json!({"finished": 1, "failed": 0, "quarantined": 0, "reopened": 0, "left_out": 0, "retried": 0, "unfreed": 0})
    );
    let on_cpu = report(&detect(dir.path(), "tract"));
    assert_eq!(on_cpu["npu"], Value::Null);
    assert_eq!(with_npu["images"][0]["detections"], on_cpu["images"][0]["detections"]);
    assert_eq!(with_npu["images"][0]["detections"].as_array().unwrap().len(), 4);
}

#[test]
fn guests_get_the_bundle_that_is_made_here_and_it_passes() {
    let made = guest_bundle(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/boards/npu.bundle");
    assert!(
        fs::read(&committed).is_ok_and(|bytes| bytes == fs::read(&made).unwrap()),
        "{} is another one than {}: copy it if that is meant",
        committed.display(),
        made.display()
    );
    let dir = scene(&npu::scenario("runtime for guests"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.arg(committed).args(["--board", "rk3588", "--backend", "rknn", "--quick", "--allow-unsigned"]);
    command.args(["--json", "-"]).current_dir(dir.path()).env("LD_LIBRARY_PATH", dir.path());
    let report = report(&command.output().unwrap());
    assert_eq!((&report["verdict"], &report["backend"]), (&"pass".into(), &"rknn".into()));
    assert_eq!(report["accuracy"]["found"], 4);
}

/// What an installer runs on a board with an NPU.
fn self_test(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.args(["squares.bundle", "--board", "rk3588", "--quick", "--allow-unsigned", "--state", "state"]);
    command.args(["--json", "report.json", "--junit", "report.xml"]).args(args).current_dir(dir);
    command.env("LD_LIBRARY_PATH", dir).output().unwrap()
}

/// Expects that the self-test fails because the CPU runs in place of the NPU and no more; gives the reason.
fn failure_to_use_the_npu(dir: &Path) -> String {
    let output = self_test(dir, &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let report = reports::read(&dir.join("report.json"));
    assert_eq!((&report["verdict"], &report["backend"]), (&"fail".into(), &"tract".into()));
    let reason = report["fallback"].as_str().unwrap().to_owned();
    let npu = boards::Board::find("rk3588").unwrap().npu.unwrap();
    let remedy = format!("{}, as new as the model and at least {}", npu.runtime_library, npu.minimum_runtime);
    for part in ["failed: tract ran in place of the NPU of rk3588", &reason, &remedy, "verdict: fail"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    let xml = fs::read_to_string(dir.join("report.xml")).unwrap();
    assert!(xml.contains("failures=\"1\""), "{xml}");
    assert!(xml.contains("name=\"engine\"><failure message=\"tract ran in place of the NPU"), "{xml}");
    reason
}

#[test]
fn a_board_whose_runtime_is_missing_fails_its_self_test_unless_the_cpu_was_asked_for() {
    let dir = scene(&npu::scenario("no runtime"));
    fs::remove_file(dir.path().join("librknnrt.so")).unwrap();
    // Found and no libraries: the linker looks no further, where a runtime may be.
    for name in ["librknnrt.so", "librknnmrt.so"] {
        fs::write(dir.path().join(name), "no library").unwrap();
    }
    let reason = failure_to_use_the_npu(dir.path());
    assert!(reason.contains("no NPU runtime on this machine"), "{reason}");

    let asked_for = self_test(dir.path(), &["--backend", "tract"]);
    let said = String::from_utf8_lossy(&asked_for.stdout).into_owned();
    assert_eq!(asked_for.status.code(), Some(0), "{said}");
    assert!(said.contains("the NPU of rk3588 is not judged"), "{said}");
    assert_eq!(reports::read(&dir.path().join("report.json"))["backend"], "tract");
}

#[test]
fn a_board_whose_runtime_is_older_than_the_model_fails_its_self_test() {
    let dir = scene(&Scenario { toolkit: "7.0.0".into(), ..npu::scenario("newer than the runtime") });
    let reason = failure_to_use_the_npu(dir.path());
    assert!(reason.contains("7.0.0") && reason.contains("2.3.2"), "{reason}");
}

#[test]
fn a_board_whose_npu_gives_up_on_the_way_fails_its_self_test() {
    let dir =
        scene(&npu::scenario("dead in test").with_fault("rknn_run", 1, u64::MAX - 1, Action::Error(-3)));
    let reason = failure_to_use_the_npu(dir.path());
    assert!(reason.contains("3 frames in a row"), "{reason}");
}

#[test]
fn a_board_whose_npu_runs_passes_its_self_test() {
    let dir = scene(&on_new_runtime("tested"));
    let output = self_test(dir.path(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
    assert_eq!(reports::read(&dir.path().join("report.json"))["backend"], "rknn");
}

#[test]
fn a_board_whose_runtime_is_older_than_its_file_asks_fails_its_self_test() {
    let dir = scene(&npu::scenario("on an old runtime"));
    let output = self_test(dir.path(), &[]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("librknnrt.so 2.3.2, which is older than 2.5.0: install"), "{said}");
    assert_eq!(reports::read(&dir.path().join("report.json"))["backend"], "rknn");
}

#[test]
fn a_model_too_new_for_the_runtime_is_refused_or_passed_over() {
    let dir = scene(&Scenario { toolkit: "7.0.0".into(), ..npu::scenario("too new") });
    let refused = detect(dir.path(), "rknn");
    assert_eq!(refused.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&refused.stderr).into_owned();
    for part in ["7.0.0", "2.3.2", "help: ", "update librknnrt.so"] {
        assert!(complaint.contains(part), "no {part:?} in {complaint}");
    }
    let passed_over = report(&detect(dir.path(), "auto"));
    assert_eq!(passed_over["backend"], "tract");
    assert!(passed_over["fallback"].as_str().unwrap().contains("7.0.0"));
}

#[test]
fn an_image_that_the_npu_fails_at_is_tried_again() {
    let dir = scene(&npu::scenario("passing").with_fault("rknn_run", 1, 2, Action::Error(-2)));
    let output = detect(dir.path(), "rknn");
    let found = report(&output);
    assert_eq!(
        found["npu"],
        json!({"finished": 1, "failed": 2, "quarantined": 0, "reopened": 0, "left_out": 0, "retried": 0, "unfreed": 0})
    );
    assert_eq!(found["images"][0]["detections"].as_array().unwrap().len(), 4);
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(
        notes.matches("once more, because rknn_run: the NPU did not finish in time").count(),
        2,
        "{notes}"
    );
}

#[test]
fn an_npu_that_is_given_up_ends_the_program_or_leaves_the_rest_to_the_cpu() {
    let dir = scene(&npu::scenario("dead").with_fault("rknn_run", 1, u64::MAX - 1, Action::Error(-3)));
    let ended = detect(dir.path(), "rknn");
    assert_eq!(ended.status.code(), Some(1), "for the watchdog");
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(complaint.contains("error: the NPU: 3 frames in a row failed"), "{complaint}");
    let taken_over = report(&detect(dir.path(), "auto"));
    assert_eq!(taken_over["backend"], "tract");
    assert!(taken_over["fallback"].as_str().unwrap().contains("3 frames in a row"));
    assert_eq!(taken_over["npu"]["failed"], 3);
    assert_eq!(taken_over["images"][0]["detections"].as_array().unwrap().len(), 4);
}

#[test]
fn calls_that_never_return_end_the_demo_for_its_watchdog() {
    let dir = scene(&npu::scenario("stuck").with_fault("rknn_run", 1, u64::MAX - 1, Action::Stall));
    let ended = play(dir.path(), "rknn");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("a frame was lost"), "{said}");
    assert!(said.contains("error: the NPU: "), "{said}");
}

fn play(dir: &Path, backend: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_camera-demo"));
    command.args(["--bundle", "squares.bundle", "--images", ".", "--repeat", "--frames", "20"]);
    command.args(["--allow-unsigned", "--state", "state", "--backend", backend, "--report", "report.json"]);
    command.current_dir(dir).env("LD_LIBRARY_PATH", dir).output().unwrap()
}

#[test]
fn frames_that_the_npu_loses_are_counted_and_the_others_go_on() {
    let dir = scene(&npu::scenario("demo passing").with_fault("rknn_run", 3, 2, Action::Error(-2)));
    let output = play(dir.path(), "rknn");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("note: a frame was lost").count(), 2, "{said}");
    let report: Value = serde_json::from_slice(&fs::read(dir.path().join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["shown"], &report["lost"]), (&20.into(), &2.into()));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 20);
}

#[test]
fn an_npu_that_is_given_up_ends_the_demo_or_leaves_the_rest_to_the_cpu() {
    let dir = scene(&npu::scenario("demo dead").with_fault("rknn_run", 1, u64::MAX - 1, Action::Error(-3)));
    let ended = play(dir.path(), "rknn");
    assert_eq!(ended.status.code(), Some(1), "for the watchdog");
    let complaint = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(complaint.contains("3 frames in a row failed"), "{complaint}");
    let taken_over = play(dir.path(), "auto");
    let said = String::from_utf8_lossy(&taken_over.stderr).into_owned();
    assert!(taken_over.status.success() && said.contains("going on with the CPU because"), "{said}");
    assert_eq!(String::from_utf8_lossy(&taken_over.stdout).lines().count(), 20);
}
