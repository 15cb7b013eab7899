//! Scales of a graph's tensors from what was observed: which tensors share one, and which range each gets. Decides
//! nothing about weights.

use std::collections::BTreeMap;

use artifact::Quant;
use boards::{Between, Int8, Outputs, Scales};
use repedge::int8;

use super::calibrate::{Method, Range, View, range};
use super::histogram::Histogram;
use super::observe::{Channel, Observations, Stats, makes_values};
use super::scheme::{function, sole_activation};
use crate::model::{Activation, Architecture, Graph, Head, NodeId, Op};
use crate::{Error, Result};

/// Scores vanish below this logit: an output's range reaches down to it, whatever its values count, because a logit that
/// is clipped above it turns background into detections.
const LEAST_LOGIT: f64 = -7.0;

/// A score of this logit is as good as any, and where boxes are spread the range of scores reaches up to it at least: one that
/// calibration happened not to show shall not be clipped to what it did show.
const MOST_LOGIT: f64 = 4.0;

/// Scale and zero point of the image: a pixel is stored as it is, less 128.
pub const PIXELS: Quant = Quant { scale: 1.0 / 255.0, zero_point: int8::MIN };

/// Scale and zero point of each node's result; none where only floats read and make it.
///
/// Values that are only moved keep their scale; `rules` says what concatenations and sums share, and whether raw outputs
/// are stored. Where something is
/// stored between a convolution and its activation, it gets the range of least error behind the activation, whatever
/// the method.
///
/// # Errors
/// [`Error::Model`] naming a tensor that held nothing but 0, or values for which f32 holds no scale.
pub fn tensors(
    Architecture { graph, head, .. }: &Architecture,
    observed: &Observations,
    method: Method,
    rules: Int8,
    floats: &BTreeMap<NodeId, String>,
) -> Result<Vec<Option<Quant>>> {
    let users = graph.users();
    let classes = classes(graph, &users, rules);
    let mut quants: Vec<Option<Quant>> = vec![None; graph.nodes.len()];
    let mut known: BTreeMap<NodeId, Quant> = BTreeMap::new();
    let stored = |id: NodeId| {
        let sums_are_read = rules.outputs == Outputs::Real && matches!(graph.nodes[id].op, Op::Conv(_));
        let int8_output = graph.outputs.contains(&id) && !floats.contains_key(&id) && !sums_are_read;
        int8_output || users[id].iter().any(|user| !floats.contains_key(user))
    };
    for id in (0..graph.nodes.len()).filter(|&id| stored(id)) {
        if sole_activation(graph, &users, id).is_none() {
            let class = classes[id];
            let quant = match known.get(&class) {
                Some(quant) => *quant,
                None if graph.outputs.contains(&id) && !head.spread.is_empty() => {
                    // Boxes were made to fit what scores reach, whatever the method.
                    let scores = over_scores(head, &stats(graph, observed, id)?.channels);
                    scores.quant().ok_or_else(|| without_scale(&graph.nodes[id].name, scores))?
                }
                None => class_quant(graph, observed, method, &classes, class)?,
            };
            known.insert(class, quant);
            quants[id] = Some(quant);
        }
    }
    for id in (0..graph.nodes.len()).filter(|id| !floats.contains_key(id)) {
        let Some((act, activation)) = sole_activation(graph, &users, id) else { continue };
        let Some(post) = quants[act].filter(|_| !floats.contains_key(&act)) else { continue };
        quants[id] = before_activation(graph, observed, rules, id, (activation, post))?;
    }
    Ok(quants)
}

/// The range of the scores in an output, of which `channels` were seen, down to where they vanish and up to where they are sure.
pub(super) fn over_scores(head: &Head, channels: &[Channel]) -> Range {
    let is_score = |channel: usize| channel % (5 + head.classes.len()) >= 4;
    let scores =
        || (0..channels.len()).filter(|&channel| is_score(channel)).map(|channel| &channels[channel]);
    let low = scores().map(|channel| f64::from(channel.low)).fold(0.0, f64::min);
    Range {
        low: low.max(LEAST_LOGIT),
        high: scores().map(|channel| f64::from(channel.high)).fold(MOST_LOGIT, f64::max),
    }
}

/// The scale of the values that an activation turns into values stored as `post`; none where it reads sums.
fn before_activation(
    graph: &Graph,
    observed: &Observations,
    rules: Int8,
    id: NodeId,
    (activation, post): (Activation, Quant),
) -> Result<Option<Quant>> {
    if activation == Activation::Relu && post.zero_point == int8::MIN {
        // Saturating at 0 is the Relu.
        return Ok(Some(post));
    }
    if rules.activation == Between::Fused {
        return Ok(None);
    }
    let histogram = counted(stats(graph, observed, id)?, Method::Mse);
    let found = range(Method::Mse, histogram, View::Stored(function(activation), post));
    found.quant().map(Some).ok_or_else(|| without_scale(&graph.nodes[id].name, found))
}

