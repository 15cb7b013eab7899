//! `build.json`: what a board's package was made from and what came out, with hashes. The same inputs give the same record.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boards::Board;
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::notice;
use super::package::Package;
use super::programs::{self, Programs};
use super::tools::{self, Tool};
use crate::cross::Tools;
use crate::debian::{Pins, Used};
use crate::image::Sources;
use crate::tree::Tree;
use crate::wheels::{hex, sha256_of};
use crate::workspace::Workspace;

/// What programs and bundle are compiled and computed from, and what puts them together.
pub const SOURCES: [&str; 8] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "sdk", "boards", "examples", "train-host", "xtask"];
/// Where the pins of compilers and tools lie, beside what was unpacked.
const PINS: &str = "toolchains";
/// What `cross` builds in.
const CONTAINERS: &str = "toolchains/docker";

#[derive(Debug, Serialize)]
struct Record<'a> {
    board: &'a str,
    version: &'a str,
    toolchain: &'a str,
    /// What the compiler says of itself, its commit among it.
    rustc: BTreeMap<&'a str, &'a str>,
    /// The program that it called to link, and the one which that called.
    linkers: Vec<Tool>,
    /// The programs that packed the `.deb`.
    packers: Vec<Tool>,
    /// The programs that made the disk image.
    image_makers: Vec<Tool>,
    /// The Debian packages of compiler, linkers, the libraries they link with, libclang, packers and image makers.
    packages: Vec<Used>,
    /// The Debian packages that are in the disk image.
    image_packages: Vec<Used>,
    profile: &'a str,
    /// The newest glibc that the programs need, and the oldest that images for the board have.
    glibc_needed: Option<String>,
    glibc_floor: Option<String>,
    inputs: Vec<Item>,
    /// The file of all programs, and the names that it is called by.
    programs: Item,
    names: &'a [String],
    /// The notice of what of others is in them.
    notice: Item,
    outputs: Vec<Item>,
}

/// Something that went in or came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes: Option<u64>,
    sha256: String,
}

/// What came out, what packed it, and what made the disk image alone.
#[derive(Debug, Default)]
pub struct Made {
    /// The programs that packed the `.deb`.
    pub packers: Vec<PathBuf>,
    /// Parts of the disk image.
    pub inputs: Vec<Item>,
    /// The programs that put it together.
    pub image_makers: Vec<PathBuf>,
    /// The Debian packages that its parts were made of, where it is not the user who gave them.
    pub image_packages: Vec<Used>,
    /// Files.
    pub outputs: Vec<Item>,
}

impl Item {
    /// Bytes that are at hand.
    pub fn of(name: impl Into<String>, bytes: &[u8]) -> Self {
        Self { name: name.into(), bytes: Some(bytes.len() as u64), sha256: sha256_of(bytes) }
    }

    /// A file by its name alone: folders differ from machine to machine.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let read = || Ok::<_, io::Error>((path.metadata()?.len(), digest_of_file(path)?));
        let (bytes, sha256) = read().with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { name: file_name(path), bytes: Some(bytes), sha256 })
    }
}

