//! Finds what repeats inside a layer (the bottlenecks of C3, the blocks of a RepVGG stage), so that it is drawn once.
//! Compares operators and edges only.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Context;
use crate::model::outline::Layer;
use crate::model::{Graph, NodeId, Op};

/// A chain of equal parts: the first one is shown for all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Repeat {
    /// Nodes of the first part.
    pub shown: Vec<NodeId>,
    /// Nodes of the others.
    pub hidden: HashSet<NodeId>,
    /// How many parts there are.
    pub times: usize,
    /// The last part's result, which others read, and the first part's, which stands for it.
    pub result: (NodeId, NodeId),
}

/// The numbered parts `NAME.0`, `NAME.1`, … or `NAME.m.0`, … of `layer`, when each reads only the one before and all
/// are alike.
pub(super) fn find(Context { graph, users, .. }: &Context<'_>, layer: &Layer) -> Option<Repeat> {
    let mut parts: BTreeMap<usize, Vec<NodeId>> = BTreeMap::new();
    for &id in &layer.nodes {
        if let Some(number) = number(&graph.nodes[id].name, &layer.name) {
            parts.entry(number).or_default().push(id);
        }
    }
    if parts.len() < 2 {
        return None;
    }
    let parts: Vec<Vec<NodeId>> = parts.into_values().collect();
    let mut results = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let result = only_result(graph, users, part)?;
        let follows = at == 0 || only_source(graph, part)? == results[at - 1];
        if !follows || signature(graph, part) != signature(graph, &parts[0]) {
            return None;
        }
        // What lies between two parts must not be seen from outside.
        if let Some(next) = parts.get(at + 1)
            && users[result].iter().any(|user| !next.contains(user))
        {
            return None;
        }
        results.push(result);
    }
    let result = (*results.last()?, results[0]);
    Some(Repeat {
        times: parts.len(),
        hidden: parts[1..].iter().flatten().copied().collect(),
        shown: parts[0].clone(),
        result,
    })
}

fn number(node: &str, layer: &str) -> Option<usize> {
    let rest = node.strip_prefix(layer)?.strip_prefix('.')?;
    let rest = rest.strip_prefix("m.").unwrap_or(rest);
    rest.split('.').next()?.parse().ok()
}

/// The one node of `part` that others read.
fn only_result(graph: &Graph, users: &[Vec<NodeId>], part: &[NodeId]) -> Option<NodeId> {
    let leaves =
        |id: &&NodeId| graph.outputs.contains(id) || users[**id].iter().any(|user| !part.contains(user));
    let mut results = part.iter().filter(leaves);
    let result = *results.next()?;
    (results.next().is_none() && !graph.outputs.contains(&result)).then_some(result)
}

/// The one node outside that `part` reads.
fn only_source(graph: &Graph, part: &[NodeId]) -> Option<NodeId> {
    let mut sources =
        part.iter().flat_map(|&id| &graph.nodes[id].inputs).filter(|input| !part.contains(input));
    let source = *sources.next()?;
    sources.all(|&other| other == source).then_some(source)
}

/// Operators of `part` and where in it they read; `None` for what is outside.
fn signature<'a>(graph: &'a Graph, part: &[NodeId]) -> Vec<(&'a Op, Vec<Option<usize>>)> {
    let place: HashMap<NodeId, usize> = part.iter().enumerate().map(|(at, &id)| (id, at)).collect();
    let node = |&id: &NodeId| {
        let node = &graph.nodes[id];
        (&node.op, node.inputs.iter().map(|input| place.get(input).copied()).collect())
    };
    part.iter().map(node).collect()
}
