//! What scenarios run on: the board's package and a guest's files, built once, booted once a scenario.
//! It judges nothing and tells nobody.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use boards::Board;
use signing::{KeyFiles, Protection};

use super::cpio;
use super::disk;
use super::display::Display;
use super::machine::{self, Boot, Ended, Machine, Writes};
use super::packages::Packages;
use super::rootfs;
use super::scenario::Scenario;
use crate::build_board;
use crate::debian::Used;
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

/// What was built, in the folder of a board's test.
const BUILT: &str = "built";

/// A guest that can be booted, and where it leaves its traces.
#[derive(Debug, Clone)]
pub struct Bench {
    /// What of Debian's is in it, where that is known: of a disk image that was made before it is not.
    pub packages: Vec<Used>,
    boot: Boot,
    folder: PathBuf,
    /// What a test adds to the guest's root, as the guest finds it.
    overlay: Tree,
}

/// Where all of a board's test lies. Not where `build-board` puts what it makes: a user may have booted that and written to it.
///
/// # Errors
/// When cargo does not tell its target folder.
pub fn folder_of(workspace: &Workspace, board: &Board) -> Result<PathBuf> {
    Ok(workspace.target_folder()?.join("test-board").join(&board.name))
}

impl Bench {
    /// Builds the board's package as `build-board` does with these arguments and a key of tests, and a guest that has it in
    /// memory: quick, and nothing but a kernel is needed.
    ///
    /// # Errors
    /// When something is missing on this machine, or building fails.
    pub fn of_package(workspace: &Workspace, board: &Board, args: build_board::Args) -> Result<Self> {
        let folder = folder_of(workspace, board)?;
        let built = folder.join(BUILT);
        // As a board of a user's: it takes nothing that nobody signed.
        let signed = build_board::Args { sign: Some(key_of_tests(&folder)?), ..args };
        build_board::build_in(workspace, &signed, &built)?;
        let packages = Packages::provide()?;
        let mut root = rootfs::base(&packages)?;
        let mut package = Tree::default();
        package.add_folder(&built.join(PACKAGE))?;
        root.overlay(&package).context("our package does not fit over the guest's root")?;
        Self::in_memory(packages, &root, &folder)?.with_what_tests(workspace, board)
    }

    /// A guest that boots the disk image which `build-board --image sd` made in `built`, and leaves it as it is.
    ///
    /// # Errors
    /// When there is no image, and as [`Bench::of_package`].
    pub fn of_image(workspace: &Workspace, board: &Board, built: &Path) -> Result<Self> {
        Self::from_disk(board, built, &folder_of(workspace, board)?)?.with_what_tests(workspace, board)
    }

    /// The same guest, from the disk image that was built along with its package.
    ///
    /// # Errors
    /// When no image was asked for.
    pub fn on_disk(&self, board: &Board) -> Result<Self> {
        Ok(Self { boot: image_in(&self.folder.join(BUILT), board)?, ..self.clone() })
    }

    /// A guest with this root in memory, written into `folder`.
    ///
    /// # Errors
    /// When it cannot be packed or written.
    pub fn in_memory(packages: Packages, root: &Tree, folder: &Path) -> Result<Self> {
        let initramfs = folder.join("root.cpio");
        write(&initramfs, &cpio::pack(root)?)?;
        let boot = Boot { kernel: packages.kernel()?, initramfs, disk: None };
        Ok(Self { packages: packages.used()?, boot, folder: folder.to_owned(), overlay: Tree::default() })
    }

