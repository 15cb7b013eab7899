//! Private keys: made, read and used on hosts. A key is minisign's, so that its program reads it and verifies what it
//! signs. Never ships to a device, which needs public keys only (`artifact::trust`).

use std::fs::{File, OpenOptions};
use std::io::{Cursor, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use artifact::{Error, Fault, Signer};
use minisign::{KeyPair, PError, SecretKey, SecretKeyBox};

/// Where the password of a key may stand; else it is asked for on the terminal.
pub const PASSWORD_VARIABLE: &str = "REPEDGE_KEY_PASSWORD";

/// A private key, ready to sign.
pub struct PrivateKey {
    secret: SecretKey,
    comment: String,
}

impl PrivateKey {
    /// Reads the private key in `path`; its signatures will say that they are of `subject`. The password of a protected
    /// key is that of the environment variable [`PASSWORD_VARIABLE`], or is asked for on the terminal.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when the file is no private key or the password is wrong; [`Error::Io`] when the file or the
    /// terminal cannot be read.
    pub fn read(path: &Path, subject: &str) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
        let parse = || SecretKeyBox::from_string(&text).map_err(|e| refused(path, &e));
        let secret = match parse()?.into_unencrypted_secret_key() {
            Ok(secret) => secret,
            Err(_) if is_protected(&text) => {
                let password = password(&format!("Password of {}: ", path.display()))?;
                parse()?.into_secret_key(Some(password)).map_err(|e| refused(path, &e))?
            }
            Err(e) => return Err(refused(path, &e)),
        };
        Ok(Self { secret, comment: subject.to_owned() })
    }
}

impl Signer for PrivateKey {
    fn sign(&self, message: &[u8]) -> Result<String, Error> {
        let comment = Some(self.comment.as_str());
        let signed = minisign::sign(None, &self.secret, Cursor::new(message), comment, comment);
        signed.map(|signed| signed.into_string()).map_err(|e| {
            let hint = "make a new key with `cargo xtask keys generate`";
            Error::Untrusted(Fault::new(e.to_string(), "a key that signs", hint))
        })
    }
}

/// Whether a private key is of any use to who gets hold of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It is not without the password.
    Password,
    /// It is.
    None,
}

/// The two files of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// To sign with; readable by its owner only.
    pub private: PathBuf,
    /// For devices.
    pub public: PathBuf,
}

impl KeyFiles {
    /// The files of the key `name` in `folder`.
    pub fn of(folder: &Path, name: &str) -> Self {
        Self { private: folder.join(format!("{name}.key")), public: folder.join(format!("{name}.pub")) }
    }

    /// Makes a key. The password is that of the environment variable [`PASSWORD_VARIABLE`], or is asked for twice on the
    /// terminal.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when the passwords differ or are empty; [`Error::Io`] when a file is there already or cannot
    /// be written, which leaves no private key without its public one.
    pub fn generate(&self, protection: Protection) -> Result<(), Error> {
        let failed = |e: &PError| refused(&self.private, e);
        let pair = match protection {
            Protection::None => KeyPair::generate_unencrypted_keypair(),
            Protection::Password => KeyPair::generate_encrypted_keypair(Some(new_password()?)),
        };
        let pair = pair.map_err(|e| failed(&e))?;
        let private = pair.sk.to_box(Some("RepEdge private key")).map_err(|e| failed(&e))?.into_string();
        let public = pair.pk.to_box().map_err(|e| failed(&e))?.into_string();
        if let Some(folder) = self.private.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::io(folder, e))?;
        }
        create(&self.public, 0o644, &public)?;
        create(&self.private, 0o600, &private).inspect_err(|_| {
            // A public key alone would look like one that can be used.
            let _ = std::fs::remove_file(&self.public);
        })
    }
}

/// Writes a file that must not be there yet.
fn create(path: &Path, mode: u32, text: &str) -> Result<(), Error> {
    let write = |mut file: File| file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    file.and_then(write).map_err(|e| Error::io(path, e))
}

fn password(prompt: &str) -> Result<String, Error> {
    match std::env::var(PASSWORD_VARIABLE) {
        Ok(password) => Ok(password),
        Err(_) => rpassword::prompt_password(prompt).map_err(|e| Error::io("terminal", e)),
    }
}

fn new_password() -> Result<String, Error> {
    let first = password("Password for the new key: ")?;
    let second = password("Once more: ")?;
    if first == second && !first.is_empty() {
        return Ok(first);
    }
    Err(Error::Untrusted(Fault::new(
        "no password, or two different ones",
        "the same password twice",
        "try again, or ask for a key without one with --no-password",
    )))
}

/// A protected key says so: its bytes begin with `Ed`, `Sc` for scrypt and `B2`, an open one's with `Ed`, zeros and `B2`.
fn is_protected(text: &str) -> bool {
    const BASE64_OF_EDSCB2: &str = "RWRTY0Iy";
    text.lines().nth(1).is_some_and(|line| line.starts_with(BASE64_OF_EDSCB2))
}

fn refused(path: &Path, e: &PError) -> Error {
    Error::Untrusted(Fault::new(
        format!("{}: {e}", path.display()),
        "a private key of minisign, and its password",
        format!("make keys with `cargo xtask keys generate`; {PASSWORD_VARIABLE} may hold the password"),
    ))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use artifact::{KeyRing, Trust};

    use super::*;

    #[test]
    fn what_a_new_key_signs_its_public_half_verifies() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(&dir.path().join("keys"), "ours");
        files.generate(Protection::None).unwrap();
        let mode = std::fs::metadata(&files.private).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let key = PrivateKey::read(&files.private, "test").unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(signature.contains("trusted comment: test"), "{signature}");
        let public = minisign::PublicKeyBox::from_string(&std::fs::read_to_string(&files.public).unwrap());
        let public = public.unwrap().into_public_key().unwrap();
        let signature = minisign::SignatureBox::from_string(&signature).unwrap();
        minisign::verify(&public, &signature, Cursor::new(b"message"), true, false, false).unwrap();
        assert!(minisign::verify(&public, &signature, Cursor::new(b"massage"), true, false, false).is_err());
        assert!(!KeyRing::read(&dir.path().join("keys")).unwrap().is_empty());
        assert_ne!(Trust::keys(KeyRing::read(&dir.path().join("keys")).unwrap()), Trust::default());
    }

    #[test]
    fn a_key_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let files = KeyFiles::of(dir.path(), "ours");
        std::fs::write(&files.private, "precious").unwrap();
        assert!(files.generate(Protection::None).unwrap_err().to_string().contains("ours.key"));
        assert!(!files.public.exists());
        assert_eq!(std::fs::read(&files.private).unwrap(), b"precious");
    }

    #[test]
    fn protected_keys_are_told_from_others_and_from_nonsense() {
        let dir = tempfile::tempdir().unwrap();
        let protected = KeyPair::generate_encrypted_keypair(Some("secret".into())).unwrap();
        let open = KeyPair::generate_unencrypted_keypair().unwrap();
        assert!(is_protected(&protected.sk.to_box(None).unwrap().into_string()));
        assert!(!is_protected(&open.sk.to_box(None).unwrap().into_string()));
        let path = dir.path().join("x.key");
        for nonsense in ["", "one line", "untrusted comment: x\nnot base64\n"] {
            std::fs::write(&path, nonsense).unwrap();
            let error = PrivateKey::read(&path, "test").map(drop).unwrap_err().to_string();
            assert!(error.contains("x.key") && error.contains("help:"), "{error}");
        }
    }
}
