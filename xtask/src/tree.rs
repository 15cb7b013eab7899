//! What goes into a filesystem or an archive: names, kinds, modes and owners, in name order.
//! It holds no times and no owners of the host, so that a tree is the same on every machine. Knows no format.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

/// A SHA-256.
pub type Digest = [u8; 32];

/// Everything below the root folder, by path without a leading slash.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// One name in a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, with set-user-id and its like.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file with its content.
    File(Content),
    /// A symbolic link and where it points.
    Symlink(String),
    /// A second name of a file of the same tree, by its path.
    HardLink(String),
    /// A device, socket or pipe.
    Device(Device),
}

/// Where a file's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Here.
    Bytes(Vec<u8>),
    /// In a file of the host.
    Path(PathBuf),
}

/// A special file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// A character device with its major and minor number.
    Character(u32, u32),
    /// A block device with its major and minor number.
    Block(u32, u32),
    /// A named pipe.
    Pipe,
}

impl Node {
    /// A folder of root's.
    pub fn folder(mode: u32) -> Self {
        Self::of_root(Kind::Folder, mode)
    }

    /// A file of root's.
    pub fn file(content: Content, mode: u32) -> Self {
        Self::of_root(Kind::File(content), mode)
    }

    /// A symbolic link.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self::of_root(Kind::Symlink(target.into()), 0o777)
    }

    fn of_root(kind: Kind, mode: u32) -> Self {
        Self { kind, mode, uid: 0, gid: 0 }
    }
}

impl Content {
    /// How many bytes it has.
    ///
    /// # Errors
    /// When the host's file cannot be asked.
    pub fn size(&self) -> Result<u64> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.len() as u64),
            Self::Path(path) => {
                let data = path.metadata().with_context(|| format!("cannot read {}", path.display()))?;
                Ok(data.len())
            }
        }
    }

    /// The bytes.
    ///
    /// # Errors
    /// When the host's file cannot be read.
    pub fn read(&self) -> Result<Cow<'_, [u8]>> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.into()),
            Self::Path(path) => {
                let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
                Ok(bytes.into())
            }
        }
    }

    /// Writes them to a new file of the host.
    ///
    /// # Errors
    /// When the host's file cannot be read, or the new one not written.
    pub fn write_to(&self, place: &Path) -> Result<()> {
        let mut file = File::create_new(place)?;
        match self {
            Self::Bytes(bytes) => file.write_all(bytes)?,
            Self::Path(path) => {
                let mut source =
                    File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
                io::copy(&mut source, &mut file)
                    .with_context(|| format!("cannot copy {}", path.display()))?;
            }
        }
        Ok(())
    }

    fn digest(&self) -> Result<Digest> {
        let mut hasher = Sha256::new();
        match self {
            Self::Bytes(bytes) => hasher.update(bytes),
            Self::Path(path) => {
                let mut read = || io::copy(&mut File::open(path)?, &mut hasher);
                read().with_context(|| format!("cannot read {}", path.display()))?;
            }
        }
        Ok(hasher.finalize().into())
    }
}

impl Tree {
    /// Every node with its path, each after the folder that it lies in.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The node of a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Puts a node at a path, in place of what was there; folders above it are made where they are missing.
    ///
    /// # Errors
    /// When the path is not plain, or something above it is no folder.
    pub fn put(&mut self, path: &str, node: Node) -> Result<()> {
        expect_plain(path)?;
        for (at, _) in path.match_indices('/') {
            let above = &path[..at];
            let parent = self.nodes.entry(above.to_owned()).or_insert_with(|| Node::folder(0o755));
            ensure!(parent.kind == Kind::Folder, "{path}: {above} is no folder but {:?}", parent.kind);
        }
        let is_folder = |node: &Node| node.kind == Kind::Folder;
        let replaced = self.nodes.get(path);
        if replaced.is_some_and(is_folder) && !is_folder(&node) {
            bail!("{path} is a folder and would become {:?}", node.kind);
        }
        self.nodes.insert(path.to_owned(), node);
        Ok(())
    }

