//! The parts of the emulator's disk image, all of them Debian's or ours, so that it is whole without a vendor's. How parts
//! become a disk is [`crate::image`]'s business.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::cpio;
use super::machine::{Boot, Disk, Writes};
use super::packages::Packages;
use super::rootfs;
use crate::image::Sources;

const KERNEL: &str = "kernel";
const INITRAMFS: &str = "initramfs.cpio";
const ROOTFS: &str = "rootfs";

/// Writes kernel, first root and root into `folder`, as parts of a disk image.
///
/// # Errors
/// When a package is not as expected or something cannot be written.
pub fn sources(packages: &Packages, folder: &Path) -> Result<Sources> {
    let (kernel, initrd, root) = (folder.join(KERNEL), folder.join(INITRAMFS), folder.join(ROOTFS));
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let from = packages.kernel()?;
    fs::copy(&from, &kernel).with_context(|| format!("cannot copy {}", from.display()))?;
    fs::write(&initrd, cpio::pack(&rootfs::loader(packages)?)?)
        .with_context(|| format!("cannot write {}", initrd.display()))?;
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    rootfs::base(packages)?.write_to(&root)?;
    Ok(Sources {
        rootfs: Some(root),
        kernel: Some(kernel),
        initrd: Some(initrd),
        append: Some("console=ttyAMA0".into()),
        ..Sources::default()
    })
}

/// What boots from the parts in `folder` and the image of a board that was made of them there.
pub fn boot(folder: &Path, board: &str, writes: Writes) -> Boot {
    let disk = Some(Disk { image: folder.join(format!("{board}.img")), writes });
    Boot { kernel: folder.join(KERNEL), initramfs: folder.join(INITRAMFS), disk }
}
