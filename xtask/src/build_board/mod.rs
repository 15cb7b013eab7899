//! `cargo xtask build-board`: programs, model and settings of a board as a package, a tar.gz and a tree of files, with a
//! record of everything they were made from. It changes nothing but `target/boards/BOARD`.

mod archive;
mod deb;
mod manifest;
mod model;
mod notice;
mod package;
pub mod programs;
mod record;
#[cfg(test)]
mod reproducible;
#[cfg(test)]
mod service;
mod signer;
#[cfg(test)]
mod tests;
mod tools;
mod version;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use boards::Board;
use clap::builder::PossibleValuesParser;

use crate::cross::With;
use crate::image::{self, Built, Medium, Sources};
use crate::system;
use crate::test_board;
use crate::unpack;
use crate::workspace::Workspace;
use deb::Packer;
use model::Bundle;
pub use model::{Converter, needs_compiler};
use package::Package;
use programs::Programs;
use record::{Item, Made};
use signer::Signer;

/// Arguments of `cargo xtask build-board`.
#[derive(Debug, Default, clap::Args)]
pub struct Args {
    /// The board, as `cargo xtask boards` lists it.
    #[arg(value_parser = PossibleValuesParser::new(boards::names()))]
    pub board: String,
    /// Pack this bundle [default: the small model of examples/models, made into one for the board].
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,
    /// Pack these programs beside self-test and detect-image; with camera-demo among them its service is packed too
    /// [default: camera-demo].
    #[arg(long = "example", value_name = "NAME")]
    pub examples: Vec<String>,
    /// For a board with an NPU: a bundle that runs on its CPU will do.
    #[arg(long)]
    pub cpu_only: bool,
    /// Who links [default: zig where it is set up, else the GNU cross compiler where its glibc is old enough].
    #[arg(long, value_enum)]
    pub with: Option<With>,
    /// Sign bundle and packages with this private key of `cargo xtask keys`; the package brings the public one beside it, as
    /// with --trust.
    #[arg(long, value_name = "FILE")]
    pub sign: Option<PathBuf>,
    /// Further public keys that the package brings. They count on boards without keys in /etc/repedge/keys; a board that has
    /// some goes by those alone.
    #[arg(long = "trust", value_name = "FILE")]
    pub trusted: Vec<PathBuf>,
    /// Also make a disk image, for a card or for the board's own memory, from these parts of its support package; those of
    /// qemu-virt are found.
    #[arg(long, value_enum, value_name = "MEDIUM")]
    pub image: Option<Medium>,
    /// The parts.
    #[command(flatten)]
    pub sources: Sources,
    /// Who makes the bundle where none is named.
    #[arg(skip)]
    pub converter: Converter,
}

/// Runs the command.
///
/// # Errors
/// As [`build`].
pub fn run(args: &Args) -> Result<()> {
    let folder = build(&Workspace::find()?, args)?;
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        println!("{}", path.display());
    }
    Ok(())
}

/// Builds everything for a board and gives the folder it lies in: `root`, the packages and `build.json`.
///
/// # Errors
/// Names what is missing on this machine, or what is wrong with what was built.
pub fn build(workspace: &Workspace, args: &Args) -> Result<PathBuf> {
    let folder = folder_of(workspace, &args.board)?;
    build_in(workspace, args, &folder)?;
    if args.image.is_some() && has_own_parts(&Board::find(&args.board)?, args) {
        println!("boot it with: {}", test_board::boot_line(&folder));
    }
    Ok(folder)
}

/// Where `build-board` puts what it builds for a board, the disk image of the user's among it.
///
/// # Errors
/// When cargo does not tell its target folder.
pub fn folder_of(workspace: &Workspace, board: &str) -> Result<PathBuf> {
    Ok(workspace.target_folder()?.join("boards").join(board))
}

