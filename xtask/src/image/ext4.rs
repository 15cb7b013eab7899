//! Writes a tree as an ext4 filesystem: no root, no mount, and the same bytes on every machine. `mke2fs -d` fills it, in name order,
//! and copies when the host last changed and read each file, which nobody can set; so debugfs dates all of it afterwards.
//! Nothing but the tree and the options goes in: no clock, no host's configuration.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, absolute};
use std::process::{Command, Output};

use anyhow::{Context, Result, ensure};

use super::identity::Uuid;
use super::staging::Staging;
use crate::system;
use crate::tree::{Kind, Tree};

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
        // Programs run in other folders.
        let (out, scratch) = (absolute(out)?, absolute(scratch)?);
        let configuration = scratch.join("mke2fs.conf");
        fs::write(&configuration, self.configuration())?;
        self.fill(&Staging::of(tree, &scratch)?, &configuration, count, &out)?;
        let script = scratch.join(format!("{}.debugfs", self.label));
        fs::write(&script, dates(tree)?)?;
        date(&out, &script, self.label)?;
        check(&out, self.label)
    }

    /// Makes the filesystem with everything of the tree in it, dated as the host's files are.
    fn fill(&self, staging: &Staging, configuration: &Path, names: u64, out: &Path) -> Result<()> {
        let inodes = (names + names / 4 + 256).max(self.bytes / 16384);
        let mut command = staging.command(&system::program("mke2fs")?)?;
        command.env("MKE2FS_CONFIG", configuration).env("E2FSPROGS_FAKE_TIME", EPOCH_S.to_string());
        command.args(["-q", "-F", "-t", "ext4", "-m", "0", "-L", self.label]);
        command.args(["-U", &self.uuid.to_string(), "-N", &inodes.to_string()]);
        command.args([
            "-E",
            &format!("hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0", self.uuid),
        ]);
        if self.reader == Reader::Kernel {
            command.args(["-J", if self.bytes < 256 * MIB { "size=4" } else { "size=16" }]);
        }
        command.arg("-d").arg(staging.root()).arg(out).arg(format!("{}K", self.bytes / 1024));
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

/// The commands with which debugfs dates all that is in a filesystem. When each was made, mke2fs writes as it is told.
fn dates(tree: &Tree) -> Result<String> {
    let mut script = String::new();
    let own = tree.nodes().filter(|(_, node)| !matches!(node.kind, Kind::HardLink(_)));
    for path in [""].into_iter().chain(own.map(|(path, _)| path)) {
        let path = quoted(&format!("/{path}"))?;
        for time in ["atime", "ctime", "mtime"] {
            // Writing to a string cannot fail.
            let _ = writeln!(script, "set_inode_field {path} {time} @{EPOCH_S}");
        }
    }
    Ok(script)
}

/// A word as debugfs reads it.
fn quoted(word: &str) -> Result<String> {
    ensure!(!word.contains(|c: char| c.is_control()), "{word:?} holds a control character");
    ensure!(word.len() < 4000, "{word:?} is too long a name for debugfs");
    Ok(format!("\"{}\"", word.replace('"', "\"\"")))
}

fn date(image: &Path, script: &Path, label: &str) -> Result<()> {
    let mut command = Command::new(system::program("debugfs")?);
    command.env("E2FSPROGS_FAKE_TIME", EPOCH_S.to_string()).arg("-w").arg("-f").arg(script).arg(image);
    let output = outcome(&mut command)?;
    // It goes on after an error, so every line that it says beside its name counts.
    let errors: Vec<_> = said(&output).lines().skip(1).map(str::to_owned).collect();
    ensure!(
        output.status.success() && errors.is_empty(),
        "debugfs cannot date the files of the {label} partition: {}",
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

/// Runs a program in no language but its own, and waits for what it says.
///
/// # Errors
/// When it cannot be started.
pub fn outcome(command: &mut Command) -> Result<Output> {
    let shown = crate::workspace::display(command);
    command.env("LC_ALL", "C").output().with_context(|| format!("cannot start `{shown}`"))
}

/// What a program said on standard error.
pub fn said(output: &Output) -> String {
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
