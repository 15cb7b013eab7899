//! What an int8 engine asks of a model's scales.

use serde::{Deserialize, Serialize};

/// What an int8 engine asks of the scales of tensors. Pooling, upsampling and slicing always keep their input's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Int8 {
    /// Inputs of a concatenation.
    pub concat: Scales,
    /// Inputs of a sum.
    pub add: Scales,
    /// What lies between a convolution and its activation.
    pub activation: Between,
    /// What the convolutions at the ends of the model give.
    pub outputs: Outputs,
}

/// What the convolutions at the ends of a model give.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outputs {
    /// Stored int8 values with one scale for boxes, objectness and classes, as NPUs write them.
    #[default]
    Stored,
    /// The real values of their sums: no error of a last rounding, for engines that can give them.
    Real,
}

/// What lies between a convolution and its activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Between {
    /// Nothing: the engine applies the activation to the sums, as NPUs do.
    #[default]
    Fused,
    /// An int8 tensor with a scale: for engines that know convolutions and tables only.
    Stored,
}

/// Scales of an operator's inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scales {
    /// Each input may have its own; the engine rescales.
    #[default]
    Own,
    /// All inputs have the output's.
    Shared,
}
