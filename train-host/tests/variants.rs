//! Every named model: parameters and floating-point operations against published figures and against a second count,
//! and its outputs fused against its outputs in training form.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests may")]

mod support;

use repedge::TensorData;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use support::published::PUBLISHED;
use support::tally::{Tally, Threes, tally};
use support::{narrow_model, random_model};
use train_host::export::onnx;
use train_host::fuse::{MAX_FUSE_ERROR, fuse, fuse_error, fused_graph, largest};
use train_host::model::complexity::{Complexity, count};
use train_host::model::{
    Activation, Architecture, Block, Graph, MODEL_NAMES, Op, Overrides, TrainedModel, Weights,
};

const IMGSZ: usize = 64;
const CLASSES: usize = 80;

fn overrides(act: Activation, block: Block) -> Overrides {
    Overrides { act: Some(act), block: Some(block) }
}

fn load(name: &str, block: Block) -> Architecture {
    let classes: Vec<String> = (0..CLASSES).map(|class| format!("class {class}")).collect();
    Architecture::load(name, &Overrides { act: None, block: Some(block) }, &classes).unwrap()
}

/// Training form and fused form.
fn counts(name: &str, block: Block, imgsz: usize) -> [Complexity; 2] {
    let graph = load(name, block).graph;
    [count(&graph, imgsz).unwrap(), count(&fused_graph(&graph).unwrap(), imgsz).unwrap()]
}

#[test]
fn every_model_has_its_published_size_and_cost() {
    assert_eq!(PUBLISHED.map(|row| row.name), MODEL_NAMES);
    for row in PUBLISHED {
        let [trained, fused] = counts(row.name, Block::Repvgg, row.side_px);
        let found = [trained.parameters as f64, fused.parameters as f64, fused.flops as f64 / 1e9];
        for (figure, found) in [row.trained, row.fused, row.gflops].iter().zip(found) {
            if let Some(figure) = figure {
                assert!(figure.fits(found), "{}: {found} is not {figure:?} ({})", row.name, row.source);
            }
        }
    }
}

#[test]
fn every_model_has_the_size_and_cost_of_a_second_count() {
    for name in MODEL_NAMES {
        for (block, threes) in [(Block::Repvgg, Threes::Repvgg), (Block::Qarepvgg, Threes::Qarepvgg)] {
            let [trained, fused] = counts(name, block, 640);
            let expected = tally(name, threes);
            let found = [trained.parameters as u64, fused.parameters as u64, trained.flops, fused.flops];
            let Tally { trained, fused, trained_flops, fused_flops, .. } = expected;
            assert_eq!(found, [trained, fused, trained_flops, fused_flops], "{name} {block:?}");
        }
    }
}

/// The article: a RepVGG-A1 backbone has about 2.75 times the operations and 1.85 times the parameters of the model with
/// rep blocks only. Both are counted as its author trained them.
#[test]
fn repvgg_a1_costs_what_the_article_says() {
    let [a1, _] = counts("yolov5s-repvgg-a1", Block::Repvgg, 640);
    let [lite, _] = counts("repyolov5s-lite", Block::Repvgg, 640);
    let parameters = a1.parameters as f64 / lite.parameters as f64;
    let flops = a1.flops as f64 / lite.flops as f64;
    assert!((parameters / 1.85 - 1.0).abs() < 0.03, "{parameters}");
    assert!((flops / 2.75 - 1.0).abs() < 0.03, "{flops}");
}

#[test]
fn sizes_of_one_family_differ_in_depth_and_width_only() {
    let rows = |name: &str| {
        let text = load(name, Block::Repvgg).description;
        text.lines().filter(|line| !line.contains("_multiple:")).map(str::to_owned).collect::<Vec<_>>()
    };
    for name in ["yolov5n", "yolov5m", "yolov5l", "yolov5x"] {
        assert_eq!(rows(name), rows("yolov5s"), "{name}");
    }
    for name in ["repyolov5p", "repyolov5n", "repyolov5m"] {
        assert_eq!(rows(name), rows("repyolov5s"), "{name}");
    }
}

