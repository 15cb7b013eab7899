//! Signatures in a file beside what they sign, as minisign writes them: of packages, which are judged before anything reads
//! what is in them.

use std::fs;
use std::path::Path;

use super::KeyRing;
use crate::{Error, Fault};

/// Name of the key of `keys` that the file at `path` was signed with; `signature` is the `.minisig` beside it.
///
/// # Errors
/// [`Error::Untrusted`] when none of them has signed this file as it is; [`Error::Io`] when either file cannot be read.
pub fn signer_of_file(path: &Path, signature: &Path, keys: &KeyRing) -> Result<String, Error> {
    let text = fs::read_to_string(signature).map_err(|e| Error::io(signature, e))?;
    let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
    keys.signer_of(&bytes, &text).map_err(|error| match error {
        Error::Untrusted(fault) => Error::Untrusted(Fault::new(
            format!("{}: {}", path.display(), fault.found),
            fault.expected,
            "sign it with the key of one of these .pub files: `cargo xtask build-board --sign` signs packages",
        )),
        other => other,
    })
}
