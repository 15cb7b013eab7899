//! Models as data: description (YAML) → graph, its weights, and the checkpoint files that hold both.

mod checkpoint;
mod complexity;
mod graph;
mod head;
mod init;
mod warm_start;
mod weights;
mod yaml;

pub use graph::{Activation, Conv, Graph, LEAKY_SLOPE, Node, NodeId, Op};
pub use head::Head;
pub use weights::{WeightTensor, Weights};
