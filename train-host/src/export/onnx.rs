//! Prints a graph as ONNX: opset 13, static shapes, input `images`, one raw convolution output a stride (`p3` for
//! stride 8, `p4` for 16, …), of split heads two (`p3_box`, `p3_class`, …). The same model gives the same bytes. Never
//! changes the graph, never runs it.

mod attention;

use std::collections::BTreeSet;
use std::ops::Range;

use artifact::{DType, Layout, TensorSpec};
use half::f16;
use prost::Message;

use super::onnx_proto::{
    self as proto, AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::model::{
    Activation, Architecture, Boxes, Conv, FusedModel, Graph, LEAKY_SLOPE, NodeId, Op, Shape, TrainedModel,
    Weights,
};
use crate::{Error, Result};

/// Name of the image input, `[1, 3, H, W]`, RGB in 0..1.
pub const INPUT_NAME: &str = "images";

/// IR 8 and opset 13 are what onnxruntime, tract and rknn-toolkit2 all read.
const IR_VERSION: i64 = 8;
const OPSET: i64 = 13;

/// The fused model as ONNX for square images of its own size, with classes, strides and anchors as metadata.
///
/// # Errors
/// As [`model_specs`], and [`Error::Model`] when a weight is missing or of another shape.
pub fn write(model: &FusedModel) -> Result<Vec<u8>> {
    print_model(&model.architecture, &model.weights, model.imgsz)
}

/// The training form as ONNX, for comparison with the fused one. Cannot be bundled.
///
/// # Errors
/// As [`write`].
pub fn write_diagnostic(model: &TrainedModel) -> Result<Vec<u8>> {
    print_model(&model.architecture, &model.weights, model.imgsz)
}

/// A bare graph as ONNX, outputs called as their nodes; what [`write`] is for models.
///
/// # Errors
/// As [`write`].
pub fn write_graph(graph: &Graph, weights: &Weights, imgsz: usize) -> Result<Vec<u8>> {
    let outputs: Vec<String> = graph.outputs.iter().map(|&id| graph.nodes[id].name.clone()).collect();
    print(graph, weights, &specs(graph, &outputs, imgsz)?, Vec::new())
}

/// Name and shape of the model's input and outputs in the ONNX file, for square images of `imgsz` pixels.
///
/// # Errors
/// [`Error::Model`] when graph and head do not fit each other, [`Error::Input`] when the image size does not fit them.
pub fn model_specs(architecture: &Architecture, imgsz: usize) -> Result<Specs> {
    architecture.validate()?;
    architecture.check_imgsz(imgsz)?;
    let Architecture { graph, head, .. } = architecture;
    let levels = head.strides.iter().map(|&stride| level_name(stride));
    let outputs: Vec<String> = match head.boxes {
        Boxes::Anchors { .. } => levels.collect(),
        Boxes::Distances { .. } => {
            levels.flat_map(|level| [format!("{level}_box"), format!("{level}_class")]).collect()
        }
    };
    specs(graph, &outputs, imgsz)
}

/// What goes in and what comes out.
#[derive(Debug, Clone, PartialEq)]
pub struct Specs {
    /// The image.
    pub input: TensorSpec,
    /// The raw outputs, in the order of the graph's.
    pub outputs: Vec<TensorSpec>,
}

/// `p3` for stride 8, as feature pyramids count their levels.
fn level_name(stride: usize) -> String {
    if stride.is_power_of_two() { format!("p{}", stride.ilog2()) } else { format!("stride{stride}") }
}

pub(crate) fn specs(graph: &Graph, output_names: &[String], imgsz: usize) -> Result<Specs> {
    let shapes = graph.shapes(imgsz, imgsz)?;
    let spec = |name: &str, id: NodeId| {
        let [channels, height, width] = shapes[id];
        TensorSpec {
            name: name.to_owned(),
            dtype: DType::F32,
            layout: Layout::Nchw,
            shape: [1, channels, height, width],
            quant: None,
        }
    };
    let outputs = output_names.iter().zip(&graph.outputs).map(|(name, &id)| spec(name, id)).collect();
    // A valid graph begins with its only input.
    Ok(Specs { input: spec(INPUT_NAME, 0), outputs })
}

fn print_model(architecture: &Architecture, weights: &Weights, imgsz: usize) -> Result<Vec<u8>> {
    let specs = model_specs(architecture, imgsz)?;
    print(&architecture.graph, weights, &specs, metadata(architecture)?)
}

/// What a reader of the file needs beside the graph.
pub(super) fn metadata(architecture: &Architecture) -> Result<Vec<StringStringEntryProto>> {
    let head = &architecture.head;
    let boxes = match &head.boxes {
        Boxes::Anchors { anchors_px } => entry("anchors_px", json(anchors_px)?),
        Boxes::Distances { reg_max } => entry("reg_max", json(reg_max)?),
    };
    let mut entries = vec![
        entry("model", architecture.name.clone()),
        entry("classes", json(&head.classes)?),
        entry("strides", json(&head.strides)?),
        boxes,
    ];
    if !head.spread.is_empty() {
        entries.push(entry("box_spread", json(&head.spread)?));
    }
    Ok(entries)
}

pub(super) fn entry(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto { key: key.to_owned(), value }
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value)
        .map_err(|e| Error::model(e.to_string(), "a head that JSON can hold", "check the model description"))
}

