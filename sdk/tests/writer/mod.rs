//! Writes ONNX models of a few nodes.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, clippy::cast_possible_wrap, reason = "test code over small numbers")]

use artifact::TensorSpec;
use prost::Message;
use tract_onnx::pb;
use tract_onnx::pb::attribute_proto::AttributeType;

/// Writes a model node by node; a tensor is called as the node that makes it.
#[derive(Default)]
pub struct Writer {
    /// What is written so far.
    pub graph: pb::GraphProto,
    /// Of the random numbers.
    pub state: u32,
}

impl Writer {
    pub fn numbers(&mut self, count: usize, size: f32) -> Vec<f32> {
        let mut next = || {
            self.state = self.state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f32::from(u8::try_from(self.state >> 24).unwrap()) / 127.5 - 1.0) * size
        };
        (0..count).map(|_| next()).collect()
    }

    pub fn constant(&mut self, dims: &[usize], values: &[f32]) -> String {
        self.tensor(dims, 1, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A constant of ONNX's type `data_type`.
    pub fn tensor(&mut self, dims: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let name = format!("w{}", self.graph.initializer.len());
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.graph.initializer.push(pb::TensorProto {
            name: name.clone(),
            dims,
            data_type,
            raw_data,
            ..Default::default()
        });
        name
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], attributes: Vec<pb::AttributeProto>) -> String {
        let name = format!("n{}", self.graph.node.len());
        self.graph.node.push(pb::NodeProto {
            op_type: op.into(),
            name: name.clone(),
            input: inputs.iter().map(|&input| input.to_owned()).collect(),
            output: vec![name.clone()],
            attribute: attributes,
            ..Default::default()
        });
        name
    }

    pub fn conv(
        &mut self,
        input: &str,
        [inputs, outputs]: [usize; 2],
        [kernel, stride, pad]: [usize; 3],
    ) -> String {
        let count = inputs * outputs * kernel * kernel;
        let weights = self.numbers(count, 1.5 / ((inputs * kernel * kernel) as f32).sqrt());
        let bias = self.numbers(outputs, 0.2);
        let weights = self.constant(&[outputs, inputs, kernel, kernel], &weights);
        let bias = self.constant(&[outputs], &bias);
        self.node(
            "Conv",
            &[input, &weights, &bias],
            vec![ints("kernel_shape", &[kernel; 2]), ints("strides", &[stride; 2]), ints("pads", &[pad; 4])],
        )
    }

    pub fn silu(&mut self, input: &str) -> String {
        let gate = self.node("Sigmoid", &[input], vec![]);
        self.node("Mul", &[input, &gate], vec![])
    }

    pub fn write(mut self, input: &TensorSpec, outputs: &[TensorSpec]) -> Vec<u8> {
        self.graph.name = "parts".into();
        self.graph.input = vec![value(input)];
        self.graph.output = outputs.iter().map(value).collect();
        let opset = pb::OperatorSetIdProto { version: 13, ..Default::default() };
        let graph = Some(self.graph);
        pb::ModelProto { ir_version: 7, opset_import: vec![opset], graph, ..Default::default() }
            .encode_to_vec()
    }
}

pub fn attribute(name: &str, r#type: AttributeType) -> pb::AttributeProto {
    pb::AttributeProto { name: name.into(), r#type: r#type as i32, ..Default::default() }
}

pub fn ints(name: &str, values: &[usize]) -> pb::AttributeProto {
    let ints = values.iter().map(|&value| value as i64).collect();
    pb::AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

pub fn text(name: &str, value: &str) -> pb::AttributeProto {
    pb::AttributeProto { s: value.into(), ..attribute(name, AttributeType::String) }
}

fn value(spec: &TensorSpec) -> pb::ValueInfoProto {
    let dim = |&side: &usize| pb::tensor_shape_proto::Dimension {
        value: Some(pb::tensor_shape_proto::dimension::Value::DimValue(side as i64)),
        ..Default::default()
    };
    let shape = Some(pb::TensorShapeProto { dim: spec.shape.iter().map(dim).collect() });
    let tensor = pb::type_proto::Value::TensorType(pb::type_proto::Tensor { elem_type: 1, shape });
    pb::ValueInfoProto {
        name: spec.name.clone(),
        r#type: Some(pb::TypeProto { value: Some(tensor), ..Default::default() }),
        ..Default::default()
    }
}
