//! What scenarios run on: the board's package and a guest's files, built once, booted once a scenario.
//! It judges nothing and tells nobody.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boards::Board;

use super::cpio;
use super::disk;
use super::machine::{self, Boot, Ended, Machine, Writes};
use super::packages::Packages;
use super::rootfs;
use super::scenario::Scenario;
use crate::build_board::{self, Converter};
use crate::image;
use crate::tree::{Content, Node, Tree};
use crate::workspace::Workspace;

/// The part of `build-board`'s folder that is our package's content.
const PACKAGE: &str = "root";
/// The package whose library plays Rockchip's runtime.
const STAND_IN: &str = "stand-in-rk";
/// The package whose program tries the camera source on a guest's virtual camera.
const CAMERA_TEST: &str = "camera-probe";
/// Where guests look for the runtime, and for what a test lays over their root.
const RUNTIME: &str = "usr/lib/librknnrt.so";
const OVERLAY: &str = "run/overlay";

/// From where a guest gets its root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// From its first root, in memory: quick, and nothing but a kernel is needed.
    Memory,
    /// From the disk image that `build-board --image sd` makes.
    Disk,
}

/// A guest that can be booted, and where it leaves its traces.
#[derive(Debug)]
pub struct Bench {
    /// What of Debian's is in it.
    pub packages: Packages,
    boot: Boot,
    folder: PathBuf,
    /// What a test adds to the guest's root, as the guest finds it.
    overlay: Tree,
}

impl Bench {
    /// Builds the board's package, and what a guest boots.
    ///
    /// # Errors
    /// When something is missing on this machine, or building fails.
    pub fn prepare(
        workspace: &Workspace,
        board: &Board,
        medium: Medium,
        converter: Converter,
    ) -> Result<Self> {
        let image = (medium == Medium::Disk).then_some(image::Medium::Sd);
        let board_name = board.name.clone();
        let args = build_board::Args { board: board_name, image, converter, ..build_board::Args::default() };
        let folder = build_board::build(workspace, &args)?;
        let stand_in = build_board::programs::library(workspace, board, STAND_IN)?;
        let camera_test = build_board::programs::camera_test(workspace, board, CAMERA_TEST)?;
        let packages = Packages::provide()?;
        let bench = match medium {
            Medium::Memory => {
                let mut root = rootfs::base(&packages)?;
                let mut package = Tree::default();
                package.add_folder(&folder.join(PACKAGE))?;
                root.overlay(&package).context("our package does not fit over the guest's root")?;
                Self::in_memory(packages, &root, &folder)?
            }
            Medium::Disk => {
                let boot = disk::boot(&folder, &board.name, Writes::Dropped);
                Self { packages, boot, folder, overlay: Tree::default() }
            }
        };
        bench
            .with(RUNTIME, Node::file(Content::Path(stand_in), 0o644))?
            .with(&format!("usr/bin/{CAMERA_TEST}"), Node::file(Content::Path(camera_test), 0o755))
    }

    /// A guest with this root in memory, written into `folder`.
    ///
    /// # Errors
    /// When it cannot be packed or written.
    pub fn in_memory(packages: Packages, root: &Tree, folder: &Path) -> Result<Self> {
        let initramfs = folder.join("root.cpio");
        write(&initramfs, &cpio::pack(root)?)?;
        let boot = Boot { kernel: packages.kernel()?, initramfs, disk: None };
        Ok(Self { packages, boot, folder: folder.to_owned(), overlay: Tree::default() })
    }

    /// The same guest with something laid over its root for the test.
    fn with(mut self, path: &str, node: Node) -> Result<Self> {
        self.overlay.put(&format!("{OVERLAY}/{path}"), node)?;
        Ok(self)
    }

    /// Boots a guest that does what a scenario asks.
    ///
    /// # Errors
    /// When qemu cannot be started, or something cannot be read or written.
    pub fn run(&self, scenario: &Scenario) -> Result<Ended> {
        let path = &self.boot.initramfs;
        let root = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut added = scenario.guest_tree()?;
        added.overlay(&self.overlay)?;
        let initramfs = self.folder.join("scenario.cpio");
        // The kernel unpacks archives that follow each other one over the other.
        write(&initramfs, &[root, cpio::pack(&added)?].concat())?;
        let boot = Boot { initramfs, ..self.boot.clone() };
        Machine::new(machine::qemu(&boot), &self.log(), scenario.time_limit()).run()
    }

    /// Where the serial line of the last guest is kept.
    pub fn log(&self) -> PathBuf {
        self.folder.join("serial.log")
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
