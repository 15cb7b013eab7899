//! Prints a quantized model as QDQ ONNX: floats in and out, a `QuantizeLinear` behind each int8 node and a
//! `DequantizeLinear` before each reader, int8 weights and i32 biases as they are. onnxruntime, rknn-toolkit2 and our
//! tract backend read it and compute in int8. Never changes a scale.

use std::collections::{BTreeMap, BTreeSet};

use artifact::{DType, Quant};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use repedge::int8;
use serde::Serialize;

use super::onnx::{self, FloatWeights, Printer, Specs};
use super::onnx_proto::{self as proto, GraphProto, StringStringEntryProto};
use crate::model::{Activation, Conv, NodeId, Op, Shape};
use crate::quantize::{Int8Kernel, QuantizedModel, sole_activation};
use crate::{Error, Result};

/// The model as QDQ ONNX for square images of its own size, every scale and zero point also in the metadata:
/// `quantization` holds those of activations, `weight_scales` those of weights.
///
/// # Errors
/// As [`QuantizedModel::validate`] and [`onnx::write`].
pub fn write(model: &QuantizedModel) -> Result<Vec<u8>> {
    model.validate()?;
    let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    let names = onnx::tensor_names(&model.architecture.graph, &specs)?;
    let mut metadata = onnx::metadata(&model.architecture)?;
    metadata.extend(quantization(model)?);
    onnx::file(print(model, &names)?, &specs, metadata)
}

/// As [`write`], with the real values of `nodes` as outputs, called `NODE.real`.
///
/// # Errors
/// As [`write`].
pub fn write_observed(model: &QuantizedModel, nodes: &[NodeId]) -> Result<(Vec<u8>, Specs)> {
    model.validate()?;
    observed(model, nodes)
}

fn observed(model: &QuantizedModel, nodes: &[NodeId]) -> Result<(Vec<u8>, Specs)> {
    model.validate_scheme()?;
    let mut observed = model.clone();
    observed.architecture.graph.outputs = nodes.to_vec();
    let graph = &observed.architecture.graph;
    let outputs: Vec<String> = nodes.iter().map(|&id| format!("{}.real", graph.nodes[id].name)).collect();
    let specs = onnx::specs(graph, &outputs, model.imgsz)?;
    let names = onnx::tensor_names(graph, &specs)?;
    Ok((onnx::file(print(&observed, &names)?, &specs, Vec::new())?, specs))
}

/// A bare quantized graph as QDQ ONNX and what a device has to know of it; outputs are called as their nodes, with
/// `.real` behind. What [`write`] and [`device_specs`] are for models.
///
/// # Errors
/// As [`write`], but for the head, which need not fit.
pub fn write_stored(model: &QuantizedModel) -> Result<(Vec<u8>, Specs)> {
    let outputs = &model.architecture.graph.outputs;
    let (bytes, mut specs) = observed(model, outputs)?;
    store_outputs(model, &mut specs);
    Ok((bytes, specs))
}

/// What a device has to know of the file's outputs: those that are stored in int8 are read as such.
///
/// # Errors
/// As [`onnx::model_specs`].
pub fn device_specs(model: &QuantizedModel) -> Result<Specs> {
    let mut specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    store_outputs(model, &mut specs);
    Ok(specs)
}

fn store_outputs(model: &QuantizedModel, specs: &mut Specs) {
    for (spec, &id) in specs.outputs.iter_mut().zip(&model.architecture.graph.outputs) {
        if let Some(quant) = model.scheme.tensors[id] {
            spec.dtype = DType::I8;
            spec.quant = Some(quant);
        }
    }
}

fn print(model: &QuantizedModel, names: &[String]) -> Result<GraphProto> {
    let graph = &model.architecture.graph;
    let mut printer = QdqPrinter {
        model,
        names,
        users: graph.users(),
        shapes: graph.shapes(model.imgsz, model.imgsz)?,
        printer: Printer {
            weights: &model.weights,
            float_weights: FloatWeights::Half,
            graph: GraphProto::default(),
        },
        zeros: BTreeSet::new(),
    };
    for id in 0..graph.nodes.len() {
        printer.node(id)?;
    }
    for &id in &graph.outputs {
        if model.scheme.tensors[id].is_some() {
            printer.dequantize(id, names[id].clone());
        }
    }
    Ok(printer.printer.graph)
}

