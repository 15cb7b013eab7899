//! Post-training quantization, one function a stage: which nodes can be int8, then scales, then kernels. Measures
//! nothing and chooses nothing: see `choose`.

use std::collections::BTreeMap;

use boards::Int8;
use half::f16;

use super::calibrate::Method;
use super::observe::Observations;
use super::ranges;
use super::scheme::{Int8Kernel, Origin, QuantizedModel, Scheme, sole_activation, sums_fit};
use super::weights::{is_dead, quantize_kernel};
use crate::model::{FusedModel, Graph, NodeId, Op, Weights};
use crate::{Error, Result};

/// What decides how a model is quantized, beside the images.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How ranges are found.
    pub method: Method,
    /// What the board asks of scales.
    pub rules: Int8,
    /// Convolutions that are to stay in floats, and why.
    pub kept: BTreeMap<String, String>,
}

/// Quantizes `model` with the scales that `plan` finds in `observed`.
///
/// # Errors
/// [`Error::Model`] naming the node that has batch norms left, gave nothing but 0, or misses a weight.
pub fn quantize(model: &FusedModel, observed: &Observations, plan: &Plan) -> Result<QuantizedModel> {
    let graph = &model.architecture.graph;
    let floats = float_nodes(graph, &plan.kept)?;
    let tensors = ranges::tensors(&model.architecture, observed, plan.method, plan.rules, &floats)?;
    let mut quantized = QuantizedModel {
        architecture: model.architecture.clone(),
        weights: Weights::default(),
        imgsz: model.imgsz,
        scheme: Scheme {
            tensors,
            kernels: BTreeMap::new(),
            floats: floats.into_iter().map(|(id, why)| (graph.nodes[id].name.clone(), why)).collect(),
            rules: plan.rules,
            origin: Origin { method: plan.method.to_string(), images: observed.images, passes: Vec::new() },
        },
    };
    for id in 0..graph.nodes.len() {
        add_weights(model, &mut quantized, id)?;
    }
    quantized.validate()?;
    Ok(quantized)
}

/// Stores the weights of convolution `id` in the form that the scheme wants.
fn add_weights(model: &FusedModel, quantized: &mut QuantizedModel, id: NodeId) -> Result<()> {
    let node = &model.architecture.graph.nodes[id];
    let Op::Conv(conv) = node.op else { return Ok(()) };
    let (values, bias) = conv_weights(model, id)?;
    match quantized.scheme.tensors[node.inputs[0]] {
        Some(from) if quantized.is_int8(id) => {
            let kernel: Int8Kernel = quantize_kernel(values, bias, from.scale);
            quantized.scheme.kernels.insert(node.name.clone(), kernel);
        }
        _ => {
            let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
            quantized.weights.insert(
                format!("{}.weight", node.name),
                &shape,
                half_precision(values, &node.name)?,
            );
            quantized.weights.insert(format!("{}.bias", node.name), &[conv.cout], bias.to_vec());
        }
    }
    Ok(())
}

/// `values` as 16-bit floats hold them: what stays in floats is stored as such.
fn half_precision(values: &[f32], node: &str) -> Result<Vec<f32>> {
    let round = |&value: &f32| {
        let half = f16::from_f32(value);
        half.is_finite().then_some(half.to_f32()).ok_or_else(|| {
            Error::model(
                format!("node {node:?} stays in floats and has a weight of {value}"),
                format!("weights within ±{}, as 16-bit floats hold", f16::MAX),
                "weights this large mean that training diverged: take an earlier checkpoint",
            )
        })
    };
    values.iter().map(round).collect()
}

/// The first convolution of `model` with weights that 16-bit floats cannot hold.
pub(super) fn beyond_half(model: &FusedModel) -> Option<&str> {
    let nodes = model.architecture.graph.nodes.iter().enumerate();
    let mut convs = nodes.filter(|(_, node)| matches!(node.op, Op::Conv(_)));
    let is_beyond = |id: NodeId| {
        let weights = conv_weights(model, id).map(|(values, _)| values).unwrap_or_default();
        weights.iter().any(|&value| !f16::from_f32(value).is_finite())
    };
    convs.find(|(id, _)| is_beyond(*id)).map(|(_, node)| node.name.as_str())
}

/// Whether 16-bit floats, in which NPUs compute floats, hold all that was seen of the node called `name`.
pub(super) fn fits_half(graph: &Graph, observed: &Observations, name: &str) -> bool {
    let of_name = observed.nodes.iter().filter(|(id, _)| graph.nodes[**id].name == name);
    let mut histograms = of_name.map(|(_, stats)| &stats.histogram);
    histograms.all(|seen| [seen.low(), seen.high()].iter().all(|&end| f16::from_f32(end).is_finite()))
}

/// Kernel and bias of the convolution `id` of a fused model.
///
/// # Errors
/// [`Error::Model`] when `id` is no convolution with bias or its weights are missing.
pub fn conv_weights(model: &FusedModel, id: NodeId) -> Result<(&[f32], &[f32])> {
    let node = &model.architecture.graph.nodes[id];
    let Op::Conv(conv) = node.op else { return Err(unfused(&node.name)) };
    if !conv.bias {
        return Err(unfused(&node.name));
    }
    let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
    let values = model.weights.expect(&format!("{}.weight", node.name), &shape)?;
    Ok((values, model.weights.expect(&format!("{}.bias", node.name), &[conv.cout])?))
}

