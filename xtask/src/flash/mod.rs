//! `cargo xtask flash`: software onto a board, over ssh, over USB, or onto a card. It says what it is about to do, asks
//! before it overwrites a disk, and whatever fails says what the board holds and runs now.

mod bars;
mod disk;
mod plan;
mod sd;
mod ssh;
mod usb;
mod write;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use boards::{Board, Method};
use serde_json::Value;

use crate::workspace::Workspace;
use sd::{Consent, Kernel};
use ssh::{Judged, Shell, Ssh, Unsigned};
use write::DiskImage;

pub use ssh::Package;
pub use usb::Usb;

/// Arguments of `cargo xtask flash`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The board (`cargo xtask boards` lists them).
    board: String,
    #[command(flatten)]
    way: Way,
    /// The disk image, instead of the one that `build-board --image` left; the block map lies beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "ssh")]
    image: Option<PathBuf>,
    /// The package, instead of the one that `build-board` left.
    #[arg(long, value_name = "FILE", requires = "ssh")]
    package: Option<PathBuf>,
    /// The loader for a board in maskrom mode, from its support package (rkXXXX_spl_loader_*.bin).
    #[arg(long, value_name = "FILE", requires = "usb")]
    loader: Option<PathBuf>,
    /// Allow the board to run what nobody signed, until the file /etc/repedge/allow-unsigned, which this makes there, is removed.
    #[arg(long, requires = "ssh")]
    allow_unsigned: bool,
    /// A file for ssh instead of `~/.ssh/config`.
    #[arg(long, value_name = "FILE", requires = "ssh")]
    ssh_config: Option<PathBuf>,
    /// Overwrite the disk without asking.
    #[arg(long, requires = "sd")]
    yes: bool,
    /// Say what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

/// The way to the board.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Way {
    /// Install the package over ssh, and let the board judge it.
    #[arg(long, value_name = "USER@HOST")]
    ssh: Option<String>,
    /// Write the disk image over USB, to a board in maskrom or loader mode.
    #[arg(long)]
    usb: bool,
    /// Write the disk image to a card or stick of this machine.
    #[arg(long, value_name = "DEVICE")]
    sd: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the board does not take this way, or anything fails; says what the board holds and runs.
pub fn run(args: &Args) -> Result<()> {
    let board = Board::find(&args.board)?;
    let folder = Workspace::find()?.target_folder()?.join("boards").join(&board.name);
    if let Some(destination) = &args.way.ssh {
        expect_method(&board, Method::Ssh)?;
        over_ssh(args, &board, destination, &folder)
    } else if let Some(device) = &args.way.sd {
        expect_method(&board, Method::Sd)?;
        onto_card(args, &board, device, &image_of(args, &board, &folder))
    } else {
        expect_method(&board, Method::Usb)?;
        over_usb(args, &board, &image_of(args, &board, &folder))
    }
}

fn over_ssh(args: &Args, board: &Board, destination: &str, folder: &Path) -> Result<()> {
    let package = match &args.package {
        Some(file) => Package::open(file)?,
        None => Package::find(board, folder)?,
    };
    package.expect(board)?;
    let report = folder.join("self-test.json");
    let unsigned = if args.allow_unsigned { Unsigned::Allow } else { Unsigned::AsTheBoardSays };
    if args.dry_run {
        plan::print(&plan::over_ssh(&board.name, destination, &package, unsigned, &report));
        return Ok(());
    }
    let mut shell = Ssh::connect(destination, args.ssh_config.as_deref())?;
    println!("{}", judge(board, &package, unsigned, &mut shell, &report)?);
    Ok(())
}

/// Has a board judge a package, and keeps the report in `file`, good or bad; says what runs.
fn judge(
    board: &Board,
    package: &Package,
    unsigned: Unsigned,
    shell: &mut dyn Shell,
    file: &Path,
) -> Result<String> {
    // That of another version must not be taken for that of this one.
    remove(file)?;
    let Judged { report, result } = ssh::flash(board, package, unsigned, shell)?;
    let Some(report) = report else { return Err(result.err().context("a version passed without a report")?) };
    save(file, &report)?;
    let version = result.inspect_err(|_| eprintln!("{}", file.display()))?;
    let summary = ssh::summary(&report);
    Ok(format!("{} runs version {version}, verified: {summary}\n{}", board.name, file.display()))
}

fn remove(file: &Path) -> Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", file.display()))
        }
        _ => Ok(()),
    }
}

fn onto_card(args: &Args, board: &Board, device: &Path, file: &Path) -> Result<()> {
    let card = Kernel::here()?.card(device)?;
    let image = open(file, board)?;
    if args.dry_run {
        plan::print(&plan::onto_card(&card, plan::writing(file, image.map())));
        return Ok(());
    }
    let consent = if args.yes { Consent::Given } else { Consent::Ask };
    let verified = sd::flash(&card, &image, consent, |file| Kernel::here()?.open_card(device, file))?;
    println!("{} holds {}: {verified}", device.display(), file.display());
    Ok(())
}

fn over_usb(args: &Args, board: &Board, file: &Path) -> Result<()> {
    let usb = board.flash.usb.context("the board's file has no [flash.usb]")?;
    let target = usb::Target { board: &board.name, ids: (usb.vendor_id, usb.product_id) };
    let image = open(file, board)?;
    let loader = args.loader.as_deref();
    if args.dry_run {
        let writing = plan::writing(file, image.map());
        plan::print(&usb::plan(target, &mut Usb, loader, writing));
        return Ok(());
    }
    let verified = usb::flash(target, &mut Usb, loader, &image)?;
    println!("{} starts anew and holds {}: {verified}", board.name, file.display());
    Ok(())
}

fn expect_method(board: &Board, method: Method) -> Result<()> {
    let methods = &board.flash.methods;
    let shown = |method: &Method| format!("--{}", format!("{method:?}").to_lowercase());
    ensure!(
        methods.contains(&method),
        "{} is not flashed with {}: boards/{}/board.toml lists {}",
        board.name,
        shown(&method),
        board.name,
        if methods.is_empty() {
            "no way".into()
        } else {
            methods.iter().map(shown).collect::<Vec<_>>().join(", ")
        }
    );
    Ok(())
}

fn image_of(args: &Args, board: &Board, folder: &Path) -> PathBuf {
    args.image.clone().unwrap_or_else(|| folder.join(format!("{}.img", board.name)))
}

/// Opens the image of a disk that is for this board, as far as its block map tells.
fn open(file: &Path, board: &Board) -> Result<DiskImage> {
    let image = DiskImage::open(file)
        .context("nothing was written, there is no usable disk image: `cargo xtask build-board BOARD --image …` makes one")?;
    match image.map().board() {
        Some(name) => ensure!(
            name == board.name,
            "{} is for {name:?}, as its block map says, not for {}; nothing was written",
            file.display(),
            board.name
        ),
        None => eprintln!(
            "{}: no block map beside it says which board it is for, so see to it that it is {}",
            file.display(),
            board.name
        ),
    }
    Ok(image)
}

/// Writes a report beside and renames it, so that there is never half of one.
fn save(file: &Path, report: &Value) -> Result<()> {
    let folder = file.parent().context("a report without a folder")?;
    fs::create_dir_all(folder)?;
    let beside = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer_pretty(&beside, report)?;
    beside.as_file().sync_all()?;
    beside.persist(file).with_context(|| format!("cannot write {}", file.display()))?;
    Ok(())
}
