//! The official YOLOv5n weights on real photographs, against tools that are not ours: Python's unpickler, onnxruntime,
//! OpenCV, numpy and pycocotools, as `tests/python/yolov5_reference.py` puts them together.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifact::{DType, Layout, Preprocess, Tensor, TensorData, TensorSpec};
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use repedge::decode::{Decoder, Detection, Limits};
use repedge::frame::{Image, read_image};
use repedge::preprocess::{LetterboxMap, Preprocessor};
use serde_json::Value;
use train_host::dataset::{Broken, Dataset, Source, Split};
use train_host::evaluate::{Options, Progress, evaluate};
use train_host::export;
use train_host::fuse::fuse;
use train_host::import;
use train_host::model::{Checkpoint, TrainedModel};

/// Largest difference of a raw output (a logit) from onnxruntime's.
const RAW_BAR: f64 = 1e-3;
/// Largest difference of mAP and mAP50, as fractions: 0.1 of a point in a hundred.
const MAP_BAR: f64 = 1e-3;
/// Largest difference of the same that our kernels make: 0.05 of a point.
const KERNELS_BAR: f64 = 5e-4;
/// Largest difference of a letterboxed pixel from OpenCV's.
const LETTERBOX_BAR_LEVELS: u64 = 1;

#[test]
#[ignore = "needs ../shared/data (coco128, yolov5n.pt) and the Python venv of cargo xtask setup"]
fn official_weights_score_and_find_what_other_tools_do() {
    let (weights, dataset) = (shared("yolov5n.pt"), coco128());
    let exchange = tempfile::tempdir().unwrap();
    write_pixels(exchange.path(), &dataset);
    run_reference(&weights, exchange.path());
    let reference = json(&exchange.path().join("reference.json"));
    eprintln!("reference: {reference}");
    assert!(reference["letterbox_max_levels"].as_u64().unwrap() <= LETTERBOX_BAR_LEVELS, "{reference}");

    let Checkpoint::Trained(model) = import::load(&weights).unwrap() else { panic!("a trained model") };
    let mut trained = export::diagnostic_session(&model).unwrap();
    let mut fused = export::session(&fuse(&model).unwrap()).unwrap();
    for image in first_images(&dataset, &reference) {
        assert_same_raw(&mut trained, exchange.path(), image);
        assert_same_raw(&mut fused, exchange.path(), image);
        assert_same_boxes(&model, &fused, exchange.path(), image);
    }
    for session in [&mut trained as &mut dyn Session, &mut fused] {
        assert_same_map(session, &model, &dataset, &reference["given_pixels"]);
    }
    assert_command_scores(&weights, &reference["given_pixels"]);
}

/// Our kernels sum in another order than tract, and by other formulas.
#[test]
#[ignore = "needs ../shared/data (coco128, yolov5n.pt)"]
fn our_kernels_change_no_map_beside_plain_tract() {
    let Checkpoint::Trained(model) = import::load(&shared("yolov5n.pt")).unwrap() else {
        panic!("a trained model")
    };
    let (fused, dataset) = (fuse(&model).unwrap(), coco128());
    let [ours, engine] = [Kernels::Ours, Kernels::Engine].map(|kernels| {
        let mut session =
            export::session_with(&fused, CpuOptions { kernels, ..CpuOptions::default() }).unwrap();
        let maps = maps(&mut session, &model, &dataset);
        eprintln!("{kernels:?}: mAP50 and mAP {maps:?}");
        maps
    });
    for (ours, engine) in ours.into_iter().zip(engine) {
        assert!((ours - engine).abs() <= KERNELS_BAR, "{ours} by our kernels and {engine} by tract's");
    }
}

/// What a user sees: `train-host eval yolov5n.pt --data coco128 --json`.
fn assert_command_scores(weights: &Path, reference: &Value) {
    let data = shared("coco128/data.yaml");
    let mut eval = Command::new(env!("CARGO_BIN_EXE_train-host"));
    let output = eval.arg("eval").arg(weights).arg("--data").arg(data).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    for key in ["map50", "map"] {
        let (found, expected) = (found[key].as_f64().unwrap(), reference[key].as_f64().unwrap());
        assert!((found - expected).abs() <= MAP_BAR, "{key}: {found}, reference {expected}");
    }
}

fn shared(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("REPEDGE_SHARED_DATA").map_or(beside, PathBuf::from).join(name)
}

fn coco128() -> Dataset {
    Source::open(&shared("coco128/data.yaml"), Broken::Refuse).unwrap().split(Split::Val).unwrap()
}

/// Decoded and letterboxed pixels of every image, and the list of them.
fn write_pixels(folder: &Path, dataset: &Dataset) {
    let mut list = Vec::new();
    for sample in &dataset.samples {
        let (image, stem) = (read_image(&sample.image).unwrap(), stem(&sample.image));
        fs::write(folder.join(format!("{stem}.rgb")), &image.rgb).unwrap();
        let (input, _) = letterbox(&image, DType::U8, Layout::Nhwc);
        let TensorData::U8(pixels) = &input.data else { panic!("u8 was asked for") };
        fs::write(folder.join(format!("{stem}.input")), pixels).unwrap();
        list.push(serde_json::json!({
            "stem": stem, "file": sample.image, "width": image.width_px, "height": image.height_px
        }));
    }
    fs::write(folder.join("images.json"), serde_json::to_vec(&list).unwrap()).unwrap();
}

