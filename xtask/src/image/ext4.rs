//! Writes a tree as an ext4 filesystem with mke2fs and debugfs: no root, no mount, and the same bytes on every machine.
//! `mke2fs -d` would copy when the host last changed and read each file, which nobody can set, and would need fakeroot for owners;
//! so debugfs fills it, in name order. Nothing but the tree and the options goes in: no clock, no host's configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context, Result, bail, ensure};

use super::identity::Uuid;
use crate::system;
use crate::tree::{Content, Device, Kind, Node, Tree};

/// Every time in a filesystem, in seconds since 1970: the first of 2020. Clocks of boards start before it or run after.
const EPOCH_S: u64 = 1_577_836_800;
/// Bytes of a block.
pub const BLOCK_BYTES: u64 = 4096;
const MIB: u64 = 1 << 20;

/// Who reads a filesystem, which says what it may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// U-Boot: no journal, nothing newer than it.
    BootLoader,
    /// Linux, which writes it too.
    Kernel,
}

/// A filesystem to be.
#[derive(Debug, Clone, Copy)]
pub struct Ext4<'a> {
    /// Its label, at most 16 bytes.
    pub label: &'a str,
    /// Its identity, from which also the hashes of its folders are seeded.
    pub uuid: Uuid,
    /// Its size.
    pub bytes: u64,
    /// Who reads it.
    pub reader: Reader,
}

/// Blocks from the first to the last, both inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

impl Reader {
    fn features(self) -> &'static str {
        match self {
            Self::BootLoader => "extent,extra_isize",
            // What kernels have had since 4.x; newer defaults of mke2fs would lock a vendor's kernel out.
            Self::Kernel => "has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,extra_isize",
        }
    }
}

/// The bytes that a filesystem for a tree needs, with a quarter and 64 MiB to spare, in whole MiB.
///
/// # Errors
/// When a file of the host cannot be asked.
pub fn comfortable_size(tree: &Tree) -> Result<u64> {
    let (bytes, count) = content_size(tree)?;
    Ok((bytes + bytes / 4 + count * 512 + 64 * MIB).next_multiple_of(MIB))
}

/// Bytes of all contents in whole blocks, and how many names there are.
fn content_size(tree: &Tree) -> Result<(u64, u64)> {
    let mut total = (0, 0);
    for (_, node) in tree.nodes() {
        total.1 += 1;
        total.0 += match &node.kind {
            Kind::File(content) => content.size()?.next_multiple_of(BLOCK_BYTES),
            Kind::Folder => BLOCK_BYTES,
            _ => 0,
        };
    }
    Ok(total)
}

impl Ext4<'_> {
    /// Writes the filesystem with `tree` in it to a new file; `scratch` is a folder for what must lie on disk meanwhile.
    ///
    /// # Errors
    /// When the tree does not fit, or a tool is missing or fails.
    pub fn write(&self, tree: &Tree, out: &Path, scratch: &Path) -> Result<()> {
        let (bytes, count) = content_size(tree)?;
        ensure!(
            bytes < self.bytes,
            "{} MiB of files do not fit into the {} MiB of the {} partition",
            bytes.div_ceil(MIB),
            self.bytes / MIB,
            self.label
        );
        self.make_empty(count, out, scratch)?;
        let script = scratch.join(format!("{}.debugfs", self.label));
        fs::write(&script, script_of(tree, scratch)?)?;
        fill(out, &script, self.label)?;
        check(out, self.label)
    }

    fn make_empty(&self, names: u64, out: &Path, scratch: &Path) -> Result<()> {
        let configuration = scratch.join("mke2fs.conf");
        fs::write(&configuration, self.configuration())?;
        let inodes = (names + names / 4 + 256).max(self.bytes / 16384);
        let mut command = Command::new(system::program("mke2fs")?);
        command.env("MKE2FS_CONFIG", &configuration).env("E2FSPROGS_FAKE_TIME", EPOCH_S.to_string());
        command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", self.label]);
        command.args(["-U", &self.uuid.to_string(), "-N", &inodes.to_string()]);
        command.args([
            "-E",
            &format!("hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", self.uuid),
        ]);
        if self.reader == Reader::Kernel {
            command.args(["-J", if self.bytes < 256 * MIB { "size=4" } else { "size=16" }]);
        }
        command.arg(out).arg(format!("{}K", self.bytes / 1024));
        let output = outcome(&mut command)?;
        ensure!(
            output.status.success(),
            "mke2fs cannot make the {} partition: {}",
            self.label,
            said(&output)
        );
        Ok(())
    }

    /// Stands in for the host's mke2fs.conf, whose defaults differ between distributions.
    fn configuration(&self) -> String {
        format!(
            "[defaults]\nbase_features = sparse_super,large_file,filetype,dir_index,ext_attr\n\
             default_mntopts = acl,user_xattr\nblocksize = {BLOCK_BYTES}\ninode_size = 256\n[fs_types]\n\
             ext4 = {{\nfeatures = {}\n}}\n",
            self.reader.features()
        )
    }
}

