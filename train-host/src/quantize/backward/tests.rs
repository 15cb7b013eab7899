use super::*;
use crate::model::Attention;
use crate::model::reference::{self, Plane as Exact};

/// Pseudo-random values in −1..1.
fn noise(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}

/// A graph that ends in `ops`, each reading the one before, behind a 1×1 convolution of 4 channels: so that the first
/// of them is not the image.
fn chain(ops: &[Op]) -> (Graph, Weights) {
    let mut graph = Graph::default();
    let image = graph.push("image", Op::Input { channels: 4 }, &[]);
    let first = Conv { cin: 4, cout: 4, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let mut last = graph.push("first", Op::Conv(first), &[image]);
    for (at, op) in ops.iter().enumerate() {
        last = graph.push(format!("n{at}"), *op, &[last]);
    }
    graph.outputs = vec![last];
    let weights = weights(&graph);
    (graph, weights)
}

fn weights(graph: &Graph) -> Weights {
    let mut weights = Weights::default();
    for (id, node) in graph.nodes.iter().enumerate() {
        let Op::Conv(conv) = node.op else { continue };
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        let seed = u32::try_from(id).unwrap();
        weights.insert(format!("{}.weight", node.name), &shape, noise(shape.iter().product(), seed + 1));
        weights.insert(format!("{}.bias", node.name), &[conv.cout], noise(conv.cout, seed + 100));
    }
    weights
}

/// Derivatives of the outputs' weighted sum by the result of `node`, traced back and by finite differences.
fn both(graph: &Graph, weights: &Weights, node: NodeId) -> [Vec<f64>; 2] {
    let side = 8;
    let shapes = graph.shapes(side, side).unwrap();
    // `node` becomes the image of a graph of its own, so that it can be changed.
    let mut rest = graph.clone();
    rest.nodes[node].op = Op::Input { channels: shapes[node][0] };
    rest.nodes[node].inputs.clear();
    rest.nodes.drain(..node);
    for later in &mut rest.nodes {
        later.inputs.iter_mut().for_each(|input| *input -= node);
    }
    rest.outputs.iter_mut().for_each(|output| *output -= node);
    let all: Vec<NodeId> = (0..rest.nodes.len()).collect();
    let start = Exact {
        shape: shapes[node],
        data: noise(shapes[node].iter().product(), 7).into_iter().map(f64::from).collect(),
    };
    let observed = Graph { outputs: all, ..rest.clone() };
    let results = reference::run(&observed, weights, &start);
    #[expect(clippy::cast_possible_truncation, reason = "values are compared as f32")]
    let values: Vec<Plane> =
        results.iter().map(|plane| plane.data.iter().map(|&value| value as f32).collect()).collect();
    let seeds: Vec<Plane> = rest.outputs.iter().map(|&id| noise(values[id].len(), 11)).collect();
    let rest_shapes = &shapes[node..];
    let mut found = BTreeMap::new();
    Trace::of(&rest, weights, rest_shapes)
        .run(&values, seeds.clone(), |id, derivatives| {
            found.insert(id, derivatives.to_vec());
            Ok(())
        })
        .unwrap();
    let sum = |start: &Exact| -> f64 {
        let outputs = reference::run(&rest, weights, start);
        let pairs = outputs.iter().zip(&seeds);
        pairs.flat_map(|(plane, seed)| plane.data.iter().zip(seed)).map(|(a, &b)| a * f64::from(b)).sum()
    };
    let step = 1e-5;
    let numeric = (0..start.data.len()).map(|at| {
        let moved = |by: f64| {
            let mut moved = start.clone();
            moved.data[at] += by;
            sum(&moved)
        };
        (moved(step) - moved(-step)) / (2.0 * step)
    });
    let traced = found.get(&0).map(|values| values.iter().copied().map(f64::from).collect());
    [traced.unwrap_or_default(), numeric.collect()]
}

fn assert_same(what: &str, [traced, numeric]: [Vec<f64>; 2]) {
    assert_eq!(traced.len(), numeric.len(), "{what}");
    let most = numeric.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(most > 1e-3, "{what}: nothing to trace");
    for (a, b) in traced.iter().zip(&numeric) {
        assert!((a - b).abs() < 1e-3 * most, "{what}: {a} and {b}");
    }
}

#[test]
fn derivatives_are_those_of_finite_differences() {
    let conv = Conv { cin: 4, cout: 6, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 1, bias: true };
    let chains: [&[Op]; 9] = [
        &[Op::Conv(conv)],
        &[Op::Conv(Conv { stride: 2, ..conv })],
        &[Op::Conv(Conv { stride: 3, pad: 0, kernel: 2, ..conv })],
        &[Op::Conv(Conv { groups: 2, dilation: 2, pad: 2, ..conv })],
        &[Op::Conv(Conv { kernel: 1, pad: 2, ..conv })],
        &[Op::Act(Activation::Silu), Op::MaxPool { kernel: 5, stride: 1, pad: 2 }],
        &[Op::Act(Activation::Mish), Op::MaxPool { kernel: 2, stride: 2, pad: 0 }],
        &[Op::Act(Activation::LeakyRelu), Op::SpaceToDepth, Op::Slice { start: 3, len: 9 }],
        &[Op::Act(Activation::Relu), Op::Upsample { factor: 2 }],
    ];
    for ops in chains {
        // Behind one more operator, as convolutions that read an image are not traced through.
        let (graph, weights) = chain(&[&[Op::Act(Activation::Silu)], ops].concat());
        assert_same(&format!("{ops:?}"), both(&graph, &weights, 1));
    }
}

#[test]
fn what_several_read_gets_the_sum_of_all() {
    let (mut graph, _) = chain(&[Op::Act(Activation::Silu)]);
    let sum = graph.push("sum", Op::Add, &[1, 2]);
    let cat = graph.push("cat", Op::Concat, &[2, sum, 1]);
    let conv = Conv { cin: 12, cout: 3, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let end = graph.push("end", Op::Conv(conv), &[cat]);
    graph.outputs = vec![end, sum];
    assert_same("sums", both(&graph, &weights(&graph), 1));
}

#[test]
fn attention_asks_for_as_much_as_it_gives() {
    let attention = Attention { heads: 1, key_dim: 1, head_dim: 2 };
    let (graph, weights) = chain(&[Op::Attention(attention)]);
    let shapes = graph.shapes(2, 2).unwrap();
    let values: Vec<Plane> = shapes.iter().map(|shape| vec![0.5; shape.iter().product()]).collect();
    let seeds = vec![vec![2.0, -2.0, 2.0, 2.0, 2.0, -2.0, 2.0, 2.0]];
    let mut found = Vec::new();
    Trace::of(&graph, &weights, &shapes)
        .run(&values, seeds, |id, derivatives| {
            found.push((id, derivatives.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(found[1], (1, vec![2.0; 16]));
}
