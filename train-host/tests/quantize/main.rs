//! Quantized models against the integer reference: what tract computes is the reference bit for bit, whatever the
//! activation, the board's rules and the method. In `activations`: those that stand behind no convolution; in `files`: files come back as they were; in `bad_input`: what cannot be
//! quantized has a name; in `memory`: images pass one by one.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod activations;
mod bad_input;
mod files;
mod memory;
mod spread;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use artifact::{Quant, TensorData};
use boards::{Between, Int8, Outputs, Scales};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use support::attention::attention_model;
use support::calibration::{Calibrated, calibrated, fused, images, outputs, pixels};
use train_host::Error;
use train_host::export::{self, qdq};
use train_host::fuse::ChannelGroup;
use train_host::model::{Activation, Architecture, Boxes, Conv, FusedModel, Graph, Op, Weights};
use train_host::quantize::{
    Calibration, Int8Kernel, Method, Origin, Plan, QuantizedModel, Recipe, Scheme, Switch, observe, quantize,
    run, run_integer, sole_activation, unquantizable,
};

const IMGSZ: usize = 64;

const RULES: [Int8; 3] = [
    Int8 { concat: Scales::Own, add: Scales::Own, activation: Between::Fused, outputs: Outputs::Stored },
    Int8 {
        concat: Scales::Shared,
        add: Scales::Shared,
        activation: Between::Fused,
        outputs: Outputs::Stored,
    },
    Int8 { concat: Scales::Own, add: Scales::Own, activation: Between::Stored, outputs: Outputs::Stored },
];

fn plan(method: Method, rules: Int8) -> Plan {
    Plan { method, rules, kept: BTreeMap::new() }
}

fn message(error: Error) -> String {
    error.to_string()
}

fn quantized(from: &Calibrated, rules: Int8) -> QuantizedModel {
    quantize(&from.model, &from.observed, &plan(Method::Mse, rules)).unwrap()
}

/// Compares every output of `session` with the reference, bit for bit.
fn assert_is_reference(model: &QuantizedModel, session: &mut TractSession, seed: u64) {
    let image = pixels(model.imgsz, seed);
    let expected = run_integer(model, &image).unwrap();
    let found = outputs(session, &image);
    let mut varied = 0;
    for (&id, tensor) in model.architecture.graph.outputs.iter().zip(&found) {
        let expected = expected[id].as_ref().unwrap();
        assert_eq!(tensor.quant, Some(expected.quant));
        let TensorData::I8(values) = &tensor.data else { panic!("{:?}", tensor.data) };
        let different = values.iter().zip(&expected.data).filter(|(a, b)| a != b).count();
        assert_eq!(different, 0, "of {} values of {}", values.len(), model.architecture.graph.nodes[id].name);
        let distinct: std::collections::BTreeSet<_> = values.iter().collect();
        varied += usize::from(distinct.len() > 8);
    }
    assert!(varied > found.len() / 2, "{varied} of {} outputs vary: silence proves nothing", found.len());
}

/// Compares every tensor that is stored between two operators with the reference.
fn assert_layers_are_reference(model: &QuantizedModel) {
    let mut model = model.clone();
    let graph = &model.architecture.graph;
    let users = graph.users();
    // What a Relu clips away from a convolution is stored in no file.
    let stored =
        |&id: &usize| model.scheme.tensors[id].is_some() && sole_activation(graph, &users, id).is_none();
    model.architecture.graph.outputs = (1..graph.nodes.len()).filter(stored).collect();
    let (bytes, specs) = qdq::write_stored(&model).unwrap();
    assert_is_reference(&model, &mut TractSession::from_onnx(&bytes, specs.input, specs.outputs).unwrap(), 6);
}

#[test]
fn tract_computes_the_reference_with_every_activation_and_rule() {
    for (name, act) in [
        ("yolov5n", Activation::Silu),
        ("repyolov5n", Activation::Relu),
        ("repyolov5n", Activation::LeakyRelu),
        ("yolov5n", Activation::Mish),
    ] {
        let calibrated = calibrated(name, act, IMGSZ);
        for rules in RULES {
            let model = quantized(&calibrated, rules);
            let mut session = export::quantized_session(&model).unwrap();
            assert_is_reference(&model, &mut session, 5);
            assert_layers_are_reference(&model);
            let convs = model.architecture.graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_)));
            let arithmetic = session.arithmetic();
            assert_eq!(arithmetic.int8_convs.len(), convs.count(), "{name} {act:?} {rules:?}");
            assert!(
                arithmetic.float_convs.is_empty() && arithmetic.float_others.is_empty(),
                "{arithmetic:?}"
            );
            assert_eq!(model.macs().unwrap().share(), 1.0);
        }
    }
}

