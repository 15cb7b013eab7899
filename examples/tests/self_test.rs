//! `self-test` as an installer runs it.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../sdk/tests/common/mod.rs"]
mod common;
#[path = "../../sdk/tests/common/npu.rs"]
mod npu;
mod reports;
mod signed;

use std::path::Path;
use std::process::{Command, Output};

use artifact::{BackendKind, Bundle, Manifest};
use prost::Message;
use reports::read as report;
use serde_json::Value;
use signed::Scene;
use stand_in::{Action, Scenario};

fn self_test(scene: &Scene, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.args(["--state", "state"]).args(args).current_dir(scene.folder()).output().unwrap()
}

fn code(output: &Output, expected: i32) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(expected), "{stderr}{}", String::from_utf8_lossy(&output.stdout));
    stderr
}

#[test]
fn a_right_answer_passes_and_the_report_is_as_its_schema_says() {
    let scene = Scene::new(&signed::right());
    let quick = ["squares.bundle", "--board", "host", "--keys", "keys", "--quick", "--json", "r.json"];
    let output = self_test(&scene, &quick);
    code(&output, 0);
    assert!(String::from_utf8_lossy(&output.stdout).contains("verdict: pass"));
    let quick = report(&scene.path("r.json"));
    assert_eq!(
        (&quick["verdict"], &quick["backend"], &quick["board"]),
        (&"pass".into(), &"tract".into(), &"host".into())
    );
    assert_eq!((&quick["accuracy"]["expected"], &quick["accuracy"]["found"]), (&1.into(), &1.into()));
    assert_eq!((&quick["throttled"], &quick["dropped"]), (&Value::Null, &0.into()));
    assert!(quick["rss_bytes"].as_u64() > Some(1 << 20));
    assert_eq!(quick["pipeline"], Value::Null, "quick stays quick");
    assert_eq!(
        (&quick["stages"], &quick["fps"]),
        (&quick["one_by_one"]["stages"], &quick["one_by_one"]["fps"])
    );

    // So long that no tenth of the pipeline's part is without enough frames, however busy the machine.
    let long = ["squares.bundle", "--board", "host", "--keys", "keys", "--duration", "8s", "--json=-"];
    let output = self_test(&scene, &long);
    code(&output, 0);
    std::fs::write(scene.path("long.json"), &output.stdout).unwrap();
    assert!(report(&scene.path("long.json"))["throttled"].is_boolean());
}

/// Names of the steps that were timed.
fn steps(stages: &Value) -> Vec<&str> {
    let mut names: Vec<_> = stages.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_run_with_a_duration_times_the_live_pipeline_and_frames_one_by_one() {
    const PIPELINE: [&str; 7] =
        ["capture", "decode", "draw", "end_to_end", "inference", "preprocess", "track"];
    for checks in [signed::right(), Vec::new()] {
        let scene = Scene::new(&checks);
        let run = ["squares.bundle", "--board", "host", "--keys", "keys", "--duration", "200ms"];
        let output = self_test(&scene, &[&run[..], &["--json=r.json", "--csv=r.csv"]].concat());
        code(&output, 0);
        let report = report(&scene.path("r.json"));
        assert_eq!(steps(&report["stages"]), PIPELINE);
        assert_eq!(steps(&report["one_by_one"]["stages"]), ["decode", "inference", "preprocess", "total"]);
        let (pipeline, one_by_one) = (&report["pipeline"], &report["one_by_one"]);
        // Each tenth has a frame at least.
        assert!(pipeline["frames"].as_u64() >= Some(10) && one_by_one["frames"].as_u64() >= Some(10));
        assert_eq!((&pipeline["lanes"], &report["dropped"]), (&1.into(), &0.into()));
        let inference_fps = one_by_one["inference_fps"].as_f64();
        assert!(inference_fps > one_by_one["fps"].as_f64(), "{one_by_one}");
        let drawn = report["stages"]["draw"]["max_us"].as_u64();
        // Drawing on a picture as small as the check image may take less than is counted.
        assert!(drawn > Some(0) || !checks.is_empty(), "the overlay is drawn: {report:#}");
        assert_eq!(std::fs::read_to_string(scene.path("r.csv")).unwrap().lines().count(), 1 + PIPELINE.len());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("frames/s through the pipeline, 1 at a time in the engine"), "{said}");
        assert!(said.contains("  one by one: ") && said.contains(" inferences/s"), "{said}");
    }
}

