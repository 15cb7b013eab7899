//! Merges a sum of linear branches of one input (convolutions, the input itself, a batch norm of it) into one
//! convolution. Convolution is linear in its kernel, so kernels add up once their taps lie on one grid.
//! A branch with an activation is not linear: such sums (the C3 shortcut) stay.

use super::draft::{Draft, Kernel};
use crate::model::{Conv, NodeId, Op};

/// Merges every sum that can be; tells whether there was one.
pub(super) fn merge(draft: &mut Draft) -> bool {
    let mut changed = false;
    for id in 0..draft.graph.nodes.len() {
        if let Some((source, conv, kernel)) = merged(draft, id) {
            draft.set_conv(id, source, conv, kernel);
            let name = &draft.graph.nodes[id].name;
            let name = name.rsplit_once('.').map_or("conv".to_owned(), |(path, _)| format!("{path}.conv"));
            draft.rename(id, name);
            changed = true;
        }
    }
    changed
}

/// The convolution equal to the sum `id`, and what it reads.
fn merged(draft: &Draft, id: NodeId) -> Option<(NodeId, Conv, Kernel)> {
    let node = &draft.graph.nodes[id];
    if node.op != Op::Add {
        return None;
    }
    let uses = draft.uses();
    if uses[id] == 0 {
        return None;
    }
    // A branch that something else reads too would have to stay, so merging it would only add work.
    let alone = |branch: NodeId| uses[branch] == 1;
    let convs = node.inputs.iter().filter(|&&branch| alone(branch)).filter_map(|&branch| draft.conv(branch));
    let (base, largest) = convs.max_by_key(|(conv, _)| conv.kernel)?;
    let sources = node.inputs.iter().filter(|&&branch| draft.conv(branch).is_some());
    sources.filter_map(|&branch| draft.graph.nodes[branch].inputs.first()).find_map(|&source| {
        let mut sum = Sum::new(base, largest);
        node.inputs.iter().try_for_each(|&branch| {
            if branch == source {
                return sum.add_identity(None);
            }
            if !alone(branch) || draft.graph.nodes[branch].inputs != [source] {
                return None;
            }
            match (draft.conv(branch), draft.affine(branch)) {
                (Some((conv, kernel)), _) => sum.add_conv(&conv, kernel),
                (None, Some(affine)) => sum.add_identity(Some((&affine.scale, &affine.shift))),
                (None, None) => None,
            }
        })?;
        Some((source, base, sum.kernel))
    })
}

/// Branches added up on the grid of the largest convolution among them.
struct Sum {
    base: Conv,
    kernel: Kernel,
}

impl Sum {
    /// Zeros of the shape of `kernel`, which is `base`'s.
    fn new(base: Conv, kernel: &Kernel) -> Self {
        let [weight, bias] = [&kernel.weight, &kernel.bias].map(|values| vec![0.0; values.len()]);
        Self { base, kernel: Kernel { weight, bias } }
    }

    /// Adds a convolution; `None` when its taps fall beside the grid.
    fn add_conv(&mut self, conv: &Conv, kernel: &Kernel) -> Option<()> {
        let fits = |key: fn(&Conv) -> usize| key(conv) == key(&self.base);
        if !(fits(|c| c.cin) && fits(|c| c.cout) && fits(|c| c.groups) && fits(|c| c.stride)) {
            return None;
        }
        let taps: Vec<usize> =
            (0..conv.kernel).map(|tap| self.tap(tap * conv.dilation, conv.pad)).collect::<Option<_>>()?;
        let mut values = kernel.weight.iter();
        for plane in self.kernel.weight.chunks_exact_mut(self.base.kernel * self.base.kernel) {
            for &row in &taps {
                for (&column, value) in taps.iter().zip(&mut values) {
                    plane[row * self.base.kernel + column] += value;
                }
            }
        }
        self.kernel.bias.iter_mut().zip(&kernel.bias).for_each(|(sum, bias)| *sum += bias);
        Some(())
    }

    /// Adds the input itself, scaled and shifted by channel where `affine` says so; `None` when the grid has no
    /// tap on the pixel itself.
    fn add_identity(&mut self, affine: Option<(&[f64], &[f64])>) -> Option<()> {
        let Conv { cin, cout, groups, kernel: side, stride, .. } = self.base;
        let center = self.tap(0, 0)?;
        if stride != 1 || cin != cout {
            return None;
        }
        let group_channels = cin / groups;
        let filters = self.kernel.weight.chunks_exact_mut(group_channels * side * side);
        for (channel, (filter, bias)) in filters.zip(&mut self.kernel.bias).enumerate() {
            let (scale, shift) = affine.map_or((1.0, 0.0), |(scale, shift)| (scale[channel], shift[channel]));
            filter[(channel % group_channels * side + center) * side + center] += scale;
            *bias += shift;
        }
        Some(())
    }

    /// Index on the grid of the tap that reads `offset − pad` pixels from the window's origin.
    fn tap(&self, offset: usize, pad: usize) -> Option<usize> {
        let distance = (offset + self.base.pad).checked_sub(pad)?;
        let tap = distance.checked_div(self.base.dilation)?;
        (tap * self.base.dilation == distance && tap < self.base.kernel).then_some(tap)
    }
}
