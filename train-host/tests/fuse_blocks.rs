//! Random blocks: every geometry and branch set that can be folded, training form against fused form in tract.

mod support;

use proptest::prelude::*;
use support::blocks::{BlockCase, EPS, block, cases};
use support::{random_weights, relative_error, run_graph};
use train_host::fuse::{MAX_FUSE_ERROR, fuse_graph};
use train_host::model::{Activation, Conv, Graph, Op};

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn fused_block_is_one_convolution_with_the_same_outputs(case in cases()) {
        let graph = block(&case);
        let weights = random_weights(&graph, case.seed);
        let (fused, fused_weights) = fuse_graph(&graph, &weights).unwrap();

        let names: Vec<&str> = fused.nodes.iter().map(|node| node.name.as_str()).collect();
        prop_assert_eq!(names, ["image", "stem", "b.conv"]);
        let BlockCase { cin, cout, stride, dilation, groups, .. } = case;
        let expected = Conv { cin, cout, kernel: 3, stride, pad: dilation, dilation, groups, bias: true };
        prop_assert_eq!(fused.nodes[2].op, Op::Conv(expected));

        let before = run_graph(&graph, &weights, case.side_px, case.seed);
        let after = run_graph(&fused, &fused_weights, case.side_px, case.seed);
        let error = relative_error(&before[0], &after[0]);
        prop_assert!(error <= MAX_FUSE_ERROR, "{error:e}");
    }
}

/// Input, `ops` in a row, the last one the output.
fn chain(ops: &[(&str, Op)]) -> Graph {
    let mut graph = Graph::default();
    let mut last = graph.push("image", Op::Input { channels: 3 }, &[]);
    for (name, op) in ops {
        last = graph.push(*name, *op, &[last]);
    }
    graph.outputs = vec![last];
    graph
}

fn conv(kernel: usize) -> Op {
    let pad = kernel / 2;
    Op::Conv(Conv { cin: 3, cout: 3, kernel, stride: 1, pad, dilation: 1, groups: 1, bias: false })
}

const NORM: Op = Op::BatchNorm { channels: 3, eps: EPS };

fn names(graph: &Graph) -> Vec<&str> {
    graph.nodes.iter().map(|node| node.name.as_str()).collect()
}

#[test]
fn shortcut_around_an_activation_stays() {
    let mut graph =
        chain(&[("cv1.conv", conv(1)), ("cv2.conv", conv(3)), ("cv2.act", Op::Act(Activation::Silu))]);
    let sum = graph.push("add", Op::Add, &[1, 3]);
    graph.outputs = vec![sum];
    let (fused, _) = fuse_graph(&graph, &random_weights(&graph, 1)).unwrap();
    assert_eq!(names(&fused), names(&graph));
    assert_eq!(fused.nodes[4].op, Op::Add);
}

#[test]
fn convolution_read_twice_keeps_its_batch_norm_and_is_named() {
    let mut graph = chain(&[("conv", conv(3)), ("lonely.bn", NORM)]);
    let sum = graph.push("cat", Op::Concat, &[1, 2]);
    graph.outputs = vec![sum];
    let error = fuse_graph(&graph, &random_weights(&graph, 1)).unwrap_err().to_string();
    assert!(error.contains("\"lonely.bn\" cannot be folded"), "{error}");
}

#[test]
fn convolution_that_is_an_output_itself_keeps_its_meaning() {
    let mut graph = chain(&[("conv", conv(3)), ("bn", NORM)]);
    graph.outputs = vec![1, 2];
    assert!(fuse_graph(&graph, &random_weights(&graph, 1)).is_err());
}

#[test]
fn kernels_of_several_sizes_merge_where_their_taps_meet() {
    let square = |kernel, pad, dilation| {
        Op::Conv(Conv { cin: 3, cout: 3, kernel, stride: 1, pad, dilation, groups: 1, bias: true })
    };
    let mut graph = Graph::default();
    let image = graph.push("image", Op::Input { channels: 3 }, &[]);
    let kernels = [("three", 3, 1, 1), ("five", 5, 2, 1), ("dilated", 3, 2, 2), ("one", 1, 0, 3)];
    let branches = kernels
        .map(|(name, kernel, pad, dilation)| graph.push(name, square(kernel, pad, dilation), &[image]));
    let sum = graph.push("add", Op::Add, &branches);
    graph.outputs = vec![sum];
    let weights = random_weights(&graph, 5);
    let (fused, fused_weights) = fuse_graph(&graph, &weights).unwrap();
    assert_eq!(names(&fused), ["image", "conv"]);
    assert_eq!(fused.nodes[1].op, square(5, 2, 1));
    let before = run_graph(&graph, &weights, 9, 5);
    let after = run_graph(&fused, &fused_weights, 9, 5);
    let error = relative_error(&before[0], &after[0]);
    assert!(error <= MAX_FUSE_ERROR, "{error:e}");
}

#[test]
fn branches_of_other_groups_or_stride_are_not_merged() {
    let wide =
        Op::Conv(Conv { cin: 3, cout: 3, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 3, bias: true });
    let mut graph = Graph::default();
    let image = graph.push("image", Op::Input { channels: 3 }, &[]);
    let (a, b) = (graph.push("a", conv(3), &[image]), graph.push("b", wide, &[image]));
    let sum = graph.push("add", Op::Add, &[a, b]);
    graph.outputs = vec![sum];
    let weights = random_weights(&graph, 3);
    let (fused, fused_weights) = fuse_graph(&graph, &weights).unwrap();
    assert_eq!(names(&fused), ["image", "a", "b", "add"]);
    let error =
        relative_error(&run_graph(&graph, &weights, 8, 3)[0], &run_graph(&fused, &fused_weights, 8, 3)[0]);
    assert!(error <= MAX_FUSE_ERROR, "{error:e}");
}

#[test]
fn nothing_an_output_depends_on_is_dropped() {
    let mut graph = chain(&[("conv", conv(3)), ("bn", NORM)]);
    graph.push("unused", conv(1), &[2]);
    let (fused, weights) = fuse_graph(&graph, &random_weights(&graph, 1)).unwrap();
    assert_eq!(names(&fused), ["image", "conv"]);
    assert_eq!(
        weights.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
        ["conv.bias", "conv.weight"]
    );
}

#[test]
fn negative_variance_is_an_error_that_names_the_layer() {
    let graph = chain(&[("conv", conv(3)), ("bn", NORM)]);
    let mut weights = random_weights(&graph, 1);
    weights.insert("bn.running_var", &[3], vec![1.0, -5.0, 1.0]);
    let error = fuse_graph(&graph, &weights).unwrap_err().to_string();
    assert!(error.contains("\"conv\""), "{error}");
}

#[test]
fn missing_or_misshapen_weight_is_an_error() {
    let graph = chain(&[("conv", conv(3)), ("bn", NORM)]);
    let mut weights = random_weights(&graph, 1);
    weights.insert("conv.weight", &[3, 3, 1, 1], vec![0.0; 9]);
    assert!(fuse_graph(&graph, &weights).unwrap_err().to_string().contains("conv.weight"));
    assert!(fuse_graph(&graph, &Default::default()).is_err());
}
