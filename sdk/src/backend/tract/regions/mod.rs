//! Replaces parts of tract's graph by our own kernels: the largest regions of images, in floats and in int8, that they compute and
//! that hold a convolution. What no region takes stays tract's, so that any model runs.

mod int8;
mod op;
mod translate;
mod whole;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZero;

use kernels::{Isa, Network, Operator, Plan, Value};
use tract_onnx::prelude::*;

use op::RegionOp;
use translate::{Translated, form};
pub(super) use whole::{Whole, plan};

/// What `node` is to our kernels, in int8 or in floats.
fn translated(model: &TypedModel, node: &TypedNode) -> Option<Translated> {
    int8::translate(model, node).or_else(|| translate::translate(model, node))
}

/// Replaces regions of `model`, which is typed and not decluttered: that takes convolutions apart. What our kernels refuse
/// stays as it was.
pub(super) fn replace(model: &mut TypedModel, threads: NonZero<usize>) -> TractResult<()> {
    // Where the results of regions are now, which later ones may read.
    let mut moved: HashMap<OutletId, OutletId> = HashMap::new();
    for mut region in regions(model)? {
        let read = region.iter_mut().flat_map(|(_, node)| &mut node.inputs);
        read.for_each(|outlet| *outlet = moved.get(outlet).copied().unwrap_or(*outlet));
        if let Some(Replacement { patch, name, outputs }) = patch(model, region, threads)? {
            patch.apply(model)?;
            let node = model.node_by_name(&name)?.id;
            moved.extend(
                outputs.into_iter().enumerate().map(|(slot, outlet)| (outlet, OutletId::new(node, slot))),
            );
        }
    }
    model.compact()
}

/// What takes the place of a region.
struct Replacement {
    patch: TypedModelPatch,
    /// Of the node that computes all of it.
    name: String,
    /// What it computes for others, in its own order.
    outputs: Vec<OutletId>,
}

/// The nodes of a region, in an order in which they can run.
type Region = Vec<(usize, Translated)>;

/// Regions whose nodes reach each other through no other node. Each node counts how often paths to it have left our nodes;
/// those of ours with the same count form a region.
fn regions(model: &TypedModel) -> TractResult<Vec<Region>> {
    let mut counts: HashMap<usize, usize> = HashMap::new();
    let mut ours: BTreeSet<usize> = BTreeSet::new();
    let mut regions: BTreeMap<usize, Region> = BTreeMap::new();
    for id in model.eval_order()? {
        let node = model.node(id);
        let translated = translated(model, node);
        let before = node.inputs.iter().map(|input| {
            let left = usize::from(translated.is_none() && ours.contains(&input.node));
            counts.get(&input.node).copied().unwrap_or(0) + left
        });
        let count = before.max().unwrap_or(0);
        counts.insert(id, count);
        if let Some(translated) = translated {
            ours.insert(id);
            regions.entry(count).or_default().push((id, translated));
        }
    }
    let has_conv = |region: &Region| {
        region
            .iter()
            .any(|(_, node)| matches!(node.operator, Some(Operator::Convolution(_) | Operator::Integer(_))))
    };
    Ok(regions.into_values().filter(has_conv).collect())
}

/// What replaces `region`, if our kernels take it.
fn patch(model: &TypedModel, region: Region, threads: NonZero<usize>) -> TractResult<Option<Replacement>> {
    let first = region.first().map_or("", |(id, _)| &model.node(*id).name);
    let name = format!("{first}.region");
    let Some(mut built) = build(model, region) else { return Ok(None) };
    for (_, value) in &built.outputs {
        built.network.output(*value);
    }
    let (inputs, outputs) = (built.network.input_forms(), built.network.output_forms());
    let Ok(plan) = Plan::new(built.network, Isa::detect(), threads) else { return Ok(None) };
    let op = RegionOp::new(plan, inputs, outputs);
    let mut patch = TypedModelPatch::new("our kernels");
    let taps = patch.taps(model, &built.inputs)?;
    let results = patch.wire_node(&name, op, &taps)?;
    let outputs: Vec<OutletId> = built.outputs.into_iter().map(|(outlet, _)| outlet).collect();
    for (&outlet, &result) in outputs.iter().zip(&results) {
        patch.shunt_outside(model, outlet, result)?;
    }
    Ok(Some(Replacement { patch, name, outputs }))
}

/// A region as a network, with the wires that enter and leave it. Those that leave are not the network's outputs yet: their order
/// is the caller's.
struct Built {
    network: Network,
    inputs: Vec<OutletId>,
    outputs: Vec<(OutletId, Value)>,
}

fn build(model: &TypedModel, region: Region) -> Option<Built> {
    let inside: BTreeSet<usize> = region.iter().map(|(id, _)| *id).collect();
    let mut built = Built { network: Network::new(), inputs: Vec::new(), outputs: Vec::new() };
    let mut values: HashMap<OutletId, Value> = HashMap::new();
    for (id, node) in region {
        let Some(operator) = node.operator else { continue };
        for &input in node.inputs.iter().filter(|input| !inside.contains(&input.node)) {
            if let Entry::Vacant(entry) = values.entry(input) {
                let (shape, kind) = form(model, input)?;
                entry.insert(built.network.input_of(shape, kind));
                built.inputs.push(input);
            }
        }
        let inputs: Vec<Value> =
            node.inputs.iter().map(|input| values.get(input).copied()).collect::<Option<_>>()?;
        let outlet = OutletId::from(id);
        let value = built.network.node(operator, &inputs).ok()?;
        if (built.network.shape(value), built.network.kind(value)) != form(model, outlet)? {
            return None;
        }
        values.insert(outlet, value);
        let readers = &model.node(id).outputs[0].successors;
        let leaves =
            model.outputs.contains(&outlet) || readers.iter().any(|reader| !inside.contains(&reader.node));
        if leaves {
            built.outputs.push((outlet, value));
        }
    }
    Some(built)
}
