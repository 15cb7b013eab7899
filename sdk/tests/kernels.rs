//! Our kernels in the tract backend: a model gives what tract alone gives, also where parts of it are not ours.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod writer;

use std::num::NonZero;

use artifact::{DType, Layout, Tensor, TensorData, TensorSpec};
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;
use writer::{Writer, attribute, ints, text};

const SIDE: usize = 64;

fn spec(name: &str, channels: usize, side: usize) -> TensorSpec {
    let shape = [1, channels, side, side];
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

fn image() -> TensorSpec {
    spec("images", 3, SIDE)
}

/// Every operator of a fused YOLO, with `between` (an operator that is not ours, say) in its middle.
fn model(between: Option<&str>) -> (Vec<u8>, Vec<TensorSpec>) {
    let mut writer = Writer::default();
    let stem = writer.conv("images", [3, 16], [6, 2, 2]);
    let stem = writer.silu(&stem);
    let down = writer.conv(&stem, [16, 32], [3, 2, 1]);
    let down = writer.node("Relu", &[&down], vec![]);
    let down = match between {
        Some(op) => writer.node(op, &[&down], vec![]),
        None => down,
    };
    let inner = writer.conv(&down, [32, 32], [3, 1, 1]);
    let inner = writer.node("LeakyRelu", &[&inner], vec![]);
    let sum = writer.node("Add", &[&down, &inner], vec![]);
    let pads = vec![ints("kernel_shape", &[5; 2]), ints("strides", &[1; 2]), ints("pads", &[2; 4])];
    let pool = writer.node("MaxPool", &[&sum], pads);
    let both = writer.node(
        "Concat",
        &[&pool, &sum],
        vec![pb::AttributeProto { i: 1, ..attribute("axis", AttributeType::Int) }],
    );
    let small = writer.conv(&both, [64, 24], [1, 1, 0]);
    let small = writer.silu(&small);
    let scales = writer.constant(&[4], &[1.0, 1.0, 2.0, 2.0]);
    let nearest = vec![
        text("mode", "nearest"),
        text("coordinate_transformation_mode", "asymmetric"),
        text("nearest_mode", "floor"),
    ];
    let large = writer.node("Resize", &[&small, "", &scales], nearest);
    let (fine, coarse) = (writer.conv(&large, [24, 21], [1, 1, 0]), writer.conv(&sum, [32, 21], [1, 1, 0]));
    let outputs = vec![spec(&fine, 21, SIDE / 2), spec(&coarse, 21, SIDE / 4)];
    (writer.write(&image(), &outputs), outputs)
}

fn outputs(onnx: &[u8], specs: &[TensorSpec], options: CpuOptions) -> Vec<Vec<f32>> {
    let mut session = TractSession::from_onnx_with(onnx, image(), specs.to_vec(), options).unwrap();
    let mut input = Tensor::zeroed(session.input());
    let TensorData::F32(values) = &mut input.data else { unreachable!() };
    values.copy_from_slice(&Writer { state: 7, ..Writer::default() }.numbers(3 * SIDE * SIDE, 1.0));
    let mut outputs: Vec<Tensor> = specs.iter().map(Tensor::zeroed).collect();
    session.run(&input, &mut outputs).unwrap();
    let first = outputs.clone();
    session.run(&input, &mut outputs).unwrap();
    assert_eq!(first, outputs, "a second run gives the same numbers");
    let floats = |tensor| match tensor {
        Tensor { data: TensorData::F32(data), .. } => data,
        other => panic!("{other:?}"),
    };
    outputs.into_iter().map(floats).collect()
}

fn options(kernels: Kernels, threads: usize) -> CpuOptions {
    CpuOptions { kernels, threads: NonZero::new(threads).unwrap() }
}

#[test]
fn models_give_what_tract_alone_gives() {
    for between in [None, Some("Tanh"), Some("Softplus")] {
        let (onnx, specs) = model(between);
        let exact = outputs(&onnx, &specs, options(Kernels::Engine, 1));
        let ours = outputs(&onnx, &specs, options(Kernels::Ours, 1));
        for (ours, exact) in ours.iter().zip(&exact) {
            let largest = exact.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
            let error = ours.iter().zip(exact).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(largest > 0.1 && error <= 1e-4 * largest, "{between:?}: {error} of {largest}");
        }
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let (onnx, specs) = model(None);
    let one = outputs(&onnx, &specs, options(Kernels::Ours, 1));
    for threads in [2, 3, 5] {
        assert_eq!(one, outputs(&onnx, &specs, options(Kernels::Ours, threads)), "{threads} threads");
    }
}

/// What the operators of a model are called that have run.
fn operators(between: Option<&str>) -> Vec<String> {
    let (onnx, specs) = model(between);
    let mut session = TractSession::from_onnx_with(&onnx, image(), specs, CpuOptions::default()).unwrap();
    let image = Tensor::zeroed(session.input());
    session.profile(&image).unwrap().into_iter().map(|operator| operator.name).collect()
}

#[test]
fn a_model_that_is_ours_runs_without_tract() {
    let names = operators(None);
    // The caller's image comes into blocks first, or is read as it lies, as the processor's unit likes it.
    let enters = names[0].starts_with("pack") || names[0].contains("from planes");
    assert!(enters && names.iter().any(|name| name.starts_with("Winograd")), "{names:?}");
}

#[test]
fn what_is_not_ours_stays_tracts_between_regions() {
    let names = operators(Some("Tanh"));
    let regions = names.iter().filter(|name| name.ends_with(".region")).count();
    assert!(regions == 2 && names.len() == 4, "the image, two regions and what is between them: {names:?}");
}
