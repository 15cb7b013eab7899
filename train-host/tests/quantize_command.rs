//! `quantize`, `convert --precision int8` and `eval` of what they wrote, as a user runs them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;
use std::process::Command;

use artifact::{Bundle, DType, Decode, Precision};
use clap::Parser;
use repedge::frame::{Image, write_png};
use serde_json::Value;
use support::attention::attention_model;
use support::random_model;
use tempfile::TempDir;
use train_host::Result;
use train_host::cli::Cli;
use train_host::dataset::{Broken, Source};
use train_host::model::checkpoint::{self, Checkpoint};
use train_host::model::{Overrides, TrainedModel};
use train_host::quantize::file;

const IMGSZ: usize = 64;

/// A folder with a dataset in `data/` and a run of an untrained model of its classes in `run/`.
struct Bench(TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        let counts = ["--train", "8", "--val", "4", "--test", "3", "--size", "64"];
        train_host(&[&["data", "synth", "--out", &bench.path("data")][..], &counts].concat()).unwrap();
        let data = Source::open(Path::new(&bench.path("data")), Broken::Refuse).unwrap();
        let classes = data.classes().to_vec();
        let TrainedModel { mut architecture, weights, imgsz } =
            random_model("repyolov5n", &Overrides::default(), classes.len(), IMGSZ);
        architecture.head.classes = classes;
        let model = Checkpoint::Trained(TrainedModel { architecture, weights, imgsz });
        checkpoint::save(Path::new(&bench.path("run/best.safetensors")), &model).unwrap();
        bench
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn quantize(&self, out: &str, more: &[&str]) -> Result<()> {
        let (run, data, out) = (self.path("run"), self.path("data"), self.path(out));
        train_host(&[&["quantize", &run, "--calib", &data, "--out", &out][..], more].concat())
    }
}

fn train_host(words: &[&str]) -> Result<()> {
    Cli::try_parse_from([&["train-host"], words].concat()).unwrap().run()
}