fn print(
    graph: &Graph,
    weights: &Weights,
    specs: &Specs,
    metadata: Vec<StringStringEntryProto>,
) -> Result<Vec<u8>> {
    let tensors = tensor_names(graph, specs)?;
    let (height_px, width_px) = specs.input.height_width();
    let shapes = graph.shapes(height_px, width_px)?;
    let mut printer = Printer { weights, float_weights: FloatWeights::Single, graph: GraphProto::default() };
    for (id, node) in graph.nodes.iter().enumerate() {
        let inputs = node.inputs.iter().map(|&input| tensors[input].clone()).collect();
        printer.operator(&node.name, &node.op, shapes[id], inputs, tensors[id].clone())?;
    }
    file(printer.graph, specs, metadata)
}

/// The bytes of a file whose nodes and constants are in `graph`.
///
/// # Errors
/// [`Error::Model`] when two of its tensors have one name.
pub(super) fn file(
    graph: GraphProto,
    specs: &Specs,
    metadata: Vec<StringStringEntryProto>,
) -> Result<Vec<u8>> {
    check_names(&graph, &specs.input.name)?;
    let graph = GraphProto {
        name: "repedge".to_owned(),
        input: vec![value_info(&specs.input)],
        output: specs.outputs.iter().map(value_info).collect(),
        ..graph
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "repedge train-host".to_owned(),
        producer_version: env!("CARGO_PKG_VERSION").to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props: metadata,
    };
    Ok(model.encode_to_vec())
}

/// ONNX knows tensors by their names alone: of two with one name, engines take either, or refuse the file.
fn check_names(graph: &GraphProto, input: &str) -> Result<()> {
    let constants = graph.initializer.iter().map(|constant| constant.name.as_str());
    let results = graph.node.iter().flat_map(|node| &node.output).map(String::as_str);
    let mut known = BTreeSet::from([input]);
    match constants.chain(results).find(|name| !known.insert(name)) {
        None => Ok(()),
        Some(name) => Err(Error::model(
            format!("two tensors called {name:?}"),
            "a name of its own for each node, and for what is stored with it",
            "rename the node of the model whose name is the beginning of it",
        )),
    }
}

/// Name of each node's result: its own, except at the graph's ends.
pub(super) fn tensor_names(graph: &Graph, specs: &Specs) -> Result<Vec<String>> {
    let mut names: Vec<String> = graph.nodes.iter().map(|node| node.name.clone()).collect();
    names[0].clone_from(&specs.input.name);
    for (at, (&id, spec)) in graph.outputs.iter().zip(&specs.outputs).enumerate() {
        if id == 0 || graph.outputs[..at].contains(&id) {
            return Err(Error::model(
                format!("output {at} is node {:?}", graph.nodes[id].name),
                "outputs that are computed, each once",
                "check the model description",
            ));
        }
        names[id].clone_from(&spec.name);
    }
    Ok(names)
}

fn value_info(spec: &TensorSpec) -> ValueInfoProto {
    let dim = spec.shape.iter().map(|&side| DimensionProto { dim_value: Some(int(side)) }).collect();
    let tensor_type = TensorTypeProto { elem_type: proto::FLOAT, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: spec.name.clone(), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

/// How the float weights of convolutions are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FloatWeights {
    /// As they are.
    Single,
    /// In 16 bits, behind a `Cast` that engines fold away. Exact for weights that 16 bits hold.
    Half,
}

/// Collects nodes and constants, operator by operator.
pub(super) struct Printer<'a> {
    pub weights: &'a Weights,
    pub float_weights: FloatWeights,
    pub graph: GraphProto,
}

