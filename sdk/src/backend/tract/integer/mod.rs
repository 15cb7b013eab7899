//! Turns a QDQ model (floats between `DequantizeLinear` and `QuantizeLinear`) into one that computes in int8, which
//! tract does not do itself: DQ→Conv→Q becomes `ConvInteger` and a requantization, any function of one tensor a table;
//! sums, pools and concatenations work on stored values. What fits no rule stays as it was, in floats; nothing is ever
//! approximated.

mod expression;
mod index;
mod ops;
mod requantize;
mod sums;

use std::collections::HashSet;

use artifact::{DType, Quant, TensorSpec};
use tract_onnx::Onnx;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use crate::int8;
use index::{Dequantized, Index, Stored};
use ops::{ADD, TABLE, bytes, floats, ints};
pub(super) use ops::{Add, Table};
pub(super) use requantize::{Codes, Requantize};

/// ONNX's `TensorProto.DataType.INT8`.
const INT8: i32 = 3;
/// Name of a zero point of 0 for weights.
const ZERO: &str = "repedge.int8.zero";

/// Makes the operators that rewritten graphs hold known to `onnx`.
pub(super) fn register(onnx: &mut Onnx) {
    ops::register(onnx);
    requantize::register(onnx);
}

/// Names of the tensors that hold `outputs`: where a specification asks for int8, the stored values before the last
/// dequantization instead of the floats behind it.
pub(super) fn output_names(graph: &GraphProto, outputs: &[TensorSpec]) -> Result<Vec<String>, String> {
    let index = Index::of(graph);
    let name = |spec: &TensorSpec| -> Result<String, String> {
        if spec.dtype != DType::I8 {
            return Ok(spec.name.clone());
        }
        match index.dequantized(&spec.name) {
            Some(tensor) if Some(tensor.quant) == spec.quant => Ok(tensor.name.to_owned()),
            Some(tensor) => Err(format!(
                "output {:?} has scale {} and zero point {} where {:?} was stated",
                spec.name, tensor.quant.scale, tensor.quant.zero_point, spec.quant
            )),
            None => Err(format!("output {:?} is not dequantized from int8", spec.name)),
        }
    };
    outputs.iter().map(name).collect()
}

/// Rewrites `graph` so that everything between two quantizations is computed in int8 where a rule for it exists.
/// `wanted` are the tensors that will be read.
pub(super) fn rewrite(graph: &mut GraphProto, wanted: &[String]) {
    let mut nodes = Vec::with_capacity(graph.node.len());
    {
        let index = Index::of(graph);
        for node in &graph.node {
            match (Rewriter { index: &index, quantize: node }).replacement() {
                Some(mut replacement) => nodes.append(&mut replacement),
                None => nodes.push(node.clone()),
            }
        }
    }
    graph.node = nodes;
    remove_unread(graph, wanted);
    // Not before: sums may be its only readers.
    graph.initializer.push(TensorProto {
        data_type: INT8,
        name: ZERO.into(),
        raw_data: vec![0],
        ..TensorProto::default()
    });
    sums::integer_sums(graph);
    remove_unread(graph, wanted);
}

/// Names of the operators, convolutions apart, that read stored activations as floats in `graph`, which is rewritten.
pub(super) fn left_in_floats(graph: &GraphProto) -> Vec<String> {
    let index = Index::of(graph);
    let reads_stored = |node: &&NodeProto| node.input.iter().any(|input| index.is_stored(input));
    let left = graph.node.iter().filter(|node| node.op_type != "Conv").filter(reads_stored);
    left.map(|node| node.name.clone()).collect()
}

/// Drops what no output depends on: floats that nobody reads any more.
fn remove_unread(graph: &mut GraphProto, wanted: &[String]) {
    let outputs = graph.output.iter().map(|output| &output.name);
    let mut read: HashSet<String> = outputs.chain(wanted).cloned().collect();
    let mut kept: Vec<NodeProto> = Vec::with_capacity(graph.node.len());
    for node in graph.node.drain(..).rev() {
        if node.output.iter().any(|output| read.contains(output)) {
            read.extend(node.input.iter().cloned());
            kept.push(node);
        }
    }
    kept.reverse();
    graph.node = kept;
    graph.initializer.retain(|tensor| read.contains(&tensor.name));
}

/// One `QuantizeLinear` and what it might be replaced by.
struct Rewriter<'a> {
    index: &'a Index<'a>,
    quantize: &'a NodeProto,
}

