//! A graph as the layers people speak of, one a row of its description: where each reads from, its shapes, what it
//! weighs and what it costs. Reads names and operators; never sees weights.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::architecture::Architecture;
use super::graph::{Graph, NodeId, Op};
use super::validate::Shape;
use super::yaml::Description;
use crate::Result;

/// The layers of a graph for square images of one size.
#[derive(Debug, Clone, PartialEq)]
pub struct Outline {
    /// In graph order; the image is none.
    pub layers: Vec<Layer>,
    /// Shape of each node's result.
    pub shapes: Vec<Shape>,
}

/// A row of the description, or of a graph without one: an operator and the batch norm and activation behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// Number of the row.
    pub index: usize,
    /// What the names of its nodes begin with.
    pub name: String,
    /// Module of the description, else the operator.
    pub module: String,
    /// How often the module, or what repeats inside it, stands in a row.
    pub repeats: usize,
    /// Where it reads, in the order of first use.
    pub from: Vec<From>,
    /// Its nodes.
    pub nodes: Vec<NodeId>,
    /// Its nodes that other layers read, or that are outputs.
    pub results: Vec<NodeId>,
    /// Size and cost.
    pub cost: Cost,
}

/// What a layer reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum From {
    /// The image.
    Image,
    /// The layer of this index.
    Layer(usize),
}

/// Size and cost of a part of a graph, counted as [`super::Complexity`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Cost {
    /// Nodes that compute something.
    pub nodes: usize,
    /// Kernels, biases, γ and β.
    pub parameters: usize,
    /// Floating-point operations for one image, a multiply-add counting as two.
    pub flops: u64,
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |sum, cost| Self {
            nodes: sum.nodes + cost.nodes,
            parameters: sum.parameters + cost.parameters,
            flops: sum.flops + cost.flops,
        })
    }
}

impl Outline {
    /// The layers of `architecture` for square images of `imgsz` pixels.
    ///
    /// # Errors
    /// As [`Architecture::validate`] and [`Architecture::check_imgsz`].
    pub fn of(architecture: &Architecture, imgsz: usize) -> Result<Self> {
        architecture.validate()?;
        architecture.check_imgsz(imgsz)?;
        let graph = &architecture.graph;
        let shapes = graph.shapes(imgsz, imgsz)?;
        let grouped = by_row(graph).unwrap_or_else(|| by_operator(graph));
        let description = Description::parse(&architecture.name, &architecture.description).ok();
        let layer_of: HashMap<NodeId, usize> =
            grouped.iter().flat_map(|group| group.nodes.iter().map(|&node| (node, group.index))).collect();
        let costs = node_costs(graph, &shapes);
        let users = graph.users();
        let layers = grouped.into_iter().map(|Group { index, name, nodes }| {
            let inside: BTreeSet<NodeId> = nodes.iter().copied().collect();
            let leaves = |id: &NodeId| {
                graph.outputs.contains(id) || users[*id].iter().any(|user| !inside.contains(user))
            };
            let row = description.as_ref().and_then(|description| description.rows.get(index));
            Layer {
                module: row.map_or_else(|| operator(&graph.nodes[nodes[0]].op), |row| row.module.clone()),
                repeats: repeats(graph, &name, &nodes),
                from: sources(graph, &nodes, &inside, &layer_of),
                results: nodes.iter().copied().filter(leaves).collect(),
                cost: nodes.iter().map(|&id| costs[id]).sum(),
                index,
                name,
                nodes,
            }
        });
        Ok(Self { layers: layers.collect(), shapes })
    }

    /// Size and cost of all layers together.
    pub fn total(&self) -> Cost {
        self.layers.iter().map(|layer| layer.cost).sum()
    }
}

struct Group {
    index: usize,
    name: String,
    nodes: Vec<NodeId>,
}

/// Nodes by the row number in their names (`model.4.cv1.conv` → 4); `None` when a name has none.
fn by_row(graph: &Graph) -> Option<Vec<Group>> {
    let mut groups: Vec<Group> = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate().skip(1) {
        let index: usize = node.name.strip_prefix("model.")?.split('.').next()?.parse().ok()?;
        match groups.iter_mut().find(|group| group.index == index) {
            Some(group) => group.nodes.push(id),
            None => groups.push(Group { index, name: format!("model.{index}"), nodes: vec![id] }),
        }
    }
    Some(groups)
}

/// An operator with the batch norms and activations that only it feeds.
fn by_operator(graph: &Graph) -> Vec<Group> {
    let users = graph.users();
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: HashMap<NodeId, usize> = HashMap::new();
    for (id, node) in graph.nodes.iter().enumerate().skip(1) {
        let follows = match (node.op, node.inputs.as_slice()) {
            (Op::BatchNorm { .. } | Op::Act(_), &[input]) if users[input].len() == 1 => group_of.get(&input),
            _ => None,
        };
        let index = follows.copied().unwrap_or(groups.len());
        match groups.get_mut(index) {
            Some(group) => group.nodes.push(id),
            None => groups.push(Group { index, name: node.name.clone(), nodes: vec![id] }),
        }
        group_of.insert(id, index);
    }
    groups
}

fn sources(
    graph: &Graph,
    nodes: &[NodeId],
    inside: &BTreeSet<NodeId>,
    layer_of: &HashMap<NodeId, usize>,
) -> Vec<From> {
    let mut from = Vec::new();
    let inputs = nodes.iter().flat_map(|&id| &graph.nodes[id].inputs).filter(|input| !inside.contains(input));
    for input in inputs {
        let source = layer_of.get(input).map_or(From::Image, |&index| From::Layer(index));
        if !from.contains(&source) {
            from.push(source);
        }
    }
    from
}

/// Numbered parts in a row: `NAME.0`, `NAME.1`, … of a repeated module, `NAME.m.0`, … inside one.
fn repeats(graph: &Graph, name: &str, nodes: &[NodeId]) -> usize {
    let number = |id: &NodeId| {
        let rest = graph.nodes[*id].name.strip_prefix(name)?.strip_prefix('.')?;
        let rest = rest.strip_prefix("m.").unwrap_or(rest);
        // A part has an inside: the pools of SPP and the outputs of Detect are bare.
        rest.split_once('.')?.0.parse::<usize>().ok()
    };
    nodes.iter().filter_map(number).collect::<BTreeSet<_>>().len().max(1)
}

fn node_costs(graph: &Graph, shapes: &[Shape]) -> Vec<Cost> {
    let mut costs: Vec<Cost> = graph
        .nodes
        .iter()
        .zip(shapes)
        .map(|(node, &shape)| Cost { nodes: 1, parameters: 0, flops: node.op.flops(shape) })
        .collect();
    for spec in graph.weight_specs().iter().filter(|spec| spec.role.is_parameter()) {
        costs[spec.node].parameters += spec.len();
    }
    costs
}

/// Name of an operator where no description names a module.
fn operator(op: &Op) -> String {
    let text = format!("{op:?}");
    text.split(['(', ' ']).next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
