//! One door for every form a model comes in: a run folder, our own weights file, or another tool's. Each format is read
//! in a file of its own and comes out as a [`Checkpoint`]; nothing behind this door knows where a model came from.

mod names;
mod onnx;
pub mod pt;

use std::path::{Path, PathBuf};

use crate::model::checkpoint::{self, Checkpoint, Provenance};
use crate::{Error, Result, quantize};

pub use names::read_names;

/// A model, and where it came from if another program trained it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Where it came from, where the file says so.
    pub provenance: Option<Provenance>,
}

/// What a caller knows better than the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// Class names instead of the file's own.
    pub names: Option<Vec<String>>,
    /// Side of the square images in pixels instead of the file's own; needed where that is open.
    pub imgsz: Option<usize>,
}

/// Reads the model at `path`: a run folder (its best weights), a weights file, a YOLOv5 checkpoint (`.pt`) or an ONNX
/// detector of another tool (`.onnx`).
///
/// # Errors
/// As [`open_with`].
pub fn load(path: &Path) -> Result<Checkpoint> {
    open(path).map(|imported| imported.checkpoint)
}

/// [`load`], and where the model came from.
///
/// # Errors
/// As [`open_with`].
pub fn open(path: &Path) -> Result<Imported> {
    open_with(path, &Options::default())
}

/// [`open`], with what the caller knows better. What had to be assumed about an ONNX model is said on stderr.
///
/// # Errors
/// As [`checkpoint::load`] and [`pt::open`]; of an ONNX model [`Error::Model`](crate::Error::Model) naming the first
/// node that cannot be taken; [`Error::Input`](crate::Error::Input) when an option does not fit the model.
pub fn open_with(path: &Path, options: &Options) -> Result<Imported> {
    let imported = match foreign_format(path) {
        Some("pt") => pt::open(path)?,
        Some("onnx") => return Ok(Imported { checkpoint: onnx::load(path, options)?, provenance: None }),
        _ => load_own(path)?,
    };
    Ok(Imported { checkpoint: adapt(imported.checkpoint, options)?, ..imported })
}

fn load_own(path: &Path) -> Result<Imported> {
    if quantize::file::is_quantized(path) {
        return Err(Error::model(
            format!("{} is quantized", path.display()),
            "a trained or fused model",
            "take the model it was made of; eval and convert take quantized ones as they are",
        ));
    }
    let (checkpoint, provenance) = checkpoint::load_with(path)?;
    Ok(Imported { checkpoint, provenance })
}

/// The file that [`load`] reads for `path`.
///
/// # Errors
/// As [`checkpoint::resolve`] for a file of our own.
pub fn resolve(path: &Path) -> Result<PathBuf> {
    if foreign_format(path).is_some() { Ok(path.to_path_buf()) } else { checkpoint::resolve(path) }
}

/// The extension of a file of another program that is read here.
fn foreign_format(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?;
    ["pt", "onnx"].into_iter().find(|known| extension.eq_ignore_ascii_case(known) && !path.is_dir())
}

/// A model with the caller's names and image size.
fn adapt(mut checkpoint: Checkpoint, options: &Options) -> Result<Checkpoint> {
    let (architecture, imgsz) = match &mut checkpoint {
        Checkpoint::Trained(model) => (&mut model.architecture, &mut model.imgsz),
        Checkpoint::Fused(model) => (&mut model.architecture, &mut model.imgsz),
    };
    if let Some(names) = &options.names {
        architecture.head.rename(names.clone())?;
    }
    if let Some(side_px) = options.imgsz {
        architecture.check_imgsz(side_px)?;
        *imgsz = side_px;
    }
    Ok(checkpoint)
}