/// Bins of each side's distribution in a split head.
const BINS: usize = 8;

/// `model` with the head of YOLOv8 in place of YOLOv5's: for each level distances to a box's sides, and scores.
fn with_split_head(mut model: FusedModel) -> FusedModel {
    let Architecture { graph, head, .. } = &mut model.architecture;
    let raws = graph.nodes.split_off(graph.nodes.len() - graph.outputs.len());
    graph.outputs.clear();
    for raw in raws {
        let Op::Conv(conv) = raw.op else { panic!("{raw:?}") };
        for (part, cout) in [("box", 4 * BINS), ("cls", head.classes.len())] {
            let conv = Conv { cout, ..conv };
            let id = graph.push(format!("{}.{part}", raw.name), Op::Conv(conv), &raw.inputs);
            graph.outputs.push(id);
        }
    }
    head.boxes = Boxes::Distances { reg_max: BINS };
    model.weights = support::random_weights(graph, 7);
    model
}

#[test]
fn a_head_without_anchors_is_quantized_as_others_are() {
    let model = with_split_head(fused("yolov5n", Activation::Relu, IMGSZ));
    let folder = tempfile::tempdir().unwrap();
    let images = images(folder.path(), IMGSZ);
    let observed = observe(&model, &images).unwrap();
    for rules in RULES {
        let int8 = quantize(&model, &observed, &plan(Method::Mse, rules)).unwrap();
        assert_is_reference(&int8, &mut export::quantized_session(&int8).unwrap(), 5);
    }
    let recipe = Recipe {
        method: None,
        rules: Int8 { outputs: Outputs::Real, ..RULES[0] },
        equalize: Switch::Auto,
        adaround: Switch::On,
        bias_correction: Switch::Auto,
        float_macs: 0.05,
    };
    let outcome = run(&model, &Calibration::all(&images), &recipe).unwrap();
    let groups: Vec<_> = outcome.record.verdict.outputs.iter().map(|error| error.group).collect();
    assert_eq!(groups, [ChannelGroup::Box, ChannelGroup::Class].repeat(3));
    let costs: Vec<f64> = outcome.record.verdict.outputs.iter().map(|error| error.cost).collect();
    assert!(costs.iter().all(|cost| cost.is_finite() && *cost > 0.0), "{costs:?}");
}

#[test]
fn outputs_read_from_sums_are_what_is_stored_before_it_is_rounded() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let stored = quantized(&calibrated, RULES[0]);
    let real = quantized(&calibrated, Int8 { outputs: Outputs::Real, ..RULES[0] });
    assert_eq!(real.macs().unwrap().share(), 1.0);
    let sessions = [&stored, &real].map(|model| export::quantized_session(model).unwrap());
    assert_eq!(sessions[0].arithmetic().int8_convs.len(), sessions[1].arithmetic().int8_convs.len());
    let [stored, real] = sessions.map(|mut session| outputs(&mut session, &pixels(IMGSZ, 5)));
    for (stored, real) in stored.iter().zip(&real) {
        let (TensorData::I8(codes), Some(quant)) = (&stored.data, stored.quant) else { panic!("{stored:?}") };
        let TensorData::F32(values) = &real.data else { panic!("{:?}", real.quant) };
        let inside = codes.iter().zip(values).filter(|(code, _)| (-127..127).contains(*code));
        let far = inside.filter(|(code, value)| {
            (repedge::int8::dequantize(**code, quant) - **value).abs() > 0.5001 * quant.scale
        });
        assert_eq!(far.count(), 0);
    }
}

#[test]
fn focus_and_pooling_of_the_older_layout_are_computed_in_int8() {
    let calibrated = calibrated("repyolov5s-lite", Activation::Silu, IMGSZ);
    let model = quantized(&calibrated, RULES[0]);
    assert_is_reference(&model, &mut export::quantized_session(&model).unwrap(), 2);
}

#[test]
fn rules_share_scales_where_the_board_asks_for_it() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    for (rules, shared) in [(RULES[0], false), (RULES[1], true)] {
        let model = quantized(&calibrated, rules);
        let graph = &model.architecture.graph;
        let tensors = &model.scheme.tensors;
        let equal = |op: fn(&Op) -> bool| {
            let nodes = graph.nodes.iter().enumerate().filter(|(_, node)| op(&node.op));
            nodes.fold((true, true), |(all, none), (id, node)| {
                let same = node.inputs.iter().all(|&input| tensors[input] == tensors[id]);
                (all && same, none && !same)
            })
        };
        assert!(equal(|op| matches!(op, Op::MaxPool { .. } | Op::Upsample { .. })).0);
        assert_eq!(equal(|op| matches!(op, Op::Concat)).0, shared);
        assert_eq!(equal(|op| matches!(op, Op::Add)).0, shared);
    }
}

