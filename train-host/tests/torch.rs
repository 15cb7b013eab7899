//! libtorch as the judge: fused graphs against their training form, rep models against the plain model they start
//! from, and libtorch against tract.

#![cfg(feature = "torch")]
#![allow(clippy::unwrap_used, reason = "a suite's helpers may panic")]

mod support;

use clap::ValueEnum;
use proptest::prelude::*;
use support::blocks::{BlockCase, block, cases};
use support::{narrow_model, random_model, random_weights, relative_error, run_graph};
use train_host::fuse::{MAX_FUSE_ERROR, fuse, fuse_graph};
use train_host::model::{
    Activation, Architecture, Attention, Block, Checkpoint, Conv, Graph, MODEL_NAMES, Op, Overrides,
    TrainedModel, Weights, warm_start,
};
use train_host::train::{Net, TorchSession};

const IMGSZ: usize = 64;
const CLASSES: usize = 3;
/// What the warm start may change in an output of libtorch.
const MAX_START_ERROR: f64 = 1e-5;

/// Evaluation-mode outputs in libtorch for noise drawn from `seed`.
fn torch(graph: &Graph, weights: &Weights, side_px: usize, seed: u64) -> Vec<Vec<f32>> {
    let (input, outputs) = support::specs(graph, side_px);
    let net = Net::on_cpu(graph, weights).unwrap();
    support::run(&mut TorchSession::new(&net, input, outputs), seed)
}

/// Largest error of each channel group (box, objectness, class) of each output, relative to the group's range.
fn group_errors(a: &[Vec<f32>], b: &[Vec<f32>]) -> Vec<f64> {
    let mut errors = Vec::new();
    for (level, (a, b)) in a.iter().zip(b).enumerate() {
        let cells = (IMGSZ >> (3 + level)).pow(2);
        for channels in [0..4, 4..5, 5..5 + CLASSES] {
            let pick = |values: &[f32]| -> Vec<f32> {
                let anchors = values.chunks_exact(cells * (5 + CLASSES));
                anchors
                    .flat_map(|anchor| &anchor[channels.start * cells..channels.end * cells])
                    .copied()
                    .collect()
            };
            errors.push(relative_error(&pick(a), &pick(b)));
        }
    }
    errors
}

#[test]
fn every_named_model_folds_within_the_bar_per_channel_group() {
    for name in MODEL_NAMES {
        for (act, form) in [(None, Block::Repvgg), (Some(Activation::Mish), Block::Qarepvgg)] {
            let trained = narrow_model(name, &Overrides { act, block: Some(form) }, CLASSES, IMGSZ);
            let fused = fuse(&trained).unwrap();
            let before = torch(&trained.architecture.graph, &trained.weights, IMGSZ, 5);
            let after = torch(&fused.architecture.graph, &fused.weights, IMGSZ, 5);
            let errors = group_errors(&before, &after);
            assert_eq!(errors.len(), 9);
            assert!(errors.iter().all(|&e| e <= MAX_FUSE_ERROR), "{name} {form:?}: {errors:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fused_block_has_the_outputs_of_its_training_form(case in cases()) {
        let graph = block(&case);
        let weights = random_weights(&graph, case.seed);
        let (fused, fused_weights) = fuse_graph(&graph, &weights).unwrap();
        let BlockCase { side_px, seed, .. } = case;
        let before = torch(&graph, &weights, side_px, seed);
        let after = torch(&fused, &fused_weights, side_px, seed);
        let error = relative_error(&before[0], &after[0]);
        prop_assert!(error <= MAX_FUSE_ERROR, "{error:e}");
    }
}

#[test]
fn rep_models_start_with_the_function_of_the_plain_model() {
    for (plain, rep) in [("yolov5n", "repyolov5n"), ("yolov5s", "repyolov5s")] {
        let source = random_model(plain, &Overrides::default(), CLASSES, IMGSZ);
        let expected = torch(&source.architecture.graph, &source.weights, IMGSZ, 3);
        let source = Checkpoint::Trained(source);
        for form in [Block::Repvgg, Block::Qarepvgg] {
            let overrides = Overrides { act: None, block: Some(form) };
            let target = Architecture::load(rep, &overrides, &source.architecture().head.classes).unwrap();
            let (weights, _) = warm_start::transfer(&source, &target, 1).unwrap();
            for (a, b) in expected.iter().zip(torch(&target.graph, &weights, IMGSZ, 3)) {
                let error = relative_error(a, &b);
                assert!(error <= MAX_START_ERROR, "{rep} {form:?}: {error:e}");
            }
        }
    }
}

#[test]
fn libtorch_and_tract_agree_on_a_training_form() {
    let every_act = Activation::value_variants().iter().map(|&act| Overrides { act: Some(act), block: None });
    let mut models = vec![random_model("repyolov5s-lite", &Overrides::default(), CLASSES, IMGSZ)];
    models.extend(every_act.map(|overrides| narrow_model("repyolov4", &overrides, CLASSES, IMGSZ)));
    for TrainedModel { architecture, weights, .. } in models {
        let expected = run_graph(&architecture.graph, &weights, IMGSZ, 9);
        for (a, b) in expected.iter().zip(torch(&architecture.graph, &weights, IMGSZ, 9)) {
            let error = relative_error(a, &b);
            assert!(error <= 1e-4, "{} {error:e}", architecture.description);
        }
    }
}

#[test]
fn libtorch_and_tract_agree_on_attention_and_depthwise_convolutions() {
    let mut graph = Graph::default();
    let image = graph.push("image", Op::Input { channels: 3 }, &[]);
    let wide = Conv { cin: 3, cout: 24, kernel: 3, stride: 2, pad: 1, dilation: 1, groups: 1, bias: true };
    let wide = graph.push("wide", Op::Conv(wide), &[image]);
    let tail = graph.push("tail", Op::Slice { start: 4, len: 20 }, &[wide]);
    let attention = Attention { heads: 2, key_dim: 3, head_dim: 4 };
    let sums = graph.push("sums", Op::Attention(attention), &[tail]);
    let depthwise =
        Conv { cin: 8, cout: 8, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 8, bias: true };
    graph.outputs = vec![graph.push("depthwise", Op::Conv(depthwise), &[sums])];
    let weights = random_weights(&graph, 4);
    let (expected, found) = (run_graph(&graph, &weights, 16, 9), torch(&graph, &weights, 16, 9));
    let error = relative_error(&expected[0], &found[0]);
    assert!(error <= 1e-4, "{error:e}");
}
