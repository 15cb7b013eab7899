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
    /// Precisions a bundle for this board may have.
    pub precisions: Vec<Precision>,
}

/// Processor architecture of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// Whatever the program was built for.
    Any,
}

/// Inference engine of a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// tract, on the CPU.
    Tract,
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
