//! Warm start through to real single precision: a plain model and the rep model started from it, side by side in tract.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod support;

use support::{narrow_model, random_model, relative_error, run_graph};
use train_host::fuse::fuse;
use train_host::model::{Architecture, Block, Checkpoint, Overrides, TrainedModel, warm_start};

const IMGSZ: usize = 64;
const CLASSES: usize = 3;
const MAX_ERROR: f64 = 1e-5;

fn largest_error(source: &Checkpoint, target: &TrainedModel) -> f64 {
    let expected = run_graph(&source.architecture().graph, source.weights(), IMGSZ, 3);
    let found = run_graph(&target.architecture.graph, &target.weights, IMGSZ, 3);
    expected.iter().zip(&found).map(|(a, b)| relative_error(a, b)).fold(0.0, f64::max)
}

fn start(source: &Checkpoint, name: &str, block: Block) -> TrainedModel {
    let overrides = Overrides { act: None, block: Some(block) };
    let architecture = Architecture::load(name, &overrides, &source.architecture().head.classes).unwrap();
    start_as(source, architecture)
}

fn start_as(source: &Checkpoint, architecture: Architecture) -> TrainedModel {
    let (weights, report) = warm_start::transfer(source, &architecture, 1).unwrap();
    assert!(report.reinitialized.is_empty(), "{report:?}");
    TrainedModel { architecture, weights, imgsz: IMGSZ }
}

#[test]
fn rep_models_start_with_the_outputs_of_the_plain_model() {
    for (plain, rep) in [("yolov5n", "repyolov5n"), ("yolov5s", "repyolov5s")] {
        let source = Checkpoint::Trained(random_model(plain, &Overrides::default(), CLASSES, IMGSZ));
        for block in [Block::Repvgg, Block::Qarepvgg] {
            let error = largest_error(&source, &start(&source, rep, block));
            assert!(error <= MAX_ERROR, "{rep} {block:?}: {error}");
        }
    }
}

#[test]
fn a_fused_rep_model_starts_the_other_block_form() {
    let trained = random_model("repyolov5n", &Overrides::default(), CLASSES, IMGSZ);
    let source = Checkpoint::Fused(fuse(&trained).unwrap());
    for block in [Block::Repvgg, Block::Qarepvgg] {
        let error = largest_error(&source, &start(&source, "repyolov5n", block));
        assert!(error <= MAX_ERROR, "{block:?}: {error}");
    }
}

#[test]
fn rep_yolov3_and_yolov4_start_with_the_outputs_of_their_plain_twins() {
    for plain in ["yolov3-spp", "yolov4"] {
        let source = Checkpoint::Trained(narrow_model(plain, &Overrides::default(), CLASSES, IMGSZ));
        for block in [Block::Repvgg, Block::Qarepvgg] {
            let overrides = Overrides { act: None, block: Some(block) };
            let rep = narrow_model(&format!("rep{plain}"), &overrides, CLASSES, IMGSZ);
            let error = largest_error(&source, &start_as(&source, rep.architecture));
            assert!(error <= MAX_ERROR, "{plain} {block:?}: {error}");
        }
    }
}
