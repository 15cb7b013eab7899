//! Activations that read what no convolution gives: a sum, channels of a tensor, a pool, a concatenation, or another activation.
//! Imported models have such; each is an operator of its own, over stored values.

use train_host::quantize::file;

use super::*;

/// Channels where the stem of the attention model ends.
const CHANNELS: usize = 32;

/// A detector in which every operator but a convolution has an activation behind it.
fn model(act: Activation) -> FusedModel {
    let mut model = attention_model(IMGSZ);
    let outputs = 3 * (5 + model.architecture.head.classes.len());
    let graph = &mut model.architecture.graph;
    let stem = graph.nodes.iter().position(|node| node.name == "stem.2.act").unwrap();
    graph.nodes.truncate(stem + 1);
    let conv = |cin: usize, cout: usize| {
        Op::Conv(Conv { cin, cout, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true })
    };
    // Convolutions without activations between, so that what each reads is of either sign.
    let halves = ["a", "b"].map(|name| graph.push(name, conv(CHANNELS, CHANNELS), &[stem]));
    let sum = graph.push("sum", Op::Add, &halves);
    let sum = graph.push("sum.act", Op::Act(act), &[sum]);
    let whole = graph.push("c", conv(CHANNELS, CHANNELS), &[sum]);
    let part = graph.push("part", Op::Slice { start: CHANNELS / 2, len: CHANNELS / 2 }, &[whole]);
    let part = graph.push("part.act", Op::Act(act), &[part]);
    let pooled = graph.push("d", conv(CHANNELS / 2, CHANNELS), &[part]);
    let pooled = graph.push("pool", Op::MaxPool { kernel: 3, stride: 1, pad: 1 }, &[pooled]);
    let pooled = graph.push("pool.act", Op::Act(act), &[pooled]);
    let halves = ["e", "f"].map(|name| graph.push(name, conv(CHANNELS, CHANNELS), &[pooled]));
    let joined = graph.push("joined", Op::Concat, &halves);
    let joined = graph.push("joined.act", Op::Act(act), &[joined]);
    let again = graph.push("again.act", Op::Act(act), &[joined]);
    let raw = graph.push("raw", conv(2 * CHANNELS, outputs), &[again]);
    graph.outputs = vec![raw];
    model.weights = support::random_weights(graph, 7);
    model
}

#[test]
fn an_activation_behind_any_operator_is_computed_from_stored_values() {
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let path = folder.path().join("q.safetensors");
    for act in [Activation::Relu, Activation::Silu, Activation::LeakyRelu] {
        let model = model(act);
        let observed = observe(&model, &images).unwrap();
        for rules in RULES {
            let int8 = quantize(&model, &observed, &plan(Method::Mse, rules)).unwrap();
            assert!(int8.scheme.floats.is_empty(), "{:?}", int8.scheme.floats);
            let mut session = export::quantized_session(&int8).unwrap();
            let arithmetic = session.arithmetic();
            assert!(
                arithmetic.float_convs.is_empty() && arithmetic.float_others.is_empty(),
                "{arithmetic:?}"
            );
            assert_is_reference(&int8, &mut session, 5);
            assert_layers_are_reference(&int8);
            file::save(&path, &int8).unwrap();
            assert_eq!(file::load(&path).unwrap(), int8);
        }
    }
}

#[test]
fn what_an_activation_clips_of_a_sum_has_room_in_the_sum() {
    let folder = tempfile::tempdir().unwrap();
    let model = model(Activation::Relu);
    let observed = observe(&model, &images(folder.path(), IMGSZ)).unwrap();
    let int8 = quantize(&model, &observed, &plan(Method::MinMax, RULES[0])).unwrap();
    let graph = &int8.architecture.graph;
    let of = |name: &str| graph.nodes.iter().position(|node| node.name == name).unwrap();
    let least = |name: &str| repedge::int8::dequantize(i8::MIN, int8.scheme.tensors[of(name)].unwrap());
    for name in ["sum", "pool", "joined"] {
        assert!(least(name) < 0.0, "{name}: others may read it, and engines store it as it is");
    }
    assert_eq!(least("sum.act"), 0.0);
}
