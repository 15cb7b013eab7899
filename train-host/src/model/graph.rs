//! The graph: plain data, one typed node an operation. libtorch is one executor of it, the ONNX writer one printer,
//! and every pass (fuse, quantize) a function from graph to graph. Knows nothing about YAML, torch or ONNX.

use serde::{Deserialize, Serialize};

/// Index of a node in [`Graph::nodes`].
pub type NodeId = usize;

/// Activation function applied element by element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Activation {
    /// `x * sigmoid(x)`.
    Silu,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else `0.1 * x`.
    LeakyRelu,
    /// `x * tanh(ln(1 + exp(x)))` (arXiv 1908.08681).
    Mish,
}

/// Slope of [`Activation::LeakyRelu`] for negative inputs (YOLOv5's value).
pub const LEAKY_SLOPE: f64 = 0.1;

/// Shape of a 2-D convolution; square kernels, symmetric padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv {
    /// Input channels.
    pub cin: usize,
    /// Output channels.
    pub cout: usize,
    /// Kernel side.
    pub kernel: usize,
    /// Stride, both axes.
    pub stride: usize,
    /// Zero padding on each side.
    pub pad: usize,
    /// Distance between kernel taps.
    pub dilation: usize,
    /// Channel groups.
    pub groups: usize,
    /// Whether a bias of `cout` values is added.
    pub bias: bool,
}

/// Multi-head self-attention (Vaswani et al. 2017, arXiv 1706.03762) as YOLO11's C2PSA has it. The input has
/// `heads·(2·key_dim + head_dim)` channels: for each head its queries `q`, then its keys `k`, then its values `v`. The
/// result has `heads·head_dim` channels: at position `i` of a head `Σ_j softmax_j(q_i·k_j / √key_dim) · v_j`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attention {
    /// Number of heads.
    pub heads: usize,
    /// Channels of a query and of a key.
    pub key_dim: usize,
    /// Channels of a value.
    pub head_dim: usize,
}

/// What a node computes. Tensors are NCHW.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Op {
    /// The image, `channels` planes.
    Input {
        /// Channels of the image.
        channels: usize,
    },
    /// 2-D convolution; weights `NAME.weight` `[cout, cin/groups, k, k]` and, with `bias`, `NAME.bias` `[cout]`.
    Conv(Conv),
    /// Batch normalization over channels; `NAME.weight` (γ), `NAME.bias` (β), `NAME.running_mean`, `NAME.running_var`.
    BatchNorm {
        /// Channels normalized.
        channels: usize,
        /// Added to the variance.
        eps: f64,
    },
    /// Activation.
    Act(Activation),
    /// Element-wise sum of two or more inputs.
    Add,
    /// Concatenation along channels.
    Concat,
    /// Max pooling; padding counts as −∞.
    MaxPool {
        /// Window side.
        kernel: usize,
        /// Stride, both axes.
        stride: usize,
        /// Padding on each side.
        pad: usize,
    },
    /// Nearest-neighbor upsampling by an integer factor.
    Upsample {
        /// Factor of both axes.
        factor: usize,
    },
    /// Channels `start..start + len` of the input.
    Slice {
        /// First channel taken.
        start: usize,
        /// Number of channels taken.
        len: usize,
    },
    /// Self-attention over all positions, between two convolutions that are nodes of their own.
    Attention(Attention),
    /// YOLOv5 v5.0's Focus slicing: 2×2 blocks to channels, in the order
    /// (even row, even col), (odd row, even col), (even row, odd col), (odd row, odd col).
    SpaceToDepth,
}

/// One operation with its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Unique name; prefix of its weights' names. Follows YOLOv5's module paths (`model.2.m.0.cv1.conv`).
    pub name: String,
    /// What is computed.
    pub op: Op,
    /// Producers of the inputs, each smaller than this node's own index.
    pub inputs: Vec<NodeId>,
}

/// A topologically sorted list of nodes with marked outputs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Graph {
    /// Nodes; inputs come before users.
    pub nodes: Vec<Node>,
    /// Nodes whose results leave the graph, in order.
    pub outputs: Vec<NodeId>,
}

impl Graph {
    /// Appends a node and returns its id.
    pub fn push(&mut self, name: impl Into<String>, op: Op, inputs: &[NodeId]) -> NodeId {
        self.nodes.push(Node { name: name.into(), op, inputs: inputs.to_vec() });
        self.nodes.len() - 1
    }

    /// For each node, the ids of the nodes that read it.
    pub fn users(&self) -> Vec<Vec<NodeId>> {
        let mut users = vec![Vec::new(); self.nodes.len()];
        for (id, node) in self.nodes.iter().enumerate() {
            for &input in &node.inputs {
                users[input].push(id);
            }
        }
        users
    }
}
