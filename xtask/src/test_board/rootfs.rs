//! The root of a guest: Debian's C library and busybox, the kernel modules it needs, the content of our package, and a few
//! files that make it start. It says nothing about what a scenario does.

use anyhow::Result;

use super::modules::Modules;
use super::packages::Packages;
use crate::tree::{Content, Node, Tree};

/// A virtual camera.
const CAMERA: [&str; 1] = ["vivid"];
/// A display of qemu's, of which a program draws the pixels.
const DISPLAY: [&str; 2] = ["virtio_pci", "virtio_gpu"];
/// A disk of qemu's with what its file system asks for; the last is asked for by name of an algorithm.
const DISK: [&str; 4] = ["virtio_pci", "virtio_blk", "ext4", "crc32c_generic"];
const FOLDERS: [&str; 7] = ["dev", "proc", "root", "run", "sys", "tmp", "var/lib"];
/// Where Debian's packages and its merged `/usr` part.
const MERGED: [(&str, &str); 3] = [("bin", "usr/bin"), ("lib", "usr/lib"), ("sbin", "usr/sbin")];
/// Parts of Debian's packages that nothing here reads.
const UNUSED: [&str; 3] = ["usr/share", "usr/lib/aarch64-linux-gnu/gconv", "etc/ld.so.conf.d"];
const FILES: [(&str, &str, u32); 5] = [
    ("etc/inittab", include_str!("guest/inittab"), 0o644),
    ("etc/init.d/rcS", include_str!("guest/rcS"), 0o755),
    ("etc/motd", include_str!("guest/motd"), 0o644),
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nrepedge:x:900:900:RepEdge:/var/lib/repedge:/bin/false\n",
        0o644,
    ),
    ("etc/group", "root:x:0:\nvideo:x:44:repedge\nrepedge:x:900:\n", 0o644),
];

/// The root without anything of ours but what makes it start.
///
/// # Errors
/// When a package is not as expected.
pub fn base(packages: &Packages) -> Result<Tree> {
    let mut tree = Tree::default();
    for folder in FOLDERS {
        tree.put(folder, Node::folder(0o755))?;
    }
    for (link, target) in MERGED {
        tree.put(link, Node::symlink(target))?;
    }
    let mut debian = Tree::default();
    debian.add_folder(&packages.root())?;
    for (path, node) in debian.nodes() {
        if let Some(path) = place(path) {
            tree.put(&path, node.clone())?;
        }
    }
    tree.put("usr/sbin/init", Node::symlink("../bin/busybox"))?;
    tree.put("usr/bin/sh", Node::symlink("busybox"))?;
    for (path, text, mode) in FILES {
        tree.put(path, file(text, mode))?;
    }
    add_modules(&mut tree, packages, &[&CAMERA[..], &DISPLAY, &DISK].concat())?;
    Ok(tree)
}

/// The first root that goes on to a root on a disk, the one that the kernel is told by `root=`.
///
/// # Errors
/// When a package is not as expected.
pub fn loader(packages: &Packages) -> Result<Tree> {
    let mut tree = Tree::default();
    for folder in ["dev", "proc", "run", "sysroot"] {
        tree.put(folder, Node::folder(0o755))?;
    }
    for (link, target) in MERGED {
        tree.put(link, Node::symlink(target))?;
    }
    let busybox = packages.root().join("bin/busybox");
    tree.put("usr/bin/busybox", Node::file(Content::Path(busybox), 0o755))?;
    tree.put("usr/bin/sh", Node::symlink("busybox"))?;
    // By this name switch_root knows a first root, which it empties.
    tree.put("init", file(include_str!("guest/loader"), 0o755))?;
    tree.put("usr/sbin/init", Node::symlink("/init"))?;
    add_modules(&mut tree, packages, &DISK)?;
    Ok(tree)
}

fn add_modules(tree: &mut Tree, packages: &Packages, names: &[&str]) -> Result<()> {
    let folder = packages.modules()?;
    let modules = Modules::resolve(&folder, names.iter().copied())?;
    let version = folder.file_name().unwrap_or_default().to_string_lossy();
    let place = format!("usr/lib/modules/{version}");
    for module in modules.iter() {
        let content = Content::Bytes(module.bytes.clone());
        tree.put(&format!("{place}/{}", module.path), Node::file(content, 0o644))?;
    }
    tree.put(&format!("{place}/modules.dep"), file(&modules.dependencies(), 0o644))
}

/// Where a path of a package lies in the guest, if it is of use there.
fn place(path: &str) -> Option<String> {
    let is_below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if UNUSED.iter().any(|folder| is_below(folder)) {
        return None;
    }
    match MERGED.iter().find(|(old, _)| is_below(old)) {
        Some((old, new)) if path.len() > old.len() => Some(format!("{new}{}", &path[old.len()..])),
        Some(_) => None,
        None => Some(path.to_owned()),
    }
}

fn file(text: &str, mode: u32) -> Node {
    Node::file(Content::Bytes(text.into()), mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_old_packages_land_below_usr() {
        let placed = |path| place(path).unwrap_or_default();
        assert_eq!(placed("lib/ld-linux-aarch64.so.1"), "usr/lib/ld-linux-aarch64.so.1");
        assert_eq!(placed("bin/busybox"), "usr/bin/busybox");
        assert_eq!(placed("library/x"), "library/x");
        assert_eq!(placed("etc/x"), "etc/x");
        for unused in ["lib", "sbin", "usr/share/doc/x", "usr/lib/aarch64-linux-gnu/gconv/UTF-7.so"] {
            assert_eq!(place(unused), None, "{unused}");
        }
    }
}