/// Runs a self-test for a moment where the stand-in plays the NPU of `scenario`, with a CPU model for when it does not run.
fn on_npu(scene: &Scene, scenario: &Scenario, more: &[&str]) -> Output {
    on_npu_with(&[], scene, scenario, more)
}

/// The same with these check images.
fn on_npu_with(checks: &[signed::Check], scene: &Scene, scenario: &Scenario, more: &[&str]) -> Output {
    let (file, onnx) = (npu::rknn(scenario), common::onnx().encode_to_vec());
    let payloads = vec![npu::payload(&file), common::payload("host", BackendKind::Tract, &onnx)];
    let check_images = checks.iter().map(|(described, _)| described.clone()).collect();
    let manifest = Manifest { check_images, ..common::manifest(payloads) };
    let pictures = checks.iter().map(|(_, bytes)| bytes.as_slice());
    let parts: Vec<&[u8]> = [file.as_slice(), &onnx].into_iter().chain(pictures).collect();
    Bundle::write(&scene.path("npu.bundle"), &manifest, &parts).unwrap();
    std::os::unix::fs::symlink(npu::runtime(), scene.path("librknnrt.so")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.args(["npu.bundle", "--board", "rk3588", "--allow-unsigned", "--state", "state"]);
    command.args(["--keep-clocks", "--duration", "200ms", "--json", "r.json"]).current_dir(scene.folder());
    command.args(more).env("LD_LIBRARY_PATH", scene.folder()).output().unwrap()
}

fn on_new_runtime(name: &str) -> Scenario {
    Scenario { runtime: "2.5.0 (stand-in)".into(), ..npu::scenario(name) }
}

#[test]
fn the_pipeline_runs_on_every_core_of_the_boards_npu() {
    let scene = Scene::new(&[]);
    code(&on_npu(&scene, &on_new_runtime("every core"), &[]), 0);
    let report = report(&scene.path("r.json"));
    assert_eq!((&report["backend"], &report["pipeline"]["lanes"]), (&"rknn".into(), &3.into()));
}

/// Pictures that are no scene together: a tracker shows nothing of one that comes after the other.
#[test]
fn every_frame_of_the_pipeline_is_compared_with_what_is_known_of_its_picture() {
    let scene = Scene::new(&[]);
    let output = on_npu_with(&signed::two(), &scene, &on_new_runtime("every frame"), &[]);
    code(&output, 0);
    let report = report(&scene.path("r.json"));
    let pictures = report["accuracy"]["pictures"].as_array().unwrap();
    let names: Vec<_> = pictures.iter().map(|picture| picture["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["square.png", "corner.png"]);
    for picture in pictures {
        assert_eq!((&picture["expected"], &picture["found"]), (&1.into(), &1.into()));
        assert!(picture["frames"].as_u64() >= Some(10) && picture["wrong"] == 0, "{picture}");
    }
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("; in the pipeline 0 of "), "{said}");
}

/// Frames one by one all run on core 0, the first that the driver finds free; in the pipeline, the cores take turns.
#[test]
fn a_core_that_computes_wrongly_in_the_pipeline_alone_fails_the_self_test() {
    let scene = Scene::new(&[]);
    let scenario = on_new_runtime("wrong core").with_fault("rknn_run", 1, u64::MAX - 1, Action::Garble(1));
    let output = on_npu_with(&signed::two(), &scene, &scenario, &["--junit", "r.xml"]);
    code(&output, 1);
    let report = report(&scene.path("r.json"));
    let accuracy = &report["accuracy"];
    assert_eq!((&report["verdict"], &accuracy["verdict"]), (&"fail".into(), &"fail".into()));
    assert_eq!(
        (&accuracy["found"], &accuracy["agreement"]),
        (&2.into(), &1.0.into()),
        "one by one it is right"
    );
    let sum = |count: &str| -> u64 {
        accuracy["pictures"].as_array().unwrap().iter().map(|picture| picture[count].as_u64().unwrap()).sum()
    };
    let (frames, wrong) = (sum("frames"), sum("wrong"));
    assert!(0 < wrong && wrong < frames, "the other cores are right: {accuracy}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("failed: in the pipeline the model finds something else than is known on "),
        "{said}"
    );
    assert!(said.contains(&format!("in the pipeline {wrong} of {frames} frames wrong")), "{said}");
    let xml = std::fs::read_to_string(scene.path("r.xml")).unwrap();
    assert!(xml.contains("failures=\"1\"") && xml.contains("name=\"accuracy\"><failure message="), "{xml}");
}

/// Frames one by one leave the choice of a core to the driver, so that only the pipeline asks for one.
fn without_cores(name: &str) -> Scenario {
    on_new_runtime(name).with_fault("rknn_set_core_mask", 1, u64::MAX - 1, Action::Error(-1))
}

#[test]
fn a_pipeline_that_cannot_start_fails_and_the_report_of_what_was_measured_is_written() {
    let scene = Scene::new(&[]);
    let files = ["--backend", "rknn", "--junit", "r.xml", "--csv", "r.csv"];
    let output = on_npu(&scene, &without_cores("no pipeline"), &files);
    code(&output, 1);
    let report = report(&scene.path("r.json"));
    assert_eq!((&report["verdict"], &report["backend"]), (&"fail".into(), &"rknn".into()));
    assert_eq!((&report["pipeline"], &report["stages"]), (&Value::Null, &report["one_by_one"]["stages"]));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        said.contains("failed: the pipeline did not run: ") && said.contains("rknn_set_core_mask"),
        "{said}"
    );
    let xml = std::fs::read_to_string(scene.path("r.xml")).unwrap();
    assert!(xml.contains("name=\"pipeline\"><failure message=\"the pipeline did not run: "), "{xml}");
    assert!(std::fs::read_to_string(scene.path("r.csv")).unwrap().contains("total,"));
}

#[test]
fn an_npu_that_fails_in_the_pipeline_alone_fails_the_self_test() {
    let scene = Scene::new(&[]);
    let output = on_npu(&scene, &without_cores("no cores"), &[]);
    code(&output, 1);
    let report = report(&scene.path("r.json"));
    assert_eq!((&report["verdict"], &report["backend"]), (&"fail".into(), &"tract".into()));
    assert!(report["fallback"].as_str().unwrap().contains("rknn_set_core_mask"), "{report:#}");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("failed: tract ran in place of the NPU of rk3588"), "{said}");
}

