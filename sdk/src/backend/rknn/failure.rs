//! What can go wrong with the NPU, one variant for each code of the runtime and each thing we refuse ourselves, and what
//! to do about each. Never decides whether to go on: callers match on the variant.

use std::time::Duration;

use artifact::Fault;
use artifact::rknn::ToolkitVersion;

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
    /// -4: not enough memory that the NPU can reach.
    OutOfMemory,
    /// -5: a parameter that the runtime does not take.
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
    /// Frame after frame failed: the NPU is given up.
    GivenUp {
        /// How many frames in a row.
        failures: u32,
    },
    /// Calls that did not return hold so many contexts that no other is opened, or none can be: the NPU is given up.
    Exhausted {
        /// Workers set aside whose call has not returned since.
        quarantined: u32,
    },
    /// Memory of another device was given to a pool that copies its inputs.
    NotZeroCopy,
    /// No worker could be started.
    NoWorker,
}

/// What an error message can name about versions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Versions {
    /// Of the toolkit that compiled the model.
    pub(super) toolkit: Option<ToolkitVersion>,
    /// Of the runtime library, as its file or the library itself states it.
    pub(super) runtime: Option<String>,
    /// Of the kernel's driver.
    pub(super) driver: Option<String>,
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

    /// The error for this failure of `call`.
    pub(super) fn during(self, call: &str, versions: &Versions) -> Error {
        let (found, expected, hint) = self.words(call, versions);
        Error::Npu { failure: self, fault: Fault::new(found, expected, hint) }
    }

    fn words(self, call: &str, versions: &Versions) -> (String, String, String) {
        let said = |what: &str| format!("{call}: {what}");
        match self {
            Self::Failed => (
                said("the NPU runtime failed (code -1) and says why on stderr only"),
                "success".into(),
                format!("read the lines with `RKNN` above. {}", versions.hint()),
            ),
            Self::Timeout => (
                said("the NPU did not finish in time (code -2)"),
                "an answer before the time-out".into(),
                "check `dmesg | grep -i rknpu` for a reset or hang, the board's cooling and power, and whether \
                 another program keeps the NPU busy; a large model may need a longer time-out"
                    .into(),
            ),
            Self::DeviceUnavailable => (
                said("no NPU device (code -3)"),
                "a loaded rknpu driver".into(),
                "check `dmesg | grep -i rknpu` and that this user may open the NPU's device under /dev/dri \
                 (group `render`), or run on the CPU with `--backend tract`"
                    .into(),
            ),
            Self::OutOfMemory => (
                said("no memory that the NPU can reach (code -4)"),
                "enough contiguous or DMA memory for model and buffers".into(),
                "use fewer cores or frames in flight, stop other programs that use the NPU or camera, or enlarge \
                 CMA in the kernel's command line"
                    .into(),
            ),
            Self::InvalidModel | Self::IncompatibleOptimization => (
                said(&format!("the runtime cannot read the model ({})", self.code_words())),
                "a model that this runtime knows".into(),
                versions.hint(),
            ),
            Self::DeviceMismatch => (
                said("runtime and driver do not fit together (code -10)"),
                "a kernel driver as new as the runtime wants".into(),
                format!("update the board's kernel, whose rknpu driver is too old. {}", versions.hint()),
            ),
            Self::PlatformMismatch | Self::IncompatiblePrecompiled => (
                said(&format!("the model is compiled for another chip ({})", self.code_words())),
                "a model compiled for this board's chip".into(),
                "convert it again with `train-host convert --target` and the name of this board's chip".into(),
            ),
            Self::InvalidParameter | Self::InvalidContext | Self::InvalidInput | Self::InvalidOutput => (
                said(&format!("the runtime refuses what it was given ({})", self.code_words())),
                "buffers and parameters as the runtime's own queries ask for".into(),
                format!("this is a fault of RepEdge or of the runtime: report it with the model. {}", versions.hint()),
            ),
            Self::UnknownCode(code) => (
                said(&format!("the runtime gave code {code}, which no version we know has")),
                "0, or a code from -1 to -13".into(),
                versions.hint(),
            ),
            Self::MissingLibrary => (
                call.to_owned(),
                "Rockchip's NPU runtime: librknnrt.so (RK35xx) or librknnmrt.so (RV110x)".into(),
                "install the runtime of your board's vendor into /usr/lib, or set LD_LIBRARY_PATH to its folder; on a \
                 machine without an NPU use `--backend tract`"
                    .into(),
            ),
            Self::MissingFunction(name) => (
                said(&format!("the runtime library has no `{name}`")),
                "a runtime with that function".into(),
                format!("update librknnrt.so on this board. {}", versions.hint()),
            ),
            Self::WrongChip | Self::OldRuntime => (call.to_owned(), "a model for this board".into(), versions.hint()),
            Self::Stalled { waited } => (
                said(&format!("the NPU runtime did not return within {} ms", waited.as_millis())),
                "every call to return".into(),
                "its context and buffers are set aside and a new context is opened; if this repeats, check \
                 `dmesg | grep -i rknpu` and restart the program or the board"
                    .into(),
            ),
            Self::LostBehindStall => (
                said("the frame was queued behind one that the NPU runtime did not return from"),
                "every call to return".into(),
                "give the frame again, or pass it over".into(),
            ),
            Self::GivenUp { failures } => (
                said(&format!("{failures} frames in a row failed: the NPU is given up")),
                "an NPU that answers".into(),
                "run with `--backend auto` and a bundle that also has a CPU model, to go on without the NPU; else end \
                 the program, so that its watchdog restarts it. Then check `dmesg | grep -i rknpu`"
                    .into(),
            ),
            Self::Exhausted { quarantined } => (
                said(&format!(
                    "{quarantined} calls did not return and no further context is opened: the NPU is given up"
                )),
                "an NPU that answers".into(),
                "end the program, so that its watchdog restarts it, or run with `--backend auto` and a bundle that also \
                 has a CPU model. Then check `dmesg | grep -i rknpu` and restart the board"
                    .into(),
            ),
            Self::NotZeroCopy => (
                said("memory of another device for a model whose inputs are copied"),
                "a pool that moves inputs without copies".into(),
                "open it with `IoPath::ZeroCopy`, or copy the pixels into the slot".into(),
            ),
            Self::NoWorker => (
                said("the operating system starts no thread"),
                "a thread for each context".into(),
                "raise the limit on processes (`ulimit -u`), or free memory".into(),
            ),
        }
    }

    fn code_words(self) -> &'static str {
        match self {
            Self::InvalidParameter => "code -5, invalid parameter",
            Self::InvalidModel => "code -6, invalid model",
            Self::InvalidContext => "code -7, invalid context",
            Self::InvalidInput => "code -8, invalid input",
            Self::InvalidOutput => "code -9, invalid output",
            Self::IncompatiblePrecompiled => "code -11, incompatible precompiled model",
            Self::IncompatibleOptimization => "code -12, incompatible optimization level",
            Self::PlatformMismatch => "code -13, target platform unmatched",
            _ => "no code",
        }
    }

    /// Whether the same frame may succeed when it is given again: whatever the runtime reports of a frame, but not what
    /// was wrong with the frame. As many in a row as [`super::TimeLimits::max_failures`] end in giving up, so that who
    /// tries again does not try for ever.
    pub fn may_pass(self) -> bool {
        match self {
            Self::Failed
            | Self::Timeout
            | Self::DeviceUnavailable
            | Self::OutOfMemory
            | Self::InvalidParameter
            | Self::InvalidModel
            | Self::InvalidContext
            | Self::InvalidOutput
            | Self::DeviceMismatch
            | Self::IncompatiblePrecompiled
            | Self::IncompatibleOptimization
            | Self::PlatformMismatch
            | Self::UnknownCode(_)
            | Self::Stalled { .. } => true,
            Self::InvalidInput
            | Self::MissingLibrary
            | Self::MissingFunction(_)
            | Self::WrongChip
            | Self::OldRuntime
            | Self::LostBehindStall
            | Self::GivenUp { .. }
            | Self::Exhausted { .. }
            | Self::NotZeroCopy
            | Self::NoWorker => false,
        }
    }

    /// Whether the NPU is given up, so that every later frame fails too.
    pub fn is_final(self) -> bool {
        matches!(self, Self::GivenUp { .. } | Self::Exhausted { .. })
    }
}

