//! Multiplies and shifts the box channels of a model's last convolutions, so that its raw outputs tell the same logits in other
//! values: see [`Spread`]. Exact in floats, but for their rounding. Decides nothing about how far.

use std::collections::BTreeSet;

use artifact::Spread;

use super::architecture::misfit;
use super::{Architecture, FusedModel, NodeId, Op};
use crate::Result;

/// Whether nothing but the decoder reads the raw outputs, each of which is a convolution's own.
pub fn can_be_spread(Architecture { graph, .. }: &Architecture) -> bool {
    let users = graph.users();
    let is_last =
        |&id: &NodeId| matches!(graph.nodes[id].op, Op::Conv(conv) if conv.bias) && users[id].is_empty();
    let distinct: BTreeSet<NodeId> = graph.outputs.iter().copied().collect();
    distinct.len() == graph.outputs.len() && graph.outputs.iter().all(is_last)
}

/// `model` with its boxes spread as `to` says, one for each anchor of each output, or as logits where that is empty.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) when it cannot be, as [`can_be_spread`] says, when `to` does not fit its anchors, or
/// when a weight is missing.
pub fn spread_boxes(model: &FusedModel, to: Vec<Vec<[Spread; 4]>>) -> Result<FusedModel> {
    if !can_be_spread(&model.architecture) {
        return Err(misfit(
            "raw outputs that are spread",
            "a convolution with biases for each output, which nothing else reads",
        ));
    }
    let mut spread = model.clone();
    spread.architecture.head.spread = to;
    spread.architecture.head.validate()?;
    for (output, &id) in model.architecture.graph.outputs.iter().enumerate() {
        rewrite(model, &mut spread, output, id)?;
    }
    Ok(spread)
}

/// Gives convolution `id` of `to` the weights and biases of `from`, for the values that its head asks for.
fn rewrite(from: &FusedModel, to: &mut FusedModel, output: usize, id: NodeId) -> Result<()> {
    let node = &from.architecture.graph.nodes[id];
    let Op::Conv(conv) = node.op else { return Ok(()) };
    let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
    let [weight, bias] = ["weight", "bias"].map(|part| format!("{}.{part}", node.name));
    let mut values = from.weights.expect(&weight, &shape)?.to_vec();
    let mut biases = from.weights.expect(&bias, &[conv.cout])?.to_vec();
    let taps = shape[1..].iter().product::<usize>().max(1);
    for (channel, (kernel, bias)) in values.chunks_mut(taps).zip(&mut biases).enumerate() {
        let [old, new] =
            [from, to as &FusedModel].map(|model| model.architecture.head.spread_of(output, channel));
        kernel.iter_mut().for_each(|value| *value = *value / old.gain * new.gain);
        *bias = old.logit(*bias) * new.gain + new.offset;
    }
    to.weights.insert(weight, &shape, values);
    to.weights.insert(bias, &[conv.cout], biases);
    Ok(())
}