#[test]
fn a_fast_wrong_answer_fails() {
    let scene = Scene::new(&signed::wrong());
    let output = self_test(
        &scene,
        &["squares.bundle", "--board", "host", "--keys", "keys", "--quick", "--json=r.json"],
    );
    code(&output, 1);
    let report = report(&scene.path("r.json"));
    assert_eq!((&report["verdict"], &report["accuracy"]["verdict"]), (&"fail".into(), &"fail".into()));
    assert!(String::from_utf8_lossy(&output.stdout).contains("failed: the model finds 0 of 1 known boxes"));
}

#[test]
fn a_bundle_without_check_images_runs_and_is_not_judged_by_them() {
    let scene = Scene::new(&[]);
    let output = self_test(
        &scene,
        &["squares.bundle", "--board", "host", "--keys", "keys", "--quick", "--json=r.json"],
    );
    code(&output, 0);
    assert_eq!(report(&scene.path("r.json"))["accuracy"], Value::Null);
    assert!(String::from_utf8_lossy(&output.stdout).contains("accuracy is not judged"));
}

#[test]
fn only_trusted_bundles_run_unless_it_is_said() {
    let scene = Scene::new(&signed::right());
    let quick = |more: &[&str]| {
        self_test(&scene, &[&["squares.bundle", "--board", "host", "--quick"], more].concat())
    };
    std::fs::create_dir(scene.path("none")).unwrap();
    assert!(code(&quick(&["--keys", "none"]), 1).contains("trusts no key"));
    code(&quick(&["--allow-unsigned"]), 0);
    code(&quick(&["--allow-unsigned", "--keys", "keys"]), 2);
    let mut bytes = std::fs::read(scene.path("squares.bundle")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(scene.path("squares.bundle"), bytes).unwrap();
    code(&quick(&["--keys", "keys"]), 1);
    code(&quick(&["--allow-unsigned"]), 1);
}

#[test]
fn only_a_pass_that_is_committed_raises_the_security_version() {
    let scene = Scene::new(&signed::right());
    scene.sign("new.bundle", &signed::right(), 7);
    scene.sign("broken.bundle", &signed::wrong(), 9);
    let run = |bundle: &str, more: &[&str]| {
        self_test(&scene, &[&[bundle, "--board", "host", "--keys", "keys", "--quick"], more].concat())
    };
    let minimum = || std::fs::read_to_string(scene.path("state")).unwrap_or_default();
    code(&run("new.bundle", &[]), 0);
    code(&run("broken.bundle", &["--commit"]), 1);
    assert_eq!(minimum(), "", "nothing was committed yet");
    code(&run("squares.bundle", &[]), 0);
    code(&run("new.bundle", &["--commit"]), 0);
    assert_eq!(minimum(), "7\n");
    assert!(code(&run("squares.bundle", &[]), 1).contains("at least 7"));
    code(&run("new.bundle", &["--commit"]), 0);
}

#[test]
fn other_boards_bundles_and_wrong_usage_are_refused() {
    let scene = Scene::new(&signed::right());
    let run = |args: &[&str]| self_test(&scene, args);
    assert!(code(&run(&["squares.bundle"]), 2).contains("--board"));
    code(&run(&["squares.bundle", "--board", "host", "--quick", "--duration", "3s"]), 2);
    code(&run(&["squares.bundle", "--board", "host", "--duration", "soon"]), 2);
    assert!(code(&run(&["squares.bundle", "--board", "toaster", "--allow-unsigned"]), 1).contains("toaster"));
    let board = boards::Board::find("host").unwrap();
    std::fs::write(scene.path("board.json"), serde_json::to_string(&board).unwrap()).unwrap();
    code(&run(&["squares.bundle", "--board", "board.json", "--quick", "--allow-unsigned"]), 0);
    std::fs::write(scene.path("board.json"), "{}").unwrap();
    assert!(
        code(&run(&["squares.bundle", "--board", "board.json", "--allow-unsigned"]), 1)
            .contains("board.json")
    );
    scene.sign_for("other.bundle", "rk3576");
    let refused = run(&["other.bundle", "--board", "rk3588", "--quick", "--keys", "keys"]);
    assert!(code(&refused, 1).contains("another board"));
}

/// What a package holds whose model runs on the CPU although the board has an NPU.
#[test]
fn a_bundle_without_a_model_for_the_npu_passes_and_it_is_told_that_the_npu_was_not_tested() {
    let scene = Scene::new(&signed::right());
    let run = ["squares.bundle", "--board", "rk3588", "--keys", "keys", "--quick", "--json=r.json"];
    let output = self_test(&scene, &run);
    code(&output, 0);
    assert_eq!(report(&scene.path("r.json"))["backend"], "tract");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the NPU of rk3588 is not judged: the bundle has no model for it"), "{said}");
}

/// The bundle that the repository ships.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/repyolov5p.bundle");

/// Writes `board.json`: this machine, of which so many inferences a second of the shipped model are asked.
fn board_with_budget(scene: &Scene, inference_fps: f64) {
    let bundle = Bundle::open(SHIPPED.as_ref(), &artifact::Trust::anyone()).unwrap();
    let manifest = bundle.manifest();
    let budget = boards::Budget {
        models: vec![manifest.model.clone()],
        input_px: u32::try_from(manifest.preprocess.width_px).unwrap(),
        activation: boards::Activation::Silu,
        precision: boards::Precision::Int8,
        backend: boards::Backend::Tract,
        npu_cores: None,
        inference_fps,
    };
    let board = boards::Board { budgets: vec![budget], ..boards::Board::find("host").unwrap() };
    std::fs::write(scene.path("board.json"), serde_json::to_string(&board).unwrap()).unwrap();
}

/// The budgets are such that no machine is that fast, or that slow.
#[test]
fn a_board_below_its_budget_fails_and_one_above_passes() {
    let scene = Scene::new(&[]);
    let run = |length: &[&str]| {
        let run = [SHIPPED, "--board", "board.json", "--allow-unsigned", "--json=r.json", "--junit=r.xml"];
        self_test(&scene, &[&run[..], length].concat())
    };
    let judged = || (report(&scene.path("r.json")), std::fs::read_to_string(scene.path("r.xml")).unwrap());

    board_with_budget(&scene, 99_999.0);
    let output = run(&["--duration", "200ms"]);
    code(&output, 1);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("inferences a second, the board's budget for this model is 99999.0"), "{said}");
    let (report, xml) = judged();
    assert_eq!((&report["verdict"], &report["accuracy"]["verdict"]), (&"fail".into(), &"pass".into()));
    assert!(xml.contains("name=\"speed\"><failure message="), "{xml}");

    let output = run(&["--quick"]);
    code(&output, 0);
    assert!(judged().1.contains("name=\"speed\"><skipped message="), "a quick run measures no speed");

    board_with_budget(&scene, 0.001);
    code(&run(&["--duration", "200ms"]), 0);
    let (report, xml) = judged();
    assert_eq!(report["verdict"], "pass");
    assert!(xml.contains("name=\"speed\"></testcase>"), "{xml}");
}

