//! Signing what goes to a board: the bundle, and beside each package its `.minisig`. Never reads a key that was not named.

use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use artifact::{Bundle, Signer as _, Trust};
use signing::PrivateKey;

use super::Args;
use crate::keys;
use crate::trust::{self, Verdict};
use crate::unpack::beside;

/// What signatures say of what they sign.
const SUBJECT: &str = "RepEdge package";

/// Checks that boards will run the bundle of an image: else they would run nothing. What is signed here is judged with the image's
/// other files.
///
/// # Errors
/// Names the ways out when they will not; when bundle, keys or root filesystem cannot be read.
pub fn expect_allowed(args: &Args) -> Result<()> {
    if args.sign.is_some() {
        return Ok(());
    }
    args.sources.expect_runs(args.bundle.as_deref(), &args.trusted)
}

/// What whoever gets a package must know of its bundle: boards may refuse it. That is no error, because a board may have keys of its
/// own.
///
/// # Errors
/// When a key that was given is none.
pub fn concern(args: &Args, bundle: &[u8]) -> Result<Option<String>> {
    if args.sign.is_some() {
        return Ok(None);
    }
    Ok(match trust::judge(Cursor::new(bundle), trust::ring_of(&args.trusted)?)? {
        Verdict::Verified => None,
        Verdict::Unsigned => Some(format!(
            "the bundle is not signed: boards refuse it, but for those with a file /etc/repedge/allow-unsigned (`cargo xtask flash \
             {} --ssh USER@HOST --allow-unsigned` makes it); sign with --sign (`cargo xtask keys generate` makes a key)",
            args.board
        )),
        Verdict::Unverified => Some(
            "the bundle is signed, and the package brings no key that verifies it: only boards with the signer's key in \
             /etc/repedge/keys run it; give --trust FILE.pub"
                .into(),
        ),
    })
}

/// A private key and the file of its public half.
pub struct Signer {
    key: PrivateKey,
    /// What the board verifies with.
    pub public: PathBuf,
}

impl Signer {
    /// Reads a private key, `NAME.key`, with `NAME.pub` beside it; by its name alone also in the user's folder of keys.
    ///
    /// # Errors
    /// When either is not there, or the password is wrong.
    pub fn read(path: &Path) -> Result<Self> {
        let path = &keys::find(path)?;
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

    /// A key, a bundle that nobody signed, and one that the key has.
    fn bundles(folder: &Path) -> (KeyFiles, PathBuf, PathBuf) {
        let files = KeyFiles::of(folder, "ours");
        files.generate(Protection::None).unwrap();
        let unsigned = crate::workspace::Workspace::find().unwrap().join("tests/boards/npu.bundle");
        let signed = folder.join("signed.bundle");
        let bytes = Signer::read(&files.private).unwrap().sign_bundle(&unsigned, folder).unwrap();
        fs::write(&signed, bytes).unwrap();
        (files, unsigned, signed)
    }

    #[test]
    fn an_image_of_what_nobody_signed_must_allow_it() {
        let folder = tempfile::tempdir().unwrap();
        let (files, unsigned, signed) = bundles(folder.path());
        for bundle in [None, Some(unsigned.clone())] {
            let args = Args { bundle, ..Args::default() };
            let error = expect_allowed(&args).unwrap_err().to_string();
            for part in ["not signed", "--sign KEY", "cargo xtask keys", "--allow-unsigned"] {
                assert!(error.contains(part), "{part}: {error}");
            }
            expect_allowed(&Args { sign: Some(files.private.clone()), ..args }).unwrap();
        }
        let args = Args { bundle: Some(signed), ..Args::default() };
        let error = expect_allowed(&args).unwrap_err().to_string();
        for part in ["there is none", "--trust FILE.pub", "--sign KEY", "--allow-unsigned"] {
            assert!(error.contains(part), "{part}: {error}");
        }
        expect_allowed(&Args { trusted: vec![files.public], ..args }).unwrap();
        let mut args = Args { bundle: Some(unsigned), ..Args::default() };
        args.sources.allow_unsigned = true;
        expect_allowed(&args).unwrap();
    }

    #[test]
    fn a_package_says_which_boards_refuse_it() {
        let folder = tempfile::tempdir().unwrap();
        let (files, unsigned, signed) = bundles(folder.path());
        let said = |args: &Args, bundle: &Path| concern(args, &fs::read(bundle).unwrap()).unwrap();
        let args = Args { board: "rk3588".into(), ..Args::default() };
        let unsigned = said(&args, &unsigned).unwrap();
        assert!(
            unsigned.contains("`cargo xtask flash rk3588 --ssh USER@HOST --allow-unsigned`"),
            "{unsigned}"
        );
        let unverified = said(&args, &signed).unwrap();
        assert!(unverified.contains("/etc/repedge/keys run it; give --trust FILE.pub"), "{unverified}");
        assert_eq!(said(&Args { trusted: vec![files.public], ..Args::default() }, &signed), None);
        assert_eq!(said(&Args { sign: Some(files.private), ..Args::default() }, &signed), None);
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
