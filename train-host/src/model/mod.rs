//! Models as data: description (YAML) → graph, its weights, and the checkpoint files that hold both.
//! Nothing here computes a convolution: that is for `train`, and for the engines an exported model runs on.

mod architecture;
mod args;
mod batch_norm;
mod build;
pub mod checkpoint;
pub mod complexity;
mod csp;
mod forms;
mod graph;
mod head;
mod infer;
pub mod init;
mod layers;
mod named;
pub mod outline;

#[cfg(test)]
pub(crate) mod reference;
mod rep_block;
mod specs;
mod spread;
pub(crate) mod tensor_file;
mod validate;
pub mod warm_start;
mod weights;
mod yaml;

pub use architecture::{Architecture, FusedModel, Overrides, TrainedModel, description_digest};
pub use checkpoint::Checkpoint;
pub use complexity::Complexity;
pub use graph::{Activation, Attention, Conv, Graph, LEAKY_SLOPE, Node, NodeId, Op};
pub use head::{Boxes, Head};
pub use init::initial_weights;
pub use named::MODEL_NAMES;
pub use outline::Outline;
pub use specs::{Role, WeightSpec};
pub use spread::{can_be_spread, spread_boxes};
pub use validate::Shape;
pub use warm_start::TransferReport;

pub use weights::{WeightTensor, Weights};
pub use yaml::Block;
pub(crate) use yaml::keyword;
