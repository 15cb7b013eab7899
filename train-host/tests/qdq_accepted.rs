//! The QDQ ONNX we write, judged by tools that are not ours: `onnx.checker` accepts it, and onnxruntime computes what the
//! integer reference computes, within stated steps.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use artifact::{Quant, Tensor, TensorData};
use boards::{Between, Int8};
use repedge::int8;
use support::attention::attention_model;
use support::calibration::{calibrated, images, outputs, pixels};
use train_host::export::{self, qdq};
use train_host::model::Activation;
use train_host::quantize::{Method, Plan, QuantizedModel, observe, quantize, run_integer};

const IMGSZ: usize = 64;

/// How far onnxruntime may be from the reference, in steps of each output: anywhere, and on average.
///
/// Its convolutions agree bit for bit. It sums int8 tensors in another order of f32 operations and applies activations
/// with polynomials of its own, so that single codes differ by one where a value lies between two; later layers carry
/// that on, those of random weights more than any. Where it applies SiLU to floats and we to sixteenths of a step, every
/// sixtieth code differs by one in each layer.
struct Bars {
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
        ("yolov5n", Activation::Silu, Int8::default(), Bars { most: 16.0, mean: 2.5 }),
    ];
    for (name, act, rules, bars) in cases {
        let calibrated = calibrated(name, act, IMGSZ);
        let plan = Plan { method: Method::Mse, rules, kept: BTreeMap::new() };
        let model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
        let told = judge(&model, &reference(&model), &bars);
        println!("{name} {act:?} {rules:?}: {told}");
        let convs = model.scheme.kernels.len();
        let in_int8 = if rules.activation == Between::Stored || act == Activation::Relu { convs } else { 3 };
        assert!(told.starts_with(&format!("{in_int8} of {convs} ")), "{name} {act:?}: {told}");
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
    let outputs = outputs(&mut export::quantized_session(&model).unwrap(), &image(&model));
    let expected = outputs.iter().map(|output| {
        let (TensorData::I8(codes), Some(quant)) = (&output.data, output.quant) else { panic!("int8") };
        dequantized(codes, quant)
    });
    let told = judge(&model, &expected.collect::<Vec<_>>(), &Bars { most: 4.0, mean: 0.2 });
    println!("attention: {told}");
}

fn image(model: &QuantizedModel) -> Tensor {
    pixels(model.imgsz, 9)
}

/// Real values of an output, and the step between two of them.
type Expected = (Vec<f32>, f32);

fn dequantized(codes: &[i8], quant: Quant) -> Expected {
    (codes.iter().map(|&code| int8::dequantize(code, quant)).collect(), quant.scale)
}

/// The outputs of the integer reference.
fn reference(model: &QuantizedModel) -> Vec<Expected> {
    let results = run_integer(model, &image(model)).unwrap();
    let outputs = model.architecture.graph.outputs.iter().map(|&id| results[id].as_ref().unwrap());
    outputs.map(|planes| dequantized(&planes.data, planes.quant)).collect()
}

fn judge(model: &QuantizedModel, expected: &[Expected], bars: &Bars) -> String {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: Vec<u8>| -> PathBuf {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let image = image(model);
    let TensorData::F32(values) = &image.data else { unreachable!() };
    let mut arguments = vec![
        write("model.onnx", qdq::write(model).unwrap()).into_os_string(),
        write("image.f32", little_endian(values)).into_os_string(),
        bars.most.to_string().into(),
        bars.mean.to_string().into(),
    ];
    for (at, (reals, scale)) in expected.iter().enumerate() {
        arguments.push(write(&format!("output{at}.f32"), little_endian(reals)).into_os_string());
        arguments.push(scale.to_string().into());
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    // `cargo xtask test` names the interpreter that it has set up.
    let python = std::env::var_os("REPEDGE_PYTHON")
        .map_or_else(|| root.join("toolchains/venv/bin/python"), PathBuf::from);
    let script = root.join("tests/python/check_qdq.py");
    let result = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
    String::from_utf8(result.stdout).unwrap()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}
