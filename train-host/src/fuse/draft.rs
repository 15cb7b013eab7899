//! A graph being fused, with its parameters in f64, or without any where only the graph is asked for: all vectors are
//! empty then. Rounds to f32 once, at the end. Never decides what to fuse.

use crate::model::{Conv, Graph, Node, NodeId, Op, Weights};
use crate::{Error, Result};

/// Parameters of a convolution.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Kernel {
    /// `[cout, cin/groups, k, k]`.
    pub weight: Vec<f64>,
    /// `[cout]`, zeros where the convolution has none.
    pub bias: Vec<f64>,
}

/// A batch norm in eval mode: `y = scale·x + shift`, by channel.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Affine {
    pub scale: Vec<f64>,
    pub shift: Vec<f64>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Params {
    None,
    Kernel(Kernel),
    Affine(Affine),
}

/// Nodes and, at the same index, their parameters.
pub(super) struct Draft {
    pub graph: Graph,
    params: Vec<Params>,
}

impl Draft {
    pub fn new(graph: &Graph, weights: &Weights) -> Result<Self> {
        graph.validate()?;
        let params = graph.nodes.iter().map(|node| read_params(node, weights)).collect::<Result<_>>()?;
        Ok(Self { graph: graph.clone(), params })
    }

    /// A draft without values, for a graph whose weights do not exist: the passes decide by operators alone.
    pub fn without_values(graph: &Graph) -> Result<Self> {
        graph.validate()?;
        let params = graph.nodes.iter().map(|node| match node.op {
            Op::Conv(_) => Params::Kernel(Kernel::default()),
            Op::BatchNorm { .. } => Params::Affine(Affine::default()),
            _ => Params::None,
        });
        Ok(Self { graph: graph.clone(), params: params.collect() })
    }

    /// How often each node is read by nodes an output depends on, plus once for being an output; 0 is dead.
    pub fn uses(&self) -> Vec<usize> {
        let mut uses = vec![0; self.graph.nodes.len()];
        for &output in &self.graph.outputs {
            uses[output] += 1;
        }
        for id in (0..uses.len()).rev().collect::<Vec<_>>() {
            if uses[id] > 0 {
                for &input in &self.graph.nodes[id].inputs {
                    uses[input] += 1;
                }
            }
        }
        uses
    }

    pub fn conv(&self, id: NodeId) -> Option<(Conv, &Kernel)> {
        match (&self.graph.nodes[id].op, &self.params[id]) {
            (Op::Conv(conv), Params::Kernel(kernel)) => Some((*conv, kernel)),
            _ => None,
        }
    }

    pub fn affine(&self, id: NodeId) -> Option<&Affine> {
        match &self.params[id] {
            Params::Affine(affine) => Some(affine),
            _ => None,
        }
    }

    /// Whatever read `from` reads `to` from now on; `from` is dead then.
    pub fn redirect(&mut self, from: NodeId, to: NodeId) {
        let reads = self.graph.nodes.iter_mut().flat_map(|node| &mut node.inputs);
        for id in reads.chain(&mut self.graph.outputs).filter(|id| **id == from) {
            *id = to;
        }
    }

    /// Turns node `id` into a convolution of `source`.
    pub fn set_conv(&mut self, id: NodeId, source: NodeId, conv: Conv, kernel: Kernel) {
        let node = &mut self.graph.nodes[id];
        node.op = Op::Conv(Conv { bias: true, ..conv });
        node.inputs = vec![source];
        self.params[id] = Params::Kernel(kernel);
    }

    /// Renames node `id` unless a living node bears the name.
    pub fn rename(&mut self, id: NodeId, name: String) {
        let uses = self.uses();
        let taken = |(other, node): (NodeId, &Node)| other != id && uses[other] > 0 && node.name == name;
        if !self.graph.nodes.iter().enumerate().any(taken) {
            self.graph.nodes[id].name = name;
        }
    }

