//! `convert` for boards with an NPU and `eval --simulate`, as a user runs them, with a toolkit that the test plays.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use artifact::{BackendKind, Bundle, DType, Decode, Layout, Precision, Spread};
use serde_json::Value;
use support::attention::attention_model;
use support::{played, random_model};
use tempfile::TempDir;
use train_host::dataset::{Broken, Source, synth};
use train_host::model::checkpoint::{self, Checkpoint};
use train_host::model::{Overrides, TrainedModel};
use train_host::rknn::VARIABLE;

const IMGSZ: usize = 64;
const PLAYED: &str = include_str!("support/played_toolkit.py");
/// Options of a quantization that takes no time.
const QUICK: [&str; 8] =
    ["--method", "mse", "--adaround", "off", "--bias-correction", "off", "--float-macs", "0"];

/// A folder with a dataset in `data`, a run of an untrained model of its classes in `run`, and a Python that plays the
/// toolkit.
struct Bench {
    folder: TempDir,
    classes: usize,
}

/// How a command ended.
struct Ended {
    succeeded: bool,
    said: String,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let options = synth::Options { train: 4, val: 3, test: 2, side_px: 64, ..synth::Options::default() };
        synth::generate(&data, &options).unwrap();
        let classes = Source::open(&data, Broken::Refuse).unwrap().classes().to_vec();
        let TrainedModel { mut architecture, weights, imgsz } =
            random_model("repyolov5n", &Overrides::default(), classes.len(), IMGSZ);
        architecture.head.classes.clone_from(&classes);
        let model = Checkpoint::Trained(TrainedModel { architecture, weights, imgsz });
        checkpoint::save(&folder.path().join("run/best.safetensors"), &model).unwrap();
        let script = folder.path().join("played.py");
        fs::write(&script, PLAYED).unwrap();
        played::python(folder.path(), &format!("exec python3 {}", script.display()));
        Self { folder, classes: classes.len() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder, with `variables` in its environment.
    fn run(&self, words: &[&str], variables: &[(&str, &str)]) -> Ended {
        let output = Command::new(env!("CARGO_BIN_EXE_train-host"))
            .args(words)
            .current_dir(self.folder.path())
            .env(VARIABLE, self.path("python"))
            .env("PLAYED_CLASSES", self.classes.to_string())
            .env("PLAYED_SIDE", IMGSZ.to_string())
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
        Ended { succeeded: output.status.success(), said }
    }

    fn convert(&self, more: &[&str], variables: &[(&str, &str)]) -> Ended {
        let words = [&["convert", "run", "--out", "x.bundle", "--json=x.json"][..], more].concat();
        self.run(&words, variables)
    }

    /// Converts for RK3588 by `quantizer`, ours taking no time.
    fn converted(&self, quantizer: &[&str]) -> Value {
        self.converted_by(&[&QUICK[..], quantizer].concat())
    }

    /// Converts for RK3588 with `options`.
    fn converted_by(&self, options: &[&str]) -> Value {
        let words = [&["--target", "rk3588", "--calib", "data"][..], options].concat();
        let ended = self.convert(&words, &[]);
        assert!(ended.succeeded, "{}", ended.said);
        self.json("x.json")
    }

    fn simulate(&self, variables: &[(&str, &str)]) -> Ended {
        self.run(&["eval", "x.bundle", "--simulate", "--data", "data", "--json=e.json"], variables)
    }

    /// Changes the build record.
    fn change_record(&self, change: impl FnOnce(&mut Value)) {
        let mut record = self.json("x.build/record.json");
        change(&mut record);
        fs::write(self.path("x.build/record.json"), record.to_string()).unwrap();
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn bundle(&self) -> Bundle {
        Bundle::open(&self.path("x.bundle"), &artifact::Trust::anyone()).unwrap()
    }
}

impl Ended {
    fn expect_refusal(&self, parts: &[&str]) {
        assert!(!self.succeeded, "{}", self.said);
        assert!(parts.iter().all(|part| self.said.contains(part)), "{parts:?}: {}", self.said);
        assert!(!self.said.contains("panicked"), "{}", self.said);
    }
}

#[test]
fn a_conversion_gives_bundle_and_record_and_is_simulated_from_them() {
    let bench = Bench::new();
    let summary = bench.converted(&[]);
    assert_eq!((&summary["precision"], &summary["target"]), (&"int8".into(), &"rk3588".into()));
    assert_eq!(summary["build_record"], "x.build");
    let manifest = bench.bundle().manifest().clone();
    let [npu, cpu] = &manifest.payloads[..] else { panic!("{:?}", manifest.payloads) };
    assert_eq!((npu.backend, &*npu.target, npu.precision), (BackendKind::Rknn, "rk3588", Precision::Int8));
    assert_eq!((npu.input.dtype, npu.input.layout), (DType::U8, Layout::Nhwc));
    assert_eq!((cpu.backend, &*cpu.target), (BackendKind::Tract, "host"));
    assert!(npu.outputs.iter().all(|output| output.dtype == DType::I8));
    assert_eq!(npu.outputs, cpu.outputs, "the NPU gives what the CPU gives");
    let record = bench.json("x.build/record.json");
    assert_eq!(record["rknn_sha256"], npu.sha256.as_str());
    assert_eq!(record["quantizer"]["by"], "ours");
    assert_eq!(record["calibration"].as_array().unwrap().len(), 4);
    // One of the four was held out, to judge what the others gave.
    assert_eq!((&record["origin"]["method"], &record["origin"]["images"]), (&"mse".into(), &3.into()));
    assert_eq!(
        (&summary["unnamed_images"], &record["config"]["quantized_method"]),
        (&Value::Null, &Value::Null)
    );
    assert!(record["config"]["disable_rules"].as_array().unwrap().contains(&"fuse_concat_conv".into()));
    assert!(
        record["wheels"].as_array().unwrap().iter().any(|w| w.as_str().unwrap().contains("rknn-toolkit2"))
    );

    let ended = bench.simulate(&[]);
    assert!(ended.succeeded, "{}", ended.said);
    let evaluation = bench.json("e.json");
    assert_eq!((&evaluation["backend"], &evaluation["images"]), (&"rknn simulator".into(), &2.into()));
    assert_eq!(evaluation["rebuilt"]["shipped_sha256"], npu.sha256.as_str());
    assert_eq!(evaluation["rebuilt"]["chip"], "rk3588");

    let leftovers = fs::read_dir(bench.folder.path()).unwrap().map(|e| e.unwrap().file_name());
    assert!(leftovers.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}

/// A device that is not told decodes other boxes.
#[test]
fn how_boxes_are_spread_is_in_the_bundle_and_nothing_is_where_they_are_not() {
    let bench = Bench::new();
    let spread = || match bench.bundle().manifest().decode.clone() {
        Decode::Yolov5 { spread, .. } => spread,
        other @ Decode::Yolov8 { .. } => panic!("{other:?}"),
    };
    bench.converted(&["--quantizer", "ours"]);
    let wide = spread();
    // For each anchor, or the bundle would not open.
    assert!(!wide.is_empty() && wide.iter().flatten().flatten().all(|it| *it != Spread::NONE), "{wide:?}");
    bench.converted(&["--spread-boxes", "off"]);
    assert!(spread().is_empty());
    bench.converted_by(&["--quantizer", "toolkit", "--no-fallback"]);
    assert!(spread().is_empty());
}

#[test]
fn what_a_chip_cannot_compute_is_named_before_anything_is_computed() {
    let bench = Bench::new();
    let model = bench.path("attention.safetensors");
    checkpoint::save(&model, &Checkpoint::Fused(attention_model(IMGSZ))).unwrap();
    let words = ["convert", "attention.safetensors", "--calib", "data", "--target", "rv1106"];
    let ended = bench.run(&[&words[..], &["--out", "x.bundle"]].concat(), &[]);
    ended.expect_refusal(&["\"attn\"", "rv1106", "floats", "--quantizer toolkit"]);
}

/// A file of a quantized model tells how many images there were, and no more.
#[test]
fn of_a_model_quantized_before_the_record_tells_what_is_known() {
    let bench = Bench::new();
    let words = ["quantize", "run", "--calib", "data", "--target", "rk3588", "--out", "q.safetensors"];
    let ended = bench.run(&[&words[..], &QUICK].concat(), &[]);
    assert!(ended.succeeded, "{}", ended.said);
    let words = ["convert", "q.safetensors", "--target", "rk3588", "--out", "x.bundle"];
    let ended = bench.run(&words, &[]);
    assert!(ended.succeeded && ended.said.contains("does not name the 3 images"), "{}", ended.said);
    let record = bench.json("x.build/record.json");
    assert_eq!(record["calibration"], Value::Null);
    assert_eq!((&record["origin"]["method"], &record["origin"]["images"]), (&"mse".into(), &3.into()));
    assert!(record["origin"]["passes"].is_array());
    assert!(bench.simulate(&[]).succeeded);

    for flag in [["--calib", "data"], ["--method", "mse"], ["--images", "64"], ["--adaround", "auto"]] {
        let refused = bench.run(&[&words[..], &flag].concat(), &[]);
        refused.expect_refusal(&[&format!("{} for q.safetensors, which is quantized", flag[0]), "leave"]);
    }
}

/// What a CPU reads from integer sums, an NPU stores: without a scale for it there is nothing to store it with.
#[test]
fn a_model_quantized_for_another_engine_is_refused_before_it_is_compiled() {
    let bench = Bench::new();
    let quantize = |target: &str| {
        let words = ["quantize", "run", "--calib", "data", "--target", target, "--out", "q.safetensors"];
        let ended = bench.run(&[&words[..], &QUICK].concat(), &[]);
        assert!(ended.succeeded, "{}", ended.said);
    };
    let convert =
        |target: &str| bench.run(&["convert", "q.safetensors", "--target", target, "--out", "x.bundle"], &[]);
    quantize("host");
    convert("rk3588").expect_refusal(&[
        "q.safetensors",
        "outputs = \"real\"",
        "outputs = \"stored\"",
        "\"rk3588\"",
        "--target rk3588",
    ]);
    assert!(!bench.path("x.bundle").exists() && !bench.path("x.build").exists());
    assert!(convert("host").succeeded);

    // The other way round nothing is lacking.
    quantize("rk3588");
    for target in ["host", "rk3588", "rk3566"] {
        let ended = convert(target);
        assert!(ended.succeeded, "{target}: {}", ended.said);
    }
}

#[test]
fn what_the_toolkit_was_told_is_recorded_and_nothing_else_is_rebuilt() {
    let bench = Bench::new();
    bench.converted_by(&["--quantizer", "toolkit", "--toolkit-algorithm", "mmse", "--no-fallback"]);
    let config = &bench.json("x.build/record.json")["config"];
    assert_eq!(
        (&config["quantized_algorithm"], &config["quantized_method"]),
        (&"mmse".into(), &"channel".into())
    );
    bench.change_record(|record| record["config"]["disable_rules"] = serde_json::json!(["another"]));
    bench.simulate(&[]).expect_refusal(&["disable_rules", "another", "fuse_concat_conv", "convert again"]);
}

/// Nothing else shows that the toolkit kept the scales of our quantizer.
#[test]
fn a_rebuilt_model_of_other_scales_than_ours_is_seen_in_the_simulator() {
    const ZEROS: &str = "bytes(4 * shape[1] * shape[2] * shape[3])";
    let bench = Bench::new();
    bench.converted(&[]);
    assert!(bench.simulate(&[]).succeeded);
    // A value that no output in int8 has.
    let odd = "struct.pack('<f', 1e9) * (shape[1] * shape[2] * shape[3])";
    assert!(PLAYED.contains(ZEROS));
    fs::write(bench.path("played.py"), PLAYED.replace(ZEROS, odd)).unwrap();
    bench.simulate(&[]).expect_refusal(&["1000000000", "did not keep the model's scales"]);
    bench.change_record(|record| record["outputs"][0]["quant"]["scale"] = 2.into());
    bench.simulate(&[]).expect_refusal(&["a build record with the outputs", "as the bundle says"]);
}

#[test]
fn a_conversion_that_fails_leaves_the_older_bundle_with_its_record() {
    let bench = Bench::new();
    bench.converted(&[]);
    let files = ["x.bundle", "x.build/record.json", "x.build/model.onnx"];
    let read = || files.map(|name| fs::read(bench.path(name)).unwrap());
    let old = read();
    // Read last, when all is compiled.
    fs::create_dir(bench.path("checks")).unwrap();
    fs::write(bench.path("checks/broken.png"), b"no picture").unwrap();
    let words =
        ["--target", "rk3588", "--calib", "data", "--quantizer", "toolkit", "--check-images", "checks"];
    bench.convert(&[&words[..], &QUICK].concat(), &[]).expect_refusal(&["broken.png"]);
    assert!(read() == old, "one of the two was replaced");
    assert!(bench.simulate(&[]).succeeded);
    let names = fs::read_dir(bench.folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names.into_iter().all(|name| !name.to_string_lossy().starts_with('.')));
}

#[test]
fn the_toolkits_scales_are_the_bundles_and_its_images_are_remembered() {
    let bench = Bench::new();
    bench.converted_by(&["--quantizer", "toolkit", "--no-fallback"]);
    let manifest = bench.bundle().manifest().clone();
    let [npu] = &manifest.payloads[..] else { panic!("{:?}", manifest.payloads) };
    assert!(npu.outputs.iter().all(|output| output.quant.is_some_and(|quant| quant.scale == 0.5)));
    assert!(bench.simulate(&[]).succeeded);

    bench.simulate(&[("PLAYED_SCALE", "0.25")]).expect_refusal(&["0.25", "0.5", "convert again"]);
    let record = bench.json("x.build/record.json");
    let image = PathBuf::from(record["calibration"][1]["path"].as_str().unwrap());
    let old = fs::read(&image).unwrap();
    fs::write(&image, b"another image").unwrap();
    bench.simulate(&[]).expect_refusal(&[image.file_name().unwrap().to_str().unwrap(), "convert again"]);
    fs::write(&image, old).unwrap();
    assert!(bench.simulate(&[]).succeeded);
}

#[test]
fn a_record_that_is_missing_or_does_not_fit_says_what_to_do() {
    let bench = Bench::new();
    bench.converted(&[]);
    fs::rename(bench.path("x.build"), bench.path("old.build")).unwrap();
    bench.simulate(&[]).expect_refusal(&["no build record at x.build", "convert again"]);

    // Of another conversion.
    bench.converted(&["--quantizer", "toolkit"]);
    fs::rename(bench.path("x.build"), bench.path("new.build")).unwrap();
    fs::rename(bench.path("old.build"), bench.path("x.build")).unwrap();
    bench.simulate(&[]).expect_refusal(&["is of a model with digest", "convert again"]);

    // Changed.
    fs::remove_dir_all(bench.path("x.build")).unwrap();
    fs::rename(bench.path("new.build"), bench.path("x.build")).unwrap();
    assert!(bench.simulate(&[]).succeeded);
    fs::write(bench.path("x.build/model.onnx"), b"another").unwrap();
    bench.simulate(&[]).expect_refusal(&["another model.onnx", "convert again"]);
    fs::write(bench.path("x.build/record.json"), b"{}").unwrap();
    bench.simulate(&[]).expect_refusal(&["cannot be read", "convert again"]);

    // Converting again replaces it.
    bench.converted(&[]);
    assert!(bench.simulate(&[]).succeeded);

    let cpu = bench.run(&["convert", "run", "--out", "x.bundle"], &[]);
    assert!(cpu.succeeded, "{}", cpu.said);
    bench.simulate(&[]).expect_refusal(&["no model for an NPU"]);
}

#[test]
fn half_floats_need_no_images_and_give_floats() {
    let bench = Bench::new();
    let words = ["--target", "rk3566", "--precision", "fp16"];
    let ended = bench.convert(&words, &[("PLAYED_TYPE", "float16")]);
    assert!(ended.succeeded, "{}", ended.said);
    let manifest = bench.bundle().manifest().clone();
    assert_eq!(manifest.payloads[0].precision, Precision::Fp16);
    assert!(manifest.payloads[0].outputs.iter().all(|output| output.dtype == DType::F32));
    assert_eq!(manifest.payloads[1].precision, Precision::Fp32);
    assert!(bench.simulate(&[("PLAYED_TYPE", "float16")]).succeeded);
    // A toolkit that gives another type than was asked for.
    bench.convert(&words, &[]).expect_refusal(&["as int8", "floats"]);
}

#[test]
fn flags_that_would_do_nothing_are_refused_by_name() {
    let bench = Bench::new();
    let half = ["--target", "rk3566", "--precision", "fp16"];
    let toolkit = ["--target", "rk3588", "--calib", "data", "--quantizer", "toolkit"];
    let alone = [&toolkit[..], &["--no-fallback"]].concat();
    for (words, flag, refusal) in [
        (&half[..], &["--quantizer", "toolkit"][..], "--quantizer with --precision fp16"),
        (
            &half,
            &["--quantizer", "toolkit", "--toolkit-algorithm", "mmse"],
            "--quantizer with --precision fp16",
        ),
        (&half, &["--quantizer", "ours"], "--quantizer with --precision fp16"),
        (&half, &["--toolkit-algorithm", "mmse"], "--toolkit-algorithm with --precision fp16"),
        (&half, &["--images", "64"], "--images without --precision int8"),
        (&[], &["--method", "auto"], "--method without --precision int8"),
        (&[], &["--calib", "data"], "--calib without --precision int8"),
        (&[], &["--float-macs", "0"], "--float-macs without --precision int8"),
        (&[], &["--spread-boxes", "off"], "--spread-boxes without --precision int8"),
        (&toolkit, &["--spread-boxes", "off"], "--spread-boxes with --quantizer toolkit"),
        (&[], &["--toolkit-timeout", "9"], "--toolkit-timeout for board \"host\", which has no NPU"),
        (&alone, &["--method", "mse"], "--method with --quantizer toolkit and --no-fallback"),
        (&alone, &["--adaround", "off"], "--adaround with --quantizer toolkit and --no-fallback"),
    ] {
        bench.convert(&[words, flag].concat(), &[]).expect_refusal(&[refusal, "leave"]);
    }
    if cfg!(feature = "torch") {
        for words in [&toolkit[..], &alone] {
            let refused = bench.convert(&[words, &["--qat", "1"]].concat(), &[]);
            refused.expect_refusal(&["--qat with --quantizer toolkit", "leave"]);
        }
        bench.convert(&["--qat", "1"], &[]).expect_refusal(&["--qat without --precision int8"]);
    }
    assert!(!bench.path("x.bundle").exists());
}

#[test]
fn what_cannot_be_made_is_refused_before_anything_is_computed() {
    let bench = Bench::new();
    let npu = ["--target", "rk3588"];
    for (words, parts) in [
        (&[&npu[..], &["--precision", "fp32"]].concat()[..], &["fp32", "int8, fp16"][..]),
        (&["--target", "rv1106", "--precision", "fp16"], &["fp16", "one of: int8"]),
        (&["--target", "rk3588"], &["no calibration images", "--calib"]),
        (&["--quantizer", "toolkit"], &["--quantizer", "no NPU", "--target"]),
        (&["--no-fallback"], &["--no-fallback", "no NPU"]),
        (&["--target", "rk3588", "--toolkit-algorithm", "mmse"], &["--quantizer toolkit"]),
        (&["--target", "rk3333"], &["unknown board", "rk3588"]),
    ] {
        bench.convert(words, &[]).expect_refusal(parts);
    }
    let absent = bench.path("absent");
    bench
        .convert(&npu, &[(VARIABLE, absent.to_str().unwrap())])
        .expect_refusal(&["cannot be started", "cargo xtask setup rknn"]);
    fs::create_dir(bench.path("x.build")).unwrap();
    let words = [&npu[..], &["--calib", "data"], &QUICK].concat();
    bench.convert(&words, &[]).expect_refusal(&["x.build", "no build record"]);
    assert!(!bench.path("x.bundle").exists());
}
