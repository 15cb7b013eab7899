//! The build record: a folder beside a bundle with all that a compiled model was made of, so that it can be made and
//! simulated again; the simulator takes no `.rknn` files. Written as a whole or not at all. Never read by a device.

use std::fs;
use std::path::{Path, PathBuf};

use artifact::{Preprocess, TensorSpec, atomic};
use serde::{Deserialize, Serialize};

use super::compile::Compiled;
use super::protocol::Algorithm;
use crate::digest::sha256;
use crate::{Error, Result};

/// Extension of the folder, in place of the bundle's.
const EXTENSION: &str = "build";
/// The model as the toolkit read it.
const MODEL: &str = "model.onnx";
/// The record itself.
const RECORD: &str = "record.json";
/// Version of the record's form.
const FORMAT: u32 = 1;
/// The wheels of the toolkit's environment, with their digests.
const REQUIREMENTS: &str = include_str!("../../../toolchains/rknn-requirements.txt");

/// What a compiled model was made of, beside the ONNX file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of this form.
    pub format: u32,
    /// Chip, by the toolkit's name.
    pub chip: String,
    /// Who decided the numbers.
    pub quantizer: Who,
    /// How pixels become the input.
    pub preprocess: Preprocess,
    /// SHA-256 of the ONNX file beside this record.
    pub onnx_sha256: String,
    /// SHA-256 of the `.rknn` in the bundle.
    pub rknn_sha256: String,
    /// Outputs as the device gets them.
    pub outputs: Vec<TensorSpec>,
    /// Images that scales were found on, in order.
    pub calibration: Vec<Calibrated>,
    /// The wheels of the toolkit's environment, each with its digest.
    pub wheels: Vec<String>,
}

/// Who decided the numbers of a compiled model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Who {
    /// Our quantizer.
    Ours,
    /// The toolkit.
    Toolkit {
        /// How it found ranges.
        algorithm: Algorithm,
    },
    /// Nobody: half floats.
    Half,
}

/// An image that scales were found on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibrated {
    /// Its file.
    pub path: PathBuf,
    /// SHA-256 of that.
    pub sha256: String,
}

/// Folder of the record of the bundle at `bundle`.
pub fn record_path(bundle: &Path) -> PathBuf {
    bundle.with_extension(EXTENSION)
}

