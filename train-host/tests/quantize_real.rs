//! What int8 costs the official yolov5n on photographs that were not calibrated on, and on altered copies of them: so few
//! photographs do not tell half a point from chance. And whether onnxruntime finds the same in the file.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use boards::Board;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use support::copies::{photographs_of, with_copies};
use support::onnxruntime::Onnxruntime;
use train_host::dataset::{Broken, Dataset, Source, Split};
use train_host::evaluate::{Evaluator, Matches, Options, Progress, paired_difference};
use train_host::export::{self, bundle, onnx, qdq};
use train_host::fuse::fuse;
use train_host::import;
use train_host::model::{Checkpoint, FusedModel};
use train_host::quantize::{Calibration, Images, Recipe, Switch, input_spec, run};

/// Most mAP that may be lost, as a fraction.
const LOSS_BAR: f64 = 0.005;
/// Least part of the multiply-adds in int8.
const INT8_BAR: f64 = 0.95;
/// Most of the float file's size.
const SIZE_BAR: f64 = 0.28;
/// Most mAP that may lie between onnxruntime and tract, as a fraction: onnxruntime applies SiLU to floats, and tract to
/// sixteenths of a step.
const APART: f64 = 0.002;

#[test]
#[ignore = "needs ../shared/data (coco128, yolov5n.pt) and the time of cargo xtask test --long"]
fn official_weights_keep_their_map_on_the_half_that_was_not_calibrated_on() {
    let (model, all) = (official(), coco128());
    let halves = [half(&all, 0), half(&all, 1)];
    let swapped = [(&halves[0], &halves[1]), (&halves[1], &halves[0])];
    let found = swapped.map(|(calib, test)| float_and_int8(&model, calib, test));
    let mut losses = Vec::new();
    for (at, what) in ["photographs", "with altered copies"].into_iter().enumerate() {
        let pairs: Vec<[&Matches; 2]> =
            found.iter().map(|half| [&half.matches[at][0], &half.matches[at][1]]).collect();
        let [map50, map] = paired_difference(&pairs, 0).unwrap();
        eprintln!("{what}, mean of both halves: mAP50 {map50:?}, mAP {map:?}");
        losses.push(map);
    }
    assert!(losses.iter().all(|map| map.value >= -LOSS_BAR), "{losses:?}");
    for half in &found {
        let Half { int8_share, size_ratio, .. } = half;
        assert!(*int8_share >= INT8_BAR, "{int8_share} of the multiply-adds in int8");
        assert!(*size_ratio <= SIZE_BAR, "{size_ratio} of the float file's size");
    }
}

#[test]
#[ignore = "needs ../shared/data (coco128, yolov5n.pt), the Python venv of cargo xtask setup and the time of cargo xtask test --long"]
fn onnxruntime_finds_of_official_weights_what_tract_finds() {
    let (model, all) = (official(), coco128());
    let images = Images::labeled(half(&all, 0), Progress::Hidden).unwrap();
    let int8 = run(&model, &Calibration::all(&images), &recipe()).unwrap().model;
    eprintln!("{} nodes in floats", int8.scheme.floats.len());
    let copies = tempfile::tempdir().unwrap();
    let evaluator = evaluator(&model, &with_copies(&all, copies.path()));
    let map = |name: &str, session: &mut dyn Session| -> f64 {
        let metrics = evaluator.run(session).unwrap().metrics;
        eprintln!("{name}: mAP50 {:?}, mAP {:?}", metrics.map50, metrics.map);
        metrics.map.unwrap()
    };
    let specs = onnx::model_specs(&int8.architecture, int8.imgsz).unwrap();
    let mut theirs = Onnxruntime::start(&qdq::write(&int8).unwrap(), specs.input, specs.outputs);
    let theirs = map("onnxruntime", &mut theirs);
    let ours = map("tract", &mut export::quantized_session(&int8).unwrap());
    assert!((theirs - ours).abs() <= APART, "{theirs} in onnxruntime and {ours} in tract");
}

fn official() -> FusedModel {
    let Checkpoint::Trained(model) = import::load(&shared("yolov5n.pt")).unwrap() else {
        panic!("a trained model")
    };
    fuse(&model).unwrap()
}

fn coco128() -> Dataset {
    Source::open(&shared("coco128/data.yaml"), Broken::Refuse).unwrap().split(Split::Val).unwrap()
}

fn evaluator(model: &FusedModel, images: &Dataset) -> Evaluator {
    let options = Options { progress: Progress::Hidden, ..Options::default() };
    let (preprocess, decode) = (bundle::preprocess(model.imgsz), bundle::decode(&model.architecture.head));
    Evaluator::new(images, &preprocess, &decode, &input_spec(model.imgsz), &options).unwrap()
}

/// What was measured on the images that were not calibrated on.
struct Half {
    /// Of the float model and of int8, on the photographs, and on them and their copies.
    matches: [[Matches; 2]; 2],
    int8_share: f64,
    size_ratio: f64,
}

/// What the float model and the int8 model calibrated on `calib` find on `test`.
fn float_and_int8(model: &FusedModel, calib: &Dataset, test: &Dataset) -> Half {
    let images = Images::labeled(calib.clone(), Progress::Hidden).unwrap();
    let int8 = run(model, &Calibration::all(&images), &recipe()).unwrap();
    eprintln!("{:?} {:#?}", int8.record.method, int8.record.passes);
    let sizes = [qdq::write(&int8.model).unwrap().len(), onnx::write(model).unwrap().len()];
    let copies = tempfile::tempdir().unwrap();
    let more = with_copies(test, copies.path());
    // A photograph and its copies are drawn together: they are not independent.
    let alone: Vec<usize> = (0..test.samples.len()).collect();
    let photographs = photographs_of(test.samples.len());
    let matches = [(test, alone), (&more, photographs)].map(|(images, photographs)| {
        let evaluator = evaluator(model, images);
        let found = |mut session: TractSession| {
            let (_, matches) = evaluator.run_matched(&mut session).unwrap();
            matches.grouped(photographs.clone()).unwrap()
        };
        [found(export::session(model).unwrap()), found(export::quantized_session(&int8.model).unwrap())]
    });
    Half { matches, int8_share: int8.record.macs.share(), size_ratio: sizes[0] as f64 / sizes[1] as f64 }
}

/// What the command does when it is told nothing.
fn recipe() -> Recipe {
    Recipe {
        method: None,
        rules: Board::find("host").unwrap().int8,
        equalize: Switch::Auto,
        adaround: Switch::Auto,
        bias_correction: Switch::Auto,
        float_macs: 1.0 - INT8_BAR,
    }
}

/// Every second image, from `first` on.
fn half(all: &Dataset, first: usize) -> Dataset {
    Dataset { samples: all.samples.iter().skip(first).step_by(2).cloned().collect(), ..all.clone() }
}

fn shared(name: &str) -> PathBuf {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    std::env::var_os("REPEDGE_SHARED_DATA").map_or(beside, PathBuf::from).join(name)
}
