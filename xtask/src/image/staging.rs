//! A tree laid out in a folder of this machine, for `mke2fs -d` to copy. There everything belongs to whoever builds the image,
//! who may read all of it; owners, modes and devices are told to fakeroot. It needs no root, also in a user namespace.

use std::fmt::Write as _;
use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use rustix::fs::makedev;
use tempfile::TempDir;

use super::ext4::{outcome, said};
use crate::system;
use crate::tree::{Device, Kind, Node, Tree};

const ROOT: &str = "root";
/// What fakeroot is given to load: a name without folders, because its script takes the words of a path apart.
const OWNERS: &str = "owners";
/// The last that the owners tell of; in no image.
const LAST: &str = "last";
/// Whose it is there: not root, as which fakeroot shows what it knows nothing of.
const LAST_UID: u32 = 4321;

/// A tree that was laid out, until it is dropped.
#[derive(Debug)]
pub struct Staging {
    folder: TempDir,
}

impl Staging {
    /// Lays a tree out in a folder of its own in `scratch`, whose path is whole.
    ///
    /// # Errors
    /// When a file of the host cannot be read or written, a second name is one of no file, or fakeroot is missing or does not
    /// understand us.
    pub fn of(tree: &Tree, scratch: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("staging-").tempdir_in(scratch)?;
        let staging = Self { folder };
        let mut owners = Owners::default();
        staging.lay(ROOT, &Node::folder(0o755), &mut owners)?;
        for (path, node) in tree.nodes() {
            staging.lay(&format!("{ROOT}/{path}"), node, &mut owners)?;
        }
        for (path, node) in tree.nodes() {
            if let Kind::HardLink(target) = &node.kind {
                staging.link(path, target, tree)?;
            }
        }
        let last = Node { uid: LAST_UID, ..Node::folder(0o755) };
        staging.lay(LAST, &last, &mut owners)?;
        fs::write(staging.folder.path().join(OWNERS), owners.text)?;
        staging.expect_owners()?;
        Ok(staging)
    }

    /// The folder that stands for the tree's root.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join(ROOT)
    }

    /// A program that sees everything as the tree says; it runs in a folder of ours.
    ///
    /// # Errors
    /// When fakeroot is not installed.
    pub fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(system::program("fakeroot")?);
        command.current_dir(self.folder.path()).args(["-i", OWNERS, "--"]).arg(program);
        Ok(command)
    }

    fn lay(&self, name: &str, node: &Node, owners: &mut Owners) -> Result<()> {
        let place = self.folder.path().join(name);
        let done = match &node.kind {
            Kind::Folder => fs::create_dir(&place).map_err(Into::into),
            Kind::File(content) => content.write_to(&place),
            Kind::Symlink(target) => symlink(target, &place).map_err(Into::into),
            // Making one takes root; an empty file stands for it.
            Kind::Device(_) => fs::write(&place, "").map_err(Into::into),
            // Made once its file is there, which may come later.
            Kind::HardLink(_) => return Ok(()),
        };
        done.with_context(|| format!("cannot make {}", place.display()))?;
        owners.add(node, &place.symlink_metadata()?);
        Ok(())
    }

    fn link(&self, path: &str, target: &str, tree: &Tree) -> Result<()> {
        let is_file = tree.get(target).is_some_and(|node| matches!(node.kind, Kind::File(_)));
        ensure!(is_file, "{path} is a second name of {target}, which is no file of the tree");
        let [from, to] = [target, path].map(|path| self.root().join(path));
        fs::hard_link(from, &to).with_context(|| format!("cannot make {}", to.display()))
    }

    /// fakeroot may say nothing of a line that it does not understand, and read no further: all behind it would be root's.
    fn expect_owners(&self) -> Result<()> {
        let mut command = self.command(Path::new("stat"))?;
        let output = outcome(command.args(["--format=%u", LAST]))?;
        let told = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && told.trim() == LAST_UID.to_string(),
            "fakeroot does not show owners as it was told to: {} {}\n  expected: {LAST_UID}\n  help: `fakeroot true` tells whether it \
             works at all here; images were made with the version that {} pins",
            told.trim(),
            said(&output),
            crate::debian::FILE
        );
        Ok(())
    }
}

/// What fakeroot loads with `-i`, in the form that it saves with `-s`.
#[derive(Debug, Default)]
struct Owners {
    text: String,
}

impl Owners {
    /// Has fakeroot show what lies there as a node of the tree.
    fn add(&mut self, node: &Node, there: &Metadata) {
        let (kind, device) = match node.kind {
            Kind::Folder => (0o040_000, 0),
            Kind::File(_) | Kind::HardLink(_) => (0o100_000, 0),
            Kind::Symlink(_) => (0o120_000, 0),
            Kind::Device(Device::Character(major, minor)) => (0o020_000, makedev(major, minor)),
            Kind::Device(Device::Block(major, minor)) => (0o060_000, makedev(major, minor)),
            Kind::Device(Device::Pipe) => (0o010_000, 0),
        };
        let Node { mode, uid, gid, .. } = node;
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.text,
            "dev={:x},ino={},mode={:o},uid={uid},gid={gid},nlink={},rdev={device}",
            there.dev(),
            there.ino(),
            kind | mode,
            there.nlink()
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

    #[test]
    fn a_second_name_is_one_of_a_file() {
        let scratch = tempfile::tempdir().unwrap();
        let link = |target: &str| Node { kind: Kind::HardLink(target.into()), ..Node::symlink("") };
        for target in ["folder", "absent", "link"] {
            let mut tree = Tree::default();
            tree.put("folder", Node::folder(0o755)).unwrap();
            tree.put("link", Node::symlink("folder")).unwrap();
            tree.put("name", link(target)).unwrap();
            let error = Staging::of(&tree, scratch.path()).unwrap_err().to_string();
            assert!(
                error.contains(&format!("name is a second name of {target}, which is no file")),
                "{error}"
            );
        }
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let scratch = tempfile::tempdir().unwrap();
        let mut tree = Tree::default();
        tree.put("name", Node::file(Content::Path("/no/such/file".into()), 0o644)).unwrap();
        let error = format!("{:#}", Staging::of(&tree, scratch.path()).unwrap_err());
        assert!(error.contains("root/name") && error.contains("cannot read /no/such/file"), "{error}");
    }

    #[test]
    #[ignore = "needs genimage, e2fsprogs and fakeroot"]
    fn a_fakeroot_that_reads_other_lists_is_noticed() {
        let scratch = tempfile::tempdir().unwrap();
        let staging = Staging::of(&Tree::default(), scratch.path()).unwrap();
        let list = staging.folder.path().join(OWNERS);
        let text = fs::read_to_string(&list).unwrap();
        // It says that it does not understand a line's end; of a line's beginning it says nothing, and all is root's.
        for (ours, theirs, told) in [("dev=", "device=", "to: 0 "), ("uid=", "user=", "load failed")] {
            fs::write(&list, text.replace(ours, theirs)).unwrap();
            let error = staging.expect_owners().unwrap_err().to_string();
            for part in [told, "expected: 4321", "help: "] {
                assert!(error.contains(part), "{part}: {error}");
            }
        }
    }
}