impl Printer<'_> {
    /// Prints `op`, whose result has `shape`, as the node or nodes called `name`, over the tensors `inputs`; float
    /// weights are stored with it.
    pub fn operator(
        &mut self,
        name: &str,
        op: &Op,
        shape: Shape,
        inputs: Vec<String>,
        output: String,
    ) -> Result<()> {
        match op {
            Op::Input { .. } => {}
            Op::Conv(conv) => self.conv(name, conv, inputs, output)?,
            Op::BatchNorm { channels, eps } => self.batch_norm(name, *channels, *eps, inputs, output)?,
            Op::Act(activation) => self.activation(name, *activation, inputs, output),
            Op::Add => {
                // Engines know Add better than Sum, but only Sum takes more than two.
                let op = if inputs.len() == 2 { "Add" } else { "Sum" };
                self.emit(op, name, inputs, output, vec![]);
            }
            Op::Concat => self.emit("Concat", name, inputs, output, vec![attr_int("axis", 1)]),
            Op::MaxPool { kernel, stride, pad } => {
                let attributes = vec![
                    attr_ints("kernel_shape", &[*kernel; 2]),
                    attr_ints("pads", &[*pad; 4]),
                    attr_ints("strides", &[*stride; 2]),
                ];
                self.emit("MaxPool", name, inputs, output, attributes);
            }
            Op::Upsample { factor } => self.upsample(name, *factor, inputs, output),
            &Op::Slice { start, len } => self.slice(name, start..start + len, inputs, output),
            Op::Attention(attention) => {
                let [_, height, width] = shape;
                self.attention(name, attention, [height, width], inputs, output);
            }
            Op::SpaceToDepth => self.space_to_depth(name, &inputs, output),
        }
        Ok(())
    }

    fn conv(&mut self, name: &str, conv: &Conv, mut inputs: Vec<String>, output: String) -> Result<()> {
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        inputs.push(match self.float_weights {
            FloatWeights::Single => self.weight(name, "weight", &shape)?,
            FloatWeights::Half => self.half_weight(name, "weight", &shape)?,
        });
        if conv.bias {
            inputs.push(self.weight(name, "bias", &[conv.cout])?);
        }
        self.convolution(name, conv, inputs, output);
        Ok(())
    }

    /// Prints a convolution over `inputs`: the activations, the weights, the bias.
    pub fn convolution(&mut self, name: &str, conv: &Conv, inputs: Vec<String>, output: String) {
        let attributes = vec![
            attr_ints("dilations", &[conv.dilation; 2]),
            attr_int("group", conv.groups),
            attr_ints("kernel_shape", &[conv.kernel; 2]),
            attr_ints("pads", &[conv.pad; 4]),
            attr_ints("strides", &[conv.stride; 2]),
        ];
        self.emit("Conv", name, inputs, output, attributes);
    }

    fn batch_norm(
        &mut self,
        name: &str,
        channels: usize,
        eps: f64,
        mut inputs: Vec<String>,
        output: String,
    ) -> Result<()> {
        for field in ["weight", "bias", "running_mean", "running_var"] {
            inputs.push(self.weight(name, field, &[channels])?);
        }
        self.emit("BatchNormalization", name, inputs, output, vec![attr_float("epsilon", eps)]);
        Ok(())
    }

    fn activation(&mut self, name: &str, activation: Activation, inputs: Vec<String>, output: String) {
        match activation {
            Activation::Relu => self.emit("Relu", name, inputs, output, vec![]),
            Activation::LeakyRelu => {
                self.emit("LeakyRelu", name, inputs, output, vec![attr_float("alpha", LEAKY_SLOPE)]);
            }
            Activation::Silu => {
                let gate = format!("{name}.sigmoid");
                self.emit("Sigmoid", &gate, inputs.clone(), gate.clone(), vec![]);
                self.emit("Mul", name, [inputs, vec![gate]].concat(), output, vec![]);
            }
            Activation::Mish => {
                // ONNX has had Mish since opset 18 only.
                let (softplus, gate) = (format!("{name}.softplus"), format!("{name}.tanh"));
                self.emit("Softplus", &softplus, inputs.clone(), softplus.clone(), vec![]);
                self.emit("Tanh", &gate, vec![softplus], gate.clone(), vec![]);
                self.emit("Mul", name, [inputs, vec![gate]].concat(), output, vec![]);
            }
        }
    }

    fn upsample(&mut self, name: &str, factor: usize, mut inputs: Vec<String>, output: String) {
        #[expect(clippy::cast_precision_loss, reason = "factors are small")]
        let factor = factor as f32;
        let scales = [1.0, 1.0, factor, factor];
        // The empty name is the region of interest, which this mode does not use.
        inputs.extend([String::new(), self.floats(format!("{name}.scales"), &[4], &scales)]);
        let attributes = vec![
            attr_string("coordinate_transformation_mode", "asymmetric"),
            attr_string("mode", "nearest"),
            attr_string("nearest_mode", "floor"),
        ];
        self.emit("Resize", name, inputs, output, attributes);
    }

    fn slice(&mut self, name: &str, channels: Range<usize>, mut inputs: Vec<String>, output: String) {
        inputs.push(self.ints(format!("{name}.starts"), &[int(channels.start)]));
        inputs.push(self.ints(format!("{name}.ends"), &[int(channels.end)]));
        inputs.push(self.ints(format!("{name}.axes"), &[1]));
        self.emit("Slice", name, inputs, output, vec![]);
    }

    /// ONNX's own SpaceToDepth orders the blocks by row first, Focus by column first: hence four strided slices.
    fn space_to_depth(&mut self, name: &str, inputs: &[String], output: String) {
        let ends = self.ints(format!("{name}.ends"), &[i64::MAX; 2]);
        let axes = self.ints(format!("{name}.axes"), &[2, 3]);
        let steps = self.ints(format!("{name}.steps"), &[2; 2]);
        let mut blocks = Vec::new();
        for (row, column) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
            let block = format!("{name}.block{row}{column}");
            let starts = self.ints(format!("{block}.starts"), &[row, column]);
            let operands = [ends.clone(), axes.clone(), steps.clone()];
            let inputs = inputs.iter().cloned().chain([starts]).chain(operands).collect();
            self.emit("Slice", &block, inputs, block.clone(), vec![]);
            blocks.push(block);
        }
        self.emit("Concat", name, blocks, output, vec![attr_int("axis", 1)]);
    }

    /// Adds one node.
    pub fn emit(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.emit_all(op, name, input, vec![output], attribute);
    }

    /// As [`Printer::emit`], for an operator of several results.
    fn emit_all(
        &mut self,
        op: &str,
        name: &str,
        input: Vec<String>,
        output: Vec<String>,
        attribute: Vec<AttributeProto>,
    ) {
        let (op_type, name) = (op.to_owned(), name.to_owned());
        self.graph.node.push(NodeProto { input, output, name, op_type, attribute });
    }

    /// Stores a weight of node `name` and returns the name of its tensor.
    fn weight(&mut self, name: &str, field: &str, shape: &[usize]) -> Result<String> {
        let weight = format!("{name}.{field}");
        let values = self.weights.expect(&weight, shape)?;
        Ok(self.floats(weight, shape, values))
    }

    /// As [`Printer::weight`], stored in 16 bits.
    fn half_weight(&mut self, name: &str, field: &str, shape: &[usize]) -> Result<String> {
        let weight = format!("{name}.{field}");
        let values = self.weights.expect(&weight, shape)?;
        let raw_data = values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        let stored = self.store(format!("{weight}.half"), shape, proto::FLOAT16, raw_data);
        let to_float =
            AttributeProto { i: Some(i64::from(proto::FLOAT)), ..attribute("to", proto::ATTRIBUTE_INT) };
        self.emit("Cast", &weight, vec![stored], weight.clone(), vec![to_float]);
        Ok(weight)
    }

    /// Stores a float constant and returns its name.
    pub fn floats(&mut self, name: String, shape: &[usize], values: &[f32]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(name, shape, proto::FLOAT, raw_data)
    }

    fn ints(&mut self, name: String, values: &[i64]) -> String {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(name, &[values.len()], proto::INT64, raw_data)
    }

    /// Stores a constant and returns its name.
    pub fn store(&mut self, name: String, shape: &[usize], data_type: i32, raw_data: Vec<u8>) -> String {
        let dims = shape.iter().map(|&side| int(side)).collect();
        self.graph.initializer.push(TensorProto { dims, data_type, name: name.clone(), raw_data });
        name
    }
}

