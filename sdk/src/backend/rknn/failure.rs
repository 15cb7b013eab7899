//! What can go wrong with the NPU, one variant for each code of the runtime and each thing we refuse ourselves. Never
//! decides whether to go on: callers match on the variant.

mod words;

use std::time::Duration;

use artifact::Fault;

use super::versions::Versions;
use crate::Error;

/// Why the NPU did not do what it was asked for. The first fourteen are the runtime's own error codes, -1 to -13 and
/// any other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NpuFailure {
    /// -1: failed for a reason that the runtime prints on stderr only.
    Failed,
    /// -2: the NPU did not finish in the time given.
    Timeout,
    /// -3: the NPU's driver is not there or not ready.
    DeviceUnavailable,
    /// -4, or no memory where memory was asked for: not enough that the NPU can reach.
    OutOfMemory,
    /// -5: a parameter that the runtime does not take; of `rknn_set_core_mask`: cores that the chip does not have.
    InvalidParameter,
    /// -6: no model that the runtime can read.
    InvalidModel,
    /// -7: a context that is not one, or no longer.
    InvalidContext,
    /// -8: an input of the wrong size or form.
    InvalidInput,
    /// -9: an output of the wrong size or form.
    InvalidOutput,
    /// -10: driver and runtime do not fit together.
    DeviceMismatch,
    /// -11: the model was precompiled for another device.
    IncompatiblePrecompiled,
    /// -12: the model was compiled at an optimization level that the runtime does not know.
    IncompatibleOptimization,
    /// -13: the model is compiled for another chip, by the runtime's judgment.
    PlatformMismatch,
    /// Any other code.
    UnknownCode(i32),
    /// The runtime said that all is well and gave fewer bytes of an output than it has.
    ShortOutput {
        /// Bytes that it gave.
        given: u32,
        /// Bytes that the output has.
        needed: u32,
    },
    /// No runtime library on this machine.
    MissingLibrary,
    /// The runtime library lacks a function that is needed.
    MissingFunction(&'static str),
    /// The model is compiled for another chip, by what it says about itself.
    WrongChip,
    /// The runtime is older than the toolkit that compiled the model.
    OldRuntime,
    /// A call did not return in time: the worker that made it is abandoned, with its context and buffers.
    Stalled {
        /// How long was waited.
        waited: Duration,
    },
    /// The frame waited behind another one, whose call did not return.
    LostBehindStall,
    /// The thread that works for a core ended, by a panic of its own: a fault of RepEdge.
    WorkerEnded,
    /// Frame after frame failed: the NPU is given up.
    GivenUp {
        /// How many frames in a row.
        failures: u32,
    },
    /// Calls that did not return hold so many contexts that no other is opened, or none can be on any core: the NPU is
    /// given up.
    Exhausted {
        /// Workers set aside whose call has not returned since.
        quarantined: u32,
    },
    /// A slot was submitted to another pool than the one it is of.
    ForeignSlot,
    /// Memory of another device was given to a pool that copies its inputs.
    NotZeroCopy,
    /// Memory of another device was given to a model that takes no pixels.
    NotPixels,
    /// Memory of another device is shorter than the model's input.
    ShortImport {
        /// Bytes that were given.
        given: usize,
        /// Bytes that the input has, row padding included.
        needed: usize,
    },
    /// Memory of another device cannot be mapped for reading and writing.
    Unmappable {
        /// The operating system's error number.
        errno: i32,
    },
    /// No worker could be started.
    NoWorker,
}

/// What failed: the runtime's function, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Failing {
    pub(super) call: &'static str,
    pub(super) failure: NpuFailure,
}

/// The outcome that a runtime's function reports by `code`.
pub(super) fn check(code: i32) -> Result<(), NpuFailure> {
    if code == rknn_sys::RKNN_SUCC.cast_signed() { Ok(()) } else { Err(NpuFailure::from_code(code)) }
}

/// Says of a failure that it is that of `call`.
pub(super) fn at(call: &'static str) -> impl Fn(NpuFailure) -> Failing {
    move |failure| failure.at(call)
}

