//! Folds a batch norm into the convolution before it: `scale·(w∗x + b) + shift = (scale·w)∗x + (scale·b + shift)`.
//! Only where nothing else reads the convolution, whose result would change under that other reader.

use super::draft::{Draft, Kernel};
use crate::model::NodeId;

/// Folds every batch norm that follows a convolution; tells whether there was one.
pub(super) fn fold(draft: &mut Draft) -> bool {
    let mut changed = false;
    for id in 0..draft.graph.nodes.len() {
        changed |= fold_one(draft, id).is_some();
    }
    changed
}

fn fold_one(draft: &mut Draft, id: NodeId) -> Option<()> {
    let affine = draft.affine(id)?.clone();
    let &[source] = draft.graph.nodes[id].inputs.as_slice() else { return None };
    let (conv, kernel) = draft.conv(source)?;
    let uses = draft.uses();
    if uses[id] == 0 || uses[source] != 1 {
        return None;
    }
    let Kernel { mut weight, mut bias } = kernel.clone();
    let row = weight.len() / conv.cout.max(1);
    for (channel, (&scale, &shift)) in affine.scale.iter().zip(&affine.shift).enumerate() {
        weight[channel * row..][..row].iter_mut().for_each(|w| *w *= scale);
        bias[channel] = bias[channel] * scale + shift;
    }
    let &[input] = draft.graph.nodes[source].inputs.as_slice() else { return None };
    draft.set_conv(source, input, conv, Kernel { weight, bias });
    draft.redirect(id, source);
    Some(())
}
