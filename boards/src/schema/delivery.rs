//! How programs are built for a board and how they get onto it.

use serde::{Deserialize, Serialize};

use super::Version;

/// What has been done to know that a board works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The test suite runs on it.
    Tested,
    /// Everything for it is built and checked, models run in the vendor's simulator; it has not run on the hardware.
    Built,
    /// Needs parts that cannot be had from a public registry.
    Experimental,
}

/// What programs are built for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Rust's name of it.
    pub triple: String,
    /// The oldest C library that images for this board have; none where it is not glibc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glibc_floor: Option<Version>,
    /// The linker that comes with the vendor's SDK and without which there is no program: looked for on the PATH, unless cargo's
    /// variable `CARGO_TARGET_<triple>_LINKER` names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor_linker: Option<String>,
}

impl Target {
    /// The architecture as Debian's packages name it.
    pub fn debian_arch(&self) -> &'static str {
        if self.triple.starts_with("aarch64-") { "arm64" } else { "armhf" }
    }
}

/// How software gets onto a board. By default in no way: it is built where it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Flash {
    /// Ways that work, the preferred one first.
    pub methods: Vec<Method>,
    /// How its boot ROM shows on USB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usb: Option<Usb>,
    /// Where things lie on its disk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
}

/// A way of getting software onto a board.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// A package installed over ssh.
    Ssh,
    /// A disk image written over Rockchip's USB protocol.
    Usb,
    /// A disk image written to an SD card or disk.
    Sd,
}

/// A boot ROM on USB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Usb {
    /// Vendor.
    pub vendor_id: u16,
    /// Product.
    pub product_id: u16,
}

/// Where things lie on a disk, in sectors of 512 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// First sector of the first boot loader, where the boot ROM looks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idbloader_sector: Option<u64>,
    /// First sector of U-Boot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uboot_sector: Option<u64>,
    /// First sector of the partition with kernel, device tree and boot configuration.
    pub boot_sector: u64,
    /// Size of that partition.
    pub boot_mib: u64,
}

impl Layout {
    /// Bytes of a sector.
    pub const SECTOR_BYTES: u64 = 512;
}
