//! One door for every form a model comes in: a run folder, our own weights file, or another tool's. Each format is read
//! in a file of its own and comes out as a [`Checkpoint`]; nothing behind this door knows where a model came from.

use std::path::Path;

use crate::Result;
use crate::model::checkpoint::{self, Checkpoint};

/// Reads the model at `path`: a run folder (its best weights) or a weights file.
///
/// # Errors
/// As [`checkpoint::load`].
pub fn load(path: &Path) -> Result<Checkpoint> {
    checkpoint::load(path)
}