impl Rewriter<'_> {
    /// Nodes that make the same stored values without floats.
    fn replacement(&self) -> Option<Vec<NodeProto>> {
        let to = self.index.quantizes(self.quantize)?;
        let real = self.quantize.input.first()?;
        let maker = self.index.only_reader(real, self.quantize).and_then(|()| self.index.maker(real));
        maker
            .and_then(|maker| match maker.op_type.as_str() {
                "Conv" => self.convolution(maker, to.quant),
                "Relu" => self.clipped_convolution(maker, to.quant),
                "MaxPool" | "Resize" | "Slice" => self.moved(maker, to.quant),
                "Concat" => self.concatenated(maker, to.quant),
                "Add" | "Sum" => self.sum(maker, to.quant),
                _ => None,
            })
            .or_else(|| self.activated_convolution(real, to.quant))
            .or_else(|| self.function(real, to.quant))
    }

    /// DQ→Conv→Q.
    fn convolution(&self, conv: &NodeProto, to: Quant) -> Option<Vec<NodeProto>> {
        self.requantized(conv, to.scale, Codes::Shifted { zero_point: to.zero_point })
    }

    /// DQ→Conv→activation→Q: the activation reads the sums in sixteenths of the output's step.
    fn activated_convolution(&self, real: &str, to: Quant) -> Option<Vec<NodeProto>> {
        let expression = expression::Expression::of(self.index, real)?;
        let conv = expression.convolution()?;
        let table = int8::SumTable::new(to, |x| expression.value(x));
        self.requantized(conv, table.unit(), Codes::of_table(&table))
    }

    /// The convolution over stored values, its sums requantized to steps of `unit` and stored as `codes` says.
    fn requantized(&self, conv: &NodeProto, unit: f32, codes: Codes) -> Option<Vec<NodeProto>> {
        let [x, w, rest @ ..] = conv.input.as_slice() else { return None };
        let x = self.index.dequantized(x)?;
        let w = self.index.weights(w)?;
        let bias = match rest {
            [] => vec![0; w.channels],
            [bias] => self.index.bias_values(self.index.bias(bias, x.quant.scale, &w)?)?,
            _ => return None,
        };
        let multiplier = |channel| int8::multiplier(x.quant.scale, w.scale(channel), unit);
        let multipliers: Vec<f32> = (0..w.channels).map(multiplier).collect();
        if multipliers.iter().any(|multiplier| !multiplier.is_finite()) {
            return None;
        }
        let sums = format!("{}.sums", conv.name);
        let integer = NodeProto {
            op_type: "ConvInteger".into(),
            name: conv.name.clone(),
            input: [x.name, w.name, x.zero_point_name, ZERO].map(str::to_owned).to_vec(),
            output: vec![sums.clone()],
            attribute: conv.attribute.clone(),
            ..NodeProto::default()
        };
        let requantize = Requantize { bias, multipliers, codes };
        let output = self.quantize.output.first()?;
        Some(vec![integer, requantize.node(&format!("{}.requantize", conv.name), &sums, output)])
    }

    /// DQ→Conv→Relu→Q where nothing below 0 can be stored, so that saturating is the Relu.
    fn clipped_convolution(&self, relu: &NodeProto, to: Quant) -> Option<Vec<NodeProto>> {
        let real = relu.input.first()?;
        self.index.only_reader(real, relu)?;
        let conv = self.index.maker(real).filter(|node| node.op_type == "Conv")?;
        (to.zero_point == int8::MIN).then(|| self.convolution(conv, to)).flatten()
    }

    /// Values that are moved, not changed: DQ→MaxPool→Q and its like with one scale.
    fn moved(&self, node: &NodeProto, to: Quant) -> Option<Vec<NodeProto>> {
        let (first, rest) = node.input.split_first()?;
        let x = self.index.dequantized(first)?;
        let constant = rest.iter().all(|name| name.is_empty() || self.index.is_constant(name));
        (x.quant == to && constant && node.output.len() == 1).then(|| {
            let mut moved = node.clone();
            x.name.clone_into(&mut moved.input[0]);
            moved.output.clone_from(&self.quantize.output);
            vec![moved]
        })
    }

    /// DQ, DQ, …→Concat→Q; inputs of other scales are rescaled first.
    fn concatenated(&self, node: &NodeProto, to: Quant) -> Option<Vec<NodeProto>> {
        let inputs: Option<Vec<Dequantized<'_>>> =
            node.input.iter().map(|input| self.index.dequantized(input)).collect();
        let mut nodes = Vec::new();
        let mut concat = node.clone();
        for (at, input) in inputs?.into_iter().enumerate() {
            concat.input[at] = if input.quant == to {
                input.name.to_owned()
            } else {
                let name = format!("{}.rescaled{at}", self.quantize.output.first()?);
                nodes.push(table_node(
                    name.clone(),
                    input.name,
                    vec![name.clone()],
                    &int8::table(input.quant, to, |x| x),
                ));
                name
            };
        }
        concat.output.clone_from(&self.quantize.output);
        nodes.push(concat);
        Some(nodes)
    }

    /// DQ, DQ, …→Add→Q.
    fn sum(&self, node: &NodeProto, to: Quant) -> Option<Vec<NodeProto>> {
        let inputs: Option<Vec<Dequantized<'_>>> =
            node.input.iter().map(|input| self.index.dequantized(input)).collect();
        let inputs = inputs?;
        let quants: Vec<Quant> = inputs.iter().map(|input| input.quant).chain([to]).collect();
        Some(vec![NodeProto {
            op_type: ADD.into(),
            name: node.name.clone(),
            input: inputs.iter().map(|input| input.name.to_owned()).collect(),
            output: self.quantize.output.clone(),
            attribute: vec![
                floats("scales", quants.iter().map(|quant| quant.scale)),
                ints("zero_points", quants.iter().map(|quant| i64::from(quant.zero_point))),
            ],
            ..NodeProto::default()
        }])
    }

    /// DQ→anything of one tensor→Q.
    fn function(&self, real: &str, to: Quant) -> Option<Vec<NodeProto>> {
        let expression = expression::Expression::of(self.index, real)?;
        let Stored { name, quant } = expression.stored()?;
        let table = int8::table(quant, to, |x| expression.value(x));
        Some(vec![table_node(real.to_owned(), name, self.quantize.output.clone(), &table)])
    }
}

fn table_node(name: String, input: &str, output: Vec<String>, table: &int8::Table) -> NodeProto {
    let entries = bytes("table", table.iter().map(|entry| entry.cast_unsigned()).collect());
    NodeProto {
        op_type: TABLE.into(),
        name,
        input: vec![input.to_owned()],
        output,
        attribute: vec![entries],
        ..NodeProto::default()
    }
}