    /// A guest that boots the disk image in `built`, and leaves its traces in `folder`.
    ///
    /// # Errors
    /// When there is no image, or no such folder can be made.
    pub fn from_disk(board: &Board, built: &Path, folder: &Path) -> Result<Self> {
        let boot = image_in(built, board)?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { packages: Vec::new(), boot, folder: folder.to_owned(), overlay: Tree::default() })
    }

    /// The same guest with the libraries and programs that only tests need.
    fn with_what_tests(self, workspace: &Workspace, board: &Board) -> Result<Self> {
        let stand_in = build_board::programs::library(workspace, board, STAND_IN)?;
        let camera_test = build_board::programs::camera_test(workspace, board, CAMERA_TEST)?;
        self.with(RUNTIME, Node::file(Content::Path(stand_in), 0o644))?
            .with(&format!("usr/bin/{CAMERA_TEST}"), Node::file(Content::Path(camera_test), 0o755))
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
        let machine = Machine::new(machine::qemu(&boot), &self.log(), scenario.time_limit());
        if !scenario.looks_at_display() {
            return machine.run();
        }
        machine.with(Display::new(&self.folder.join("display.ppm"))?).run()
    }

    /// Where the serial line of the last guest is kept.
    pub fn log(&self) -> PathBuf {
        self.folder.join("serial.log")
    }
}

/// The private key that signs what guests of tests run, and nothing else. It is kept, so that the same inputs give the same
/// package.
fn key_of_tests(folder: &Path) -> Result<PathBuf> {
    let key = KeyFiles::of(folder, "test-board");
    if !key.private.is_file() || !key.public.is_file() {
        // Half a key, such as an interrupted run left, would be in the way.
        for half in [&key.private, &key.public] {
            let _ = fs::remove_file(half);
        }
        key.generate(Protection::None)?;
    }
    Ok(key.private)
}

/// What boots the board's disk image in a folder, and drops what the guest writes there.
fn image_in(built: &Path, board: &Board) -> Result<Boot> {
    let boot = disk::boot(built, &board.name, Writes::Dropped);
    let image = boot.disk.iter().map(|disk| &disk.image);
    if let Some(missing) = image.chain([&boot.kernel, &boot.initramfs]).find(|path| !path.is_file()) {
        bail!(
            "there is no disk image to boot: {} is missing\n  help: `cargo xtask build-board {} --image sd --allow-unsigned` makes it",
            missing.display(),
            board.name
        );
    }
    Ok(boot)
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_leaves_alone_what_a_user_built_and_booted() {
        let (workspace, board) = (Workspace::find().unwrap(), Board::find("qemu-virt").unwrap());
        let of_user = build_board::folder_of(&workspace, &board.name).unwrap();
        let of_test = folder_of(&workspace, &board).unwrap();
        assert!(!of_test.starts_with(&of_user) && !of_user.starts_with(&of_test), "{}", of_test.display());
        assert!(of_user.ends_with("boards/qemu-virt") && of_test.ends_with("test-board/qemu-virt"));
    }

    #[test]
    fn guests_have_one_key_that_was_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("test-board.pub"), "half a key").unwrap();
        let key = key_of_tests(folder.path()).unwrap();
        let text = fs::read(&key).unwrap();
        assert!(fs::read_to_string(key.with_extension("pub")).unwrap().lines().count() == 2);
        assert_eq!(key_of_tests(folder.path()).unwrap(), key);
        assert!(fs::read(&key).unwrap() == text, "it was made anew");
        fs::remove_file(key.with_extension("pub")).unwrap();
        key_of_tests(folder.path()).unwrap();
        assert!(
            key.with_extension("pub").is_file() && fs::read(&key).unwrap() != text,
            "half of it is the old one's"
        );
    }

    #[test]
    fn an_image_is_booted_where_it_lies_and_stays_as_it_was() {
        let board = Board::find("qemu-virt").unwrap();
        let folder = tempfile::tempdir().unwrap();
        for name in ["qemu-virt.img", "kernel", "initramfs.cpio"] {
            let error = image_in(folder.path(), &board).unwrap_err().to_string();
            assert!(
                error.contains("`cargo xtask build-board qemu-virt --image sd --allow-unsigned`"),
                "{error}"
            );
            assert!(error.contains(&format!("/{name} is missing")), "{error}");
            fs::write(folder.path().join(name), name).unwrap();
        }
        let line = machine::shell_line(&machine::qemu(&image_in(folder.path(), &board).unwrap()));
        let image = folder.path().join("qemu-virt.img");
        assert!(
            line.contains(&format!("file={},format=raw,if=virtio,snapshot=on", image.display())),
            "{line}"
        );
    }
}
