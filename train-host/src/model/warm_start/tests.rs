use super::*;
use crate::model::reference::{Plane, relative_difference, run, scrambled_weights, without_batch_norms};
use crate::model::{Block, FusedModel, Overrides, TrainedModel};

const SIDE_PX: usize = 64;

/// Two rows of every kind of convolution: stride 2 and 1, groups, dilation, with and without an identity branch.
fn small(conv: &str, c3: &str) -> String {
    format!(
        "nc: 2\ndepth_multiple: 1.0\nwidth_multiple: 1.0\nanchors:\n  - [10, 13, 16, 30]\n  - [30, 61, 62, 45]\nbackbone:
  - [-1, 1, Conv, [16, 6, 2, 2]]
  - [-1, 1, {conv}, [16, 3, 1, 1, 4]]
  - [-1, 1, {conv}, [16, 3, 1, 2, 1, 2]]
  - [-1, 2, {c3}, [16]]
  - [-1, 1, {conv}, [32, 3, 2]]
  - [-1, 1, SPPF, [32, 5]]
head:
  - [-1, 1, nn.Upsample, [None, 2, nearest]]
  - [[-1, 3], 1, Concat, [1]]
  - [-1, 1, {c3}, [16, False]]
  - [-1, 1, {conv}, [32, 3, 2]]
  - [[8, 9], 1, Detect, [nc, anchors]]\n"
    )
}

