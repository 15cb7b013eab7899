//! How much each stored tensor, with the kernels that read it, costs the outputs when it alone is int8, and which
//! convolutions are worth keeping in floats under a budget of multiply-adds (mixed int8/fp16 precision).

use std::collections::BTreeMap;
use std::num::NonZero;

use rayon::prelude::*;
use repedge::backend::tract::{CpuOptions, Kernels};
use serde::{Deserialize, Serialize};

use crate::model::{FusedModel, NodeId, Op};
use crate::quantize::error::{Reference, total};
use crate::quantize::images::{Images, bar};
use crate::quantize::passes::knapsack::{Thing, worth_most};
use crate::quantize::ptq::conv_weights;
use crate::quantize::scheme::{QuantizedModel, Scheme};
use crate::{Result, export};

/// Most of a model's weights that stay in floats: each takes a byte more there, and the file shall stay little more than
/// a quarter of the float model's.
const FLOAT_WEIGHTS: f64 = 0.03;

/// Tensors are looked at side by side, each on a thread of its own: much of the time is spent in making models ready.
const ONE_THREAD: CpuOptions = CpuOptions { threads: NonZero::<usize>::MIN, kernels: Kernels::Ours };
/// Most memory for the models of tensors that are looked at side by side.
const BYTES: u64 = 640 << 20;
/// How often a model's weights are there while it is made ready: as they are, in the file, as read, and packed for kernels.
const COPIES: u64 = 8;

/// What one tensor costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sensitivity {
    /// The node whose result it is.
    pub tensor: String,
    /// Convolutions that read it.
    pub readers: Vec<String>,
    /// Error over all groups of output channels when it and its readers' kernels alone are int8.
    pub total: f64,
    /// Part of the model's multiply-adds that its readers do, 0..1.
    pub macs: f64,
    /// Part of the model's weights that its readers hold, 0..1.
    pub weights: f64,
}

/// Measures every stored tensor that int8 convolutions read, on `images`; the costliest first.
///
/// # Errors
/// As [`Reference::errors`], and [`crate::Error::Model`] when the models do not belong together.
pub fn sensitivities(
    model: &FusedModel,
    quantized: &QuantizedModel,
    images: &Images,
) -> Result<Vec<Sensitivity>> {
    let graph = &model.architecture.graph;
    let shapes = graph.shapes(model.imgsz, model.imgsz)?;
    let macs = |id: NodeId| graph.nodes[id].op.flops(shapes[id]) / 2;
    let all = quantized.macs()?.all;
    let weights = |id: NodeId| match graph.nodes[id].op {
        Op::Conv(conv) => (conv.cout * (conv.cin / conv.groups) * conv.kernel * conv.kernel) as u64,
        _ => 0,
    };
    let all_weights: u64 = (0..graph.nodes.len()).map(weights).sum();
    let users = graph.users();
    let reference = Reference::of(model, &images.quiet())?;
    let is_int8_conv = |id: &NodeId| matches!(graph.nodes[*id].op, Op::Conv(_)) && quantized.is_int8(*id);
    let tensors: Vec<(NodeId, Vec<NodeId>)> = (0..graph.nodes.len())
        .filter(|&id| quantized.scheme.tensors[id].is_some())
        .map(|id| (id, users[id].iter().copied().filter(is_int8_conv).collect::<Vec<_>>()))
        .filter(|(_, readers)| !readers.is_empty())
        .collect();
    let bar = bar(tensors.len(), "sensitivity", images.progress());
    let measure = |(tensor, readers): &(NodeId, Vec<NodeId>)| -> Result<Sensitivity> {
        let alone = alone(model, quantized, *tensor, readers)?;
        let errors = reference.errors(&mut export::quantized_session_with(&alone, ONE_THREAD)?)?;
        bar.inc(1);
        Ok(Sensitivity {
            tensor: graph.nodes[*tensor].name.clone(),
            readers: readers.iter().map(|&id| graph.nodes[id].name.clone()).collect(),
            total: total(&errors),
            macs: ratio(readers.iter().map(|&id| macs(id)).sum(), all),
            weights: ratio(readers.iter().map(|&id| weights(id)).sum(), all_weights),
        })
    };
    let at_once = side_by_side(COPIES * 4 * all_weights, rayon::current_num_threads(), tensors.len());
    let mut found: Vec<Sensitivity> = Vec::with_capacity(tensors.len());
    for some in tensors.chunks(at_once) {
        found.extend(some.par_iter().map(measure).collect::<Result<Vec<_>>>()?);
    }
    bar.finish_and_clear();
    found.sort_by(|a, b| b.total.total_cmp(&a.total));
    Ok(found)
}

/// How many of `count` tensors are handed out together where each needs a model of `bytes`: all, but where as many models as
/// there are `threads` take too much.
fn side_by_side(bytes: u64, threads: usize, count: usize) -> usize {
    let fitting = usize::try_from(BYTES / bytes.max(1)).unwrap_or(usize::MAX).max(1);
    if fitting >= threads { count.max(1) } else { fitting }
}

