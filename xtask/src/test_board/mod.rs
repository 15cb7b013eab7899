//! `cargo xtask test-board`: boots a board's software in an emulator, has it do what a scenario asks, and judges what it did.
//! A pass needs a passing report of the self-test and a clean power-off; nothing but evidence from the guest counts.

mod bench;
mod cpio;
mod disk;
mod display;
mod emulator;
mod machine;
mod modules;
mod packages;
mod picture;
mod rootfs;
mod run;
mod scenario;
mod serial;
mod verdict;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use boards::Board;

pub use emulator::EMULATOR;

use crate::build_board::{self, Converter};
use crate::cargo_deb;
use crate::cross;
use crate::debian::{self, Pins, Used};
use crate::image::{self, Sources};
use crate::system;
use crate::workspace::Workspace;
use bench::Bench;
use machine::Writes;
use packages::Packages;
use run::{Run, recorded};
use scenario::Scenario;

/// The board that the emulator plays.
const BOARD: &str = "qemu-virt";
const SCENARIOS: &str = "tests/boards";
/// Those of a guest that boots the disk image.
const ON_DISK: &str = "tests/boards/disk";
/// Those that a guest must fail, to show that the judge is one.
const FAILING: &str = "tests/boards/failing";

/// Arguments of `cargo xtask test-board`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The board; only qemu-virt has an emulator.
    #[arg(value_parser = [BOARD])]
    board: String,
    /// What it is asked to do: a name in tests/boards, or a path of a .toml.
    #[arg(long, value_name = "NAME|FILE", default_value = "self-test")]
    scenario: String,
    /// Boot the disk image that `build-board qemu-virt --image sd --allow-unsigned` (or with --sign KEY) made, as it is, instead
    /// of building a package; what the guest writes on it is dropped.
    #[arg(long)]
    disk: bool,
    /// Write verdict, boot_s, total_s and the self-test's report into this file, or to standard output with `-`.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the guest does anything but pass, or the machine cannot be made ready.
pub fn run(args: &Args) -> Result<()> {
    recorded(args.json.as_deref(), || boot(args))?.conclude()
}

/// Boots the guest that is asked for, once.
fn boot(args: &Args) -> Result<Run> {
    let workspace = Workspace::find()?;
    let scenario = Scenario::read(&scenario_path(&workspace, &args.scenario))?;
    emulator::provide()?;
    let board = Board::find(&args.board)?;
    let bench = if args.disk {
        Bench::of_image(&workspace, &board, &build_board::folder_of(&workspace, &board.name)?)?
    } else {
        let package = build_board::Args { board: board.name.clone(), ..build_board::Args::default() };
        Bench::of_package(&workspace, &board, package)?
    };
    Run::of(scenario, &bench)
}

/// Runs every scenario of the workspace, as a part of `cargo xtask test`; says so where something for it is not set up.
/// `train_host` is the one that the tests are run with: another one, without libtorch, would have to be compiled for it.
///
/// # Errors
/// As [`run`].
pub fn run_all(workspace: &Workspace, train_host: PathBuf) -> Result<()> {
    let board = Board::find(BOARD)?;
    let lacks = lacks(workspace, &board)?;
    if !lacks.is_empty() {
        eprintln!("left out: test-board {BOARD}, which needs {}", lacks.join(", "));
        return Ok(());
    }
    let image = system::are_met(&image::TOOLS).then_some(image::Medium::Sd);
    let converter = Converter::At(train_host);
    let package = build_board::Args { board: board.name.clone(), image, converter, ..Default::default() };
    let bench = Bench::of_package(workspace, &board, package)?;
    pass_all(&bench, &workspace.join(SCENARIOS))?;
    match image {
        Some(_) => pass_all(&bench.on_disk(&board)?, &workspace.join(ON_DISK))?,
        None => eprintln!("left out: the disk image of {BOARD}: {}", system::install_hint(&image::TOOLS)),
    }
    for scenario in scenarios(&workspace.join(FAILING))? {
        let verdict = verdict::judge(&scenario, &bench.run(&scenario)?);
        ensure!(!verdict.is_pass(), "{} passed, and must not", scenario.description);
        eprintln!("{} fails, as it must: {}", scenario.description, verdict.failures[0]);
    }
    Ok(())
}

/// Runs the scenarios of a folder; the first that does anything but pass is an error.
fn pass_all(bench: &Bench, folder: &Path) -> Result<()> {
    scenarios(folder)?.into_iter().try_for_each(|scenario| Run::of(scenario, bench)?.conclude())
}

/// Whether guests can be booted without installing or downloading anything.
///
/// # Errors
/// When there is no place for a cache.
pub fn is_ready() -> Result<bool> {
    Ok((EMULATOR.is_met)() && has_guests()?)
}

/// Whether the packages that guests are made of were downloaded.
///
/// # Errors
/// When there is no place for a cache.
pub fn has_guests() -> Result<bool> {
    Ok(Packages::cached()?.is_some())
}

/// Says of each package for guests that is there and is not the pinned one.
///
/// # Errors
/// When there is no place for a cache, or the pins cannot be read.
pub fn tell_unpinned() -> Result<()> {
    let pins = Pins::read(&Workspace::find()?)?;
    for package in Packages::cached()?.iter().flat_map(|packages| packages.unpinned(&pins)) {
        eprintln!(
            "guests have {package}, which is not what {} pins: `cargo xtask setup qemu` takes that, while Debian has it",
            debian::FILE
        );
    }
    Ok(())
}

/// Installs what a fresh machine lacks, and takes the pinned packages for guests, or what Debian has in their place.
///
/// # Errors
/// Names what is missing and how to get it.
pub fn renew() -> Result<()> {
    emulator::provide()?;
    Packages::renew().map(drop)
}

/// Whether this board's disk image takes no parts from a user: all of it is Debian's or ours.
pub fn is_emulated(board: &Board) -> bool {
    board.name == BOARD
}

/// The parts of the emulated board's disk image, written into `folder`.
///
/// # Errors
/// When Debian's packages cannot be had, or something cannot be written.
pub fn image_sources(folder: &Path) -> Result<Sources> {
    disk::sources(&Packages::provide()?, folder)
}

/// The Debian packages that these parts are made of.
///
/// # Errors
/// As [`image_sources`].
pub fn image_packages() -> Result<Vec<Used>> {
    Packages::provide()?.used()
}

/// The command that boots the emulated board's disk image, as a person types it.
pub fn boot_line(folder: &Path) -> String {
    machine::shell_line(&machine::qemu(&disk::boot(folder, BOARD, Writes::Kept)))
}

/// What is not set up for booting the board's own programs, each with the command that brings it.
fn lacks(workspace: &Workspace, board: &Board) -> Result<Vec<String>> {
    let guests = (!is_ready()?).then(|| "an emulator and its kernel: `cargo xtask setup qemu`".to_owned());
    let missing = board.target.iter().flat_map(|target| cross::missing(workspace, target));
    let missing =
        missing.chain(cargo_deb::find().err()).map(|missing| format!("{}: {}", missing.what, missing.remedy));
    Ok(guests.into_iter().chain(missing).collect())
}

fn scenario_path(workspace: &Workspace, name: &str) -> PathBuf {
    if name.ends_with(".toml") {
        return PathBuf::from(name);
    }
    workspace.join(SCENARIOS).join(format!("{name}.toml"))
}

/// The scenarios of a folder, in the order of their names.
fn scenarios(folder: &Path) -> Result<Vec<Scenario>> {
    let paths = packages::entries(folder)?;
    let files = paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.map(|path| Scenario::read(path)).collect()
}

#[cfg(test)]
mod tests;
