//! The QDQ ONNX we write, judged by tools that are not ours: `onnx.checker` accepts it, and onnxruntime computes what the
//! integer reference computes, or tract where nodes are in floats, within stated steps. For every NPU's rules and the
//! host's, which are the default.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;

use artifact::{Quant, Tensor, TensorData};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use boards::{Between, Board, Int8, Outputs};
use repedge::backend::tract::{CpuOptions, Kernels};
use repedge::int8;
use support::attention::attention_model;
use support::calibration::{Calibrated, calibrated, images, outputs, pixels};
use support::python_command;
use train_host::export::{self, qdq};
use train_host::model::{Activation, Graph, Op};
use train_host::quantize::{Method, Plan, QuantizedModel, observe, quantize, run_integer};

const IMGSZ: usize = 64;
const FIRST_LAYERS: usize = 3;

/// How far onnxruntime may be from the reference, in steps of each output: anywhere, and on average.
///
/// Its convolutions agree bit for bit. It sums int8 tensors in another order of f32 operations and applies activations
/// with polynomials of its own, so that a code differs by one where a value lies between two. Whether an image has such a
/// value is chance, and depends on the scales, whose last bits are the calibrating processor's; layers of random weights
/// spread a single one over all outputs, up to [`SPREAD`]. So one of [`IMAGES`] has to keep the bars: what is wrong with a
/// model is wrong with all of them. Where onnxruntime applies SiLU to floats and we to sixteenths of a step, every sixtieth
/// code differs by one in each layer, and every image's outputs are spread: the first layers are judged there.
#[derive(Debug, Clone, Copy)]
struct Bars {
    most: f64,
    mean: f64,
}

/// What every image has to keep: two runs that a single code has led apart differ as the outputs of two images do, by at
/// most 9.3 steps on average. The values of an output lie 35 to 100 steps apart.
const SPREAD: Bars = Bars { most: 50.0, mean: 10.0 };

/// What one has to keep where all are spread: nearer than the outputs of two images mostly are.
const ALL_SPREAD: Bars = Bars { most: 17.0, mean: 2.5 };

/// The images that a model is judged by, by the seeds of their pixels.
const IMAGES: std::ops::Range<u64> = 9..17;

impl Bars {
    fn hold(self, verdict: &Verdict) -> bool {
        verdict.most <= self.most + 1e-3 && verdict.mean <= self.mean + 1e-3
    }
}

/// What `check_qdq.py` found.
#[derive(Debug, serde::Deserialize)]
struct Verdict {
    in_int8: usize,
    convolutions: usize,
    most: f64,
    mean: f64,
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn onnxruntime_computes_the_reference_within_stated_steps() {
    let stored = Int8 { activation: Between::Stored, ..Int8::default() };
    let cases = [
        ("yolov5n", Activation::Relu, Int8::default(), Bars { most: 2.0, mean: 0.05 }),
        ("repyolov5n", Activation::LeakyRelu, stored, Bars { most: 4.0, mean: 0.2 }),
        ("yolov5n", Activation::Silu, stored, Bars { most: 4.0, mean: 0.2 }),
        ("yolov5n", Activation::Silu, Int8::default(), ALL_SPREAD),
    ];
    for (name, act, rules, bars) in cases {
        let calibrated = calibrated(name, act, IMGSZ);
        let plan = Plan { method: Method::Mse, rules, kept: BTreeMap::new() };
        let model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
        let told = judge(&model, bars, |image| reference(&model, image));
        println!("{name} {act:?} {rules:?}: {told:?}");
        let convs = model.scheme.kernels.len();
        let in_int8 = if rules.activation == Between::Stored || act == Activation::Relu { convs } else { 3 };
        assert_eq!((told.in_int8, told.convolutions), (in_int8, convs), "{name} {act:?}");
    }
}

/// As deep as differences of one step are not yet spread.
#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn onnxruntime_computes_the_first_layers_within_stated_steps() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let plan = Plan { method: Method::Mse, rules: Int8::default(), kept: BTreeMap::new() };
    let mut model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
    let graph = &mut model.architecture.graph;
    let activations = (0..graph.nodes.len()).filter(|&id| matches!(graph.nodes[id].op, Op::Act(_)));
    graph.outputs = activations.take(FIRST_LAYERS).collect();
    let (onnx, _) = qdq::write_stored(&model).unwrap();
    for seed in IMAGES {
        let image = pixels(model.imgsz, seed);
        let told = compare(&onnx, &image, &reference(&model, &image));
        println!("image {seed}: {told:?}");
        assert!(Bars { most: 4.0, mean: 0.1 }.hold(&told), "image {seed}: {told:?}");
        assert_eq!((told.in_int8, told.convolutions), (3, model.scheme.kernels.len()), "image {seed}");
    }
}