/// Builds everything for a board, and puts it in the place of `folder`.
///
/// # Errors
/// As [`build`].
pub fn build_in(workspace: &Workspace, args: &Args, folder: &Path) -> Result<()> {
    let board = Board::find(&args.board)?;
    // What is missing is said before anything is built, which takes minutes.
    let packer = Packer::find()?;
    expect_image(&board, args)?;
    if args.image.is_some() {
        system::expect(&image::TOOLS)?;
    }
    model::expect_compiler(workspace, &board, args)?;
    let signer = args.sign.as_deref().map(Signer::read).transpose()?;
    let programs = programs::build(workspace, &board, &args.examples, args.with)?;
    let (package, bundle) = pack(workspace, &board, args, &programs, signer.as_ref())?;
    let staged = unpack::beside(folder, "building");
    let job = Job { workspace, board: &board, args, packer, programs: &programs, package: &package, signer };
    let image = job.write(&staged).inspect_err(|_| {
        // The error that stopped us matters more than one about the remains.
        let _ = fs::remove_dir_all(&staged);
    })?;
    unpack::swap(&staged, folder)?;
    announce(&programs, &package, signer::concern(args, &bundle.bytes)?);
    if let Some(built) = image {
        built.tell();
    }
    Ok(())
}

/// The package of these programs, with the bundle and the keys that `args` name.
fn pack(
    workspace: &Workspace,
    board: &Board,
    args: &Args,
    programs: &Programs,
    signer: Option<&Signer>,
) -> Result<(Package, Bundle)> {
    let bundle = model::provide(workspace, board, args, signer)?;
    let own_key = signer.map(|signer| signer.public.clone());
    let keys: Vec<_> = own_key.into_iter().chain(args.trusted.iter().cloned()).collect();
    let date_s = version::date_s(workspace.root())?;
    let package = package::compose(workspace, board, programs, &bundle, &keys, date_s)?;
    Ok((package, bundle))
}

/// Whether the parts of the board's image are found instead of given.
fn has_own_parts(board: &Board, args: &Args) -> bool {
    test_board::is_emulated(board) && args.sources.are_absent()
}

/// Checks that an image that was asked for can be made.
fn expect_image(board: &Board, args: &Args) -> Result<()> {
    let Some(medium) = args.image else { return Ok(()) };
    image::expect_medium(board, medium)?;
    if !has_own_parts(board, args) {
        args.sources.layout_of(board)?;
    }
    signer::expect_allowed(args)
}

/// Everything that is written.
struct Job<'a> {
    workspace: &'a Workspace,
    board: &'a Board,
    args: &'a Args,
    packer: Packer,
    programs: &'a Programs,
    package: &'a Package,
    signer: Option<Signer>,
}

impl Job<'_> {
    /// Writes all of it; the record comes last, because it holds the hashes of the others.
    fn write(&self, folder: &Path) -> Result<Option<Built>> {
        let Self { board, programs, package, .. } = self;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        package.tree.write_to(&folder.join("root"))?;
        let outputs = [
            (format!("repedge-{}-{}.tar.gz", board.name, package.version), archive::tar_gz(&package.tree)?),
            (deb::file_name(board, programs, package), self.packer.pack(board, programs, package)?),
        ];
        let mut made = Made { packers: self.packer.programs(), ..Made::default() };
        for (name, bytes) in &outputs {
            put(&folder.join(name), bytes)?;
            made.outputs.push(Item::of(name, bytes));
            if let Some(signer) = &self.signer {
                put(&folder.join(format!("{name}.minisig")), signer.sign(bytes)?.as_bytes())?;
            }
        }
        let built = self.write_image(folder, &mut made)?;
        let record = record::of(self.workspace, board, programs, package, made)?;
        put(&folder.join("build.json"), record.as_bytes())?;
        Ok(built)
    }

    /// The disk image, where one was asked for.
    fn write_image(&self, folder: &Path, made: &mut Made) -> Result<Option<Built>> {
        if self.args.image.is_none() {
            return Ok(None);
        }
        let sources = if has_own_parts(self.board, self.args) {
            made.image_packages = test_board::image_packages()?;
            Sources { allow_unsigned: self.args.sources.allow_unsigned, ..test_board::image_sources(folder)? }
        } else {
            self.args.sources.clone()
        };
        let built = image::build(self.board, &sources, Some(&folder.join("root")), folder)?;
        made.inputs = record::parts(&sources)?;
        made.image_makers = tools::image_makers()?;
        for file in [&built.image, &built.bmap] {
            made.outputs.push(Item::of_file(file)?);
        }
        Ok(Some(built))
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

fn announce(programs: &Programs, package: &Package, concern: Option<String>) {
    eprintln!("version {}, built with {}", package.version, programs.toolchain);
    let glibc = programs.needs.glibc.map_or("no glibc".into(), |version| format!("glibc {version}"));
    eprintln!("{}: {} bytes, needs {glibc}", programs.names.join(", "), programs.bytes.len());
    if let Some(concern) = concern {
        eprintln!("{concern}");
    }
}
