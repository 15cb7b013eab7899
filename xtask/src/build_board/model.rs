//! The bundle that a board gets: one that the user names, else the small model of `examples/models`, made into a bundle for
//! the board. It opens bundles to look at them and never changes one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use artifact::{Device, Trust};
use boards::{Backend, Board};

use super::Args;
use super::record::digest;
use super::signer::Signer;
use crate::unpack::{beside, make_room};
use crate::wheels::sha256_of;
use crate::workspace::{Workspace, run};
use crate::{demo, libtorch, python};

/// The model that the repository ships.
const WEIGHTS: &str = "examples/models/repyolov5p.safetensors";
/// The images it knows are rendered: of another seed than it was trained on, for NPU compilers to calibrate on and for
/// bundles to check themselves with.
const IMAGES: [&str; 10] = ["data", "synth", "--seed", "1", "--train", "64", "--val", "64", "--test", "1"];
/// What a bundle is computed by, beside its inputs.
const CONVERTER: [&str; 5] = ["train-host", "sdk", "boards", "Cargo.lock", python::RKNN.requirements];
/// Digits by which the names of kept bundles tell what they were made from.
const KEY_DIGITS: usize = 16;
/// No payload of the shipped model may be larger.
const MOST_PAYLOAD_BYTES: u64 = 3_000_000;

/// Who makes a bundle of the shipped model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Converter {
    /// train-host, built for it.
    #[default]
    BuiltForIt,
    /// A train-host that is there.
    At(PathBuf),
}

/// A bundle.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The file.
    pub bytes: Vec<u8>,
    /// Whether it carries a signature.
    pub is_signed: bool,
    /// What its manifest says: devices that have moved on refuse a lower one.
    pub security_version: u32,
    /// Where it came from.
    pub source: String,
}

