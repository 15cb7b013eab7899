//! Fusing: `TrainedModel → FusedModel`, every branch and batch norm folded into single convolutions with bias.
//! Passes match patterns of the graph, never names, and compute in f64. Never runs a model, except in
//! [`fuse_error`], which measures what the folding cost.

mod batch_norm;
mod branches;
mod draft;
mod measure;

use draft::Draft;

use crate::Result;
use crate::model::{Architecture, FusedModel, Graph, TrainedModel, Weights};

pub(crate) use measure::group_of;
pub use measure::{ChannelGroup, GroupError, MAX_FUSE_ERROR, fuse_error, largest};

/// Folds every branch and batch norm of `model`.
///
/// The fused graph computes what the training graph computes in eval mode: RepVGG (Ding et al. 2021) and QARepVGG
/// (Chu et al. 2022) blocks become one convolution with bias each, shortcuts around an activation stay.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) when a weight is missing, of another shape or not finite, or when a batch
/// norm cannot be folded; the error names it.
pub fn fuse(model: &TrainedModel) -> Result<FusedModel> {
    let (graph, weights) = fuse_graph(&model.architecture.graph, &model.weights)?;
    let architecture = Architecture { graph, ..model.architecture.clone() };
    Ok(FusedModel { architecture, weights, imgsz: model.imgsz })
}

/// [`fuse`] for a bare graph: the folded graph and its weights, without the parts no output depends on.
///
/// A merged convolution is called as the sum it replaces with `conv` as last component (`model.1.add` →
/// `model.1.conv`); a convolution that only swallowed a batch norm keeps its name.
///
/// # Errors
/// As [`fuse`].
pub fn fuse_graph(graph: &Graph, weights: &Weights) -> Result<(Graph, Weights)> {
    let mut draft = Draft::new(graph, weights)?;
    fold(&mut draft);
    draft.finish()
}

/// The graph that [`fuse_graph`] makes of `graph`, whatever the weights are.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) when the graph is broken or a batch norm cannot be folded.
pub fn fused_graph(graph: &Graph) -> Result<Graph> {
    let mut draft = Draft::without_values(graph)?;
    fold(&mut draft);
    draft.finish_graph()
}

fn fold(draft: &mut Draft) {
    // A merged block may expose a convolution to the next batch norm (QARepVGG), hence the fixpoint. Each round
    // that changes something removes a node, so it ends.
    while batch_norm::fold(draft) | branches::merge(draft) {}
}