impl Failing {
    /// The error for it.
    pub(super) fn error(self, versions: &Versions) -> Error {
        self.failure.during(self.call, versions)
    }
}

impl NpuFailure {
    /// The failure that a runtime's function reports by `code`, which is not 0.
    pub(super) fn from_code(code: i32) -> Self {
        match code {
            rknn_sys::RKNN_ERR_FAIL => Self::Failed,
            rknn_sys::RKNN_ERR_TIMEOUT => Self::Timeout,
            rknn_sys::RKNN_ERR_DEVICE_UNAVAILABLE => Self::DeviceUnavailable,
            rknn_sys::RKNN_ERR_MALLOC_FAIL => Self::OutOfMemory,
            rknn_sys::RKNN_ERR_PARAM_INVALID => Self::InvalidParameter,
            rknn_sys::RKNN_ERR_MODEL_INVALID => Self::InvalidModel,
            rknn_sys::RKNN_ERR_CTX_INVALID => Self::InvalidContext,
            rknn_sys::RKNN_ERR_INPUT_INVALID => Self::InvalidInput,
            rknn_sys::RKNN_ERR_OUTPUT_INVALID => Self::InvalidOutput,
            rknn_sys::RKNN_ERR_DEVICE_UNMATCH => Self::DeviceMismatch,
            rknn_sys::RKNN_ERR_INCOMPATILE_PRE_COMPILE_MODEL => Self::IncompatiblePrecompiled,
            rknn_sys::RKNN_ERR_INCOMPATILE_OPTIMIZATION_LEVEL_VERSION => Self::IncompatibleOptimization,
            rknn_sys::RKNN_ERR_TARGET_PLATFORM_UNMATCH => Self::PlatformMismatch,
            other => Self::UnknownCode(other),
        }
    }

    /// This failure, of `call`.
    pub(super) fn at(self, call: &'static str) -> Failing {
        Failing { call, failure: self }
    }

    /// The error for this failure of `call`.
    pub(super) fn during(self, call: &str, versions: &Versions) -> Error {
        let (found, expected, hint) = self.words(call, versions);
        Error::Npu { failure: self, fault: Fault::new(found, expected, hint) }
    }

    /// Whether the same frame may succeed when it is given again: whatever the runtime reports of a frame, but not what
    /// we refuse ourselves because it is wrong with the frame. As many in a row as [`super::TimeLimits::max_failures`] end
    /// in giving up, so that who tries again does not try for ever.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Failed
            | Self::Timeout
            | Self::DeviceUnavailable
            | Self::OutOfMemory
            | Self::InvalidParameter
            | Self::InvalidModel
            | Self::InvalidContext
            | Self::InvalidInput
            | Self::InvalidOutput
            | Self::DeviceMismatch
            | Self::IncompatiblePrecompiled
            | Self::IncompatibleOptimization
            | Self::PlatformMismatch
            | Self::UnknownCode(_)
            | Self::ShortOutput { .. }
            | Self::WorkerEnded
            | Self::Stalled { .. } => true,
            Self::MissingLibrary
            | Self::MissingFunction(_)
            | Self::WrongChip
            | Self::OldRuntime
            | Self::LostBehindStall
            | Self::GivenUp { .. }
            | Self::Exhausted { .. }
            | Self::ForeignSlot
            | Self::NotZeroCopy
            | Self::NotPixels
            | Self::ShortImport { .. }
            | Self::Unmappable { .. }
            | Self::NoWorker => false,
        }
    }

    /// Whether nothing but frames under way is lost: the one that failed, or was refused for its own fault, or those queued
    /// behind it. Others may succeed.
    pub fn loses_frames_only(self) -> bool {
        let is_of_frame = matches!(
            self,
            Self::LostBehindStall | Self::NotPixels | Self::ShortImport { .. } | Self::Unmappable { .. }
        );
        self.may_pass() || is_of_frame
    }

    /// Whether the NPU is given up, so that every later frame fails too.
    pub fn is_final(self) -> bool {
        matches!(self, Self::GivenUp { .. } | Self::Exhausted { .. })
    }
}
