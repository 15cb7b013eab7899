//! Which weight tensors a graph needs: names, shapes and roles, in graph order. Initialization, checkpoints, optimizer
//! groups and parameter counts all read this one list. Never holds values.

use super::graph::{Graph, Node, NodeId, Op};

/// What a weight tensor is to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Convolution kernel `[cout, cin/groups, k, k]`: the only role with weight decay.
    Kernel,
    /// Convolution bias `[cout]`.
    Bias,
    /// Batch norm γ `[channels]`.
    Gamma,
    /// Batch norm β `[channels]`.
    Beta,
    /// Batch norm running mean `[channels]`; a buffer, not trained.
    RunningMean,
    /// Batch norm running variance `[channels]`; a buffer, not trained.
    RunningVar,
}

impl Role {
    /// Whether gradient descent changes it; running statistics are not parameters.
    pub fn is_parameter(self) -> bool {
        !matches!(self, Self::RunningMean | Self::RunningVar)
    }
}

/// A weight tensor a graph needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightSpec {
    /// Name in [`super::Weights`].
    pub name: String,
    /// Dimensions, outermost first.
    pub shape: Vec<usize>,
    /// What it is for.
    pub role: Role,
    /// The node that owns it.
    pub node: NodeId,
}

impl WeightSpec {
    /// Number of values.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether the tensor has no value, which no valid graph asks for.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Graph {
    /// The weight tensors of this graph, in node order.
    pub fn weight_specs(&self) -> Vec<WeightSpec> {
        self.nodes.iter().enumerate().flat_map(|(id, node)| node_specs(id, node)).collect()
    }
}

fn node_specs(id: NodeId, node: &Node) -> Vec<WeightSpec> {
    let spec = |suffix: &str, shape: &[usize], role| WeightSpec {
        name: format!("{}.{suffix}", node.name),
        shape: shape.to_vec(),
        role,
        node: id,
    };
    match node.op {
        Op::Conv(conv) => {
            let kernel = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
            let mut specs = vec![spec("weight", &kernel, Role::Kernel)];
            if conv.bias {
                specs.push(spec("bias", &[conv.cout], Role::Bias));
            }
            specs
        }
        Op::BatchNorm { channels, .. } => vec![
            spec("weight", &[channels], Role::Gamma),
            spec("bias", &[channels], Role::Beta),
            spec("running_mean", &[channels], Role::RunningMean),
            spec("running_var", &[channels], Role::RunningVar),
        ],
        _ => Vec::new(),
    }
}