    /// Drops dead nodes, renumbers the rest and rounds to f32.
    pub fn finish(self) -> Result<(Graph, Weights)> {
        let (graph, params) = self.prune()?;
        let mut weights = Weights::default();
        for (node, params) in graph.nodes.iter().zip(params) {
            if let (Op::Conv(conv), Params::Kernel(kernel)) = (node.op, params) {
                let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
                weights.insert(format!("{}.weight", node.name), &shape, round(&node.name, &kernel.weight)?);
                weights.insert(format!("{}.bias", node.name), &[conv.cout], round(&node.name, &kernel.bias)?);
            }
        }
        Ok((graph, weights))
    }

    /// As [`Draft::finish`], for a draft without values.
    pub fn finish_graph(self) -> Result<Graph> {
        Ok(self.prune()?.0)
    }

    /// The living nodes, renumbered, with their parameters.
    fn prune(self) -> Result<(Graph, Vec<Params>)> {
        let uses = self.uses();
        let mut renumbered = vec![None; uses.len()];
        let (mut graph, mut kept) = (Graph::default(), Vec::new());
        for (id, (node, params)) in self.graph.nodes.into_iter().zip(self.params).enumerate() {
            if uses[id] == 0 && !matches!(node.op, Op::Input { .. }) {
                continue;
            }
            let inputs: Vec<NodeId> = node.inputs.iter().filter_map(|&input| renumbered[input]).collect();
            let op = finished(&node)?;
            renumbered[id] = Some(graph.push(node.name, op, &inputs));
            kept.push(params);
        }
        graph.outputs = self.graph.outputs.iter().filter_map(|&output| renumbered[output]).collect();
        Ok((graph, kept))
    }
}

fn read_params(node: &Node, weights: &Weights) -> Result<Params> {
    match node.op {
        Op::Conv(conv) => {
            let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
            let weight = read(weights, &node.name, "weight", &shape)?;
            let bias = match conv.bias {
                true => read(weights, &node.name, "bias", &[conv.cout])?,
                false => vec![0.0; conv.cout],
            };
            Ok(Params::Kernel(Kernel { weight, bias }))
        }
        Op::BatchNorm { channels, eps } => {
            let field = |field| read(weights, &node.name, field, &[channels]);
            let (gamma, beta) = (field("weight")?, field("bias")?);
            let (mean, variance) = (field("running_mean")?, field("running_var")?);
            let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + eps).sqrt()).collect();
            let shift = beta.iter().zip(&mean).zip(&scale).map(|((b, m), s)| b - m * s).collect();
            Ok(Params::Affine(Affine { scale, shift }))
        }
        _ => Ok(Params::None),
    }
}

fn read(weights: &Weights, node: &str, field: &str, shape: &[usize]) -> Result<Vec<f64>> {
    let values = weights.expect(&format!("{node}.{field}"), shape)?;
    Ok(values.iter().map(|&value| f64::from(value)).collect())
}

/// The operator as it stands in a fused graph.
fn finished(node: &Node) -> Result<Op> {
    match node.op {
        Op::Conv(conv) => Ok(Op::Conv(Conv { bias: true, ..conv })),
        Op::BatchNorm { .. } => Err(Error::model(
            format!("batch norm {:?} cannot be folded", node.name),
            "a batch norm whose input is a convolution that nothing else reads, or that is summed with convolutions \
             of its own input with stride 1 and equal groups",
            "train the block in one of these forms; only fused models can be deployed",
        )),
        op => Ok(op),
    }
}

fn round(node: &str, values: &[f64]) -> Result<Vec<f32>> {
    #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
    let rounded: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    match rounded.iter().position(|value| !value.is_finite()) {
        None => Ok(rounded),
        Some(at) => Err(Error::model(
            format!("element {at} of {node:?} is {} after folding", values[at]),
            "finite weights and variances not below 0",
            "the training diverged or the file is damaged: take an earlier checkpoint",
        )),
    }
}