/// Gives the bundle for a board.
///
/// # Errors
/// When it is for another board, and when one has to be made and cannot.
pub fn provide(workspace: &Workspace, board: &Board, args: &Args, signer: Option<&Signer>) -> Result<Bundle> {
    let npu = board.npu.as_ref().filter(|_| !args.cpu_only);
    let device = npu.map_or(Device::Cpu, |npu| Device::Npu { chip: npu.chip.clone() });
    let trust = Trust { device, ..Trust::anyone() };
    let (path, source) = match &args.bundle {
        Some(path) => (path.clone(), path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        None => (make(workspace, board, args)?, WEIGHTS.to_owned()),
    };
    let opened = artifact::Bundle::open(&path, &trust)?;
    let payloads = &opened.manifest().payloads;
    if let Some(npu) = npu {
        ensure!(
            payloads.iter().any(|payload| payload.target == npu.chip),
            "{} has nothing for the NPU of {}: make it with `train-host convert … --target {}`, or build with --cpu-only",
            path.display(),
            board.name,
            board.name
        );
    }
    if args.bundle.is_none() {
        let largest = payloads.iter().map(|payload| payload.length).max().unwrap_or(0);
        ensure!(
            largest <= MOST_PAYLOAD_BYTES,
            "a payload of the shipped model has {largest} bytes, it may have {MOST_PAYLOAD_BYTES}"
        );
    }
    let is_signed = opened.is_signed() || signer.is_some();
    let security_version = opened.manifest().security_version;
    let bytes = match signer {
        Some(signer) => signed(&path, signer, &made_folder(workspace)?)?,
        None => fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?,
    };
    Ok(Bundle { bytes, is_signed, security_version, source })
}

/// The bundle with our signature, or the one that was signed before: minisign's signatures are random in part, so the same key
/// and bundle would give another package each time.
fn signed(bundle: &Path, signer: &Signer, made: &Path) -> Result<Vec<u8>> {
    let read = |path: &Path| digest(path).with_context(|| format!("cannot read {}", path.display()));
    let key = sha256_of(format!("{} {}", read(bundle)?, read(&signer.public)?).as_bytes());
    let kept = made.join(format!("signed-{}.bundle", &key[..KEY_DIGITS]));
    if !kept.is_file() {
        make_room(&kept)?;
        artifact::atomic::write(&kept, &signer.sign_bundle(bundle, made)?)?;
    }
    fs::read(&kept).with_context(|| format!("cannot read {}", kept.display()))
}

/// Where bundles are kept that are not made twice alike.
fn made_folder(workspace: &Workspace) -> Result<PathBuf> {
    Ok(workspace.target_folder()?.join("boards/models"))
}

/// Checks that there is a compiler for the board's NPU if a bundle has to be made for it.
///
/// # Errors
/// Says how to get it, and how to do without.
pub fn expect_compiler(workspace: &Workspace, board: &Board, args: &Args) -> Result<()> {
    ensure!(
        !is_compiled(board, args) || python::RKNN.is_there(workspace),
        "the model for the NPU of {} is compiled by rknn-toolkit2, which is not set up\n  help: `cargo xtask setup \
         rknn`, or give a bundle with --bundle, or build with --cpu-only",
        board.name
    );
    Ok(())
}

/// Whether the shipped model is compiled for the board's NPU.
fn is_compiled(board: &Board, args: &Args) -> bool {
    args.bundle.is_none() && !args.cpu_only && needs_compiler(board)
}

/// Whether a bundle for the board is compiled for an NPU, unless somebody asks for less.
pub fn needs_compiler(board: &Board) -> bool {
    board.backends.first() == Some(&Backend::Rknn)
}

/// Makes a bundle of the shipped model, or gives the one made from the same inputs before: compilers of NPUs do not give
/// the same bytes twice.
fn make(workspace: &Workspace, board: &Board, args: &Args) -> Result<PathBuf> {
    let target = if is_compiled(board, args) { board.name.as_str() } else { "host" };
    let key = key(workspace.root(), target)?;
    let bundle = made_folder(workspace)?.join(format!("{target}-{}.bundle", &key[..KEY_DIGITS]));
    if !bundle.is_file() {
        convert(workspace, &args.converter, target, &make_room(&bundle)?)?;
    }
    Ok(bundle)
}

/// What the bundle depends on, the files of boards among it.
fn key(root: &Path, target: &str) -> Result<String> {
    let mut lines = format!("{target}\n{IMAGES:?}\n");
    for source in CONVERTER.into_iter().chain([WEIGHTS]) {
        let digest = digest(&root.join(source)).with_context(|| format!("cannot read {source}"))?;
        lines += &format!("{source} {digest}\n");
    }
    Ok(sha256_of(lines.as_bytes()))
}

fn convert(workspace: &Workspace, converter: &Converter, target: &str, bundle: &Path) -> Result<()> {
    let program = converter.program(workspace)?;
    let train_host = || {
        let mut command = Command::new(&program);
        command.current_dir(workspace.root());
        command
    };
    let images = beside(bundle, "images");
    let made = run(train_host().args(IMAGES).arg("--out").arg(&images)).and_then(|()| {
        let data = images.join("data.yaml");
        let mut convert = train_host();
        convert.args(["convert", WEIGHTS, "--target", target, "--check-images"]).arg(&data);
        if target != "host" {
            convert.arg("--calib").arg(&data);
        }
        run(convert.arg("--out").arg(bundle))
    });
    let _ = fs::remove_dir_all(&images);
    made.with_context(|| format!("cannot make the bundle for {target}"))
}

impl Converter {
    /// The program. Converting does not need libtorch; where it is there, what `demo` builds is used, so that it need not be
    /// compiled twice and the user's train-host does not lose its training.
    fn program(&self, workspace: &Workspace) -> Result<PathBuf> {
        if let Self::At(program) = self {
            return Ok(program.clone());
        }
        let is_there = libtorch::expect_libtorch(&workspace.libtorch()).is_ok();
        let what: &[&str] =
            if is_there { &demo::PROGRAMS } else { &["--package", "train-host", "--no-default-features"] };
        run(workspace.cargo("build").arg("--locked").args(what))?;
        Ok(workspace.target_folder()?.join("debug/train-host"))
    }
}

#[cfg(test)]
mod tests {
    use signing::{KeyFiles, Protection};

    use super::*;

    #[test]
    fn a_bundle_that_is_signed_again_has_the_same_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let bundle = Workspace::find().unwrap().join("tests/boards/npu.bundle");
        let signer = |name: &str| {
            let files = KeyFiles::of(folder.path(), name);
            files.generate(Protection::None).unwrap();
            Signer::read(&files.private).unwrap()
        };
        let (ours, theirs) = (signer("ours"), signer("theirs"));
        let first = signed(&bundle, &ours, &path("made")).unwrap();
        fs::copy(&bundle, path("copy.bundle")).unwrap();
        assert!(signed(&path("copy.bundle"), &ours, &path("made")).unwrap() == first);
        assert!(signed(&bundle, &theirs, &path("made")).unwrap() != first);
    }

    #[test]
    fn a_board_whose_npu_needs_a_compiler_names_the_set_up_or_does_without() {
        let folder = tempfile::tempdir().unwrap();
        let workspace = Workspace::at(folder.path());
        let expect = |board: &str, args: &Args| {
            expect_compiler(&workspace, &Board::find(board).unwrap(), args).map_err(|e| e.to_string())
        };
        let error = expect("rk3588", &Args::default()).unwrap_err();
        for part in ["rk3588", "`cargo xtask setup rknn`", "--bundle", "--cpu-only"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        expect("rk3588", &Args { bundle: Some("cats.bundle".into()), ..Args::default() }).unwrap();
        expect("rk3588", &Args { cpu_only: true, ..Args::default() }).unwrap();
        expect("rpi5", &Args::default()).unwrap();
    }

    /// A bundle made for an NPU has the manifest of the one that is committed, and an engine of the board's for its payload.
    #[test]
    fn every_npu_with_a_known_speed_holds_the_shipped_model_to_one() {
        let path = Workspace::find().unwrap().join("examples/models/repyolov5p.bundle");
        let bundle = artifact::Bundle::open(&path, &Trust::anyone()).unwrap();
        let manifest = bundle.manifest();
        let side_px = u32::try_from(manifest.preprocess.width_px).unwrap();
        assert!(manifest.payloads.iter().all(|payload| payload.precision == artifact::Precision::Int8));
        let budget = |board: &Board, backend| {
            board
                .budget(&manifest.model, side_px, boards::Precision::Int8, backend)
                .map(|it| it.inference_fps)
        };
        let mut judged = Vec::new();
        for name in boards::names() {
            let board = Board::find(name).unwrap();
            // The files of these two say where their CPU's figure is from; of the others none is known.
            let has_figure = ["rk3588", "rpi5"].contains(&name);
            assert_eq!(budget(&board, Backend::Tract).is_some(), has_figure, "{name}");
            let has_any = board.budgets.iter().any(|budget| budget.backend == Backend::Rknn);
            assert_eq!(budget(&board, Backend::Rknn).is_some(), has_any, "{name}");
            // What it is derived from: the same layers, wider and on larger images.
            let nano = board.budget("yolov5n", 640, boards::Precision::Int8, Backend::Rknn);
            assert_eq!(budget(&board, Backend::Rknn), nano.map(|nano| nano.inference_fps), "{name}");
            judged.extend(has_any.then_some(name));
        }
        assert_eq!(judged, ["rk3562", "rk3566", "rk3568", "rk3576", "rk3588"]);
    }

    #[test]
    fn a_bundle_is_made_anew_when_its_converter_changes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |name: &str, text: &str| {
            fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
            fs::write(root.join(name), text).unwrap();
        };
        let sources =
            ["Cargo.lock", "toolchains/rknn-requirements.txt", "train-host/x", "sdk/x", "boards/x", WEIGHTS];
        for source in sources {
            write(source, "old");
        }
        let old = key(root, "rk3588").unwrap();
        assert_ne!(key(root, "host").unwrap(), old);
        for source in sources {
            write(source, "new");
            assert_ne!(key(root, "rk3588").unwrap(), old, "{source}");
            write(source, "old");
            assert_eq!(key(root, "rk3588").unwrap(), old);
        }
    }
}