/// The parts of a disk image.
///
/// # Errors
/// When one cannot be read.
pub fn parts(sources: &Sources) -> Result<Vec<Item>> {
    let mut items = Vec::new();
    for (argument, path) in sources.given() {
        let item = if path.is_dir() {
            let mut tree = Tree::default();
            tree.add_folder(path)?;
            Item { name: file_name(path), bytes: None, sha256: hex(&tree.digest()?) }
        } else {
            Item::of_file(path)?
        };
        items.push(Item { name: format!("{argument} {}", item.name), ..item });
    }
    let root_mib = sources.root_mib.map(|mib| mib.to_string());
    for (argument, value) in [("--append", &sources.append), ("--root-mib", &root_mib)] {
        items.extend(value.iter().map(|value| Item::of(format!("{argument} {value}"), value.as_bytes())));
    }
    // What a board may run is no file of the user's, and is in the image all the same.
    items.extend(sources.allow_unsigned.then(|| Item::of("--allow-unsigned", &[])));
    Ok(items)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The record as JSON.
///
/// # Errors
/// When a source cannot be read.
pub fn of(
    workspace: &Workspace,
    board: &Board,
    programs: &Programs,
    package: &Package,
    made: Made,
) -> Result<String> {
    let glibc_floor = board.target.as_ref().and_then(|target| target.glibc_floor);
    let Tools { rustc, linkers, packaged } = &programs.tools;
    let files = [linkers.as_slice(), packaged, &made.packers, &made.image_makers].concat();
    let tools = |paths: &[PathBuf]| paths.iter().map(|path| Tool::of(path)).collect::<Result<_>>();
    let record = Record {
        board: &board.name,
        version: &package.version,
        toolchain: &programs.toolchain,
        rustc: rustc.lines().filter_map(|line| line.split_once(": ")).collect(),
        linkers: tools(linkers)?,
        packers: tools(&made.packers)?,
        image_makers: tools(&made.image_makers)?,
        packages: tools::packages_of(&files, &Pins::read(workspace)?)?,
        image_packages: made.image_packages,
        profile: &programs.profile,
        glibc_needed: programs.needs.glibc.map(|version| version.to_string()),
        glibc_floor: glibc_floor.map(|version| version.to_string()),
        inputs: [inputs(workspace, board, package)?, made.inputs].concat(),
        programs: Item::of(programs::FILE, &programs.bytes),
        names: &programs.names,
        notice: Item::of(notice::FILE, programs.notice.as_bytes()),
        outputs: made.outputs,
    };
    let text = serde_json::to_string_pretty(&record).context("cannot write the record")?;
    Ok(format!("{text}\n"))
}

fn inputs(workspace: &Workspace, board: &Board, package: &Package) -> Result<Vec<Item>> {
    let mut inputs = Vec::new();
    for source in SOURCES.map(String::from).into_iter().chain(pins(workspace)?) {
        let digest = digest(&workspace.join(&source)).with_context(|| format!("cannot read {source}"))?;
        inputs.push(Item { name: source, bytes: None, sha256: digest });
    }
    for (name, text) in boards::sources(&board.name)? {
        inputs.push(Item::of(name, text.as_bytes()));
    }
    let own = package.inputs.iter();
    inputs.extend(own.map(|(name, sha256)| Item { name: name.clone(), bytes: None, sha256: sha256.clone() }));
    Ok(inputs)
}

/// The files that pin compilers and tools, in order.
fn pins(workspace: &Workspace) -> Result<Vec<String>> {
    let entries = fs::read_dir(workspace.join(PINS)).with_context(|| format!("cannot read {PINS}"))?;
    let files = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file());
    let mut names: Vec<_> = files.map(|path| format!("{PINS}/{}", file_name(&path))).collect();
    names.push(CONTAINERS.into());
    names.sort();
    Ok(names)
}