#[test]
fn what_is_kept_in_floats_runs_in_floats_and_says_why() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let kept: BTreeMap<String, String> =
        ["model.2.cv1.conv", "model.24.m.0"].map(|name| (name.to_owned(), "sensitive".to_owned())).into();
    let plan = Plan { kept: kept.clone(), ..plan(Method::Mse, RULES[0]) };
    let model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
    let session = export::quantized_session(&model).unwrap();
    assert_eq!(session.arithmetic().float_convs, ["model.2.cv1.conv", "model.24.m.0"]);
    assert_eq!(model.scheme.floats["model.2.cv1.conv"], "sensitive");
    assert!(model.scheme.floats["model.2.cv1.act"].contains("model.2.cv1.conv"));
    let share = model.macs().unwrap().share();
    assert!((0.9..1.0).contains(&share), "{share}");
    let unknown = Plan { kept: BTreeMap::from([("model.9".into(), String::new())]), ..plan };
    assert!(quantize(&calibrated.model, &calibrated.observed, &unknown).is_err());
}

#[test]
fn no_convolution_between_floats_is_left_to_the_engine() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    // Between the first and the last of them lie connections that pass others by.
    let kept = ["model.2.cv3.conv", "model.4.cv3.conv", "model.10.conv", "model.14.conv"];
    let kept = kept.map(|name| (name.to_owned(), "sensitive".to_owned())).into();
    let plan = Plan { kept, ..plan(Method::Mse, RULES[0]) };
    let model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
    let image = pixels(IMGSZ, 5);
    let mut ours = export::quantized_session(&model).unwrap();
    let int8_convs = ours.arithmetic().int8_convs.clone();
    assert!(int8_convs.len() > 50, "{int8_convs:?}");
    for operator in ours.profile(&image).unwrap() {
        let left = int8_convs
            .iter()
            .any(|conv| operator.name.strip_prefix(conv).is_some_and(|rest| rest.starts_with('.')));
        assert!(!left || operator.name.ends_with(".region"), "{}", operator.name);
    }
    let engine = CpuOptions { kernels: Kernels::Engine, ..CpuOptions::default() };
    let mut engine = export::quantized_session_with(&model, engine).unwrap();
    // The engine adds floats in an order that depends on what is around them, so that single codes may differ by a step.
    for (a, b) in outputs(&mut ours, &image).iter().zip(&outputs(&mut engine, &image)) {
        let (TensorData::I8(a), TensorData::I8(b)) = (&a.data, &b.data) else { panic!("outputs are int8") };
        let apart: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
        assert!(apart * 20 < a.len() as u64, "{apart} steps over {} codes", a.len());
    }
}

