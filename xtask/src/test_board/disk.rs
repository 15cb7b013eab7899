//! The parts of the emulator's disk image, all of them Debian's or ours, so that it is whole without a vendor's. How parts
//! become a disk is [`crate::image`]'s business.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::cpio;
use super::machine::{Boot, Disk, Writes};
use super::packages::Packages;
use super::rootfs;
use crate::image::Sources;
use crate::image::tree::{Content, Kind, Tree};

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
    unpack(&rootfs::base(packages)?, &root)?;
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

fn unpack(tree: &Tree, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for (path, node) in tree.nodes() {
        let place = folder.join(path);
        let done = match &node.kind {
            Kind::Folder => fs::create_dir(&place),
            Kind::File(Content::Bytes(bytes)) => fs::write(&place, bytes),
            Kind::File(Content::Path(file)) => fs::copy(file, &place).map(drop),
            Kind::Symlink(target) => symlink(target, &place),
            other => bail!("{path} is {other:?}: a folder cannot hold it"),
        };
        done.with_context(|| format!("cannot make {}", place.display()))?;
        if !matches!(node.kind, Kind::Symlink(_)) {
            fs::set_permissions(&place, fs::Permissions::from_mode(node.mode))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::tree::Node;

    #[test]
    fn an_unpacked_tree_reads_as_it_was() {
        let mut tree = Tree::default();
        tree.put("usr/bin/run", Node::file(Content::Bytes(b"#!".to_vec()), 0o750)).unwrap();
        tree.put("bin", Node::symlink("usr/bin")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        unpack(&tree, &root).unwrap();
        let mut read = Tree::default();
        read.add_folder(&root).unwrap();
        assert_eq!(read.get("usr/bin/run").unwrap().mode, 0o750);
        assert_eq!(read.get("bin"), Some(&Node::symlink("usr/bin")));
        assert_eq!(read.nodes().count(), tree.nodes().count());
    }
}