fn digest_of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 of a file, or over names and contents below a folder.
///
/// # Errors
/// When something cannot be read.
pub fn digest(path: &Path) -> Result<String> {
    if !path.is_dir() {
        return Ok(digest_of_file(path)?);
    }
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name());
    }
    names.sort();
    let mut lines = String::new();
    for name in names {
        let shown = name.to_string_lossy();
        // Built or hidden files are no sources.
        if shown != "target" && !shown.starts_with('.') {
            lines += &format!("{shown} {}\n", digest(&path.join(&name))?);
        }
    }
    Ok(sha256_of(lines.as_bytes()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::debian;

    #[test]
    fn a_digest_depends_on_names_and_contents_alone() {
        let folder = tempfile::tempdir().unwrap();
        let of = |files: &[(&str, &str)]| {
            let inner = tempfile::tempdir_in(folder.path()).unwrap();
            for (name, text) in files {
                fs::write(inner.path().join(name), text).unwrap();
            }
            digest(inner.path()).unwrap()
        };
        let base = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(of(&[("b", "2"), ("a", "1")]), base);
        assert_eq!(of(&[("a", "1"), ("b", "2"), (".c", "3")]), base);
        assert_ne!(of(&[("a", "2"), ("b", "1")]), base);
        assert_ne!(of(&[("a", "1")]), base);
    }

    #[test]
    fn sources_and_pins_are_inputs() {
        let workspace = Workspace::find().unwrap();
        let board = Board::find("rk3588").unwrap();
        let items = inputs(&workspace, &board, &Package::empty()).unwrap();
        for name in [
            "sdk",
            "xtask",
            "train-host",
            "toolchains/zig.toml",
            "toolchains/rknn-requirements.txt",
            "toolchains/rust.toml",
            "toolchains/debian.toml",
            "toolchains/docker",
        ] {
            assert!(items.iter().any(|item| item.name == name), "{name} is no input");
        }
    }

    #[test]
    fn the_record_tells_the_notice_by_its_digest() {
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs::of(&["self-test"], Vec::new());
        let record = of(&workspace, &board, &programs, &Package::empty(), Made::default()).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["notice"]["name"], "THIRD-PARTY");
        assert_eq!(record["notice"]["sha256"], sha256_of(programs.notice.as_bytes()));
    }

    #[test]
    fn the_record_tells_compilers_of_one_version_apart() {
        let folder = tempfile::tempdir().unwrap();
        let linker = folder.path().join("ld");
        fs::write(&linker, "links").unwrap();
        let rustc = "rustc 1.90.0 (1159e78c4 2025-09-14)\ncommit-hash: 1159e78c4747b02e".into();
        let tools = Tools { rustc, linkers: vec![linker], ..Tools::default() };
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs { tools, ..Programs::of(&["self-test"], Vec::new()) };
        let record = of(&workspace, &board, &programs, &Package::empty(), Made::default()).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        assert_eq!(record["rustc"]["commit-hash"], "1159e78c4747b02e");
        assert_eq!(record["linkers"][0]["name"], "ld");
        assert_eq!(record["linkers"][0]["sha256"], sha256_of(b"links"));
    }

    #[test]
    fn the_record_tells_versions_of_linkers_packers_and_image_makers() {
        let folder = tempfile::tempdir().unwrap();
        let tool = |name: &str, version: &str| {
            let path = folder.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho {version}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let tools = Tools { linkers: vec![tool("zig", "0.17.1")], ..Tools::default() };
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("rk3588").unwrap());
        let programs = Programs { tools, ..Programs::of(&["self-test"], Vec::new()) };
        let written = || {
            let path = |name: &str| vec![folder.path().join(name)];
            let made = Made { packers: path("cargo-deb"), image_makers: path("genimage"), ..Made::default() };
            of(&workspace, &board, &programs, &Package::empty(), made).unwrap()
        };
        tool("genimage", "16");
        tool("cargo-deb", "cargo-deb 3.8.0");
        let record: serde_json::Value = serde_json::from_str(&written()).unwrap();
        assert_eq!(record["linkers"][0]["version"], "0.17.1");
        assert_eq!(record["packers"][0]["name"], "cargo-deb");
        assert_eq!(record["packers"][0]["version"], "cargo-deb 3.8.0");
        assert_eq!(record["image_makers"][0]["name"], "genimage");
        assert_eq!(record["image_makers"][0]["version"], "16");
        assert!(record["packages"].is_array(), "{record}");
        assert_eq!(written(), written(), "the same inputs gave another record");
    }

    #[test]
    fn the_record_tells_what_of_debians_an_image_has_and_whether_it_was_pinned() {
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("qemu-virt").unwrap());
        let used = |sha256: &str| {
            let [name, architecture, version] = ["libc6", "arm64", "2.36-9"].map(String::from);
            let package = debian::Package { name, architecture, version, sha256: sha256.repeat(64) };
            let pins = Pins::of(&[debian::Package { sha256: "a".repeat(64), ..package.clone() }]).unwrap();
            package.used(&pins)
        };
        let image_packages = vec![used("a"), used("b")];
        let programs = Programs::of(&["self-test"], Vec::new());
        let made = Made { image_packages, ..Made::default() };
        let record = of(&workspace, &board, &programs, &Package::empty(), made).unwrap();
        let record: serde_json::Value = serde_json::from_str(&record).unwrap();
        let [pinned, other] = [&record["image_packages"][0], &record["image_packages"][1]];
        assert_eq!((&pinned["name"], &pinned["version"]), (&"libc6".into(), &"2.36-9".into()));
        assert_eq!((&pinned["sha256"], &pinned["pinned"]), (&"a".repeat(64).into(), &true.into()));
        assert_eq!((&other["sha256"], &other["pinned"]), (&"b".repeat(64).into(), &false.into()));
    }

    #[test]
    fn each_part_of_an_image_is_an_input() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            Some(path)
        };
        write("rootfs/etc/.hidden", "x");
        let sources = Sources {
            rootfs: Some(folder.path().join("rootfs")),
            kernel: write("Image", "kernel"),
            append: Some("quiet".into()),
            ..Sources::default()
        };
        let before = parts(&sources).unwrap();
        let names: Vec<_> = before.iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["--rootfs rootfs", "--kernel Image", "--append quiet"]);
        assert_eq!((before[1].bytes, &before[1].sha256), (Some(6), &sha256_of(b"kernel")));
        write("rootfs/etc/.hidden", "y");
        let allowing =
            parts(&Sources { allow_unsigned: true, root_mib: Some(64), ..sources.clone() }).unwrap();
        let names: Vec<_> = allowing[3..].iter().map(|item| item.name.as_str()).collect();
        assert_eq!(names, ["--root-mib 64", "--allow-unsigned"]);
        let after = parts(&sources).unwrap();
        assert_ne!(after[0], before[0]);
        assert_eq!(after[1..], before[1..]);
    }
}