/// How scales of weights stand in the metadata. Digits would take twice the room, and the file shall stay small.
#[derive(Serialize)]
struct WeightScales<'a> {
    /// Weights and biases are symmetric.
    zero_point: i32,
    /// By convolution, the scale of each output channel as a little-endian f32, all in base64. Those of biases are
    /// these times the input's.
    f32_le_base64: BTreeMap<&'a str, String>,
}

impl<'a> WeightScales<'a> {
    fn of(kernels: &'a BTreeMap<String, Int8Kernel>) -> Self {
        let encoded = |kernel: &Int8Kernel| {
            let bytes: Vec<u8> = kernel.scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
            BASE64_STANDARD.encode(bytes)
        };
        let by_name = kernels.iter().map(|(name, kernel)| (name.as_str(), encoded(kernel)));
        Self { zero_point: 0, f32_le_base64: by_name.collect() }
    }
}

/// Metadata entries with every scale, zero point, and reason for floats.
fn quantization(model: &QuantizedModel) -> Result<[StringStringEntryProto; 4]> {
    let graph = &model.architecture.graph;
    let tensors: BTreeMap<&str, (f32, i32)> = graph
        .nodes
        .iter()
        .zip(&model.scheme.tensors)
        .filter_map(|(node, quant)| quant.map(|quant| (node.name.as_str(), (quant.scale, quant.zero_point))))
        .collect();
    Ok([
        onnx::entry("quantization", onnx::json(&tensors)?),
        onnx::entry("weight_scales", onnx::json(&WeightScales::of(&model.scheme.kernels))?),
        onnx::entry("float_nodes", onnx::json(&model.scheme.floats)?),
        onnx::entry("calibration", onnx::json(&model.scheme.origin)?),
    ])
}

struct QdqPrinter<'a> {
    model: &'a QuantizedModel,
    /// Name of each node's real values.
    names: &'a [String],
    printer: Printer<'a>,
    /// Shape of each node's result.
    shapes: Vec<Shape>,
    /// Readers of each node.
    users: Vec<Vec<NodeId>>,
    /// Lengths and types of the zero points of 0 that are there already.
    zeros: BTreeSet<(i32, usize)>,
}