/// The wheels that the toolkit's environment is made of, each with its digest.
fn wheels() -> Vec<String> {
    let lines = REQUIREMENTS.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

impl Calibrated {
    /// The files at `paths` as they are now.
    ///
    /// # Errors
    /// An I/O error naming the file that cannot be read.
    pub fn all(paths: &[PathBuf]) -> Result<Vec<Self>> {
        let read = |path: &PathBuf| {
            let path = std::path::absolute(path).map_err(|e| Error::io(path, e))?;
            let bytes = fs::read(&path).map_err(|e| Error::io(&path, e))?;
            Ok(Self { sha256: sha256(&bytes), path })
        };
        paths.iter().map(read).collect()
    }
}

impl Record {
    /// The record of `compiled`, made of `onnx`.
    pub(super) fn of(
        compiled: &Compiled,
        onnx: &[u8],
        chip: &str,
        preprocess: Preprocess,
        (quantizer, calibration): (Who, Vec<Calibrated>),
    ) -> Self {
        Self {
            format: FORMAT,
            chip: chip.to_owned(),
            quantizer,
            preprocess,
            onnx_sha256: sha256(onnx),
            rknn_sha256: sha256(&compiled.rknn),
            outputs: compiled.outputs.clone(),
            calibration,
            wheels: wheels(),
        }
    }

    /// Writes the record and `onnx` for the bundle at `bundle`, in place of an older record.
    ///
    /// # Errors
    /// [`Error::Input`] when something else has its name; an I/O error when it cannot be written. Then nothing has
    /// changed.
    pub(super) fn write(&self, bundle: &Path, onnx: &[u8]) -> Result<PathBuf> {
        let folder = record_path(bundle);
        let is_taken = folder.symlink_metadata().is_ok() && !folder.join(RECORD).is_file();
        if is_taken {
            return Err(Error::input(
                format!("{} is there and is no build record", folder.display()),
                "that name for the build record of the bundle",
                "choose another name with --out, or move it away",
            ));
        }
        let parent = bundle.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fresh = beside(parent)?;
        let json = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::input(e.to_string(), "paths that are text", "rename the calibration images")
        })?;
        atomic::write(&fresh.path().join(MODEL), onnx)?;
        atomic::write(&fresh.path().join(RECORD), &json)?;
        let old = beside(parent)?;
        let failed = |e| Error::io(&folder, e);
        if folder.exists() {
            fs::rename(&folder, old.path().join(RECORD)).map_err(failed)?;
        }
        let fresh = fresh.keep();
        if let Err(error) = fs::rename(&fresh, &folder) {
            // The older one comes back; where that fails too, the first error tells more.
            let _ = fs::rename(old.path().join(RECORD), &folder);
            let _ = fs::remove_dir_all(&fresh);
            return Err(failed(error));
        }
        Ok(folder)
    }

    /// Reads the record of the bundle at `bundle`, whose `.rknn` has the digest `rknn_sha256`, and the ONNX file with it.
    ///
    /// # Errors
    /// [`Error::Input`] saying what to do when there is none, when it is another bundle's or was changed, or when images
    /// or the toolkit's wheels are others by now.
    pub fn open(bundle: &Path, rknn_sha256: &str) -> Result<(Self, Vec<u8>)> {
        let folder = record_path(bundle);
        let read = |name: &str| fs::read(folder.join(name)).map_err(|_| missing(&folder));
        let record: Self = serde_json::from_slice(&read(RECORD)?)
            .map_err(|e| stale(&folder, format!("cannot be read: {e}"), "a record of this version"))?;
        let onnx = read(MODEL)?;
        record.check(&folder, rknn_sha256, &onnx)?;
        Ok((record, onnx))
    }

    fn check(&self, folder: &Path, rknn_sha256: &str, onnx: &[u8]) -> Result<()> {
        if self.format != FORMAT {
            return Err(stale(folder, format!("has form {}", self.format), "one of this version"));
        }
        if self.rknn_sha256 != rknn_sha256 {
            let found = format!("is of a model with digest {}", self.rknn_sha256);
            return Err(stale(folder, found, &format!("the bundle's, {rknn_sha256}")));
        }
        if self.onnx_sha256 != sha256(onnx) {
            return Err(stale(
                folder,
                format!("has another {MODEL} than it says"),
                "the file it was written with",
            ));
        }
        if self.wheels != wheels() {
            return Err(stale(
                folder,
                "was made with other wheels of rknn-toolkit2".into(),
                "those we pin now",
            ));
        }
        if !matches!(self.quantizer, Who::Toolkit { .. }) {
            return Ok(());
        }
        let paths: Vec<PathBuf> = self.calibration.iter().map(|image| image.path.clone()).collect();
        let found = Calibrated::all(&paths)?;
        match found.iter().zip(&self.calibration).find(|(found, recorded)| found != recorded) {
            None => Ok(()),
            Some((image, _)) => Err(stale(
                folder,
                format!("was calibrated on another {}", image.path.display()),
                "the images it was calibrated on",
            )),
        }
    }
}

/// A new folder in `parent` that is removed when it is dropped.
fn beside(parent: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new().prefix(".build-").tempdir_in(parent).map_err(|e| Error::io(parent, e))
}

fn missing(folder: &Path) -> Error {
    Error::input(
        format!("no build record at {}", folder.display()),
        "the folder that `train-host convert --target` wrote beside the bundle",
        "copy it there, or convert again: only what is built again can be simulated",
    )
}

fn stale(folder: &Path, found: String, expected: &str) -> Error {
    Error::input(
        format!("the build record {} {found}", folder.display()),
        expected,
        "convert again with `train-host convert --target`, which writes bundle and record",
    )
}

#[cfg(test)]
mod tests;