    /// Adds a folder of the host with all below it, as root's.
    ///
    /// # Errors
    /// When something cannot be read, or is neither file, folder nor symbolic link.
    pub fn add_folder(&mut self, folder: &Path) -> Result<()> {
        self.add_below(folder, "")
    }

    fn add_below(&mut self, folder: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
        for entry in entries {
            let source = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            let name = source.file_name().and_then(|name| name.to_str());
            let name = name.with_context(|| format!("{} has a name that is not UTF-8", source.display()))?;
            let path = format!("{prefix}{name}");
            let data =
                source.symlink_metadata().with_context(|| format!("cannot read {}", source.display()))?;
            let mode = data.permissions().mode() & 0o7777;
            if data.is_dir() {
                self.put(&path, Node::folder(mode))?;
                self.add_below(&source, &format!("{path}/"))?;
            } else if data.is_symlink() {
                let target = fs::read_link(&source)?;
                let target = target.to_str().with_context(|| format!("{path} points at no UTF-8 path"))?;
                self.put(&path, Node::symlink(target))?;
            } else if data.is_file() {
                self.put(&path, Node::file(Content::Path(source), mode))?;
            } else {
                bail!("{} is neither file, folder nor symbolic link", source.display());
            }
        }
        Ok(())
    }

    /// Lays another tree over this one.
    ///
    /// # Errors
    /// When a path of the other lies below something that is no folder here.
    pub fn overlay(&mut self, other: &Self) -> Result<()> {
        for (path, node) in other.nodes() {
            self.put(path, node.clone())?;
        }
        Ok(())
    }

    /// Puts all that lies below `from` below `to` as well.
    ///
    /// # Errors
    /// As [`Tree::put`].
    pub fn copy(&mut self, from: &str, to: &str) -> Result<()> {
        let prefix = format!("{from}/");
        let below = self.nodes.iter().filter_map(|(path, node)| {
            path.strip_prefix(&prefix).map(|rest| (format!("{to}/{rest}"), node.clone()))
        });
        for (path, node) in below.collect::<Vec<_>>() {
            self.put(&path, node)?;
        }
        Ok(())
    }

    /// Takes out all that lies below `folder`, which stays.
    pub fn remove_below(&mut self, folder: &str) {
        let prefix = format!("{folder}/");
        self.nodes.retain(|path, _| !path.starts_with(&prefix));
    }

    /// A digest of all that is in it.
    ///
    /// # Errors
    /// When a file of the host cannot be read.
    pub fn digest(&self) -> Result<Digest> {
        let mut hasher = Sha256::new();
        for (path, node) in self.nodes() {
            let what = match &node.kind {
                Kind::File(content) => content.digest()?.iter().map(|byte| format!("{byte:02x}")).collect(),
                other => format!("{other:?}"),
            };
            hasher.update(format!("{path:?} {what} {:o} {} {}\n", node.mode, node.uid, node.gid));
        }
        Ok(hasher.finalize().into())
    }

    /// Writes it below a folder of the host, as whoever writes it.
    ///
    /// # Errors
    /// When something is there already, cannot be written, or is a device or a second name.
    pub fn write_to(&self, folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        for (path, node) in self.nodes() {
            let place = folder.join(path);
            let done = match &node.kind {
                Kind::Folder => fs::create_dir(&place).map_err(Into::into),
                Kind::File(content) => content.write_to(&place),
                Kind::Symlink(target) => symlink(target, &place).map_err(Into::into),
                other => bail!("{path} is {other:?}: it is not written into folders of this machine"),
            };
            done.with_context(|| format!("cannot make {}", place.display()))?;
            if !matches!(node.kind, Kind::Symlink(_)) {
                let mode = fs::Permissions::from_mode(node.mode);
                fs::set_permissions(&place, mode)
                    .with_context(|| format!("cannot set the mode of {}", place.display()))?;
            }
        }
        Ok(())
    }
}

