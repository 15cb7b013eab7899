//! Recognizes by name how each convolution layer of a graph is built: plain, fused, rep block or Detect output.
//! Reads names and operators only; weights stay unseen.

use std::collections::HashMap;

use super::graph::{Conv, Graph, Node, Op};
use super::yaml::Block;
use crate::{Error, Result};

/// How the convolution of a layer is built.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// `P.conv` with bias.
    Fused,
    /// `P.conv`, `P.bn`.
    Plain,
    /// `P.dense.*` and `P.pointwise.*`, each with a batch norm, and perhaps the batch norm `P.identity`.
    Repvgg { identity: bool },
    /// `P.dense.*`, `P.pointwise.conv`, perhaps the input itself, and `P.bn` after the sum.
    Qarepvgg { identity: bool },
    /// A bare convolution with bias, called `P`: output `level` of the graph.
    Output { level: usize },
}

/// A layer with a convolution.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Layer {
    /// `P`, what the names of its nodes begin with.
    pub prefix: String,
    pub form: Form,
    /// The convolution, of a rep block its 3×3.
    pub conv: Conv,
    /// Of its batch norms, which share it; 0 where there is none.
    pub eps: f64,
}

impl Layer {
    /// Names of its convolutions.
    pub fn convs(&self) -> Vec<String> {
        match self.form {
            Form::Output { .. } => vec![self.prefix.clone()],
            Form::Fused | Form::Plain => vec![self.name("conv")],
            Form::Repvgg { .. } | Form::Qarepvgg { .. } => {
                vec![self.name("dense.conv"), self.name("pointwise.conv")]
            }
        }
    }

    /// Names of its batch norms.
    pub fn batch_norms(&self) -> Vec<String> {
        match self.form {
            Form::Output { .. } | Form::Fused => Vec::new(),
            Form::Plain => vec![self.name("bn")],
            Form::Repvgg { identity: false } => vec![self.name("dense.bn"), self.name("pointwise.bn")],
            Form::Repvgg { identity: true } => {
                vec![self.name("dense.bn"), self.name("pointwise.bn"), self.name("identity")]
            }
            Form::Qarepvgg { .. } => vec![self.name("dense.bn"), self.name("bn")],
        }
    }

    /// `P.suffix`.
    pub fn name(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.prefix)
    }
}

/// The convolution layers of `graph` in graph order; a rep block is one layer.
///
/// # Errors
/// [`Error::Model`] naming a convolution that is no layer made by `Architecture` or by `fuse`.
pub(super) fn layers(graph: &Graph) -> Result<Vec<Layer>> {
    let by_name: HashMap<&str, &Node> = graph.nodes.iter().map(|node| (node.name.as_str(), node)).collect();
    let mut layers = Vec::new();
    for (id, node) in graph.nodes.iter().enumerate() {
        let Op::Conv(conv) = node.op else { continue };
        if node.name.ends_with(".pointwise.conv") {
            continue;
        }
        let level = graph.outputs.iter().position(|&output| output == id);
        let layer = match (node.name.strip_suffix(".dense.conv"), node.name.strip_suffix(".conv"), level) {
            (Some(prefix), _, _) => rep_block(&by_name, prefix, conv),
            (None, Some(prefix), None) => plain(&by_name, prefix, conv),
            (None, None, Some(level)) => {
                Some(Layer { prefix: node.name.clone(), form: Form::Output { level }, conv, eps: 0.0 })
            }
            _ => None,
        };
        let layer = layer.filter(|layer| is_complete(&by_name, layer)).ok_or_else(|| {
            Error::model(
                format!("convolution {:?} of an unknown kind of layer", node.name),
                "layers as train-host builds and fuses them",
                "use a checkpoint written by train-host",
            )
        })?;
        layers.push(layer);
    }
    Ok(layers)
}

impl Graph {
    /// Form of its rep blocks; `None` where it has none, as when it is fused.
    pub fn block(&self) -> Option<Block> {
        layers(self).ok()?.iter().find_map(|layer| match layer.form {
            Form::Repvgg { .. } => Some(Block::Repvgg),
            Form::Qarepvgg { .. } => Some(Block::Qarepvgg),
            Form::Fused | Form::Plain | Form::Output { .. } => None,
        })
    }
}

fn plain(by_name: &HashMap<&str, &Node>, prefix: &str, conv: Conv) -> Option<Layer> {
    let (form, eps) =
        if conv.bias { (Form::Fused, 0.0) } else { (Form::Plain, eps(by_name, &format!("{prefix}.bn"))?) };
    Some(Layer { prefix: prefix.to_owned(), form, conv, eps })
}

fn rep_block(by_name: &HashMap<&str, &Node>, prefix: &str, conv: Conv) -> Option<Layer> {
    let sum = by_name.get(format!("{prefix}.add").as_str())?;
    let identity = sum.inputs.len() == 3;
    let form = if by_name.contains_key(format!("{prefix}.bn").as_str()) {
        Form::Qarepvgg { identity }
    } else {
        Form::Repvgg { identity }
    };
    let eps = eps(by_name, &format!("{prefix}.dense.bn"))?;
    Some(Layer { prefix: prefix.to_owned(), form, conv, eps })
}

fn is_complete(by_name: &HashMap<&str, &Node>, layer: &Layer) -> bool {
    layer.convs().iter().all(|name| by_name.contains_key(name.as_str()))
        && layer.batch_norms().iter().all(|name| eps(by_name, name) == Some(layer.eps))
}

fn eps(by_name: &HashMap<&str, &Node>, name: &str) -> Option<f64> {
    match by_name.get(name)?.op {
        Op::BatchNorm { eps, .. } => Some(eps),
        _ => None,
    }
}
