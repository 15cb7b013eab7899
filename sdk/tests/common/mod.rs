//! A tiny detector that needs no training: red squares of 32 px are class `red`, blue ones `blue`; gray and black
//! are nothing. Small enough to see through, with the shape of a YOLOv5 model: three raw convolution outputs.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "test code over small numbers")]

use std::path::Path;

use artifact::{
    BackendKind, Bundle, DType, Decode, Layout, Manifest, Payload, Precision, Preprocess, TensorSpec,
};
use prost::Message;
use tract_onnx::pb;

/// Width and height of the model input.
pub const SIDE_PX: usize = 64;
const CHANNELS: usize = 7;
const STRIDES: [usize; 3] = [8, 16, 32];

/// The input of [`onnx`].
pub fn input() -> TensorSpec {
    spec("images", [1, 3, SIDE_PX, SIDE_PX])
}

/// The outputs of [`onnx`].
pub fn outputs() -> Vec<TensorSpec> {
    let output = |(index, stride): (usize, usize)| {
        spec(&format!("output{index}"), [1, CHANNELS, SIDE_PX / stride, SIDE_PX / stride])
    };
    STRIDES.into_iter().enumerate().map(output).collect()
}

fn spec(name: &str, shape: [usize; 4]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// What the model is, without its payloads.
pub fn manifest(payloads: Vec<Payload>) -> Manifest {
    Manifest {
        model: "squares".into(),
        classes: vec!["red".into(), "blue".into()],
        preprocess: Preprocess::yolo(SIDE_PX, SIDE_PX),
        decode: Decode::Yolov5 {
            strides: STRIDES.to_vec(),
            anchors_px: STRIDES.iter().map(|&stride| vec![[stride as f32; 2]]).collect(),
            spread: Vec::new(),
        },
        confidence: 0.25,
        iou: 0.45,
        producer: "test".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads,
    }
}

/// Describes `bytes` as a payload of the model for `backend`.
pub fn payload(name: &str, backend: BackendKind, bytes: &[u8]) -> Payload {
    Payload::new(name, backend, "host", Precision::Fp32, input(), outputs(), bytes)
}

/// Writes the model as a bundle with a CPU payload.
pub fn write_bundle(path: &Path) {
    let onnx = onnx().encode_to_vec();
    let payloads = vec![payload("host", BackendKind::Tract, &onnx)];
    Bundle::write(path, &manifest(payloads), &[&onnx]).unwrap();
}

/// One convolution a stride, each averaging the colors of its cell.
pub fn onnx() -> pb::ModelProto {
    let mut graph = pb::GraphProto {
        name: "squares".into(),
        input: vec![value(&input())],
        output: outputs().iter().map(value).collect(),
        ..Default::default()
    };
    for (index, stride) in STRIDES.into_iter().enumerate() {
        let (weight, bias) = (format!("w{index}"), format!("b{index}"));
        graph.node.push(pb::NodeProto {
            op_type: "Conv".into(),
            input: vec!["images".into(), weight.clone(), bias.clone()],
            output: vec![format!("output{index}")],
            attribute: vec![ints("kernel_shape", stride), ints("strides", stride)],
            ..Default::default()
        });
        graph.initializer.push(floats(weight, &[CHANNELS, 3, stride, stride], &weights(stride)));
        graph.initializer.push(floats(bias, &[CHANNELS], &biases(stride)));
    }
    let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
    pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph: Some(graph), ..Default::default() }
}

/// Objectness `40 (r - 2 g + b)`, class red `40 (r - b)`, class blue its opposite; boxes as their anchors.
fn weights(stride: usize) -> Vec<f32> {
    let mix: [[f32; 3]; CHANNELS] =
        [[0.0; 3], [0.0; 3], [0.0; 3], [0.0; 3], [40.0, -80.0, 40.0], [40.0, 0.0, -40.0], [-40.0, 0.0, 40.0]];
    let area = (stride * stride) as f32;
    mix.iter().flatten().flat_map(|&k| std::iter::repeat_n(k / area, stride * stride)).collect()
}

/// Only the output of stride 32 speaks up.
fn biases(stride: usize) -> Vec<f32> {
    let objectness = if stride == 32 { -20.0 } else { -1000.0 };
    vec![0.0, 0.0, 0.0, 0.0, objectness, 0.0, 0.0]
}

fn ints(name: &str, both: usize) -> pb::AttributeProto {
    pb::AttributeProto {
        name: name.into(),
        r#type: pb::attribute_proto::AttributeType::Ints as i32,
        ints: vec![both as i64; 2],
        ..Default::default()
    }
}

fn floats(name: String, dims: &[usize], values: &[f32]) -> pb::TensorProto {
    pb::TensorProto {
        name,
        dims: dims.iter().map(|&dim| dim as i64).collect(),
        data_type: pb::tensor_proto::DataType::Float as i32,
        raw_data: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..Default::default()
    }
}

/// Describes a tensor of floats.
pub fn value(spec: &TensorSpec) -> pb::ValueInfoProto {
    use pb::tensor_shape_proto::{Dimension, dimension::Value};
    let dimension =
        |&dim: &usize| Dimension { value: Some(Value::DimValue(dim as i64)), ..Default::default() };
    let tensor = pb::type_proto::Tensor {
        elem_type: pb::tensor_proto::DataType::Float as i32,
        shape: Some(pb::TensorShapeProto { dim: spec.shape.iter().map(dimension).collect() }),
    };
    pb::ValueInfoProto {
        name: spec.name.clone(),
        r#type: Some(pb::TypeProto {
            value: Some(pb::type_proto::Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}
