//! What a `board.toml` may say. Strict: an unknown field is an error, never ignored.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One board.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Same as the folder.
    pub name: String,
    /// One line for a person.
    pub description: String,
    /// Processor a program must be built for.
    pub arch: Arch,
    /// Engines that run here, the preferred one first.
    pub backends: Vec<Backend>,
    /// Precisions a bundle for this board may have, the preferred one first.
    pub precisions: Vec<Precision>,
    /// Its NPU, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub npu: Option<Npu>,
    /// What its int8 engine asks of scales.
    #[serde(default)]
    pub int8: Int8,
}

/// A board's NPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Npu {
    /// The chip, as the NPU's compiler calls it.
    pub chip: String,
}

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

/// Processor architecture of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// Whatever the program was built for.
    Any,
    /// 64-bit Arm.
    Aarch64,
    /// 32-bit Arm with hardware floats.
    Armv7,
}

/// Inference engine of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// tract, on the CPU.
    Tract,
    /// Rockchip's NPU.
    Rknn,
}

/// Number format of a deployed model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit float.
    Fp32,
    /// 16-bit float.
    Fp16,
    /// 8-bit integer with scales.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fp32 => "fp32",
            Self::Fp16 => "fp16",
            Self::Int8 => "int8",
        })
    }
}
