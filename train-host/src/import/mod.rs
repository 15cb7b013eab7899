//! One door for every form a model comes in: a run folder, our own weights file, or another tool's. Each format is read
//! in a file of its own and comes out as a [`Checkpoint`]; nothing behind this door knows where a model came from.

pub mod pt;

use std::path::{Path, PathBuf};

use crate::Result;
use crate::model::checkpoint::{self, Checkpoint, Provenance};

/// A model, and where it came from if another program trained it.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The model.
    pub checkpoint: Checkpoint,
    /// Where it came from.
    pub provenance: Option<Provenance>,
}

/// Reads the model at `path`: a run folder (its best weights), a weights file, or a YOLOv5 checkpoint (`.pt`).
///
/// # Errors
/// As [`checkpoint::load`] and [`pt::open`].
pub fn load(path: &Path) -> Result<Checkpoint> {
    open(path).map(|imported| imported.checkpoint)
}

/// [`load`], and where the model came from.
///
/// # Errors
/// As [`load`].
pub fn open(path: &Path) -> Result<Imported> {
    match foreign_format(path) {
        Some("pt") => pt::open(path),
        _ => checkpoint::load_with(path).map(|(checkpoint, provenance)| Imported { checkpoint, provenance }),
    }
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
    ["pt"].into_iter().find(|known| extension.eq_ignore_ascii_case(known) && !path.is_dir())
}