#[test]
fn the_bundle_that_the_repository_ships_passes() {
    let scene = Scene::new(&[]);
    let output =
        self_test(&scene, &[SHIPPED, "--board", "host", "--quick", "--allow-unsigned", "--json=r.json"]);
    code(&output, 0);
    let accuracy = &report(&scene.path("r.json"))["accuracy"];
    assert!(accuracy["images"].as_u64() > Some(3) && accuracy["expected"].as_u64() > Some(9), "{accuracy}");
    let bundle = Bundle::open(SHIPPED.as_ref(), &artifact::Trust::anyone()).unwrap();
    let payloads = &bundle.manifest().payloads;
    assert!(payloads.iter().all(|payload| payload.length <= 3_000_000), "{payloads:?}");
}

/// A folder with a `sys` in which the clocks of `board` stand, under another governor than the board asks for.
fn machine(scene: &Scene, board: &boards::Board) -> std::path::PathBuf {
    let root = scene.path("machine");
    for clock in board.clocks.values() {
        let files = [(clock.governor_file(), "ondemand\n"), (Some(clock.read_file()), "408000\n")];
        let files = files.into_iter().chain([(Some(clock.set_file()), "<unsupported>\n")]);
        for (file, text) in files.filter_map(|(file, text)| Some((file?, text))) {
            let file = root.join(file.strip_prefix("/").unwrap());
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        }
    }
    root
}

