//! Cross-layer equalization (Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias
//! Correction"): channels of a tensor are scaled to like ranges, so that one scale serves them all; the convolutions
//! behind undo it.
//!
//! Exact where the activation between is positively homogeneous, `f(s·x) = s·f(x)` for s > 0: Relu, LeakyRelu, none.
//! SiLU and Mish are not, and no other scaling of their input and output undoes the difference: such layers are left as
//! they are, and the record says how many.

use serde::Serialize;

use crate::Result;
use crate::model::{Activation, Conv, FusedModel, Graph, NodeId, Op};
use crate::quantize::observe::Observations;
use crate::quantize::ptq::conv_weights;
use crate::quantize::scheme::sole_activation;

/// A channel is scaled by at most this, up or down: beyond it, weights would lose what activations gain.
const MOST: f64 = 16.0;

/// What equalization did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Equalized {
    /// Convolutions whose channels were scaled.
    pub scaled: Vec<String>,
    /// Convolutions behind which an activation is that is not homogeneous.
    pub not_homogeneous: usize,
    /// Convolutions whose channels reach a sum, an output or a Focus layer, where scaling cannot be undone.
    pub not_undone: usize,
}

/// Scales the channels between convolutions of `model` by what `observed` saw of them. The result computes the same.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) when a convolution has no weights or bias.
pub fn equalize(model: &FusedModel, observed: &Observations) -> Result<(FusedModel, Equalized)> {
    let mut result = model.clone();
    let mut record = Equalized::default();
    let graph = &model.architecture.graph;
    let users = graph.users();
    for (id, node) in graph.nodes.iter().enumerate() {
        let Op::Conv(conv) = node.op else { continue };
        let tensor = match sole_activation(graph, &users, id) {
            Some((_, Activation::Silu | Activation::Mish)) => {
                record.not_homogeneous += 1;
                continue;
            }
            Some((act, Activation::Relu | Activation::LeakyRelu)) => act,
            None => id,
        };
        let Some(readers) = readers(graph, &users, tensor) else {
            record.not_undone += 1;
            continue;
        };
        let Some(stats) = observed.nodes.get(&tensor) else { continue };
        let ranges: Vec<f64> =
            stats.channels.iter().map(|channel| f64::from(channel.high.max(-channel.low))).collect();
        let factors = factors(&result, &readers, &ranges)?;
        scale_outputs(&mut result, id, &conv, &factors)?;
        for reader in &readers {
            scale_inputs(&mut result, reader, &factors)?;
        }
        record.scaled.push(node.name.clone());
    }
    Ok((result, record))
}

/// A convolution that reads a tensor's channels, from its input channel `offset` on.
struct Reader {
    id: NodeId,
    conv: Conv,
    offset: usize,
}

/// The convolutions that read `tensor` in the end; none when anything else does.
fn readers(graph: &Graph, users: &[Vec<NodeId>], tensor: NodeId) -> Option<Vec<Reader>> {
    let channels = graph.channels().ok()?;
    let mut found = Vec::new();
    let mut pending = vec![(tensor, 0)];
    while let Some((id, offset)) = pending.pop() {
        if graph.outputs.contains(&id) {
            return None;
        }
        for &user in &users[id] {
            let node = &graph.nodes[user];
            match node.op {
                Op::Conv(conv) => found.push(Reader { id: user, conv, offset }),
                Op::MaxPool { .. } | Op::Upsample { .. } => pending.push((user, offset)),
                Op::Concat => {
                    let mut before = 0;
                    for &input in &node.inputs {
                        if input == id {
                            pending.push((user, offset + before));
                        }
                        before += channels[input];
                    }
                }
                Op::Input { .. }
                | Op::BatchNorm { .. }
                | Op::Act(_)
                | Op::Add
                | Op::Slice { .. }
                | Op::Attention(_)
                | Op::SpaceToDepth => return None,
            }
        }
    }
    // A concatenation read by two users is found twice from one tensor that it holds twice.
    found.sort_by_key(|reader| (reader.id, reader.offset));
    found.dedup_by_key(|reader| (reader.id, reader.offset));
    (!found.is_empty()).then_some(found)
}

/// What each channel is divided by: the root of its range over the largest weight that reads it (their eq. 8, with
/// what was observed for the range), relative to the geometric mean so that the tensor's scale stays.
fn factors(model: &FusedModel, readers: &[Reader], ranges: &[f64]) -> Result<Vec<f64>> {
    let mut weights = vec![0.0_f64; ranges.len()];
    for reader in readers {
        let (values, _) = conv_weights(model, reader.id)?;
        for (channel, largest) in weights.iter_mut().enumerate() {
            for at in columns(reader, channel) {
                *largest = largest.max(f64::from(values[at].abs()));
            }
        }
    }
    let raw: Vec<f64> = ranges.iter().zip(&weights).map(|(range, weight)| (range / weight).sqrt()).collect();
    let alive: Vec<f64> = raw.iter().copied().filter(|factor| factor.is_normal()).collect();
    #[expect(clippy::cast_precision_loss, reason = "channels are few")]
    let mean = (alive.iter().map(|factor| factor.ln()).sum::<f64>() / alive.len().max(1) as f64).exp();
    let limited =
        |factor: f64| if factor.is_normal() { (factor / mean).clamp(1.0 / MOST, MOST) } else { 1.0 };
    Ok(raw.into_iter().map(limited).collect())
}

/// Places of the weights that read channel `channel` of the tensor.
fn columns(reader: &Reader, channel: usize) -> impl Iterator<Item = usize> {
    let Conv { cin, cout, kernel, groups, .. } = reader.conv;
    let (per_group, area) = (cin / groups, kernel * kernel);
    let input = reader.offset + channel;
    let outputs = cout / groups;
    let first = input / per_group * outputs;
    let column = input % per_group;
    (first..first + outputs).flat_map(move |output| {
        let start = (output * per_group + column) * area;
        start..start + area
    })
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn scale_outputs(model: &mut FusedModel, id: NodeId, conv: &Conv, factors: &[f64]) -> Result<()> {
    let (values, bias) = conv_weights(model, id)?;
    let taps = values.len() / conv.cout;
    let scaled = |value: f32, channel: usize| (f64::from(value) / factors[channel]) as f32;
    let values = values.iter().enumerate().map(|(at, &value)| scaled(value, at / taps)).collect();
    let bias: Vec<f32> = bias.iter().enumerate().map(|(channel, &value)| scaled(value, channel)).collect();
    let name = model.architecture.graph.nodes[id].name.clone();
    let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
    model.weights.insert(format!("{name}.weight"), &shape, values);
    model.weights.insert(format!("{name}.bias"), &[conv.cout], bias);
    Ok(())
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn scale_inputs(model: &mut FusedModel, reader: &Reader, factors: &[f64]) -> Result<()> {
    let (values, _) = conv_weights(model, reader.id)?;
    let mut values = values.to_vec();
    for (channel, factor) in factors.iter().enumerate() {
        for at in columns(reader, channel) {
            values[at] = (f64::from(values[at]) * factor) as f32;
        }
    }
    let Conv { cout, cin, groups, kernel, .. } = reader.conv;
    let name = format!("{}.weight", model.architecture.graph.nodes[reader.id].name);
    model.weights.insert(name, &[cout, cin / groups, kernel, kernel], values);
    Ok(())
}