/// What the program says on standard output and on standard error; it has to succeed.
fn said(words: &[&str]) -> [String; 2] {
    let ended = Command::new(env!("CARGO_BIN_EXE_train-host")).args(words).output().unwrap();
    let said = [ended.stdout, ended.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(ended.status.success(), "{said:?}");
    said
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_quantized_model_is_evaluated_and_packed_and_both_give_the_same() {
    let bench = Bench::new();
    let record = format!("--json={}", bench.path("q.json"));
    let more = ["--method", "mse", "--adaround", "off", "--float-macs", "0", &record];
    bench.quantize("q.safetensors", &more).unwrap();
    let record = json(&bench.path("q.json"));
    assert_eq!(record["method"], "mse");
    assert_eq!(record["macs"]["int8"], record["macs"]["all"]);
    assert_eq!(record["outputs"].as_array().unwrap().len(), 9, "three outputs, three groups");

    let (q, bundle, onnx) = (bench.path("q.safetensors"), bench.path("q.bundle"), bench.path("q.onnx"));
    train_host(&["convert", &q, "--out", &bundle, "--onnx", &onnx]).unwrap();
    let mut opened = Bundle::open(Path::new(&bundle), &artifact::Trust::anyone()).unwrap();
    let payload = opened.manifest().payloads[0].clone();
    assert_eq!(payload.precision, Precision::Int8);
    assert!(payload.outputs.iter().all(|output| output.dtype == DType::F32 && output.quant.is_none()));
    assert_eq!(opened.read_payload(0).unwrap(), std::fs::read(&onnx).unwrap());

    let eval = |model: &str| {
        let out = bench.path("eval.json");
        train_host(&["eval", model, "--data", &bench.path("data"), &format!("--json={out}")]).unwrap();
        let mut result = json(&out);
        for field in ["model", "speed"] {
            result.as_object_mut().unwrap().remove(field);
        }
        result
    };
    assert_eq!(eval(&q), eval(&bundle));
}

#[test]
fn convert_quantizes_where_it_is_given_images() {
    let bench = Bench::new();
    let (run, data, out) = (bench.path("run"), bench.path("data"), bench.path("x.bundle"));
    let words = ["convert", &run, "--precision", "int8", "--out", &out];
    let error = train_host(&words).unwrap_err().to_string();
    assert!(error.contains("no calibration images") && error.contains("--calib"), "{error}");
    let off = ["--method", "minmax", "--adaround", "off", "--bias-correction", "off", "--equalize", "off"];
    train_host(&[&words[..], &["--calib", &data], &off].concat()).unwrap();
    let bundle = Bundle::open(Path::new(&out), &artifact::Trust::anyone()).unwrap();
    assert_eq!(bundle.manifest().payloads[0].precision, Precision::Int8);
    let Decode::Yolov5 { spread, .. } = &bundle.manifest().decode else { panic!("anchors") };
    assert!(spread.is_empty(), "on a CPU no outputs share a scale: {spread:?}");
    let error = train_host(&["convert", &run, "--calib", &data, "--out", &out]).unwrap_err().to_string();
    assert!(error.contains("--precision int8"), "{error}");
}

/// Nothing is saved that could tell it later.
#[test]
fn convert_says_what_quantizing_cost_as_quantize_does() {
    let bench = Bench::new();
    let mut model = attention_model(IMGSZ);
    let kernel = model.weights.get("stem.1.weight").unwrap().clone();
    let per_channel = kernel.data.len() / kernel.shape[0];
    let mut values = kernel.data;
    values[3 * per_channel..][..per_channel].fill(0.0);
    model.weights.insert("stem.1.weight", &kernel.shape, values);
    let (path, images) = (bench.path("a.safetensors"), bench.path("data/images/val"));
    checkpoint::save(Path::new(&path), &Checkpoint::Fused(model)).unwrap();
    let off = ["--equalize", "off", "--adaround", "off", "--bias-correction", "on", "--float-macs", "0"];
    let how = [&["--calib", &images, "--method", "minmax"][..], &off].concat();

    let q = bench.path("q.safetensors");
    let [quantized, _] = said(&[&["quantize", &path, "--out", &q][..], &how].concat());
    let (told, saved) = quantized.rsplit_once("\nsaved ").unwrap();
    assert_eq!(saved.trim_end(), q);
    for part in [
        "attention at 64 px, calibrated on 3 images by minmax and judged on 1 other: ",
        "bias correction  error ",
        "in the end  error ",
        "objectness",
        "in floats: attn: attention multiplies activations",
        "note: stem.1: channel 3 has no weights",
    ] {
        assert!(told.contains(part), "{part:?} is missing: {told}");
    }

    let out = bench.path("x.bundle");
    let words = ["convert", &path, "--precision", "int8", "--out", &out, "--json"];
    let [document, converted] = said(&[&words[..], &how].concat());
    assert!(converted.contains(told), "{converted}\nlacks\n{told}");
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["precision"], "int8", "nothing else is on standard output");
    // What is quantized already cost nothing more.
    let [_, converted] = said(&["convert", &q, "--out", &out]);
    assert!(!converted.contains("calibrated on"), "{converted}");
}

#[test]
fn black_images_are_refused_and_nothing_is_saved() {
    let bench = Bench::new();
    for entry in std::fs::read_dir(bench.path("data/images/train")).unwrap() {
        // Images are known by what is in them, so that the names may stay.
        write_png(&entry.unwrap().path(), &Image::filled(IMGSZ, IMGSZ, [0; 3])).unwrap();
    }
    let (run, data, folder) = (bench.path("run"), bench.path("data"), bench.path("data/images/train"));
    let (q, bundle) = (bench.path("q.safetensors"), bench.path("x.bundle"));
    for calib in [&data, &folder] {
        for words in [
            vec!["quantize", &run, "--calib", calib, "--out", &q],
            vec!["quantize", &run, "--calib", calib, "--images", "1", "--out", &q],
            vec!["convert", &run, "--precision", "int8", "--calib", calib, "--out", &bundle],
        ] {
            let error = train_host(&words).unwrap_err().to_string();
            let parts = ["of one color", "begins with 0 of 255", "lens", "--calib"];
            assert!(parts.iter().all(|part| error.contains(part)), "{words:?}: {error}");
        }
    }
    assert!(!Path::new(&q).exists() && !Path::new(&bundle).exists());
}

#[test]
fn other_images_judge_or_a_quarter_or_of_a_few_all_and_it_is_said() {
    let bench = Bench::new();
    let (run, data, q) = (bench.path("run"), bench.path("data"), bench.path("q.safetensors"));
    let record = bench.path("q.json");
    // Eight images to train on, three to test with: split, most, calibrated on, held out.
    for (split, most, images, held_out) in [("test", "64", 3, 0), ("train", "64", 6, 2), ("train", "5", 5, 1)]
    {
        let json_flag = format!("--json={record}");
        let words =
            ["quantize", &run, "--calib", &data, "--calib-split", split, "--images", most, "--out", &q];
        let off = ["--adaround", "off", "--float-macs", "0", &json_flag];
        let [told, _] = said(&[&words[..], &off].concat());
        assert_eq!(told.contains("too few images to hold any out"), held_out == 0, "{split} {most}: {told}");
        let record = json(&record);
        assert_eq!((&record["images"], &record["held_out"]), (&images.into(), &held_out.into()));
        // JSON has no word for what is not finite: such a figure would be null.
        assert!(record["total"].is_number(), "{record}");
        let candidates = record["candidates"].as_array().unwrap();
        assert_eq!(candidates.len(), 4, "every method was tried");
        assert!(candidates.iter().all(|candidate| candidate["total"].is_number()), "{candidates:?}");
        assert_eq!(file::load(Path::new(&q)).unwrap().scheme.origin.images, images);
    }
}

#[test]
fn a_folder_of_images_is_enough_and_an_empty_one_is_not() {
    let bench = Bench::new();
    let (run, folder, out) = (bench.path("run"), bench.path("data/images/val"), bench.path("q.safetensors"));
    let words = ["quantize", &run, "--images", "2", "--method", "mse", "--adaround", "off", "--out", &out];
    train_host(&[&words[..], &["--calib", &folder]].concat()).unwrap();
    assert_eq!(file::load(Path::new(&out)).unwrap().scheme.origin.images, 2);
    let split = ["--calib", &folder, "--calib-split", "val"];
    let error = train_host(&[&words[..], &split].concat()).unwrap_err().to_string();
    assert!(error.contains("--calib-split") && error.contains("is a folder of images"), "{error}");
    std::fs::create_dir(bench.path("empty")).unwrap();
    let error = train_host(&[&words[..], &["--calib", &bench.path("empty")]].concat()).unwrap_err();
    assert!(error.to_string().contains("no image to calibrate on"), "{error}");
    // A dataset that cannot be read is not a folder without images.
    std::fs::create_dir_all(bench.path("coco/train")).unwrap();
    std::fs::write(bench.path("coco/train/_annotations.coco.json"), "{").unwrap();
    let error = train_host(&[&words[..], &["--calib", &bench.path("coco")]].concat()).unwrap_err();
    assert!(error.to_string().contains("_annotations.coco.json"), "{error}");
    for (path, expected) in [("absent", "No such file"), ("data/images/val/000000.jpg", "a single image")] {
        let error =
            train_host(&[&words[..], &["--calib", &bench.path(path)]].concat()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(path), "{error}");
    }
}

#[test]
fn a_place_that_cannot_be_written_to_is_refused_before_anything_is_computed() {
    let bench = Bench::new();
    std::fs::write(bench.path("file"), "").unwrap();
    let (inside, json) = (bench.path("file/report"), format!("--json={}", bench.path("file/q.json")));
    let refused = |out: &str, more: &[&str], flag: &str| {
        let error = bench.quantize(out, more).unwrap_err().to_string();
        assert!(error.contains(flag) && error.contains("no file can be made in"), "{error}");
    };
    refused("file/q.safetensors", &[], "--out");
    refused("q.safetensors", &["--report", &inside], "--report");
    refused("q.safetensors", &[&json], "--json");
    let (model, data, out) = (bench.path("run"), bench.path("data"), bench.path("file/x.bundle"));
    let words = ["convert", &model, "--precision", "int8", "--calib", &data, "--out", &out];
    assert!(train_host(&words).unwrap_err().to_string().contains("--out"));
    assert!(!Path::new(&bench.path("q.safetensors")).exists());
}

#[test]
fn an_int8_model_never_replaces_the_float_one_that_it_is_made_of() {
    let bench = Bench::new();
    let best = bench.path("run/best.safetensors");
    let before = std::fs::read(&best).unwrap();
    for out in ["run/best.safetensors", "run/../run/best.safetensors"] {
        let error = bench.quantize(out, &["--method", "minmax"]).unwrap_err().to_string();
        assert!(error.contains("--out") && error.contains("the model to quantize"), "{error}");
    }
    let out = bench.path("q.safetensors");
    let error = bench
        .quantize("q.safetensors", &["--method", "minmax", &format!("--json={out}")])
        .unwrap_err()
        .to_string();
    assert!(error.contains("--json") && error.contains("the int8 model"), "{error}");
    assert_eq!(std::fs::read(&best).unwrap(), before);
}

#[test]
fn what_a_board_cannot_compute_is_named_before_anything_is_computed() {
    let bench = Bench::new();
    let (model, data, out) = (bench.path("a.safetensors"), bench.path("data"), bench.path("q.safetensors"));
    checkpoint::save(Path::new(&model), &Checkpoint::Fused(attention_model(IMGSZ))).unwrap();
    let words = ["quantize", &model, "--calib", &data, "--target", "rv1106", "--out", &out];
    let error = train_host(&words).unwrap_err().to_string();
    assert!(["\"attn\"", "rv1106", "floats"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn floats_that_were_asked_for_are_refused_for_a_board_that_computes_none() {
    let bench = Bench::new();
    let with = |percent| {
        let words = ["--target", "rv1106", "--float-macs", percent, "--images", "0"];
        bench.quantize("q.safetensors", &words).unwrap_err().to_string()
    };
    assert!(with("0").contains("--images 0"), "nothing is wrong with asking for none");
    let error = bench.quantize("q.safetensors", &["--target", "rv1106", "--float-macs", "2"]).unwrap_err();
    let error = error.to_string();
    assert!(["--float-macs 2", "rv1106", "int8 only"].iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn a_report_shows_every_variant_with_its_map() {
    let bench = Bench::new();
    let (report, data) = (bench.path("report"), bench.path("data"));
    let kinds = ["--method", "mse", "--float-macs", "0"];
    let more = [&kinds[..], &["--report", &report, "--data", &data, "--split", "val"]].concat();
    bench.quantize("q.safetensors", &more).unwrap();
    let page = std::fs::read_to_string(Path::new(&report).join("index.html")).unwrap();
    for text in ["mse + bias correction", "+ adaround", "(chosen)", "agreement", "cost", "dB"] {
        assert!(page.contains(text), "{text} is missing");
    }
    let report = json(&format!("{report}/report.json"));
    let rows = report["rows"].as_array().unwrap();
    assert!(rows.len() >= 4 && rows.iter().all(|row| row["map"].is_number()), "{rows:?}");
    assert!(rows[1]["change"][1]["low"].as_f64() <= rows[1]["change"][1]["high"].as_f64());
    assert_eq!(report["images_seen"], 0, "calibrated on the training images, measured on others");
}

#[cfg(feature = "torch")]
#[test]
fn training_in_int8_is_a_pass_like_the_others() {
    let bench = Bench::new();
    let (record, report) = (format!("--json={}", bench.path("q.json")), bench.path("report"));
    let quick = ["--method", "mse", "--adaround", "off", "--bias-correction", "off"];
    let qat = ["--qat", "2", "--qat-batch", "4", "--qat-threads", "1", &record, "--report", &report];
    bench.quantize("q.safetensors", &[&quick[..], &qat].concat()).unwrap();
    let passes = json(&bench.path("q.json"))["passes"].clone();
    let pass = passes.as_array().unwrap().iter().find(|pass| pass["pass"] == "qat").unwrap();
    let note = pass["note"].as_str().unwrap();
    assert!(note.contains("2 epochs over 6 images"), "two of eight judge: {note}");
    let few = ["--qat", "2", "--images", "4", "--qat-threads", "1", &record];
    bench.quantize("few.safetensors", &[&quick[..], &few].concat()).unwrap();
    let notes = json(&bench.path("q.json"))["passes"].to_string();
    assert!(
        notes.contains("2 epochs over 7 images"),
        "calibrated on four, and of the others one judges: {notes}"
    );
    let model = file::load(Path::new(&bench.path("q.safetensors"))).unwrap();
    assert_eq!(model.scheme.origin.passes.contains(&"qat".to_owned()), pass["kept"].as_bool().unwrap());
    let page = std::fs::read_to_string(Path::new(&report).join("index.html")).unwrap();
    assert!(page.contains("+ qat"));

    let words =
        ["train-host", "quantize", "run", "--calib", "data", "--qat-seed", "1", "--out", "q.safetensors"];
    assert!(Cli::try_parse_from(words).is_err(), "--qat-seed without --qat");
    let error =
        bench.quantize("r.safetensors", &[&quick[..], &["--qat", "0"]].concat()).unwrap_err().to_string();
    assert!(error.contains("--qat 0") && !Path::new(&bench.path("r.safetensors")).exists(), "{error}");
}

#[test]
fn a_quantized_model_is_not_taken_for_a_float_one() {
    let bench = Bench::new();
    bench.quantize("q.safetensors", &["--method", "minmax", "--adaround", "off"]).unwrap();
    let (q, out) = (bench.path("q.safetensors"), bench.path("again.safetensors"));
    for words in [
        vec!["quantize", &q, "--calib", &bench.path("data"), "--out", &out],
        vec!["fuse", &q, "--out", &out],
        vec!["convert", &q, "--precision", "fp32", "--out", &bench.path("x.bundle")],
    ] {
        let error = train_host(&words).unwrap_err().to_string();
        assert!(error.contains("quantized"), "{words:?}: {error}");
    }
}

#[test]
fn speeds_are_given_for_the_whole_and_for_each_layer() {
    let bench = Bench::new();
    bench.quantize("q.safetensors", &["--method", "mse", "--adaround", "off"]).unwrap();
    let (run, q, data) = (bench.path("run"), bench.path("q.safetensors"), bench.path("data"));
    let out = bench.path("speed.json");
    let words = ["bench-int8", &run, &q, "--data", &data, "--frames", "2", &format!("--json={out}")];
    train_host(&words).unwrap();
    let speed = json(&out);
    assert_eq!(speed["frames"], 2);
    let layers = speed["layers"].as_array().unwrap();
    let conv = layers.iter().find(|layer| layer["layer"] == "model.0.conv").unwrap();
    assert!(conv["int8"].as_bool().unwrap() && conv["macs"].as_u64().unwrap() > 0);
    assert!(conv["float_us"].as_f64().unwrap() > 0.0 && conv["int8_us"].as_f64().unwrap() > 0.0);
    let macs: u64 = layers.iter().map(|layer| layer["macs"].as_u64().unwrap()).sum();
    assert_eq!(macs, file::load(Path::new(&q)).unwrap().macs().unwrap().all);
    let error = train_host(&["bench-int8", &run, &q, "--data", &data, "--frames", "0"]).unwrap_err();
    assert!(error.to_string().contains("at least one frame"), "{error}");
}