/// The governor of the first clock of `board`.
fn governor(root: &Path, board: &boards::Board) -> String {
    let file = board.clocks.values().find_map(boards::Clock::governor_file).unwrap();
    std::fs::read_to_string(root.join(file.strip_prefix("/").unwrap())).unwrap().trim().to_owned()
}

fn board_with_clocks(scene: &Scene) -> boards::Board {
    let host = boards::Board::find("host").unwrap();
    let board = boards::Board { clocks: boards::Board::find("rk3588").unwrap().clocks, ..host };
    std::fs::write(scene.path("clocks.json"), serde_json::to_string(&board).unwrap()).unwrap();
    board
}

const FIXED: [&str; 7] =
    ["squares.bundle", "--board", "clocks.json", "--allow-unsigned", "--root", "machine", "--json=r.json"];

#[test]
fn clocks_are_fixed_read_back_and_put_back() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    code(&self_test(&scene, &[&FIXED[..], &["--duration", "100ms"]].concat()), 0);
    let fixed = &report(&scene.path("r.json"))["clocks"]["fixed"];
    assert_eq!(fixed["cpu0"], serde_json::json!({ "requested_mhz": 1800, "found_mhz": 408 }));
    assert_eq!(fixed.as_object().unwrap().len(), board.clocks.len());
    assert_eq!(governor(&root, &board), "ondemand");
    assert!(!root.join("run/repedge/clocks.json").exists());

    code(&self_test(&scene, &[&FIXED[..], &["--duration", "100ms", "--keep-clocks"]].concat()), 0);
    let kept = &report(&scene.path("r.json"))["clocks"]["fixed"];
    assert!(kept.as_object().is_none_or(serde_json::Map::is_empty), "{kept}");
}

#[test]
fn what_a_killed_run_left_is_undone_by_the_next() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.args(["--state", "state"]).args(FIXED).args(["--duration", "10m"]).current_dir(scene.folder());
    let mut child = command.stderr(std::process::Stdio::null()).spawn().unwrap();
    while governor(&root, &board) != "userspace" {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had fixed its clocks");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let second = self_test(&scene, &FIXED);
    assert!(code(&second, 1).contains("another self-test"), "two at once would undo each other");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(governor(&root, &board), "userspace");
    code(&self_test(&scene, &[&FIXED[..], &["--quick"]].concat()), 0);
    assert_eq!(governor(&root, &board), "ondemand");
}