pub(super) fn attr_int(name: &str, value: usize) -> AttributeProto {
    AttributeProto { i: Some(int(value)), ..attribute(name, proto::ATTRIBUTE_INT) }
}

fn attr_ints(name: &str, values: &[usize]) -> AttributeProto {
    let ints = values.iter().map(|&value| int(value)).collect();
    AttributeProto { ints, ..attribute(name, proto::ATTRIBUTE_INTS) }
}

fn attr_float(name: &str, value: f64) -> AttributeProto {
    #[expect(clippy::cast_possible_truncation, reason = "ONNX attributes are f32")]
    let f = Some(value as f32);
    AttributeProto { f, ..attribute(name, proto::ATTRIBUTE_FLOAT) }
}

fn attr_string(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, proto::ATTRIBUTE_STRING) }
}

fn attribute(name: &str, r#type: i32) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type, ..AttributeProto::default() }
}

/// Sizes of a validated graph are far below `i64::MAX`.
fn int(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_called_as_anothers_weight_is_refused() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let conv =
            Conv { cin: 3, cout: 1, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: false };
        let conv = graph.push("a", Op::Conv(conv), &[image]);
        let relu = graph.push("a.weight", Op::Act(Activation::Relu), &[conv]);
        let last = graph.push("b", Op::Act(Activation::Relu), &[relu]);
        graph.outputs = vec![last];
        let mut weights = Weights::default();
        weights.insert("a.weight", &[1, 3, 1, 1], vec![1.0; 3]);
        let error = write_graph(&graph, &weights, 8).unwrap_err().to_string();
        assert!(error.contains("two tensors called \"a.weight\""), "{error}");
    }
}
