//! A quantized model on the integer reference, node by node: what every engine has to give, bit for bit. Slow, for
//! tests and for settling doubts; refuses models with nodes in floats.

use artifact::{Quant, Tensor, TensorData};
use repedge::int8;
use repedge::int8::reference::{self, ConvShape, Planes};

use super::scheme::{Int8Kernel, QuantizedModel, function};
use crate::model::{Conv, NodeId, Op};
use crate::{Error, Result};

impl QuantizedModel {
    /// The real values of its raw outputs for `image`, computed in integers: those of stored outputs dequantized, those
    /// of the others as [`reference::conv_real`] has them.
    ///
    /// # Errors
    /// As [`run`].
    pub fn integer_outputs(&self, image: &Tensor) -> Result<Vec<Vec<f32>>> {
        let results = run(self, image)?;
        let reals = |&id: &NodeId| match &results[id] {
            Some(Planes { quant, data, .. }) => {
                Ok(data.iter().map(|&stored| int8::dequantize(stored, *quant)).collect())
            }
            None => {
                let (input, shape, kernel) = convolution(self, id, &results)?;
                Ok(reference::conv_real(input, &shape, &kernel.view())?.data)
            }
        };
        self.architecture.graph.outputs.iter().map(reals).collect()
    }
}

/// The stored values of every node for `image`, which is a float input of the model; none for a convolution whose sums
/// its activation reads or that stay real: see [`QuantizedModel::integer_outputs`].
///
/// # Errors
/// [`Error::Model`] when a node computes in floats or the model is broken, [`Error::Input`] when the image is of
/// another kind.
pub fn run(model: &QuantizedModel, image: &Tensor) -> Result<Vec<Option<Planes>>> {
    model.validate_scheme()?;
    let graph = &model.architecture.graph;
    let mut results: Vec<Option<Planes>> = Vec::with_capacity(graph.nodes.len());
    for (id, node) in graph.nodes.iter().enumerate() {
        if !model.is_int8(id) {
            return Err(Error::model(
                format!("node {:?} computes in floats", node.name),
                "a model that is int8 throughout",
                "quantize without mixed precision",
            ));
        }
        let result = match model.scheme.tensors[id] {
            Some(to) => Some(compute(model, id, to, &results, image)?),
            None => None,
        };
        results.push(result);
    }
    Ok(results)
}

fn compute(
    model: &QuantizedModel,
    id: NodeId,
    to: Quant,
    results: &[Option<Planes>],
    image: &Tensor,
) -> Result<Planes> {
    let node = &model.architecture.graph.nodes[id];
    if let (Some(conv), Op::Act(activation)) = (model.fused_convolution(id), node.op) {
        let table = int8::SumTable::new(to, function(activation));
        let (input, shape, kernel) = convolution(model, conv, results)?;
        return Ok(reference::conv_activated(input, &shape, &kernel.view(), &table)?);
    }
    let inputs: Vec<&Planes> = node.inputs.iter().filter_map(|&input| results[input].as_ref()).collect();
    let first = || inputs.first().copied().ok_or_else(|| no_form(&node.name));
    Ok(match node.op {
        Op::Input { .. } => store(image, to)?,
        Op::Conv(_) => {
            let (input, shape, kernel) = convolution(model, id, results)?;
            reference::conv(input, &shape, &kernel.view(), to)?
        }
        Op::Act(activation) => {
            let input = first()?;
            reference::map(input, &int8::table(input.quant, to, function(activation)), to)
        }
        Op::Add => reference::add(&inputs, to)?,
        Op::Concat => reference::concat(&inputs, to)?,
        Op::MaxPool { kernel, stride, pad } => reference::max_pool(first()?, kernel, stride, pad)?,
        Op::Upsample { factor } => reference::upsample(first()?, factor)?,
        Op::SpaceToDepth => reference::space_to_depth(first()?)?,
        Op::Slice { start, len } => reference::slice(first()?, start..start + len)?,
        Op::BatchNorm { .. } | Op::Attention(_) => return Err(no_form(&node.name)),
    })
}

/// What the convolution `id` reads and how it weighs it.
fn convolution<'a>(
    model: &'a QuantizedModel,
    id: NodeId,
    results: &'a [Option<Planes>],
) -> Result<(&'a Planes, ConvShape, &'a Int8Kernel)> {
    let node = &model.architecture.graph.nodes[id];
    let input = node.inputs.first().and_then(|&input| results[input].as_ref());
    let (Op::Conv(conv), Some(input), Some(kernel)) = (node.op, input, model.scheme.kernels.get(&node.name))
    else {
        return Err(no_form(&node.name));
    };
    let Conv { cout, kernel: side, stride, pad, dilation, groups, .. } = conv;
    Ok((input, ConvShape { cout, kernel: side, stride, pad, dilation, groups }, kernel))
}

fn store(image: &Tensor, to: Quant) -> Result<Planes> {
    let (TensorData::F32(values), [1, channels, height, width]) = (&image.data, image.shape) else {
        return Err(Error::input("an image of another kind", "floats of shape [1, 3, H, W]", "letterbox it"));
    };
    let data = values.iter().map(|&value| int8::quantize(value, to)).collect();
    Ok(Planes { shape: [channels, height, width], quant: to, data })
}

fn no_form(node: &str) -> Error {
    Error::model(format!("node {node:?} has no int8 form"), "a quantized model", "quantize the model again")
}