/// The integer reference cannot multiply activations with each other: what tract computes stands in for it.
#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn onnxruntime_computes_attention_between_int8_nodes_as_tract_does() {
    let model = attention_model(IMGSZ);
    let folder = tempfile::tempdir().unwrap();
    let observed = observe(&model, &images(folder.path(), IMGSZ)).unwrap();
    let plan = Plan { method: Method::Mse, rules: Int8::default(), kept: BTreeMap::new() };
    let model = quantize(&model, &observed, &plan).unwrap();
    let told = judge(&model, Bars { most: 4.0, mean: 0.2 }, |image| in_tract(&model, image, &[]));
    println!("attention: {told:?}");
}

/// What the command writes when it is told nothing: raw outputs stay real, and some convolutions stay in floats of 16
/// bits. Those are as exact in onnxruntime as in tract, so that with Relu next to nothing may differ.
#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn onnxruntime_computes_mixed_precision_and_real_outputs_as_tract_does() {
    let cases = [(Activation::Relu, Bars { most: 1.5, mean: 0.01 }), (Activation::Silu, ALL_SPREAD)];
    for (act, bars) in cases {
        let calibrated = calibrated("yolov5n", act, IMGSZ);
        let model = for_host(&calibrated, two_in_floats(&calibrated.model.architecture.graph));
        let steps = steps(&calibrated);
        let told = judge(&model, bars, |image| in_tract(&model, image, &steps));
        println!("{act:?}, two convolutions in floats, real outputs: {told:?}");
        let in_int8 = if act == Activation::Relu { with_stored_results(&model) } else { 0 };
        let convs = model.scheme.kernels.len() + 2;
        assert_eq!((told.in_int8, told.convolutions), (in_int8, convs), "{act:?}");
    }
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn onnxruntime_computes_real_outputs_as_the_reference_does() {
    let calibrated = calibrated("yolov5n", Activation::Relu, IMGSZ);
    let model = for_host(&calibrated, BTreeMap::new());
    let steps = steps(&calibrated);
    let told = judge(&model, Bars { most: 3.0, mean: 0.05 }, |image| {
        model.integer_outputs(image).unwrap().into_iter().zip(steps.clone()).collect()
    });
    println!("real outputs: {told:?}");
}

/// What the tests above hold onnxruntime against is what ships, bit for bit.
#[test]
fn tract_and_our_kernels_compute_the_reference_of_real_outputs() {
    for act in [Activation::Relu, Activation::Silu] {
        let calibrated = calibrated("yolov5n", act, IMGSZ);
        let model = for_host(&calibrated, BTreeMap::new());
        let image = pixels(IMGSZ, IMAGES.start);
        let expected = model.integer_outputs(&image).unwrap();
        let vary = |reals: &Vec<f32>| reals.iter().any(|real| (real - reals[0]).abs() > 0.1);
        assert!(expected.iter().all(vary), "{act:?}: equal numbers prove nothing");
        for kernels in [Kernels::Engine, Kernels::Ours] {
            let options = CpuOptions { kernels, ..CpuOptions::default() };
            let mut session = export::quantized_session_with(&model, options).unwrap();
            let found = outputs(&mut session, &image);
            let expected = expected.iter().cloned().map(TensorData::F32);
            let found = found.into_iter().map(|output| output.data);
            assert!(found.eq(expected), "{act:?} {kernels:?}");
        }
    }
}

#[test]
fn the_metadata_tells_every_scale_of_the_weights() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let kept = two_in_floats(&calibrated.model.architecture.graph);
    let model = for_host(&calibrated, kept);
    let onnx = qdq::write(&model).unwrap();
    let key = b"weight_scales";
    let entry = &onnx[onnx.windows(key.len()).rposition(|window| window == key).unwrap()..];
    let start = entry.windows(2).position(|window| window == b"{\"").unwrap();
    let mut told = serde_json::Deserializer::from_slice(&entry[start..]).into_iter();
    let told: serde_json::Value = told.next().unwrap().unwrap();
    assert_eq!(told["zero_point"], 0);
    let told = told["f32_le_base64"].as_object().unwrap();
    let decoded = told.iter().map(|(name, text)| {
        let bytes = BASE64_STANDARD.decode(text.as_str().unwrap()).unwrap();
        let scales = bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
        (name.clone(), scales.collect::<Vec<_>>())
    });
    let kernels = model.scheme.kernels.iter().map(|(name, kernel)| (name.clone(), kernel.scales.clone()));
    assert_eq!(decoded.collect::<BTreeMap<_, _>>(), kernels.collect::<BTreeMap<_, _>>());
}

