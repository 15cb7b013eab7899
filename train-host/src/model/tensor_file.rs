//! Named f32 tensors and string metadata in a safetensors file, written whole or not at all. Knows nothing of models.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::validate::MAX_VALUES;
use super::weights::{WeightTensor, Weights};
use crate::{Error, Result};

/// The one safetensors metadata key that is used: several would be written in an arbitrary order, and equal
/// checkpoints would differ as files.
pub(crate) const METADATA_KEY: &str = "repedge";

/// Writes named tensors and `metadata` to `path` as safetensors, atomically. Equal inputs give equal files.
///
/// # Errors
/// An I/O error when the file cannot be written, which leaves an older file as it was.
pub fn write_tensors(path: &Path, weights: &Weights, metadata: &BTreeMap<String, String>) -> Result<()> {
    let header = HashMap::from([(METADATA_KEY.to_owned(), to_json(metadata)?)]);
    let tensors = weights.iter().map(|(name, tensor)| (name, TensorBytes(tensor)));
    let bytes = safetensors::serialize(tensors, Some(header)).map_err(|error| {
        Error::model(
            format!("tensors that cannot be serialized: {error}"),
            "f32 tensors",
            "report this as a bug",
        )
    })?;
    Ok(artifact::atomic::write(path, &bytes)?)
}

/// Reads what [`write_tensors`] wrote.
///
/// # Errors
/// [`Error::Model`] when the file is truncated, damaged, or was written by another program; an I/O error when it cannot
/// be read.
pub fn read_tensors(path: &Path) -> Result<(Weights, BTreeMap<String, String>)> {
    let bytes = read_limited(path)?;
    let damaged = |error| {
        in_file(
            path,
            &format!("no whole safetensors file ({error})"),
            "a file written by train-host to its end",
        )
    };
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(damaged)?;
    let metadata = header.metadata().as_ref().and_then(|map| map.get(METADATA_KEY)).ok_or_else(|| {
        in_file(path, "a safetensors file of another program", "a .safetensors file written by train-host")
    })?;
    let metadata = from_json(path, "metadata", metadata)?;
    let file = SafeTensors::deserialize(&bytes).map_err(damaged)?;
    let mut weights = Weights::default();
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(in_file(
                path,
                &format!("tensor {name:?} of type {:?}", view.dtype()),
                "F32 tensors only",
            ));
        }
        let (values, _) = view.data().as_chunks::<4>();
        weights.insert(name, view.shape(), values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect());
    }
    Ok((weights, metadata))
}

struct TensorBytes<'a>(&'a WeightTensor);

impl safetensors::View for TensorBytes<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> std::borrow::Cow<'_, [u8]> {
        self.0.data.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
    }

    fn data_len(&self) -> usize {
        self.0.data.len() * size_of::<f32>()
    }
}

/// The bytes of a file that is not larger than any checkpoint.
pub(crate) fn read_limited(path: &Path) -> Result<Vec<u8>> {
    let io = |error| Error::io(path, error);
    let length = std::fs::metadata(path).map_err(io)?.len();
    // Three states of a model (weights, momentum, average) at most, and room for the header.
    let most = 4 * (MAX_VALUES as u64) * 4;
    if length > most {
        return Err(in_file(path, &format!("{length} bytes"), &format!("at most {most} bytes")));
    }
    std::fs::read(path).map_err(io)
}

/// `value` as JSON.
pub(crate) fn to_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        Error::model(error.to_string(), "metadata that JSON can hold", "report this as a bug")
    })
}

/// What the JSON `text` of field `what` holds.
pub(crate) fn from_json<T: DeserializeOwned>(path: &Path, what: &str, text: &str) -> Result<T> {
    serde_json::from_str(text)
        .map_err(|error| in_file(path, &format!("{what}: {error}"), "a checkpoint written by train-host"))
}

/// An error about the file `path`.
pub(crate) fn in_file(path: &Path, found: &str, expected: &str) -> Error {
    Error::model(
        format!("{}: {found}", path.display()),
        expected,
        "check the path; take the file from a backup, or train or fuse again",
    )
}