/// The governors' files of `board`, in `root`.
fn governor_files(root: &Path, board: &boards::Board) -> Vec<std::path::PathBuf> {
    let files = board.clocks.values().filter_map(boards::Clock::governor_file);
    files.map(|file| root.join(file.strip_prefix("/").unwrap())).collect()
}

#[test]
fn a_clock_that_cannot_be_put_back_keeps_no_other_and_no_later_run_from_it() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    let journal = root.join("run/repedge/clocks.json");
    let lost = root.join("sys/devices/lost");
    let fixed = governor_files(&root, &board).swap_remove(0);
    std::fs::write(&fixed, "userspace").unwrap();
    std::fs::create_dir_all(journal.parent().unwrap()).unwrap();
    let relative = |path: &Path| path.strip_prefix(scene.folder()).unwrap().to_owned();
    let record = serde_json::json!([
        { "file": relative(&lost), "was": "schedutil" }, { "file": relative(&fixed), "was": "ondemand" },
    ]);
    std::fs::write(&journal, record.to_string()).unwrap();
    for _ in 0..2 {
        let said = code(&self_test(&scene, &[&FIXED[..], &["--quick"]].concat()), 0);
        assert!(said.contains("sys/devices/lost"), "{said}");
        assert_eq!(governor(&root, &board), "ondemand");
        let left: Value = serde_json::from_slice(&std::fs::read(&journal).unwrap()).unwrap();
        assert_eq!(left, serde_json::json!([record[0]]));
    }
    // A clock that is fixed meanwhile is put back to what it was before the first run.
    std::fs::create_dir_all(lost.parent().unwrap()).unwrap();
    std::fs::write(&lost, "userspace").unwrap();
    code(&self_test(&scene, &[&FIXED[..], &["--duration", "100ms"]].concat()), 0);
    assert_eq!((std::fs::read_to_string(&lost).unwrap(), journal.exists()), ("schedutil".into(), false));
}

#[test]
fn the_report_is_written_although_a_clock_cannot_be_put_back() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    let said = with_lost_clock(&scene, &root, &board, "--json=r.json");
    assert!(said.contains("scaling_governor") && said.contains("every clock as it was"), "{said}");
    assert_eq!(report(&scene.path("r.json"))["verdict"], "pass");
    let governors = governor_files(&root, &board);
    assert!(governors.len() > 2);
    for file in &governors[1..] {
        assert_eq!(std::fs::read_to_string(file).unwrap().trim(), "ondemand", "{}", file.display());
    }
}

