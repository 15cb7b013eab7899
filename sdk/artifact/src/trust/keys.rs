//! The public keys that a device trusts: minisign's `.pub` files in one folder. Never holds a private key.

use std::fs;
use std::path::Path;

use minisign_verify::{PublicKey, Signature};

use crate::{Error, Fault};

/// Keys whose signatures count, each under the name of its file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KeyRing {
    keys: Vec<(String, PublicKey)>,
}

impl KeyRing {
    /// Reads every `*.pub` file of `folder`. A folder that is not there holds no key; one that holds none trusts nobody.
    ///
    /// # Errors
    /// [`Error::Untrusted`] naming the file that is no public key of minisign; [`Error::Io`] when one cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let entries = match fs::read_dir(folder) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            entries => entries.map_err(|e| Error::io(folder, e))?,
        };
        let mut paths = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|e| Error::io(folder, e))?;
        paths.retain(|path| path.extension().is_some_and(|ending| ending == "pub"));
        paths.sort();
        let mut ring = Self::default();
        for path in paths {
            let text = fs::read_to_string(&path).map_err(|e| Error::io(&path, e))?;
            ring.add(&path.display().to_string(), &text)?;
        }
        Ok(ring)
    }

    /// Adds the key in `text`, the content of a `.pub` file, under `name`.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when it is no public key of minisign.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), Error> {
        let key = PublicKey::decode(text.trim_end()).map_err(|e| {
            Error::Untrusted(Fault::new(
                format!("{name}: {e}"),
                "a public key of minisign: a comment and a line of base64",
                "make keys with `cargo xtask keys generate`, and put only the .pub file here",
            ))
        })?;
        self.keys.push((name.to_owned(), key));
        Ok(())
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Name of the key that `signature` of `message` was made with.
    pub(crate) fn signer_of(&self, message: &[u8], signature: &str) -> Result<String, Error> {
        let refuse = |found: String, hint: &str| {
            Err(Error::Untrusted(Fault::new(found, "a signature by a key that this device trusts", hint)))
        };
        if self.is_empty() {
            return refuse(
                "this device trusts no key".into(),
                "put the signer's .pub file into the folder of --keys, or pass --allow-unsigned",
            );
        }
        let Ok(signature) = Signature::decode(signature) else {
            return refuse(
                "a signature that is not minisign's".into(),
                "sign it again with `train-host sign`",
            );
        };
        let signed = self.keys.iter().find(|(_, key)| key.verify(message, &signature, false).is_ok());
        match signed {
            Some((name, _)) => Ok(name.clone()),
            None => refuse(
                format!("a signature by none of the {} trusted keys, or of something else", self.keys.len()),
                "ask who made the bundle for their .pub file, or sign it with a key of yours: `train-host sign`",
            ),
        }
    }
}
