//! How much an error in each channel of a tensor counts for what the model answers, from its weights alone: the power of
//! noise in a channel reaches an output of a convolution with the squares of the weights between them. Looks at no image.

use crate::Result;
use crate::fuse::{ChannelGroup, group_of};
use crate::model::{Conv, FusedModel, Op};
use crate::quantize::ptq::conv_weights;

/// Importance of each channel of each node's result. Of what one node reads, the mean over its channels is 1; what
/// several nodes read counts for each of them.
///
/// Traced back from the raw outputs, of which boxes, objectness and classes count alike. A convolution asks of input
/// channel `c` the sum over its output channels `o` of `importance(o) · Σw²(o, c) / Σw²(o)`.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) when the graph or its weights do not fit together.
pub(super) fn of_channels(model: &FusedModel) -> Result<Vec<Vec<f64>>> {
    let graph = &model.architecture.graph;
    let shapes = graph.shapes(model.imgsz, model.imgsz)?;
    let mut found: Vec<Vec<f64>> = shapes.iter().map(|&[channels, ..]| vec![0.0; channels]).collect();
    add_outputs(model, &mut found);
    for (id, node) in graph.nodes.iter().enumerate().rev() {
        let own = std::mem::take(&mut found[id]);
        for (place, &input) in node.inputs.iter().enumerate() {
            let asked = match node.op {
                Op::Conv(conv) => of_inputs(&conv, conv_weights(model, id)?.0, &own),
                Op::Concat => {
                    let before: usize = node.inputs[..place].iter().map(|&input| shapes[input][0]).sum();
                    own[before..].to_vec()
                }
                Op::Slice { start, .. } => [vec![0.0; start], own.clone()].concat(),
                Op::SpaceToDepth => folded(&own, found[input].len()),
                Op::Attention(_) => vec![1.0; found[input].len()],
                Op::Input { .. }
                | Op::BatchNorm { .. }
                | Op::Act(_)
                | Op::Add
                | Op::MaxPool { .. }
                | Op::Upsample { .. } => own.clone(),
            };
            found[input].iter_mut().zip(asked).for_each(|(sum, more)| *sum += more);
        }
        found[id] = own;
    }
    Ok(found)
}

/// Gives each raw output's channels their importance: boxes, objectness and classes have the same sum.
fn add_outputs(model: &FusedModel, found: &mut [Vec<f64>]) {
    let head = &model.architecture.head;
    for (at, &id) in model.architecture.graph.outputs.iter().enumerate() {
        let groups: Vec<ChannelGroup> =
            (0..found[id].len()).map(|channel| group_of(at, channel, head)).collect();
        for (channel, importance) in found[id].iter_mut().enumerate() {
            let alike = groups.iter().filter(|group| **group == groups[channel]).count();
            *importance += 1.0 / count(alike);
        }
    }
}

/// What a convolution asks of its input channels when `own` is the importance of its output channels; the mean is 1.
fn of_inputs(conv: &Conv, weights: &[f32], own: &[f64]) -> Vec<f64> {
    let area = conv.kernel * conv.kernel;
    let (inputs, outputs) = (conv.cin / conv.groups, conv.cout / conv.groups);
    let mut asked = vec![0.0; conv.cin];
    for (output, weights) in weights.chunks(inputs * area).enumerate() {
        let whole = power(weights);
        if whole > 0.0 {
            let first = output / outputs * inputs;
            for (sum, weights) in asked[first..].iter_mut().zip(weights.chunks(area)) {
                *sum += own[output] * power(weights) / whole;
            }
        }
    }
    let mean = asked.iter().sum::<f64>() / count(asked.len());
    if mean > 0.0 {
        asked.iter_mut().for_each(|sum| *sum /= mean);
    }
    asked
}

/// The importance of `channels` channels that become `own.len()` by moving places to channels.
fn folded(own: &[f64], channels: usize) -> Vec<f64> {
    let parts = count(own.len() / channels);
    (0..channels).map(|channel| own.iter().skip(channel).step_by(channels).sum::<f64>() / parts).collect()
}

fn power(weights: &[f32]) -> f64 {
    weights.iter().map(|&weight| f64::from(weight) * f64::from(weight)).sum()
}

#[expect(clippy::cast_precision_loss, reason = "channels are few")]
fn count(channels: usize) -> f64 {
    channels as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conv(cin: usize, cout: usize, groups: usize) -> Conv {
        Conv { cin, cout, kernel: 1, stride: 1, pad: 0, dilation: 1, groups, bias: true }
    }

    fn near(found: &[f64], expected: &[f64]) {
        let same =
            found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(same, "{found:?}, not {expected:?}");
    }

    #[test]
    fn a_channel_counts_with_the_squares_of_its_weights() {
        // The first output reads 3 : 1, the second the other way round and counts a third as much.
        let weights = [3.0_f32.sqrt(), -1.0, 0.1, 0.1 * 3.0_f32.sqrt()];
        let asked = of_inputs(&conv(2, 2, 1), &weights, &[3.0, 1.0]);
        assert!((asked[0] - 1.25).abs() < 1e-6 && (asked[1] - 0.75).abs() < 1e-6, "{asked:?}");
    }

    #[test]
    fn groups_are_read_apart_and_dead_outputs_ask_for_nothing() {
        near(&of_inputs(&conv(2, 2, 2), &[5.0, 0.1], &[3.0, 1.0]), &[1.5, 0.5]);
        near(&of_inputs(&conv(2, 2, 2), &[5.0, 0.0], &[3.0, 1.0]), &[2.0, 0.0]);
        near(&of_inputs(&conv(2, 1, 1), &[0.0, 0.0], &[1.0]), &[0.0, 0.0]);
    }

    #[test]
    fn places_that_become_channels_share_their_importance() {
        near(&folded(&[1.0, 0.0, 2.0, 0.0, 3.0, 4.0, 2.0, 0.0], 2), &[2.0, 1.0]);
    }
}
