//! The signature block of a bundle: a minisign signature of header and manifest as text, padded with line feeds, and
//! the SHA-256 of that, so that a flipped bit is noticed also by who cannot judge the signature. Never holds a private
//! key: who signs is a [`Signer`].

use super::{damaged, unwritable};
use crate::{Error, digest};

/// Size of the block.
pub(super) const SIGNATURE_LEN: u32 = 512;
/// Room for the text; minisign's is about 250 bytes with short comments.
const TEXT_LEN: usize = SIGNATURE_LEN as usize - 32;

/// Holder of a private key.
pub trait Signer {
    /// The minisign signature of `message` as text: four lines, at most 480 bytes.
    ///
    /// # Errors
    /// [`Error::Untrusted`] when the key cannot sign.
    fn sign(&self, message: &[u8]) -> Result<String, Error>;
}

/// The block that holds `text`.
pub(super) fn block(text: &str) -> Result<Vec<u8>, Error> {
    let text = text.trim_end();
    if text.len() > TEXT_LEN {
        return Err(unwritable(&format!("a signature of {} bytes does not fit into {TEXT_LEN}", text.len())));
    }
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(TEXT_LEN, b'\n');
    let own = digest::sha256(&bytes);
    bytes.extend_from_slice(&own);
    Ok(bytes)
}

/// The text in `block`, whose digest must fit.
pub(super) fn text(block: &[u8]) -> Result<&str, Error> {
    let (text, own) = block.split_at_checked(TEXT_LEN).unwrap_or((block, &[]));
    if digest::sha256(text) != *own {
        return Err(damaged("a signature without its digest".into(), "a signature whose SHA-256 fits"));
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| damaged("a signature that is no text".into(), "a minisign signature"))?;
    Ok(text.trim_end())
}
