//! The runtime library of this machine and what can be known before a model is loaded: versions, and the chip.
//! Refuses models that would fail or crash in `rknn_init`.

use std::ffi::OsStr;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use artifact::rknn::RknnInfo;
use rknn_sys::Library;

use super::failure::NpuFailure;
use super::options::{Chip, RknnOptions};
use super::symbols::Vendor;
use super::versions::Versions;
use crate::Error;

const LIBRARIES: [&str; 2] = ["librknnrt.so", "librknnmrt.so"];
/// Where drivers tell their version; the first is readable by root only.
const DRIVER_VERSION: [&str; 2] = ["/sys/kernel/debug/rknpu/version", "/sys/module/rknpu/version"];
const COMPATIBLE: &str = "/proc/device-tree/compatible";

/// A loaded library, and what is known of it and a model that it may be given.
pub(super) struct Checked {
    pub(super) vendor: Arc<Vendor>,
    pub(super) versions: Versions,
}

/// Loads the library and checks that `model` is for this chip and no newer than the runtime.
pub(super) fn check(model: &[u8], options: &RknnOptions) -> Result<Checked, Error> {
    let library = load(options.library.as_deref())?;
    let info = RknnInfo::read(Cursor::new(model))?;
    let versions = Versions {
        toolkit: Some(info.toolkit),
        runtime: library.version().map(str::to_owned),
        driver: driver_version(),
        library: library.runtime(),
    };
    let chip = match &options.chip {
        Chip::Detected => chip(),
        Chip::Named(name) => Some(chip_of(&name.to_ascii_lowercase()).unwrap_or_else(|| name.clone())),
    };
    if let Some(chip) = chip {
        info.check_chip(&chip).map_err(|error| of_npu(NpuFailure::WrongChip, error))?;
    }
    versions.check()?;
    Ok(Checked { vendor: Arc::new(Vendor::new(library)), versions })
}

/// A fault of the model that is one of this board only: another payload may do.
fn of_npu(failure: NpuFailure, error: artifact::Error) -> Error {
    match error {
        artifact::Error::Artifact(fault) => Error::Npu { failure, fault },
        other => Error::Artifact(other),
    }
}

fn load(file: Option<&Path>) -> Result<Library, Error> {
    let missing = |reason: String| NpuFailure::MissingLibrary.during(&reason, &Versions::default());
    if let Some(file) = file {
        return Library::open(file.as_os_str())
            .map_err(|error| missing(format!("no NPU runtime in {}: {error}", file.display())));
    }
    let mut reasons = Vec::new();
    for name in LIBRARIES {
        match Library::open(OsStr::new(name)) {
            Ok(library) => return Ok(library),
            Err(error) => reasons.push(error.to_string()),
        }
    }
    Err(missing(format!("no NPU runtime on this machine ({})", reasons.join("; "))))
}

fn driver_version() -> Option<String> {
    let text = DRIVER_VERSION.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let start = text.find(|c: char| c.is_ascii_digit())?;
    Some(text[start..].trim().to_owned())
}

/// The chip of this machine by its device tree, such as `rk3588`.
pub fn chip() -> Option<String> {
    let compatible = std::fs::read(COMPATIBLE).ok()?;
    chip_in(&String::from_utf8_lossy(&compatible))
}

/// The chip in a list of names ended by zeros, from the board's to the chip's: the last `rockchip,` name that begins like
/// an NPU chip's.
fn chip_in(compatible: &str) -> Option<String> {
    let names = compatible.split('\0').filter_map(|name| name.strip_prefix("rockchip,"));
    names.filter_map(chip_of).next_back()
}

/// The chip that a name begins with. Suffixes of variants with the same NPU (`rk3588s`, `rv1103g`) are cut off; `rv1103b`
/// is another chip.
fn chip_of(name: &str) -> Option<String> {
    let (kind, rest) = name.split_at_checked(6)?;
    let (series, digits) = kind.split_at_checked(2)?;
    let is_chip = matches!(series, "rk" | "rv") && digits.bytes().all(|b| b.is_ascii_digit());
    let is_second = series == "rv" && rest.split('-').next() == Some("b");
    is_chip.then(|| if is_second { format!("{kind}b") } else { kind.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_is_known_by_the_names_of_its_variants() {
        for (name, chip) in [
            ("rk3588s", Some("rk3588")),
            ("rk3588", Some("rk3588")),
            ("rv1103g", Some("rv1103")),
            ("rv1106b", Some("rv1106b")),
            ("host", None),
        ] {
            assert_eq!(chip_of(name).as_deref(), chip, "{name:?}");
        }
    }

    #[test]
    fn the_chip_is_the_last_that_the_device_tree_names() {
        for (compatible, chip) in [
            ("radxa,rock-5b\0rockchip,rk3588\0", Some("rk3588")),
            ("khadas,edge2\0rockchip,rk3588s\0", Some("rk3588")),
            ("rockchip,rk3588-evb7-lp4-v10\0rockchip,rk3588\0", Some("rk3588")),
            ("luckfox,pico\0rockchip,rv1103g-38x38-ipc\0rockchip,rv1106\0", Some("rv1106")),
            ("x,y\0rockchip,rv1106b\0", Some("rv1106b")),
            ("rockchip,rv1103b-evb\0", Some("rv1103b")),
            ("raspberrypi,4-model-b\0brcm,bcm2711\0", None),
            ("rockchip,px30\0", None),
            ("", None),
        ] {
            assert_eq!(chip_in(compatible).as_deref(), chip, "{compatible:?}");
        }
    }
}
