//! What each failure of the NPU is told in: what was found, what was expected, and what to do. Never decides anything.

use std::io;

use super::NpuFailure;
use crate::backend::rknn::versions::Versions;

impl NpuFailure {
    pub(super) fn words(self, call: &str, versions: &Versions) -> (String, String, String) {
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
                said(&format!("no memory that the NPU can reach ({})", memory_words(call))),
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
            Self::InvalidParameter if call == "rknn_set_core_mask" => (
                said("the chip does not have the cores that were asked for (code -5)"),
                "cores of the chip: RK3588 has three, RK3576 two, and of a single one nothing is to be chosen".into(),
                "ask for fewer cores, or leave the choice to the driver (`Cores::Driver`)".into(),
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
            Self::ShortOutput { given, needed } => (
                said(&format!("the runtime gave {given} bytes of an output of {needed}, and no error")),
                "whole outputs".into(),
                format!("give the frame again; if this repeats, report it with the model. {}", versions.hint()),
            ),
            Self::MissingLibrary => (
                call.to_owned(),
                "Rockchip's NPU runtime: librknnrt.so (RK35xx) or librknnmrt.so (RV110x)".into(),
                "install the runtime of your board's vendor into /usr/lib, or set LD_LIBRARY_PATH to its folder; on a \
                 machine without an NPU use `--backend tract`"
                    .into(),
            ),
            Self::MissingFunction("rknn_set_core_mask") => (
                said("the runtime library has no `rknn_set_core_mask`, by which cores are chosen"),
                "a runtime of chips with several cores: librknnrt.so; no librknnmrt.so (RV110x) has it".into(),
                "leave the choice to the driver (`Cores::Driver`)".into(),
            ),
            Self::MissingFunction(name) => (
                said(&format!("the runtime library has no `{name}`")),
                "a runtime with that function".into(),
                format!("update {} on this board. {}", versions.library.file_name(), versions.hint()),
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
            Self::WorkerEnded => (
                said("the thread that works for a core ended"),
                "a thread that works on".into(),
                "a new one is started; this is a fault of RepEdge: report it with the lines of `panicked` above".into(),
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
            Self::ForeignSlot => (
                said("it is of another pool"),
                "a slot of the pool that it is submitted to".into(),
                "submit a slot to the pool whose `slot()` gave it".into(),
            ),
            Self::NotPixels => (
                said("memory of another device for a model that takes no pixels"),
                "a model that takes 8-bit RGB".into(),
                "convert the model with an input of pixels, or write the tensor into the slot".into(),
            ),
            Self::ShortImport { given, needed } => (
                said(&format!("memory of another device of {given} bytes")),
                format!("at least {needed} bytes"),
                "give the whole buffer: height times `Pool::import_row_bytes` bytes from its offset".into(),
            ),
            Self::Unmappable { errno } => (
                said(&format!("memory of another device cannot be mapped: {}", io::Error::from_raw_os_error(errno))),
                "a DMA-BUF that can be read and written".into(),
                "export it for reading and writing (O_RDWR of VIDIOC_EXPBUF), and at its real size".into(),
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
}

/// How the runtime said that there is no memory: functions that give memory have no code.
fn memory_words(call: &str) -> &'static str {
    if call.starts_with("rknn_create_mem") { "it gave none, or too little" } else { "code -4" }
}

#[cfg(test)]
mod tests {
    use rknn_sys::Runtime;

    use super::*;

    fn versions(runtime: &str) -> Versions {
        let (toolkit, runtime, driver) = ("2.5.0".parse().ok(), Some(runtime.into()), Some("0.9.8".into()));
        Versions { toolkit, runtime, driver, ..Versions::default() }
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
    fn cores_that_the_chip_lacks_are_no_fault_of_ours() {
        let text =
            NpuFailure::InvalidParameter.during("rknn_set_core_mask", &Versions::default()).to_string();
        assert!(text.contains("fewer cores") && !text.contains("report it"), "{text}");
        let text = NpuFailure::InvalidParameter.during("rknn_query", &Versions::default()).to_string();
        assert!(text.contains("report it"), "{text}");
    }

    /// No update brings it: the chips of librknnmrt have one core.
    #[test]
    fn who_cannot_choose_cores_is_told_to_leave_them_to_the_driver() {
        let small = Versions { library: Runtime::Rknnmrt, ..versions("2.3.2") };
        let text = message(NpuFailure::MissingFunction("rknn_set_core_mask"), &small);
        assert!(text.contains("Cores::Driver") && !text.contains("update"), "{text}");
    }

    #[test]
    fn memory_that_is_not_given_has_no_code() {
        let text = |call| NpuFailure::OutOfMemory.during(call, &Versions::default()).to_string();
        assert!(text("rknn_create_mem").contains("gave none") && !text("rknn_create_mem").contains("code"));
        assert!(text("rknn_run").contains("code -4"));
    }

    #[test]
    fn hints_name_the_library_of_the_chip() {
        let small = Versions { library: Runtime::Rknnmrt, ..versions("1.6.0") };
        for failure in [NpuFailure::InvalidModel, NpuFailure::MissingFunction("rknn_run")] {
            let text = message(failure, &small);
            assert!(text.contains("update librknnmrt.so") && !text.contains("librknnrt.so"), "{text}");
        }
    }

    #[test]
    fn a_version_mismatch_names_all_three_versions_and_what_to_change() {
        let old = message(NpuFailure::InvalidModel, &versions("1.6.0 (2024-01)"));
        for part in ["2.5.0", "1.6.0", "0.9.8", "update librknnrt.so on this board to 2.5.0"] {
            assert!(old.contains(part), "no {part:?} in {old}");
        }
        // Models are compiled by one version of the toolkit only: that is no way out.
        assert!(!old.contains("toolkit 1.6.0") && old.contains("--backend tract"), "{old}");
        let same = message(NpuFailure::InvalidModel, &versions("2.5.0"));
        assert!(same.contains("look at the driver"), "{same}");
        let unknown = message(NpuFailure::Failed, &Versions::default());
        assert!(unknown.contains("unknown"), "{unknown}");
    }
}
