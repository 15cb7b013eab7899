//! The build record: a folder beside a bundle with all that a compiled model was made of, so that it can be made and
//! simulated again; the simulator takes no `.rknn` files. Written as a whole or not at all. Never read by a device.

use std::fs;
use std::path::{Path, PathBuf};

use artifact::{Preprocess, TensorSpec, atomic};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;

use super::compile::Compiled;
use super::config::Config;
use super::protocol::Algorithm;
use super::toolkit;
use crate::digest::sha256;
use crate::quantize::Origin;
use crate::{Error, Result};

/// Extension of the folder, in place of the bundle's.
const EXTENSION: &str = "build";
/// The model as the toolkit read it.
const MODEL: &str = "model.onnx";
/// The record itself.
const RECORD: &str = "record.json";
/// Version of the record's form.
const FORMAT: u32 = 2;

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
    /// What the toolkit was told of how to compile.
    pub config: Config,
    /// How pixels become the input.
    pub preprocess: Preprocess,
    /// SHA-256 of the ONNX file beside this record.
    pub onnx_sha256: String,
    /// SHA-256 of the `.rknn` in the bundle.
    pub rknn_sha256: String,
    /// Outputs as the device gets them.
    pub outputs: Vec<TensorSpec>,
    /// How our quantizer found the scales; none where it did not.
    pub origin: Option<Origin>,
    /// Images that scales were found on, in order. None where they are not known: of a model that was quantized before,
    /// only `origin` tells how many they were.
    pub calibration: Option<Vec<Calibrated>>,
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

/// How the numbers of a compiled model were found.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numbers {
    /// Who decided them.
    pub(super) who: Who,
    /// How our quantizer found them; none where it did not.
    pub(super) origin: Option<Origin>,
    /// The images that they were found on; none where they are not known.
    pub(super) calibration: Option<Vec<Calibrated>>,
}

/// A record that is written and does not have its name yet; dropped, it was never there.
pub(super) struct Staged {
    fresh: TempDir,
    /// What it is called in the end.
    folder: PathBuf,
}

impl Numbers {
    /// How many images there were, where they are not known.
    pub(super) fn unnamed_images(&self) -> Option<usize> {
        self.origin.as_ref().filter(|_| self.calibration.is_none()).map(|origin| origin.images)
    }
}

impl Who {
    /// How the toolkit found ranges, where it did.
    fn algorithm(self) -> Option<Algorithm> {
        match self {
            Self::Toolkit { algorithm } => Some(algorithm),
            Self::Ours | Self::Half => None,
        }
    }
}

/// Folder of the record of the bundle at `bundle`.
pub fn record_path(bundle: &Path) -> PathBuf {
    bundle.with_extension(EXTENSION)
}

/// The wheels that the toolkit's environment is made of, each with its digest.
fn wheels() -> Vec<String> {
    toolkit::wheels().map(str::to_owned).collect()
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
        numbers: Numbers,
    ) -> Self {
        let Numbers { who: quantizer, origin, calibration } = numbers;
        Self {
            format: FORMAT,
            chip: chip.to_owned(),
            quantizer,
            config: compiled.config.clone(),
            preprocess,
            onnx_sha256: sha256(onnx),
            rknn_sha256: sha256(&compiled.rknn),
            outputs: compiled.outputs.clone(),
            origin,
            calibration,
            wheels: wheels(),
        }
    }

    /// Writes the record and `onnx` for the bundle at `bundle`, beside an older record; [`Staged::put`] replaces that.
    ///
    /// # Errors
    /// [`Error::Input`] when something else has its name; an I/O error when it cannot be written.
    pub(super) fn stage(&self, bundle: &Path, onnx: &[u8]) -> Result<Staged> {
        let folder = record_path(bundle);
        let is_taken = folder.symlink_metadata().is_ok() && !folder.join(RECORD).is_file();
        if is_taken {
            return Err(Error::input(
                format!("{} is there and is no build record", folder.display()),
                "that name for the build record of the bundle",
                "choose another name with --out, or move it away",
            ));
        }
        let fresh = beside(&folder)?;
        let json = serde_json::to_vec_pretty(self).map_err(|e| {
            Error::input(e.to_string(), "paths that are text", "rename the calibration images")
        })?;
        atomic::write(&fresh.path().join(MODEL), onnx)?;
        atomic::write(&fresh.path().join(RECORD), &json)?;
        Ok(Staged { fresh, folder })
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

    /// Files of the images that scales were found on, as far as they are known.
    pub(super) fn images(&self) -> Vec<PathBuf> {
        self.calibration.iter().flatten().map(|image| image.path.clone()).collect()
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
        let algorithm = self.quantizer.algorithm();
        if let Some((name, then, now)) = self.config.difference(&Config::of(algorithm)) {
            let found = format!("was made with {name} {then}");
            return Err(stale(folder, found, &format!("{name} {now}, which the toolkit is told now")));
        }
        if algorithm.is_none() {
            return Ok(());
        }
        let found = Calibrated::all(&self.images())?;
        let recorded = self.calibration.iter().flatten();
        match found.iter().zip(recorded).find(|(found, recorded)| found != recorded) {
            None => Ok(()),
            Some((image, _)) => Err(stale(
                folder,
                format!("was calibrated on another {}", image.path.display()),
                "the images it was calibrated on",
            )),
        }
    }
}

impl Staged {
    /// Gives the record its name, in place of an older one, which goes.
    ///
    /// # Errors
    /// An I/O error when that cannot be done. Then the older one is there as before.
    pub(super) fn put(self) -> Result<PathBuf> {
        let Self { fresh, folder } = self;
        let old = beside(&folder)?;
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
}

/// A new folder beside `folder` that is removed when it is dropped.
fn beside(folder: &Path) -> Result<TempDir> {
    let parent = folder.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
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
