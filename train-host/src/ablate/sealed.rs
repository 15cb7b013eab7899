//! Results that are made once: a JSON file that carries the digest of everything it was made from. While that has not
//! changed the file is the result; otherwise it is made again. Never judges a result.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digest::sha256;
use crate::{Error, Result};

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// Digest of what the result was made from.
    inputs: String,
    #[serde(flatten)]
    result: T,
}

/// The result in the file at `path` if it was made from `inputs`; else what `make` gives, written there.
///
/// # Errors
/// Whatever `make` reports; an I/O error when the file cannot be written.
pub fn keep<T: Serialize + DeserializeOwned>(
    path: &Path,
    inputs: &impl Serialize,
    make: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let inputs = digest(inputs)?;
    if let Some(result) = read(path, &inputs) {
        return Ok(result);
    }
    let sealed = Sealed { inputs, result: make()? };
    let text = serde_json::to_vec_pretty(&sealed).map_err(|e| Error::io(path, e.into()))?;
    artifact::atomic::write(path, &text)?;
    Ok(sealed.result)
}

/// SHA-256 of a file in hexadecimal.
///
/// # Errors
/// [`Error::Artifact`] when it cannot be read.
pub fn file_digest(path: &Path) -> Result<String> {
    Ok(sha256(&std::fs::read(path).map_err(|e| Error::io(path, e))?))
}

/// SHA-256 of a value's JSON in hexadecimal.
///
/// # Errors
/// [`Error::Input`] when JSON cannot hold the value, such as a path that is no text.
pub fn digest(value: &impl Serialize) -> Result<String> {
    serde_json::to_vec(value).map(|json| sha256(&json)).map_err(|e| {
        Error::input(e.to_string(), "values that JSON can hold", "rename paths that are no text")
    })
}

/// What is there, unless it was made from something else, is damaged, or is of another version.
fn read<T: DeserializeOwned>(path: &Path, inputs: &str) -> Option<T> {
    let sealed: Sealed<T> = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
    (sealed.inputs == inputs).then_some(sealed.result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Found {
        value: f64,
    }

    fn kept(path: &Path, inputs: &str, value: f64) -> f64 {
        keep(path, &inputs, || Ok(Found { value })).unwrap().value
    }

    #[test]
    fn a_result_is_made_once_and_again_when_its_inputs_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/x.json");
        assert_eq!(kept(&path, "a", 0.1), 0.1);
        assert_eq!(kept(&path, "a", 0.2), 0.1);
        assert_eq!(kept(&path, "b", 0.3), 0.3);
        std::fs::write(&path, "{\"inputs\": \"cut").unwrap();
        assert_eq!(kept(&path, "b", 0.4), 0.4);
    }

    #[test]
    fn what_fails_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.json");
        let failed: Result<Found> = keep(&path, &1, || Err(Error::backend("a", "b", "c")));
        assert!(failed.is_err() && !path.exists());
    }

    #[test]
    fn digests_tell_values_apart() {
        assert_ne!(digest(&("a", 1)).unwrap(), digest(&("a", 2)).unwrap());
    }
}