/// Quantized by the host's rules, with `kept` in floats.
fn for_host(calibrated: &Calibrated, kept: BTreeMap<String, String>) -> QuantizedModel {
    let rules = Board::find("host").unwrap().int8;
    assert_eq!(rules.outputs, Outputs::Real);
    quantize(&calibrated.model, &calibrated.observed, &Plan { method: Method::Mse, rules, kept }).unwrap()
}

/// Of outputs that stay real: the steps they would be stored in.
fn steps(calibrated: &Calibrated) -> Vec<f32> {
    let plan = Plan { method: Method::Mse, rules: Int8::default(), kept: BTreeMap::new() };
    let stored = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
    let outputs = &stored.architecture.graph.outputs;
    outputs.iter().map(|&id| stored.scheme.tensors[id].unwrap().scale).collect()
}

/// Two convolutions of the inner of `graph`, and why they stay in floats.
fn two_in_floats(graph: &Graph) -> BTreeMap<String, String> {
    let convs = graph.nodes.iter().filter(|node| matches!(node.op, Op::Conv(_)));
    let convs: Vec<&str> = convs.map(|node| node.name.as_str()).collect();
    [convs.len() / 3, 2 * convs.len() / 3].map(|at| (convs[at].to_owned(), "a test".to_owned())).into()
}

/// Convolutions whose activation is stored in int8. Those of which floats come, outputs or what only floats read, onnxruntime
/// computes in floats, whatever they read.
fn with_stored_results(model: &QuantizedModel) -> usize {
    let nodes = &model.architecture.graph.nodes;
    let is_stored = |conv: usize| {
        nodes.iter().zip(&model.scheme.tensors).any(|(node, quant)| node.inputs == [conv] && quant.is_some())
    };
    let kernels = (0..nodes.len()).filter(|&id| model.scheme.kernels.contains_key(&nodes[id].name));
    kernels.filter(|&id| is_stored(id)).count()
}

/// Real values of an output, and the step between two of them.
type Expected = (Vec<f32>, f32);

fn dequantized(codes: &[i8], quant: Quant) -> Expected {
    (codes.iter().map(|&code| int8::dequantize(code, quant)).collect(), quant.scale)
}

/// The outputs of tract; those that stay real in steps of `real`.
fn in_tract(model: &QuantizedModel, image: &Tensor, real: &[f32]) -> Vec<Expected> {
    let outputs = outputs(&mut export::quantized_session(model).unwrap(), image);
    let expected = |(at, output): (usize, Tensor)| match (output.data, output.quant) {
        (TensorData::F32(values), None) => (values, real[at]),
        (TensorData::I8(codes), Some(quant)) => dequantized(&codes, quant),
        other => panic!("{other:?}"),
    };
    outputs.into_iter().enumerate().map(expected).collect()
}

/// The outputs of the integer reference.
fn reference(model: &QuantizedModel, image: &Tensor) -> Vec<Expected> {
    let results = run_integer(model, image).unwrap();
    let outputs = model.architecture.graph.outputs.iter().map(|&id| results[id].as_ref().unwrap());
    outputs.map(|planes| dequantized(&planes.data, planes.quant)).collect()
}

/// What onnxruntime computes of the first image that keeps the bars, those before it kept [`SPREAD`].
fn judge(model: &QuantizedModel, bars: Bars, expected: impl Fn(&Tensor) -> Vec<Expected>) -> Verdict {
    let onnx = qdq::write(model).unwrap();
    let mut judged = Vec::new();
    for seed in IMAGES {
        let image = pixels(model.imgsz, seed);
        let verdict = compare(&onnx, &image, &expected(&image));
        if bars.hold(&verdict) {
            return verdict;
        }
        assert!(SPREAD.hold(&verdict), "{verdict:?}, beyond {SPREAD:?}");
        judged.push(verdict);
    }
    panic!("no image keeps {bars:?}: {judged:?}");
}

fn compare(onnx: &[u8], image: &Tensor, expected: &[Expected]) -> Verdict {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let TensorData::F32(values) = &image.data else { unreachable!() };
    let mut arguments = vec![
        write("model.onnx", onnx).into_os_string(),
        write("image.f32", &little_endian(values)).into_os_string(),
    ];
    for (at, (reals, scale)) in expected.iter().enumerate() {
        arguments.push(write(&format!("output{at}.f32"), &little_endian(reals)).into_os_string());
        arguments.push(scale.to_string().into());
    }
    let result = python_command("check_qdq.py").args(arguments).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    serde_json::from_slice(&result.stdout).unwrap()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