fn classes(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn plain(names: &[&str]) -> Architecture {
    Architecture::parse("plain", &small("Conv", "C3"), &Overrides::default(), &classes(names)).unwrap()
}

fn rep(block: Block, names: &[&str]) -> Architecture {
    let overrides = Overrides { block: Some(block), act: None };
    Architecture::parse("rep", &small("RepConv", "C3Rep"), &overrides, &classes(names)).unwrap()
}

fn trained(architecture: Architecture, seed: u64) -> Checkpoint {
    let weights = scrambled_weights(&architecture, seed);
    Checkpoint::Trained(TrainedModel { architecture, weights, imgsz: SIDE_PX })
}

fn image() -> Plane {
    Plane::fill([3, SIDE_PX, SIDE_PX], |c, y, x| ((c * 31 + y * 17 + x * 7) % 29) as f64 / 29.0)
}

fn outputs(architecture: &Architecture, weights: &Weights) -> Vec<Plane> {
    run(&architecture.graph, weights, &image())
}

#[test]
fn plain_weights_keep_their_function_in_both_block_forms() {
    let source = trained(plain(&["a", "b"]), 1);
    let expected = outputs(source.architecture(), source.weights());
    for block in [Block::Repvgg, Block::Qarepvgg] {
        let target = rep(block, &["a", "b"]);
        let (weights, report) = transfer(&source, &target, 7).unwrap();
        let difference = relative_difference(&expected, &outputs(&target, &weights));
        assert!(difference < 1e-5, "{block:?}: {difference}");
        assert!(report.reinitialized.is_empty() && report.notes.is_empty(), "{report:?}");
        assert_eq!(report.derived.len(), 7, "{report:?}");
    }
}

#[test]
fn named_plain_model_keeps_its_function_in_its_rep_twin() {
    let names = ["a", "b", "c"];
    let plain = Architecture::load("yolov5n", &Overrides::default(), &classes(&names)).unwrap();
    let source = trained(plain, 3);
    let expected = outputs(source.architecture(), source.weights());
    for block in [Block::Repvgg, Block::Qarepvgg] {
        let overrides = Overrides { block: Some(block), act: None };
        let target = Architecture::load("repyolov5n", &overrides, &classes(&names)).unwrap();
        let (weights, _) = transfer(&source, &target, 7).unwrap();
        let difference = relative_difference(&expected, &outputs(&target, &weights));
        assert!(difference < 1e-5, "{block:?}: {difference}");
    }
}

#[test]
fn fused_weights_keep_their_function_in_plain_and_rep_layers() {
    let mut architecture = plain(&["a", "b"]);
    architecture.graph = without_batch_norms(&architecture.graph);
    let weights = scrambled_weights(&architecture, 5);
    let expected = outputs(&architecture, &weights);
    let source = Checkpoint::Fused(FusedModel { architecture, weights, imgsz: SIDE_PX });
    for target in [plain(&["a", "b"]), rep(Block::Repvgg, &["a", "b"]), rep(Block::Qarepvgg, &["a", "b"])] {
        let (weights, report) = transfer(&source, &target, 7).unwrap();
        let difference = relative_difference(&expected, &outputs(&target, &weights));
        assert!(difference < 1e-5, "{}: {difference}", target.description);
        assert!(report.reinitialized.is_empty(), "{report:?}");
    }
}

#[test]
fn same_form_is_copied_whole() {
    for architecture in [plain(&["a"]), rep(Block::Repvgg, &["a"]), rep(Block::Qarepvgg, &["a"])] {
        let source = trained(architecture.clone(), 9);
        let (weights, report) = transfer(&source, &architecture, 7).unwrap();
        assert_eq!(&weights, source.weights());
        assert!(report.derived.is_empty() && report.reinitialized.is_empty(), "{report:?}");
    }
}

#[test]
fn other_classes_keep_boxes_and_shared_names() {
    let source = trained(plain(&["cat", "dog"]), 2);
    let target = plain(&["dog", "owl", "cat"]);
    let (weights, report) = transfer(&source, &target, 7).unwrap();
    let fresh = initial_weights(&target, 7);
    let bias = |weights: &Weights| weights.get("model.10.m.0.bias").unwrap().data.clone();
    let (old, new, initial) = (bias(source.weights()), bias(&weights), bias(&fresh));
    for anchor in 0..2 {
        let (from, to) = (anchor * 7, anchor * 8);
        assert_eq!(new[to..to + 5], old[from..from + 5]);
        assert_eq!(new[to + 5], old[from + 6], "dog");
        assert_eq!(new[to + 6], initial[to + 6], "owl");
        assert_eq!(new[to + 7], old[from + 5], "cat");
    }
    assert_eq!(report.reinitialized, ["model.10.m.0 class \"owl\"", "model.10.m.1 class \"owl\""]);
}

#[test]
fn equally_many_other_classes_count_as_renamed() {
    let source = trained(plain(&["cat", "dog"]), 2);
    let (weights, report) = transfer(&source, &plain(&["Katze", "Hund"]), 7).unwrap();
    assert_eq!(&weights, source.weights());
    assert_eq!(report.notes.len(), 1, "{report:?}");
}

#[test]
fn another_eps_keeps_the_function() {
    let mut architecture = plain(&["a"]);
    for node in &mut architecture.graph.nodes {
        if let Op::BatchNorm { eps, .. } = &mut node.op {
            *eps = 1e-1;
        }
    }
    let source = trained(architecture, 4);
    let expected = outputs(source.architecture(), source.weights());
    for target in [plain(&["a"]), rep(Block::Qarepvgg, &["a"])] {
        let (weights, _) = transfer(&source, &target, 7).unwrap();
        assert!(relative_difference(&expected, &outputs(&target, &weights)) < 1e-5);
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let names = ["a"];
    let load = |name: &str| Architecture::load(name, &Overrides::default(), &classes(&names)).unwrap();
    let wider = transfer(&trained(load("yolov5n"), 1), &load("repyolov5s"), 7).unwrap_err().to_string();
    assert!(wider.contains("model.0") && wider.contains("width"), "{wider}");
    let other_block = transfer(&trained(rep(Block::Repvgg, &names), 1), &rep(Block::Qarepvgg, &names), 7)
        .unwrap_err()
        .to_string();
    assert!(other_block.contains("model.1") && other_block.contains("fuse"), "{other_block}");
}

#[test]
fn differences_that_change_the_function_are_noted() {
    let source = trained(plain(&["a"]), 1);
    let overrides = Overrides { act: Some(Activation::Relu), block: None };
    let target = Architecture::parse("relu", &small("Conv", "C3"), &overrides, &classes(&["a"])).unwrap();
    let (_, report) = transfer(&source, &target, 7).unwrap();
    assert!(report.notes[0].contains("Relu"), "{report:?}");
}