/// Nodes that stay in floats, each with its reason: convolutions that are asked to or that int8 cannot do, and what
/// only floats read. A convolution before them may still be int8; its sums are then read as real values.
///
/// # Errors
/// [`Error::Model`] naming a batch norm, or a name in `kept` that is no convolution.
pub fn float_nodes(graph: &Graph, kept: &BTreeMap<String, String>) -> Result<BTreeMap<NodeId, String>> {
    check_kept(graph, kept)?;
    let users = graph.users();
    let mut floats = BTreeMap::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let reason = match node.op {
            Op::Conv(_) if kept.contains_key(&node.name) => kept.get(&node.name).cloned(),
            Op::Conv(conv) if !sums_fit(&conv) => {
                let products = conv.cin / conv.groups * conv.kernel * conv.kernel;
                Some(format!("32 bits may not hold sums of {products} products"))
            }
            Op::BatchNorm { .. } => return Err(unfused(&node.name)),
            Op::Attention(_) => {
                Some("attention multiplies activations, which int8 engines do not".to_owned())
            }
            Op::Act(_) if follows_float(graph, &users, &floats, id) => {
                Some(format!("follows {} in floats", graph.nodes[node.inputs[0]].name))
            }
            Op::Input { .. }
            | Op::Conv(_)
            | Op::Act(_)
            | Op::Add
            | Op::Concat
            | Op::MaxPool { .. }
            | Op::Upsample { .. }
            | Op::Slice { .. }
            | Op::SpaceToDepth => None,
        };
        if let Some(reason) = reason {
            floats.insert(id, reason);
        }
    }
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let for_floats = !users[id].is_empty() && users[id].iter().all(|user| floats.contains_key(user));
        if for_floats && !matches!(node.op, Op::Conv(_)) && !graph.outputs.contains(&id) {
            floats.entry(id).or_insert_with(|| "only floats read it".to_owned());
        }
    }
    Ok(floats)
}

/// The first node of `graph` that int8 cannot compute, whatever the board, and why.
///
/// # Errors
/// As [`float_nodes`].
pub fn unquantizable(graph: &Graph) -> Result<Option<(String, String)>> {
    let floats = float_nodes(graph, &BTreeMap::new())?;
    let is_cause = |id: &NodeId| matches!(graph.nodes[*id].op, Op::Conv(_) | Op::Attention(_));
    let first = floats.into_iter().find(|(id, _)| is_cause(id));
    Ok(first.map(|(id, why)| (graph.nodes[id].name.clone(), why)))
}

fn check_kept(graph: &Graph, kept: &BTreeMap<String, String>) -> Result<()> {
    let is_conv =
        |name: &String| graph.nodes.iter().any(|node| node.name == *name && matches!(node.op, Op::Conv(_)));
    match kept.keys().find(|name| !is_conv(name)) {
        None => Ok(()),
        Some(name) => Err(Error::model(
            format!("{name:?} is to stay in floats"),
            "the name of a convolution of the model",
            "train-host show lists them",
        )),
    }
}

fn follows_float(
    graph: &Graph,
    users: &[Vec<NodeId>],
    floats: &BTreeMap<NodeId, String>,
    id: NodeId,
) -> bool {
    let input = graph.nodes[id].inputs[0];
    floats.contains_key(&input) && sole_activation(graph, users, input).is_some()
}

/// Output channels of int8 convolutions whose weights are all 0, as `NODE: channel N`.
///
/// # Errors
/// As [`conv_weights`].
pub fn dead_channels(model: &FusedModel) -> Result<Vec<String>> {
    let mut dead = Vec::new();
    for (id, node) in model.architecture.graph.nodes.iter().enumerate() {
        if !matches!(node.op, Op::Conv(_)) {
            continue;
        }
        let (values, bias) = conv_weights(model, id)?;
        let per_channel = (values.len() / bias.len().max(1)).max(1);
        let channels = values.chunks(per_channel).enumerate().filter(|(_, channel)| is_dead(channel));
        dead.extend(channels.map(|(channel, _)| format!("{}: channel {channel}", node.name)));
    }
    Ok(dead)
}

fn unfused(node: &str) -> Error {
    Error::model(
        format!("node {node:?} is a batch norm or a convolution without bias"),
        "a fused model: convolutions with bias and no batch norm",
        "fuse it first: `train-host fuse`",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::observe::Stats;

    #[test]
    fn what_half_floats_do_not_hold_is_seen_in_what_was_observed() {
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let sum = graph.push("sum", Op::Add, &[image, image]);
        let fits = |values: &[f32]| {
            let mut stats = Stats::default();
            stats.histogram.add(values).unwrap();
            let observed = Observations { nodes: BTreeMap::from([(sum, stats)]), ..Observations::default() };
            fits_half(&graph, &observed, "sum")
        };
        assert!(fits(&[65_000.0, -65_000.0]) && !fits(&[1e30]) && !fits(&[1.0, -70_000.0]));
        assert!(fits_half(&graph, &Observations::default(), "sum"), "nothing was seen that does not fit");
    }
}
