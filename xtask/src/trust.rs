//! What a board makes of a bundle by the keys that it goes by, before it is sent there. It holds public keys only.

use std::fs;
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::{Bundle, Error, KeyRing, Trust};

/// What a board makes of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// One of its keys verifies it.
    Verified,
    /// Nobody signed it.
    Unsigned,
    /// It is signed, and none of the keys verifies it.
    Unverified,
}

/// Judges a bundle as a board with these keys does.
///
/// # Errors
/// When it is damaged or cannot be read.
pub fn judge(mut bundle: impl Read + Seek, keys: KeyRing) -> Result<Verdict> {
    if !Bundle::from_source(&mut bundle, &Trust::anyone())?.is_signed() {
        return Ok(Verdict::Unsigned);
    }
    match Bundle::from_source(bundle, &Trust::keys(keys)) {
        Ok(_) => Ok(Verdict::Verified),
        Err(Error::Untrusted(_)) => Ok(Verdict::Unverified),
        Err(error) => Err(error.into()),
    }
}

/// The keys in these files.
///
/// # Errors
/// When one cannot be read or is no public key.
pub fn ring_of(files: &[PathBuf]) -> Result<KeyRing> {
    let mut ring = KeyRing::default();
    for file in files {
        let text =
            fs::read_to_string(file).with_context(|| format!("cannot read the key {}", file.display()))?;
        ring.add(&file.display().to_string(), &text)?;
    }
    Ok(ring)
}

/// The name that a public key has on a board.
///
/// # Errors
/// When it has none, or that of no public key.
pub fn name_of(key: &Path) -> Result<&str> {
    let name = key.file_name().and_then(|name| name.to_str()).context("a key without a name")?;
    ensure!(name.ends_with(".pub"), "{name} does not end in .pub: only public keys go onto a board");
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::slice;

    use signing::{KeyFiles, PrivateKey, Protection};

    use super::*;
    use crate::workspace::Workspace;

    #[test]
    fn a_signed_bundle_is_no_good_without_its_signers_key() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["ours", "theirs"].map(|name| KeyFiles::of(folder.path(), name));
        files.iter().for_each(|files| files.generate(Protection::None).unwrap());
        let unsigned = Workspace::find().unwrap().join("tests/boards/npu.bundle");
        let mut bundle = Bundle::open(&unsigned, &Trust::anyone()).unwrap();
        let parts = bundle.read_parts().unwrap();
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let signed = folder.path().join("signed.bundle");
        let key = PrivateKey::read(&files[0].private, "test").unwrap();
        Bundle::write_signed(&signed, bundle.manifest(), &parts, &key).unwrap();

        let [ours, theirs] = files.map(|files| files.public);
        let verdict = |bundle: &Path, keys: &[PathBuf]| {
            judge(Cursor::new(fs::read(bundle).unwrap()), ring_of(keys).unwrap()).unwrap()
        };
        assert_eq!(verdict(&unsigned, slice::from_ref(&ours)), Verdict::Unsigned);
        assert_eq!(verdict(&signed, &[]), Verdict::Unverified);
        assert_eq!(verdict(&signed, slice::from_ref(&theirs)), Verdict::Unverified);
        assert_eq!(verdict(&signed, &[theirs, ours]), Verdict::Verified);
    }
}