fn letterbox(image: &Image, dtype: DType, layout: Layout) -> (Tensor, LetterboxMap) {
    const SIDE_PX: usize = 640;
    let shape = match layout {
        Layout::Nhwc => [1, SIDE_PX, SIDE_PX, 3],
        Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, 3, SIDE_PX, SIDE_PX],
    };
    let spec = TensorSpec { name: "images".into(), dtype, layout, shape, quant: None };
    let mut input = Tensor::zeroed(&spec);
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), &spec).unwrap();
    let map = preprocessor.run(image.frame(), &mut input).unwrap();
    (input, map)
}

fn run_reference(weights: &Path, folder: &Path) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // `cargo xtask test` names the interpreter that it has set up.
    let python = std::env::var_os("REPEDGE_PYTHON")
        .map_or_else(|| root.join("toolchains/venv/bin/python"), PathBuf::from);
    let script = root.join("tests/python/yolov5_reference.py");
    let result = Command::new(python).arg(script).args([weights, folder]).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
}

fn first_images<'a>(dataset: &'a Dataset, reference: &Value) -> impl Iterator<Item = &'a Path> {
    let count = usize::try_from(reference["raw_images"].as_u64().unwrap()).unwrap();
    assert!(count >= 8, "enough to mean something");
    dataset.samples.iter().take(count).map(|sample| sample.image.as_path())
}

fn assert_same_raw(session: &mut TractSession, folder: &Path, image: &Path) {
    let (input, _) = letterbox(&read_image(image).unwrap(), DType::F32, Layout::Nchw);
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&input, &mut outputs).unwrap();
    for (found, expected) in outputs.iter().zip(reference_raw(session.outputs(), folder, image)) {
        let (TensorData::F32(found), TensorData::F32(expected)) = (&found.data, &expected.data) else {
            panic!("f32 outputs")
        };
        let differences = found.iter().zip(expected).map(|(a, b)| (f64::from(*a) - f64::from(*b)).abs());
        let largest = differences.fold(0.0, f64::max);
        assert!(largest <= RAW_BAR, "{}: {largest}", image.display());
    }
}

/// onnxruntime's raw outputs.
fn reference_raw(specs: &[TensorSpec], folder: &Path, image: &Path) -> Vec<Tensor> {
    let read = |(level, spec): (usize, &TensorSpec)| {
        let bytes = fs::read(folder.join(format!("{}.{level}.f32", stem(image)))).unwrap();
        let values: Vec<f32> = bytes.as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        assert_eq!(values.len(), spec.len());
        Tensor { data: TensorData::F32(values), ..Tensor::zeroed(spec) }
    };
    specs.iter().enumerate().map(read).collect()
}

/// From one set of raw outputs, our decode and NMS keep the boxes that numpy keeps.
fn assert_same_boxes(model: &TrainedModel, session: &TractSession, folder: &Path, image: &Path) {
    let (_, map) = letterbox(&read_image(image).unwrap(), DType::F32, Layout::Nchw);
    let raw = reference_raw(session.outputs(), folder, image);
    let head = &model.architecture.head;
    let decode = export::bundle::decode(head);
    let mut decoder =
        Decoder::new(&decode, head.classes.len(), session.outputs(), Limits::evaluation()).unwrap();
    let found = decoder.detect(&raw, &map).unwrap();
    let expected = &json(&folder.join("detections.json"))[stem(image)];
    let expected = expected.as_array().unwrap();
    assert!(!expected.is_empty());
    assert_eq!(found.len(), expected.len(), "{}", image.display());
    for (found, expected) in found.iter().zip(expected) {
        assert_same_box(found, expected, image);
    }
}

fn assert_same_box(found: &Detection, expected: &Value, image: &Path) {
    let number = |index: usize| expected[index].as_f64().unwrap();
    assert_eq!(
        found.class as u64,
        expected[0].as_u64().unwrap(),
        "{}: {found:?} {expected}",
        image.display()
    );
    assert!((f64::from(found.score) - number(1)).abs() <= 1e-5, "{found:?} {expected}");
    for (index, side) in [found.x0, found.y0, found.x1, found.y1].into_iter().enumerate() {
        assert!((f64::from(side) - number(2 + index)).abs() <= 1e-2, "{found:?} {expected}");
    }
}

fn assert_same_map(session: &mut dyn Session, model: &TrainedModel, dataset: &Dataset, reference: &Value) {
    for (found, key) in maps(session, model, dataset).into_iter().zip(["map50", "map"]) {
        let expected = reference[key].as_f64().unwrap();
        assert!((found - expected).abs() <= MAP_BAR, "{key}: {found}, reference {expected}");
    }
}

/// mAP50 and mAP.
fn maps(session: &mut dyn Session, model: &TrainedModel, dataset: &Dataset) -> [f64; 2] {
    let preprocess = export::bundle::preprocess(model.imgsz);
    let decode = export::bundle::decode(&model.architecture.head);
    let options = Options { progress: Progress::Hidden, ..Options::default() };
    let metrics = evaluate(session, &decode, &preprocess, dataset, &options).unwrap().metrics;
    [metrics.map50.unwrap(), metrics.map.unwrap()]
}

fn stem(image: &Path) -> &str {
    image.file_stem().unwrap().to_str().unwrap()
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}