/// The float model in which only `tensor` and the kernels of `readers` are as they are in int8.
fn alone(
    model: &FusedModel,
    quantized: &QuantizedModel,
    tensor: NodeId,
    readers: &[NodeId],
) -> Result<QuantizedModel> {
    let graph = &model.architecture.graph;
    let reason = || String::from("only one tensor is looked at");
    let tensors = quantized.scheme.tensors.iter().enumerate();
    let scheme = Scheme {
        tensors: tensors.map(|(id, quant)| quant.filter(|_| id == tensor)).collect(),
        kernels: BTreeMap::new(),
        floats: graph.nodes.iter().map(|node| (node.name.clone(), reason())).collect(),
        rules: quantized.scheme.rules,
        origin: quantized.scheme.origin.clone(),
    };
    let mut alone = QuantizedModel {
        architecture: quantized.architecture.clone(),
        weights: model.weights.clone(),
        imgsz: quantized.imgsz,
        scheme,
    };
    for (id, node) in graph.nodes.iter().enumerate() {
        let (Op::Conv(conv), true) = (node.op, readers.contains(&id)) else { continue };
        let (_, bias) = conv_weights(model, id)?;
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        if let Some(kernel) = quantized.scheme.kernels.get(&node.name) {
            alone.weights.insert(format!("{}.weight", node.name), &shape, kernel.real_values());
            alone.weights.insert(format!("{}.bias", node.name), &[conv.cout], bias.to_vec());
        }
    }
    Ok(alone)
}

/// Convolutions to keep in floats so that the error falls most, with at most `budget` of the multiply-adds and few of the
/// weights, and why: of the tensors whose readers fit together, those with the most squared error. Only what costs more
/// than its share counts: a tensor of average error is not worth a float.
pub fn worth_floats(sensitivities: &[Sensitivity], budget: f64) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for sensitivity in dearest(sensitivities, [budget, FLOAT_WEIGHTS]) {
        for reader in &sensitivity.readers {
            let why = format!("reads {}, whose error alone is {:.4}", sensitivity.tensor, sensitivity.total);
            kept.insert(reader.clone(), why);
        }
    }
    kept
}

/// Why [`worth_floats`] keeps fewer than `budget` alone would let it; none where it does not.
pub fn bound_by_weights(sensitivities: &[Sensitivity], budget: f64) -> Option<String> {
    let of_budget = dearest(sensitivities, [budget, f64::INFINITY]);
    (of_budget != dearest(sensitivities, [budget, FLOAT_WEIGHTS]))
        .then(|| format!("no more, because floats hold at most {} % of the weights", 100.0 * FLOAT_WEIGHTS))
}

/// Those of more than average squared error that together have the most, with at most that part of the multiply-adds and of
/// the weights.
fn dearest(sensitivities: &[Sensitivity], [macs, weights]: [f64; 2]) -> Vec<&Sensitivity> {
    let squares = |s: &Sensitivity| s.total * s.total;
    #[expect(clippy::cast_precision_loss, reason = "a mean of a few")]
    let mean = sensitivities.iter().map(squares).sum::<f64>() / sensitivities.len().max(1) as f64;
    let dear: Vec<&Sensitivity> = sensitivities.iter().filter(|s| squares(s) > mean).collect();
    let thing = |s: &&Sensitivity| Thing {
        worth: squares(s),
        costs: [s.macs / macs.max(f64::MIN_POSITIVE), s.weights / weights],
    };
    let things: Vec<Thing> = dear.iter().map(thing).collect();
    worth_most(&things).into_iter().map(|at| dear[at]).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(part: u64, all: u64) -> f64 {
    if all == 0 { 0.0 } else { part as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sensitivity(tensor: &str, total: f64, macs: f64) -> Sensitivity {
        let readers = vec![format!("{tensor}.reader")];
        Sensitivity { tensor: tensor.into(), readers, total, macs, weights: 0.0 }
    }

    #[test]
    fn floats_go_where_they_save_most() {
        let list = [
            sensitivity("dear", 0.5, 0.2),
            sensitivity("cheap", 0.4, 0.01),
            sensitivity("small", 0.3, 0.03),
            sensitivity("quiet", 0.001, 0.0001),
        ];
        let kept = |budget: f64| worth_floats(&list, budget).into_keys().collect::<Vec<_>>();
        assert_eq!(kept(0.05), ["cheap.reader"]);
        assert_eq!(kept(0.22), ["cheap.reader", "dear.reader"]);
        assert_eq!(kept(0.25), ["cheap.reader", "dear.reader"], "the small one costs less than its share");
        assert!(kept(0.0).is_empty());
        let heavy = list.clone().map(|sensitivity| Sensitivity { weights: 0.025, ..sensitivity });
        assert_eq!(worth_floats(&heavy, 0.25).len(), 1, "the file would grow");
        assert!(bound_by_weights(&heavy, 0.25).unwrap().contains("at most 3 % of the weights"));
        assert_eq!(bound_by_weights(&list, 0.25), None, "the multiply-adds bind, which was asked for");
        assert!(worth_floats(&list, 0.05)["cheap.reader"].contains("0.4000"));
        assert!(worth_floats(&[], 1.0).is_empty());
    }

    #[test]
    fn fewer_models_are_made_ready_side_by_side_where_each_is_large() {
        let large = BYTES / 2 - 1;
        assert_eq!(side_by_side(1 << 20, 8, 60), 60, "every thread takes the next as it gets done");
        assert_eq!(side_by_side(large, 2, 60), 60, "two fit, and there are no more threads");
        assert_eq!([side_by_side(large, 8, 60), side_by_side(2 * BYTES, 8, 60)], [2, 1]);
        assert_eq!(
            [side_by_side(0, 8, 0), side_by_side(large, 2, 0)],
            [1, 1],
            "chunks of nothing are of one"
        );
    }
}