#[test]
fn attention_is_computed_between_int8_nodes() {
    let model = attention_model(IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let observed = observe(&model, &images(folder.path(), IMGSZ)).unwrap();
    let attention = model.architecture.graph.nodes.iter().position(|node| node.name == "attn").unwrap();
    let (node, why) = unquantizable(&model.architecture.graph).unwrap().unwrap();
    assert!(node == "attn" && why.contains("multiplies activations"), "{node}: {why}");
    let image = pixels(IMGSZ, 3);
    let float = outputs(&mut export::session(&model).unwrap(), &image).remove(0);
    let TensorData::F32(float) = float.data else { panic!("floats") };
    for rules in RULES {
        let int8 = quantize(&model, &observed, &plan(Method::Mse, rules)).unwrap();
        assert!(int8.scheme.floats.contains_key("attn") && int8.scheme.tensors[attention].is_some());
        let mut session = export::quantized_session(&int8).unwrap();
        let left = &session.arithmetic().float_others;
        assert!(!left.is_empty() && left.iter().all(|name| name.starts_with("attn")), "{left:?}");
        let stored = outputs(&mut session, &image).remove(0);
        let (TensorData::I8(codes), Some(quant)) = (&stored.data, stored.quant) else { panic!("int8") };
        let real: Vec<f32> = codes.iter().map(|&code| repedge::int8::dequantize(code, quant)).collect();
        let error = support::relative_error(&float, &real);
        assert!(error < 0.1, "{rules:?}: {error}");
    }
}

/// A convolution with an activation, and behind it a sum, a concatenation or another operator, which may have an
/// activation of its own, over random kernels and scales.
fn random_layer(
    seed: u64,
    conv: Conv,
    act: Option<Activation>,
    (tail, behind): (usize, Option<Activation>),
) -> QuantizedModel {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let template = Architecture::load("yolov5n", &Default::default(), &["a".into()]).unwrap();
    let mut graph = Graph::default();
    let image = graph.push("images", Op::Input { channels: 3 }, &[]);
    let first =
        Conv { cin: 3, cout: conv.cin, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
    let first = graph.push("first", Op::Conv(first), &[image]);
    let mut last = graph.push("conv", Op::Conv(conv), &[first]);
    if let Some(act) = act {
        last = graph.push("act", Op::Act(act), &[last]);
    }
    let tail_node = match tail {
        0 => graph.push("sum", Op::Add, &[last, last]),
        1 => graph.push("concat", Op::Concat, &[last, last]),
        2 => graph.push("pool", Op::MaxPool { kernel: 3, stride: 1, pad: 1 }, &[last]),
        3 => graph.push("up", Op::Upsample { factor: 2 }, &[last]),
        _ => graph.push("part", Op::Slice { start: conv.cout / 2, len: conv.cout.div_ceil(2) }, &[last]),
    };
    let end = behind.map_or(tail_node, |act| graph.push("behind", Op::Act(act), &[tail_node]));
    graph.outputs = vec![end];
    let mut quant =
        || Quant { scale: rng.random_range(0.005..0.05), zero_point: rng.random_range(-128..=127) };
    let mut tensors: Vec<Option<Quant>> = (0..graph.nodes.len()).map(|_| Some(quant())).collect();
    tensors[0] = Some(train_host::quantize::PIXELS);
    if behind.is_some() && seed.is_multiple_of(3) {
        // As behind a convolution, where storing would be the whole of a Relu.
        tensors[tail_node] = tensors[tail_node].map(|quant| Quant { zero_point: -128, ..quant });
        tensors[end] = tensors[tail_node];
    }
    if tail >= 2 {
        tensors[last] = tensors[tail_node];
    }
    if act.is_some_and(|act| act != Activation::Relu) && seed.is_multiple_of(2) {
        tensors[last - 1] = None;
    }
    let mut kernels = BTreeMap::new();
    for node in &graph.nodes {
        let Op::Conv(conv) = node.op else { continue };
        let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
        kernels.insert(
            node.name.clone(),
            Int8Kernel {
                values: (0..conv.cout * taps).map(|_| rng.random_range(-127..=127)).collect(),
                scales: (0..conv.cout).map(|_| rng.random_range(1e-4..5e-3)).collect(),
                bias: (0..conv.cout).map(|_| rng.random_range(-20_000..20_000)).collect(),
            },
        );
    }
    QuantizedModel {
        architecture: Architecture { graph, ..template },
        weights: Weights::default(),
        imgsz: 20,
        scheme: Scheme {
            tensors,
            kernels,
            floats: BTreeMap::new(),
            rules: RULES[0],
            origin: Origin::default(),
        },
    }
}

fn activations() -> impl Strategy<Value = Option<Activation>> {
    let some = [Activation::Silu, Activation::Relu, Activation::LeakyRelu].map(Some);
    prop::sample::select([None].into_iter().chain(some).collect::<Vec<_>>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn tract_computes_the_reference_for_every_shape_of_convolution(
        (groups, cin, cout, kernel, stride, pad, dilation) in
            (1..4_usize, 1..5_usize, 1..6_usize, 1..5_usize, 1..4_usize, 0..3_usize, 1..3_usize),
        act in activations(),
        tail in (0..5_usize, activations()),
        imgsz in 18..27_usize,
        seed in any::<u64>(),
    ) {
        let conv = Conv {
            cin: cin * groups, cout: cout * groups, kernel, stride, pad, dilation, groups, bias: true,
        };
        let model = QuantizedModel { imgsz, ..random_layer(seed, conv, act, tail) };
        let graph = &model.architecture.graph;
        let (bytes, specs) = qdq::write_stored(&model).unwrap();
        let mut session = TractSession::from_onnx(&bytes, specs.input, specs.outputs).unwrap();
        prop_assert_eq!(session.arithmetic().int8_convs.len(), 2);
        prop_assert!(session.arithmetic().float_others.is_empty(), "{:?}", session.arithmetic());
        let image = pixels(model.imgsz, seed);
        let expected = run_integer(&model, &image).unwrap();
        let expected = expected[graph.outputs[0]].as_ref().unwrap();
        let found = outputs(&mut session, &image);
        let TensorData::I8(values) = &found[0].data else { panic!("{:?}", found[0].data) };
        prop_assert_eq!(values, &expected.data);
    }
}

#[test]
fn every_method_quantizes_every_tensor() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    for method in Method::ALL {
        let model = quantize(&calibrated.model, &calibrated.observed, &plan(method, RULES[0])).unwrap();
        assert_eq!(model.scheme.origin.method, method.name());
        assert!(model.scheme.floats.is_empty());
    }
}