/// A path is plain if it names something below the root, and nothing that our tools would read otherwise.
fn expect_plain(path: &str) -> Result<()> {
    let is_plain = |name: &str| !name.is_empty() && name != "." && name != ".." && name.len() <= 255;
    ensure!(
        path.split('/').all(is_plain) && !path.contains(|c: char| c.is_control()),
        "{path:?} is no plain path: expected names between slashes, without `..` and control characters"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Node {
        Node::file(Content::Bytes(text.into()), 0o644)
    }

    #[test]
    fn folders_come_before_what_lies_in_them() {
        let mut tree = Tree::default();
        for path in ["a-b", "a/b", "a.c/d/e"] {
            tree.put(path, file("x")).unwrap();
        }
        let paths: Vec<_> = tree.nodes().map(|(path, _)| path).collect();
        assert_eq!(paths, ["a", "a-b", "a.c", "a.c/d", "a.c/d/e", "a/b"]);
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in ["", "/etc", "a//b", "../a", "a/..", "a/./b", "a\nb"] {
            assert!(Tree::default().put(path, file("x")).is_err(), "{path:?}");
        }
    }

    #[test]
    fn what_lies_below_a_folder_is_taken_out_and_nothing_else() {
        let mut tree = Tree::default();
        for path in ["keys/a", "keys/b/c", "keys-of-others/d"] {
            tree.put(path, file("x")).unwrap();
        }
        tree.remove_below("keys");
        let paths: Vec<_> = tree.nodes().map(|(path, _)| path).collect();
        assert_eq!(paths, ["keys", "keys-of-others", "keys-of-others/d"]);
    }

    #[test]
    fn nothing_lies_below_a_link_or_takes_a_folders_place() {
        let mut tree = Tree::default();
        tree.put("lib", Node::symlink("usr/lib")).unwrap();
        assert!(tree.put("lib/x", file("x")).unwrap_err().to_string().contains("lib is no folder"));
        tree.put("etc/x", file("x")).unwrap();
        assert!(tree.put("etc", file("x")).is_err());
    }

    #[test]
    fn a_folder_of_the_host_is_read_whole() {
        let host = tempfile::tempdir().unwrap();
        fs::create_dir(host.path().join("bin")).unwrap();
        fs::write(host.path().join("bin/run"), "#!").unwrap();
        fs::set_permissions(host.path().join("bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("bin/run", host.path().join("link")).unwrap();
        let mut tree = Tree::default();
        tree.add_folder(host.path()).unwrap();
        let run = Node::file(Content::Path(host.path().join("bin/run")), 0o755);
        assert_eq!(tree.get("bin/run"), Some(&run));
        assert_eq!(tree.get("link"), Some(&Node::symlink("bin/run")));
        tree.copy("bin", "opt/bin").unwrap();
        assert_eq!(tree.get("opt/bin/run"), Some(&run));
    }

    #[test]
    fn a_written_tree_reads_as_it_was() {
        let mut tree = Tree::default();
        tree.put("usr/bin/run", Node::file(Content::Bytes(b"#!".to_vec()), 0o750)).unwrap();
        tree.put("bin", Node::symlink("usr/bin")).unwrap();
        tree.put("etc/keys", Node::folder(0o755)).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        tree.write_to(&root).unwrap();
        let mut read = Tree::default();
        read.add_folder(&root).unwrap();
        assert_eq!(read.nodes().count(), tree.nodes().count());
        assert_eq!(read.digest().unwrap(), tree.digest().unwrap());
    }

    #[test]
    fn every_part_counts_in_the_digest() {
        let digest = |path: &str, node: Node| {
            let mut tree = Tree::default();
            tree.put("etc/x", file("x")).unwrap();
            tree.put(path, node).unwrap();
            tree.digest().unwrap()
        };
        let base = digest("etc/y", file("y"));
        assert_eq!(digest("etc/y", file("y")), base);
        for (path, node) in [
            ("etc/y", file("z")),
            ("etc/z", file("y")),
            ("etc/y", Node { mode: 0o755, ..file("y") }),
            ("etc/y", Node { uid: 1, ..file("y") }),
            ("etc/y", Node::folder(0o755)),
            ("etc/y", Node::symlink("y")),
        ] {
            assert_ne!(digest(path, node.clone()), base, "{path} {node:?}");
        }
    }
}