#[test]
fn fused_rep_models_have_the_graph_of_their_plain_twins() {
    for block in [Block::Repvgg, Block::Qarepvgg] {
        for plain in ["yolov5n", "yolov5s", "yolov5m", "yolov3-spp", "yolov4"] {
            let rep = fused_graph(&load(&format!("rep{plain}"), block).graph).unwrap();
            assert_eq!(rep, fused_graph(&load(plain, block).graph).unwrap(), "{plain} {block:?}");
        }
    }
}

fn assert_folds(trained: &TrainedModel, what: &str) {
    let fused = fuse(trained).unwrap();
    assert!(!fused.architecture.has_batch_norm());
    assert_eq!(fused.architecture.graph, fused_graph(&trained.architecture.graph).unwrap(), "{what}");
    let errors = fuse_error(trained, &fused, 5).unwrap();
    assert_eq!(errors.len(), 9, "three groups of three outputs");
    assert!(largest(&errors) <= MAX_FUSE_ERROR, "{what}: {errors:#?}");
}

/// Few channels keep the structure and make the outputs of fifteen models affordable.
fn assert_every_model_folds(act: Activation, block: Block) {
    for name in MODEL_NAMES {
        let trained = narrow_model(name, &overrides(act, block), CLASSES, IMGSZ);
        let acts = || trained.architecture.graph.nodes.iter().filter(|node| matches!(node.op, Op::Act(_)));
        assert!(acts().count() > 5 && acts().all(|node| node.op == Op::Act(act)), "{name} {act:?}");
        assert_folds(&trained, &format!("{name} {act:?} {block:?}"));
    }
}

#[test]
fn every_model_folds_with_silu() {
    assert_every_model_folds(Activation::Silu, Block::Repvgg);
}

#[test]
fn every_model_folds_with_relu() {
    assert_every_model_folds(Activation::Relu, Block::Qarepvgg);
}

#[test]
fn every_model_folds_with_leaky_relu() {
    assert_every_model_folds(Activation::LeakyRelu, Block::Repvgg);
}

#[test]
fn every_model_folds_with_mish() {
    assert_every_model_folds(Activation::Mish, Block::Qarepvgg);
}

#[test]
fn models_fold_at_their_own_width() {
    for name in ["repyolov5m", "yolov5s-repvgg-a1", "v5lite-g"] {
        assert_folds(&random_model(name, &Overrides::default(), CLASSES, IMGSZ), name);
    }
}

/// arXiv 1908.08681: x·tanh(ln(1 + eˣ)), through the operators we write it with, far beyond where eˣ overflows.
#[test]
fn mish_is_the_papers_function_in_the_engine() {
    let mut graph = Graph::default();
    let image = graph.push("images", Op::Input { channels: 3 }, &[]);
    let mish = graph.push("mish", Op::Act(Activation::Mish), &[image]);
    graph.outputs = vec![mish];
    let side = 16;
    let bytes = onnx::write_graph(&graph, &Weights::default(), side).unwrap();
    let (input, outputs) = support::specs(&graph, side);
    let values: Vec<f32> = (0..3 * side * side).map(|at| at as f32 * 0.5 - 192.0).collect();
    let mut session = TractSession::from_onnx(&bytes, input.clone(), outputs.clone()).unwrap();
    let image = repedge::Tensor { data: TensorData::F32(values.clone()), ..repedge::Tensor::zeroed(&input) };
    let mut found = [repedge::Tensor::zeroed(&outputs[0])];
    session.run(&image, &mut found).unwrap();
    let TensorData::F32(found) = &found[0].data else { panic!("floats") };
    for (&x, &found) in values.iter().zip(found) {
        let x = f64::from(x);
        let expected = x * x.exp().ln_1p().tanh();
        let error = (f64::from(found) - expected).abs();
        assert!(error <= 2e-6 * expected.abs().max(1.0), "mish({x}) = {found}, not {expected}");
    }
}
