//! What a `board.toml` may say. Strict: an unknown field is an error, never ignored.

mod budget;
mod delivery;
mod hardware;
mod int8;
mod threads;
mod version;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

pub use budget::{Activation, Budget};
pub use delivery::{Flash, Layout, Method, Target, Tier, Usb};
pub use hardware::{Bus, Camera, Clock, ClockKind, Display, Domain, Npu, PixelFormat, RuntimeLibrary};
pub use int8::{Between, Int8, Outputs, Scales};
pub use threads::Threads;
pub use version::Version;

/// One board.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Board {
    /// Same as the folder.
    pub name: String,
    /// One line for a person.
    pub description: String,
    /// The chip that makes it what it is.
    pub soc: String,
    /// How names begin of which its device tree has one, vendor and chip; none where it has none of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible: Vec<String>,
    /// What has been done to know that it works.
    pub tier: Tier,
    /// Processor a program must be built for.
    pub arch: Arch,
    /// What programs are built for; none where they run where they were built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
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
    /// Kinds of cameras it takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "camera")]
    pub cameras: Vec<Camera>,
    /// Its display, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<Display>,
    /// Clocks to fix while speed is measured, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clocks: BTreeMap<String, Clock>,
    /// Which processor cores stages run on, where that matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<Threads>,
    /// How software gets onto it.
    #[serde(default)]
    pub flash: Flash,
    /// How fast models must be.
    #[serde(default, skip_serializing_if = "Vec::is_empty", rename = "budget")]
    pub budgets: Vec<Budget>,
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