impl QdqPrinter<'_> {
    fn node(&mut self, id: NodeId) -> Result<()> {
        let node = &self.model.architecture.graph.nodes[id];
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &input in &node.inputs {
            let name = self.real_input(input, id);
            if name != self.real_output(input) && !inputs.contains(&name) {
                self.dequantize(input, name.clone());
            }
            inputs.push(name);
        }
        let real = self.real_output(id);
        match &node.op {
            Op::Conv(conv) if self.model.is_int8(id) => self.conv(id, conv, inputs, real.clone())?,
            op => self.printer.operator(&node.name, op, self.shapes[id], inputs, real.clone())?,
        }
        match self.model.scheme.tensors[id] {
            Some(quant) if !self.is_clipped_by_relu(id) => self.quantize(id, real, quant),
            _ => {}
        }
        Ok(())
    }

    /// What `reader` reads of `id`: its real values, dequantized for this reader alone, as engines like it.
    fn real_input(&self, id: NodeId, reader: NodeId) -> String {
        if self.model.scheme.tensors[id].is_none() || self.is_clipped_by_relu(id) {
            return self.real_output(id);
        }
        format!("{}.d{reader}", self.node_name(id))
    }

    /// Name of the floats that node `id` computes. An output's own name is kept for the last dequantization.
    fn real_output(&self, id: NodeId) -> String {
        let output = self.model.architecture.graph.outputs.contains(&id);
        match self.model.scheme.tensors[id] {
            Some(_) if output => format!("{}.f", self.node_name(id)),
            _ => self.names[id].clone(),
        }
    }

    fn node_name(&self, id: NodeId) -> &str {
        &self.model.architecture.graph.nodes[id].name
    }

    fn stored_name(&self, id: NodeId) -> String {
        format!("{}.q", self.node_name(id))
    }

    /// Whether `id` is a convolution stored exactly as the Relu behind it: then that Relu's quantization clips for
    /// both, and nothing stands between them.
    fn is_clipped_by_relu(&self, id: NodeId) -> bool {
        let graph = &self.model.architecture.graph;
        let Some((relu, Activation::Relu)) = sole_activation(graph, &self.users, id) else {
            return false;
        };
        let quants = (self.model.scheme.tensors[id], self.model.scheme.tensors[relu]);
        matches!(quants, (Some(pre), Some(post)) if pre == post && post.zero_point == int8::MIN)
    }

    fn quantize(&mut self, id: NodeId, real: String, quant: Quant) {
        let name = self.node_name(id).to_owned();
        let scale = self.printer.floats(format!("{name}.scale"), &[], &[quant.scale]);
        let zero_point = zero_point(quant);
        let zero_point = self.printer.store(format!("{name}.zp"), &[], proto::INT8, zero_point);
        let stored = self.stored_name(id);
        let inputs = vec![real, scale, zero_point];
        self.printer.emit("QuantizeLinear", &stored, inputs, stored.clone(), vec![]);
    }

    fn dequantize(&mut self, id: NodeId, output: String) {
        let name = self.node_name(id);
        let inputs = vec![self.stored_name(id), format!("{name}.scale"), format!("{name}.zp")];
        self.printer.emit("DequantizeLinear", &output, inputs, output.clone(), vec![]);
    }

    fn conv(&mut self, id: NodeId, conv: &Conv, mut inputs: Vec<String>, output: String) -> Result<()> {
        let name = self.node_name(id).to_owned();
        let kernel = self.model.scheme.kernels.get(&name);
        let input = self.model.architecture.graph.nodes[id].inputs[0];
        let (Some(kernel), Some(from)) = (kernel, self.model.scheme.tensors[input]) else {
            return Err(Error::model(format!("{name:?} without kernel or scale"), "both", "quantize again"));
        };
        inputs.push(self.weights(&name, conv, kernel));
        inputs.push(self.bias(&name, kernel, from.scale));
        self.printer.convolution(&name, conv, inputs, output);
        Ok(())
    }

    fn weights(&mut self, name: &str, conv: &Conv, kernel: &Int8Kernel) -> String {
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        let bytes = kernel.values.iter().map(|value| value.cast_unsigned()).collect();
        let weight = format!("{name}.weight");
        let stored = self.printer.store(weight.clone(), &shape, proto::INT8, bytes);
        let scales = self.printer.floats(format!("{weight}.scale"), &[conv.cout], &kernel.scales);
        let zeros = self.zeros(proto::INT8, conv.cout);
        self.dequantize_constant(&weight, vec![stored, scales, zeros])
    }

    fn bias(&mut self, name: &str, kernel: &Int8Kernel, input_scale: f32) -> String {
        let bytes = kernel.bias.iter().flat_map(|bias| bias.to_le_bytes()).collect();
        let channels = kernel.bias.len();
        let bias = format!("{name}.bias");
        let stored = self.printer.store(bias.clone(), &[channels], proto::INT32, bytes);
        let scales: Vec<f32> = kernel.scales.iter().map(|scale| scale * input_scale).collect();
        let scales = self.printer.floats(format!("{bias}.scale"), &[channels], &scales);
        let zeros = self.zeros(proto::INT32, channels);
        self.dequantize_constant(&bias, vec![stored, scales, zeros])
    }

    fn dequantize_constant(&mut self, name: &str, inputs: Vec<String>) -> String {
        let output = format!("{name}.d");
        let along_channels = vec![onnx::attr_int("axis", 0)];
        self.printer.emit("DequantizeLinear", &output, inputs, output.clone(), along_channels);
        output
    }

    /// A zero point of 0 for each of `channels`, shared by all that need as many.
    fn zeros(&mut self, data_type: i32, channels: usize) -> String {
        let (kind, bytes) = if data_type == proto::INT8 { ("i8", 1) } else { ("i32", 4) };
        let name = format!("zeros.{kind}.{channels}");
        if self.zeros.insert((data_type, channels)) {
            self.printer.store(name.clone(), &[channels], data_type, vec![0; bytes * channels]);
        }
        name
    }
}

fn zero_point(quant: Quant) -> Vec<u8> {
    // Validated to be that of an i8.
    i8::try_from(quant.zero_point).map_or_else(|_| vec![0], |zero_point| vec![zero_point.cast_unsigned()])
}
