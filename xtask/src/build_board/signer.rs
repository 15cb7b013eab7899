//! Signing what goes to a board: the bundle, and beside each package its `.minisig`. Never reads a key that was not named.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::{Bundle, Signer as _, Trust};
use signing::PrivateKey;

use crate::unpack::beside;

/// What signatures say of what they sign.
const SUBJECT: &str = "RepEdge package";

/// A private key and the file of its public half.
pub struct Signer {
    key: PrivateKey,
    /// What the board verifies with.
    pub public: PathBuf,
}

impl Signer {
    /// Reads a private key, `NAME.key`, with `NAME.pub` beside it.
    ///
    /// # Errors
    /// When either is not there, or the password is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let public = path.with_extension("pub");
        ensure!(
            public.is_file(),
            "there is no {} beside the key that signs: the board needs it to verify",
            public.display()
        );
        Ok(Self { key: PrivateKey::read(path, SUBJECT)?, public })
    }

    /// The signature of a file's bytes, as the text of a `.minisig`.
    ///
    /// # Errors
    /// When the key does not sign.
    pub fn sign(&self, bytes: &[u8]) -> Result<String> {
        Ok(self.key.sign(bytes)?)
    }

    /// A bundle's bytes with our signature in the place of any other.
    ///
    /// # Errors
    /// When the bundle is damaged, or cannot be written into `folder`.
    pub fn sign_bundle(&self, bundle: &Path, folder: &Path) -> Result<Vec<u8>> {
        let mut opened = Bundle::open(bundle, &Trust::anyone())?;
        let manifest = opened.manifest().clone();
        let parts = opened.read_parts()?;
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let signed = beside(&folder.join("signed.bundle"), "writing");
        Bundle::write_signed(&signed, &manifest, &parts, &self.key)?;
        let bytes = fs::read(&signed).with_context(|| format!("cannot read {}", signed.display()));
        fs::remove_file(&signed).with_context(|| format!("cannot remove {}", signed.display()))?;
        bytes
    }
}

#[cfg(test)]
mod tests {
    use artifact::KeyRing;
    use artifact::trust::signer_of_file;
    use signing::{KeyFiles, Protection};

    use super::*;

    #[test]
    fn what_is_signed_is_verified_with_the_public_key_beside() {
        let folder = tempfile::tempdir().unwrap();
        let keys = folder.path().join("keys");
        let files = KeyFiles::of(&keys, "ours");
        files.generate(Protection::None).unwrap();
        let signer = Signer::read(&files.private).unwrap();
        assert_eq!(signer.public, files.public);
        let (package, signature) = (folder.path().join("a.deb"), folder.path().join("a.deb.minisig"));
        fs::write(&package, "package").unwrap();
        fs::write(&signature, signer.sign(b"package").unwrap()).unwrap();
        assert!(fs::read_to_string(&signature).unwrap().contains(SUBJECT));
        let ring = KeyRing::read(&keys).unwrap();
        assert!(signer_of_file(&package, &signature, &ring).unwrap().ends_with("ours.pub"));
        fs::write(&package, "package of others").unwrap();
        assert!(signer_of_file(&package, &signature, &ring).is_err());
    }

    #[test]
    fn a_key_without_its_public_half_signs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(folder.path(), "ours");
        files.generate(Protection::None).unwrap();
        fs::remove_file(&files.public).unwrap();
        let error = Signer::read(&files.private).map(drop).unwrap_err().to_string();
        assert!(error.contains("ours.pub") && error.contains("needs it to verify"), "{error}");
    }
}