impl Versions {
    /// The three versions, and which of them to change.
    fn hint(&self) -> String {
        let known = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
        let toolkit = known(self.toolkit.map(|version| version.to_string()));
        let (runtime, driver) = (known(self.runtime.clone()), known(self.driver.clone()));
        let stated = format!(
            "The model is compiled by rknn-toolkit2 {toolkit}, the runtime is {runtime}, the driver {driver}"
        );
        let newer = self.toolkit.zip(self.runtime.as_ref().and_then(|text| text.parse().ok()));
        match newer {
            Some((toolkit, runtime)) if toolkit > runtime => format!(
                "{stated}: update librknnrt.so on this board to {toolkit} or newer, or convert the model with toolkit {runtime}"
            ),
            Some(_) => format!("{stated}: the model is not the newer one, so look at the driver first"),
            None => format!("{stated}: the runtime must be as new as the toolkit"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(runtime: &str) -> Versions {
        Versions {
            toolkit: "2.5.0".parse().ok(),
            runtime: Some(runtime.into()),
            driver: Some("0.9.8".into()),
        }
    }

    fn message(failure: NpuFailure, versions: &Versions) -> String {
        failure.during("rknn_run", versions).to_string()
    }

    #[test]
    fn every_code_has_a_variant_and_a_message_of_its_own() {
        let messages: std::collections::BTreeSet<_> =
            (-14..0).map(|code| message(NpuFailure::from_code(code), &versions("2.3.2"))).collect();
        assert_eq!(messages.len(), 14);
        assert_eq!(NpuFailure::from_code(-14), NpuFailure::UnknownCode(-14));
        for (code, text) in (1..=13).zip(1..=13) {
            let failure = NpuFailure::from_code(-code);
            assert_ne!(failure, NpuFailure::UnknownCode(-code));
            let message = message(failure, &versions("2.3.2"));
            assert!(message.contains(&format!("code -{text}")), "{message}");
            assert!(message.contains("rknn_run") && message.contains("help: "), "{message}");
        }
    }

    #[test]
    fn a_version_mismatch_names_all_three_versions_and_what_to_change() {
        let old = message(NpuFailure::InvalidModel, &versions("1.6.0 (2024-01)"));
        for part in ["2.5.0", "1.6.0", "0.9.8", "update librknnrt.so on this board to 2.5.0"] {
            assert!(old.contains(part), "no {part:?} in {old}");
        }
        let same = message(NpuFailure::InvalidModel, &versions("2.5.0"));
        assert!(same.contains("look at the driver"), "{same}");
        let unknown = message(NpuFailure::Failed, &Versions::default());
        assert!(unknown.contains("unknown"), "{unknown}");
    }
}