/// The scale of all tensors of `class`.
fn class_quant(
    graph: &Graph,
    observed: &Observations,
    method: Method,
    classes: &[NodeId],
    class: NodeId,
) -> Result<Quant> {
    let members: Vec<NodeId> = (0..classes.len()).filter(|&id| classes[id] == class).collect();
    let mut sources: Vec<NodeId> = members.iter().flat_map(|&id| sources(graph, id)).collect();
    sources.sort_unstable();
    sources.dedup();
    let (images, makers): (Vec<_>, Vec<_>) =
        sources.into_iter().partition(|&id| matches!(graph.nodes[id].op, Op::Input { .. }));
    if makers.is_empty() {
        return Ok(PIXELS);
    }
    let mut histogram = Histogram::default();
    for &id in &makers {
        histogram.merge(counted(stats(graph, observed, id)?, method));
    }
    if !images.is_empty() && histogram.add(&[0.0, 1.0]).is_err() {
        return Err(without_scale(&graph.nodes[makers[0]].name, Range::of(&histogram)));
    }
    let mut found = range(method, &histogram, View::Plain);
    if members.iter().any(|id| graph.outputs.contains(id)) {
        found.low = found.low.min(LEAST_LOGIT.max(Range::of(&histogram).low));
    }
    found.quant().ok_or_else(|| without_scale(&graph.nodes[makers[0]].name, found))
}

/// The nodes whose values are found in `id`'s result, moved at most.
fn sources(graph: &Graph, id: NodeId) -> Vec<NodeId> {
    let node = &graph.nodes[id];
    if makes_values(&node.op) || node.inputs.is_empty() {
        return vec![id];
    }
    let mut pending = node.inputs.clone();
    let mut found = Vec::new();
    while let Some(id) = pending.pop() {
        let node = &graph.nodes[id];
        if makes_values(&node.op) || node.inputs.is_empty() {
            found.push(id);
        } else {
            pending.extend(&node.inputs);
        }
    }
    found
}

/// For each node the first node that has to have its scale, perhaps itself.
fn classes(graph: &Graph, users: &[Vec<NodeId>], rules: Int8) -> Vec<NodeId> {
    let mut classes: Vec<NodeId> = (0..graph.nodes.len()).collect();
    for (id, node) in graph.nodes.iter().enumerate() {
        let shares = |input: &&NodeId| match node.op {
            Op::MaxPool { .. } | Op::Upsample { .. } | Op::Slice { .. } | Op::SpaceToDepth => true,
            Op::Concat => rules.concat == Scales::Shared || is_made_for(graph, users, **input),
            Op::Add => rules.add == Scales::Shared,
            Op::Input { .. } | Op::Conv(_) | Op::BatchNorm { .. } | Op::Act(_) | Op::Attention(_) => false,
        };
        for &input in node.inputs.iter().filter(shares) {
            let (a, b) = (classes[id], classes[input]);
            let (first, other) = (a.min(b), a.max(b));
            classes.iter_mut().filter(|class| **class == other).for_each(|class| *class = first);
        }
    }
    classes
}

/// Whether one node alone reads `id`'s new values: then any other scale than that node's would only round twice.
fn is_made_for(graph: &Graph, users: &[Vec<NodeId>], id: NodeId) -> bool {
    makes_values(&graph.nodes[id].op) && users[id].len() == 1 && !graph.outputs.contains(&id)
}

/// The counts that `method` looks at: the squared error is that of the outputs, the others look at values alone.
fn counted(stats: &Stats, method: Method) -> &Histogram {
    match method {
        Method::Mse => &stats.felt,
        Method::MinMax | Method::Percentile | Method::Kl => &stats.histogram,
    }
}

fn stats<'a>(graph: &Graph, observed: &'a Observations, id: NodeId) -> Result<&'a Stats> {
    let stats = observed.nodes.get(&id);
    stats.filter(|stats| !stats.histogram.is_empty()).ok_or_else(|| {
        Error::model(
            format!("node {:?} was not observed", graph.nodes[id].name),
            "a count of the values of every tensor",
            "calibrate with the graph that is quantized",
        )
    })
}

fn without_scale(node: &str, Range { low, high }: Range) -> Error {
    let values = if low < high {
        format!("values from {low:.1e} to {high:.1e}, for which there is no scale,")
    } else {
        "nothing but 0".to_owned()
    };
    Error::model(
        format!("node {node:?} gives {values} on every calibration image"),
        "values to find a scale for",
        "calibrate on images like those the device will see; if they are, this layer of the model is dead: train again",
    )
}
