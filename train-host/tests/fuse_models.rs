//! Folded models: the plain node list, a bias everywhere, the same bytes again. Their outputs are for `variants`.

mod support;

use support::random_model;
use train_host::export::onnx;
use train_host::fuse::{ChannelGroup, MAX_FUSE_ERROR, fuse, fuse_error};
use train_host::model::{Block, Op, Overrides, complexity};

const IMGSZ: usize = 64;

#[test]
fn fused_rep_models_are_the_plain_models_node_by_node() {
    for (plain, rep) in [("yolov5n", "repyolov5n"), ("yolov5s", "repyolov5s")] {
        for block in [Block::Repvgg, Block::Qarepvgg] {
            let overrides = Overrides { act: None, block: Some(block) };
            let plain = fuse(&random_model(plain, &overrides, 80, IMGSZ)).unwrap();
            let rep = fuse(&random_model(rep, &overrides, 80, IMGSZ)).unwrap();
            assert_eq!(rep.architecture.graph, plain.architecture.graph);
            let shapes = |model: &train_host::model::FusedModel| -> Vec<_> {
                model.weights.iter().map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
            };
            assert_eq!(shapes(&rep), shapes(&plain));
        }
    }
}

#[test]
fn every_convolution_of_a_fused_model_has_a_bias_and_every_weight_a_node() {
    let fused = fuse(&random_model("repyolov5s-lite", &Overrides::default(), 3, IMGSZ)).unwrap();
    let graph = &fused.architecture.graph;
    assert!(graph.nodes.iter().all(|node| !matches!(node.op, Op::Conv(conv) if !conv.bias)));
    assert_eq!(graph.weight_specs().len(), fused.weights.len());
    assert!(graph.nodes.iter().any(|node| node.op == Op::Add), "C3 shortcuts stay");
    let trained = random_model("repyolov5s-lite", &Overrides::default(), 3, IMGSZ);
    let parameters = |graph| complexity::count(graph, IMGSZ).unwrap().parameters;
    assert!(parameters(graph) < parameters(&trained.architecture.graph));
}

#[test]
fn same_model_gives_the_same_onnx_bytes() {
    let trained = random_model("repyolov5n", &Overrides::default(), 3, IMGSZ);
    let write = || onnx::write(&fuse(&trained).unwrap()).unwrap();
    assert_eq!(write(), write());
}

#[test]
fn image_size_that_does_not_fit_is_an_error() {
    let mut fused = fuse(&random_model("yolov5n", &Overrides::default(), 3, IMGSZ)).unwrap();
    fused.imgsz = 100;
    assert!(onnx::write(&fused).unwrap_err().to_string().contains("100"));
}

#[test]
fn error_of_one_group_is_seen_in_that_group_alone() {
    let trained = random_model("repyolov5n", &Overrides::default(), 3, IMGSZ);
    let mut fused = fuse(&trained).unwrap();
    let output = &fused.architecture.graph.nodes[fused.architecture.graph.outputs[1]].name;
    let name = format!("{output}.bias");
    let mut bias = fused.weights.get(&name).unwrap().data.clone();
    bias[4] += 0.5;
    fused.weights.insert(&name, &[bias.len()], bias.clone());
    let errors = fuse_error(&trained, &fused, 5).unwrap();
    let beyond: Vec<_> = errors.iter().filter(|error| error.relative > MAX_FUSE_ERROR).collect();
    assert_eq!(beyond.len(), 1, "{errors:#?}");
    assert_eq!((beyond[0].output.as_str(), beyond[0].group), ("p4", ChannelGroup::Objectness));
}