/// The blocks that a filesystem uses: its own and those of its files. Everything else may hold anything.
///
/// # Errors
/// When dumpe2fs is missing or does not understand the file.
pub fn used_blocks(image: &Path) -> Result<Vec<Blocks>> {
    let mut command = Command::new(system::program("dumpe2fs")?);
    let output = outcome(command.arg(image))?;
    ensure!(output.status.success(), "dumpe2fs cannot read {}: {}", image.display(), said(&output));
    let text = String::from_utf8_lossy(&output.stdout);
    parse_used(&text).with_context(|| format!("dumpe2fs said something unexpected of {}", image.display()))
}

/// What dumpe2fs' listing leaves when free blocks are taken away.
fn parse_used(listing: &str) -> Result<Vec<Blocks>> {
    let count =
        listing.lines().find_map(|line| line.strip_prefix("Block count:")).context("no block count")?;
    let count: u64 = count.trim().parse().context("a block count that is no number")?;
    let mut used = Vec::new();
    let mut next = 0;
    for list in listing.lines().filter_map(|line| line.strip_prefix("  Free blocks:")) {
        for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let (first, last): (u64, u64) = (first.trim().parse()?, last.trim().parse()?);
            ensure!(next <= first && first <= last && last < count, "free blocks {range} out of order");
            if next < first {
                used.push(Blocks { first: next, last: first - 1 });
            }
            next = last + 1;
        }
    }
    if next < count {
        used.push(Blocks { first: next, last: count - 1 });
    }
    Ok(used)
}

/// The commands with which debugfs fills an empty filesystem.
fn script_of(tree: &Tree, scratch: &Path) -> Result<String> {
    let mut script = Script { text: String::new(), folder: None };
    let mut links: BTreeMap<&str, u32> = BTreeMap::new();
    for (at, (path, node)) in tree.nodes().enumerate() {
        if let Kind::HardLink(target) = &node.kind {
            let is_file = tree.get(target).is_some_and(|node| matches!(node.kind, Kind::File(_)));
            ensure!(is_file, "{path} is a second name of {target}, which is no file of the tree");
            *links.entry(target).or_insert(1) += 1;
        } else {
            script.add(path, node, &scratch.join(format!("content-{at}")))?;
        }
    }
    for (path, node) in tree.nodes() {
        if let Kind::HardLink(target) = &node.kind {
            script.link(path, target)?;
        }
    }
    for (target, count) in links {
        script.line(&format!("sif {} links_count {count}", quoted(&format!("/{target}"))?));
    }
    Ok(script.text)
}

/// A debugfs script, and the folder that it stands in: most commands take a name, not a path.
struct Script {
    text: String,
    folder: Option<String>,
}

impl Script {
    fn add(&mut self, path: &str, node: &Node, spool: &Path) -> Result<()> {
        let name = self.enter(path)?;
        let kind_bits = match &node.kind {
            Kind::Folder => {
                self.line(&format!("mkdir {name}"));
                0o040_000
            }
            Kind::File(content) => {
                let source = source_of(content, spool)?;
                let source = source.to_str().context("a file with a name that is not UTF-8")?;
                self.line(&format!("write {} {name}", quoted(source)?));
                0o100_000
            }
            Kind::Symlink(target) => {
                self.line(&format!("symlink {name} {}", quoted(target)?));
                0o120_000
            }
            Kind::Device(device) => {
                let (what, bits) = match device {
                    Device::Character(major, minor) => (format!("c {major} {minor}"), 0o020_000),
                    Device::Block(major, minor) => (format!("b {major} {minor}"), 0o060_000),
                    Device::Pipe => ("p".to_owned(), 0o010_000),
                };
                self.line(&format!("mknod {name} {what}"));
                bits
            }
            Kind::HardLink(_) => bail!("{path} is a second name and has no mode of its own"),
        };
        self.line(&format!("sif {name} mode 0{:o}", kind_bits | node.mode));
        self.line(&format!("sif {name} uid {}", node.uid));
        self.line(&format!("sif {name} gid {}", node.gid));
        Ok(())
    }