/// Runs a self-test that writes its report as `json` says, and of which the first governor is gone when it is to be put back;
/// gives what it says.
fn with_lost_clock(scene: &Scene, root: &Path, board: &boards::Board, json: &str) -> String {
    // The clocks are read back between the run and its end: where the first is read from, the run waits for us.
    let read = board.clocks.values().next().unwrap().read_file();
    let read = root.join(read.strip_prefix("/").unwrap());
    std::fs::remove_file(&read).unwrap();
    assert!(Command::new("mkfifo").arg(&read).status().unwrap().success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_self-test"));
    command.args(["--state", "state"]).args(&FIXED[..6]).args(["--duration", "100ms", json]);
    command.current_dir(scene.folder());
    let piped = std::process::Stdio::piped;
    let mut child = command.stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut pipe = wait_for_reader(&read, &mut child);
    let governor = governor_files(root, board).swap_remove(0);
    std::fs::remove_file(&governor).unwrap();
    std::fs::create_dir(&governor).unwrap();
    std::io::Write::write_all(&mut pipe, b"408000\n").unwrap();
    drop(pipe);
    code(&child.wait_with_output().unwrap(), 1)
}

/// Opens a pipe for writing once `child` reads from it.
fn wait_for_reader(pipe: &Path, child: &mut std::process::Child) -> std::fs::File {
    use std::os::unix::fs::OpenOptionsExt;
    // Without it, opening would wait for a reader that may never come.
    const O_NONBLOCK: i32 = 0o4000;
    loop {
        if let Ok(file) = std::fs::File::options().write(true).custom_flags(O_NONBLOCK).open(pipe) {
            return file;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended before it had read its clocks");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn a_clock_that_cannot_be_changed_is_told_and_no_more() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    let [first, ..] = &governor_files(&root, &board)[..] else { panic!() };
    // It can be read, and whoever is asked to write it cannot, not even root.
    std::fs::remove_file(first).unwrap();
    std::os::unix::fs::symlink("/proc/version", first).unwrap();
    // Another one can be changed, and not be read back.
    let (unread, clock) = board.clocks.iter().next_back().unwrap();
    std::fs::remove_file(root.join(clock.read_file().strip_prefix("/").unwrap())).unwrap();
    let said = code(&self_test(&scene, &[&FIXED[..], &["--duration", "100ms"]].concat()), 0);
    assert!(said.contains("clock cpu0 stays as it is"), "{said}");
    assert!(!root.join("run/repedge/clocks.json").exists());
    let fixed = &report(&scene.path("r.json"))["clocks"]["fixed"];
    assert_eq!(fixed.as_object().unwrap().len(), board.clocks.len(), "none is missing");
    let cpu0 = &fixed["cpu0"];
    assert_eq!((&cpu0["requested_mhz"], &cpu0["found_mhz"]), (&1800.into(), &408.into()));
    assert!(cpu0["not_fixed"].as_str().unwrap().contains("scaling_governor"), "{cpu0}");
    let others: Vec<_> = fixed.as_object().unwrap().iter().filter(|(name, _)| *name != "cpu0").collect();
    assert!(others.iter().all(|(_, clock)| clock["not_fixed"].is_null()), "{others:?}");
    assert_eq!(fixed[unread]["found_mhz"], Value::Null, "{fixed}");
}

#[test]
fn clocks_that_nobody_may_fix_are_in_the_report_with_the_reason() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    // Where what is to be undone would be written down, there is no folder and can be none.
    std::fs::write(root.join("run"), "").unwrap();
    let said = code(&self_test(&scene, &[&FIXED[..], &["--duration", "100ms"]].concat()), 0);
    assert!(said.contains("clocks stay as they are"), "{said}");
    assert_eq!(governor(&root, &board), "ondemand");
    let report = report(&scene.path("r.json"));
    let fixed = report["clocks"]["fixed"].as_object().unwrap();
    assert_eq!(fixed.len(), board.clocks.len());
    for (name, clock) in fixed {
        assert_eq!(clock["requested_mhz"], serde_json::json!(board.clocks[name].frequency_mhz));
        assert!(clock["not_fixed"].as_str().unwrap().contains("cannot make"), "{clock}");
    }
}

#[test]
fn a_record_that_names_other_files_than_clocks_is_refused() {
    let scene = Scene::new(&signed::right());
    let root = machine(&scene, &board_with_clocks(&scene));
    let victim = scene.path("victim");
    std::fs::write(&victim, "as it was").unwrap();
    std::fs::create_dir_all(root.join("run/repedge")).unwrap();
    for file in [victim.clone(), "machine/sys/../../victim".into()] {
        let record = serde_json::json!([{ "file": file, "was": "changed" }]).to_string();
        std::fs::write(root.join("run/repedge/clocks.json"), record).unwrap();
        let refused = code(&self_test(&scene, &[&FIXED[..], &["--quick"]].concat()), 1);
        assert!(refused.contains("no clock"), "{refused}");
        assert_eq!(std::fs::read_to_string(&victim).unwrap(), "as it was");
    }
}

#[test]
fn other_programs_read_the_verdict_as_junit_and_csv() {
    let scene = Scene::new(&signed::wrong());
    let run =
        ["squares.bundle", "--board", "host", "--keys", "keys", "--quick", "--junit=r.xml", "--csv=r.csv"];
    code(&self_test(&scene, &run), 1);
    let xml = std::fs::read_to_string(scene.path("r.xml")).unwrap();
    assert!(xml.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{xml}");
    assert!(xml.contains("name=\"accuracy\"><failure message=\"the model finds 0 of 1 known boxes"), "{xml}");
    let csv = std::fs::read_to_string(scene.path("r.csv")).unwrap();
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!((lines[0], lines.len()), ("stage,p50_us,p90_us,p95_us,p99_us,max_us", 5));
    assert!(
        lines[1..].iter().all(|line| line.split(',').skip(1).all(|number| number.parse::<u64>().is_ok()))
    );
}

#[test]
fn a_self_test_that_cannot_run_leaves_no_report_of_an_earlier_one() {
    let scene = Scene::new(&signed::right());
    let files =
        ["--board", "host", "--keys", "keys", "--quick", "--json=r.json", "--junit=r.xml", "--csv=r.csv"];
    let run = |bundle: &str| self_test(&scene, &[&[bundle], &files[..]].concat());
    code(&run("squares.bundle"), 0);
    assert_eq!(report(&scene.path("r.json"))["verdict"], "pass");
    let said = code(&run("nowhere.bundle"), 1);
    assert!(said.contains("nowhere.bundle"), "{said}");
    let failed = report(&scene.path("r.json"));
    assert_eq!((&failed["verdict"], &failed["board"]), (&"fail".into(), &"host".into()));
    assert!(failed["error"].as_str().unwrap().contains("nowhere.bundle"), "{failed}");
    let xml = std::fs::read_to_string(scene.path("r.xml")).unwrap();
    assert!(xml.contains("errors=\"1\"") && xml.contains("<error message=\"nowhere.bundle"), "{xml}");
    assert!(!scene.path("r.csv").exists(), "nothing was timed");
    // It is told from a report when it is compared with.
    let compare = ["squares.bundle", "--board", "host", "--keys", "keys", "--quick", "--compare", "r.json"];
    let said = code(&self_test(&scene, &compare), 1);
    assert!(
        said.contains("r.json: of a self-test that could not run") && said.contains("nowhere.bundle"),
        "{said}"
    );
}

#[test]
fn a_report_that_cannot_be_written_keeps_no_other_from_it() {
    let scene = Scene::new(&signed::right());
    let run = ["squares.bundle", "--board", "host", "--keys", "keys", "--quick"];
    let files = ["--json", "/dev/full", "--junit", "/dev/full", "--csv", "r.csv"];
    let output = self_test(&scene, &[&run[..], &files].concat());
    let said = code(&output, 1);
    assert!(said.contains("error: /dev/full") && said.contains("note: /dev/full"), "{said}");
    assert!(std::fs::read_to_string(scene.path("r.csv")).unwrap().contains("total,"));
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("verdict: pass"),
        "people are told all the same"
    );
}

#[test]
fn clocks_that_cannot_be_put_back_are_told_of_also_where_the_report_cannot_be_written() {
    let scene = Scene::new(&signed::right());
    let board = board_with_clocks(&scene);
    let root = machine(&scene, &board);
    let said = with_lost_clock(&scene, &root, &board, "--json=/dev/full");
    assert!(said.contains("every clock as it was") && said.contains("/dev/full"), "{said}");
}

#[test]
fn a_run_is_compared_with_an_older_one() {
    let scene = Scene::new(&signed::right());
    let run = ["squares.bundle", "--board", "host", "--keys", "keys", "--quick"];
    code(&self_test(&scene, &[&run[..], &["--json=old.json"]].concat()), 0);
    let mut old = report(&scene.path("old.json"));
    old["fps"] = 1.5.into();
    std::fs::write(scene.path("old.json"), old.to_string()).unwrap();
    let output = self_test(&scene, &[&run[..], &["--compare", "old.json"]].concat());
    code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find(|line| line.contains("frames/s") && line.contains('→')).unwrap();
    assert!(line.contains("1.50") && line.contains('%'), "{text}");

    // An older version knew neither of these, and a run of this one with a pipeline has times that it had not.
    for field in ["one_by_one", "pipeline"] {
        old.as_object_mut().unwrap().remove(field).unwrap();
    }
    std::fs::write(scene.path("old.json"), old.to_string()).unwrap();
    let run = ["squares.bundle", "--board", "host", "--keys", "keys", "--duration", "100ms"];
    let output = self_test(&scene, &[&run[..], &["--compare", "old.json"]].concat());
    code(&output, 0);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let changes = text.split("changes, ").nth(1).unwrap();
    assert!(changes.contains("note: the old run was without a pipeline"), "{text}");
    let line = changes.lines().find(|line| line.contains("1 by 1, frames/s")).unwrap();
    assert!(line.contains("1.50"), "{text}");
    assert!(!changes.contains("end_to_end"), "{text}");

    std::fs::write(scene.path("old.json"), "{}").unwrap();
    let refused = code(&self_test(&scene, &[&run[..], &["--compare", "old.json"]].concat()), 1);
    assert!(refused.contains("old.json: not a report"), "{refused}");
}