    fn link(&mut self, path: &str, target: &str) -> Result<()> {
        let name = self.enter(path)?;
        self.line(&format!("ln {} {name}", quoted(&format!("/{target}"))?));
        Ok(())
    }

    /// Goes to the folder of a path and gives back the name in it.
    fn enter(&mut self, path: &str) -> Result<String> {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        if self.folder.as_deref() != Some(folder) {
            self.line(&format!("cd {}", quoted(&format!("/{folder}"))?));
            self.folder = Some(folder.to_owned());
        }
        quoted(name)
    }

    fn line(&mut self, line: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }
}

/// The file of the host that holds a content.
fn source_of(content: &Content, spool: &Path) -> Result<PathBuf> {
    match content {
        Content::Path(path) => Ok(std::path::absolute(path)?),
        Content::Bytes(bytes) => {
            fs::write(spool, bytes).with_context(|| format!("cannot write {}", spool.display()))?;
            Ok(spool.to_owned())
        }
    }
}

/// A word as debugfs reads it.
fn quoted(word: &str) -> Result<String> {
    ensure!(!word.contains(|c: char| c.is_control()), "{word:?} holds a control character");
    ensure!(word.len() < 4000, "{word:?} is too long a name for debugfs");
    Ok(format!("\"{}\"", word.replace('"', "\"\"")))
}

fn fill(image: &Path, script: &Path, label: &str) -> Result<()> {
    let mut command = Command::new(system::program("debugfs")?);
    command.env("E2FSPROGS_FAKE_TIME", EPOCH_S.to_string()).arg("-w").arg("-f").arg(script).arg(image);
    let output = outcome(&mut command)?;
    // It goes on after an error, so every line that it says beside its name counts.
    let errors: Vec<_> = said(&output).lines().skip(1).map(str::to_owned).collect();
    ensure!(
        output.status.success() && errors.is_empty(),
        "debugfs cannot fill the {label} partition: {}",
        errors.join("; ")
    );
    Ok(())
}

fn check(image: &Path, label: &str) -> Result<()> {
    let output = outcome(Command::new(system::program("e2fsck")?).arg("-fn").arg(image))?;
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    ensure!(output.status.success(), "e2fsck finds the {label} partition broken: {found}");
    Ok(())
}

fn outcome(command: &mut Command) -> Result<Output> {
    let shown = crate::workspace::display(command);
    command.env("LC_ALL", "C").output().with_context(|| format!("cannot start `{shown}`"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_not_free_is_used() {
        let listing = "Block count:              100\nFree blocks:              3\n\nGroup 0:\n  Free blocks: 10-19, 30\n\
                       Group 1:\n  Free blocks: \nGroup 2:\n  Free blocks: 99\n";
        let blocks = |first, last| Blocks { first, last };
        assert_eq!(parse_used(listing).unwrap(), [blocks(0, 9), blocks(20, 29), blocks(31, 98)]);
        assert!(parse_used(&listing.replace("30", "15")).is_err());
        assert!(parse_used("").is_err());
    }

    #[test]
    fn names_are_quoted_as_debugfs_reads_them() {
        assert_eq!(quoted("a \"b\"").unwrap(), "\"a \"\"b\"\"\"");
        assert!(quoted("a\nb").is_err());
    }

    proptest! {
        #[test]
        fn no_listing_makes_it_panic(lines in "(Block count: [0-9]{0,20}\n)?((  Free blocks:[-, 0-9]{0,30})?\n){0,4}") {
            let _ = parse_used(&lines);
        }
    }
}
