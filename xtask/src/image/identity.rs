//! Identities of disks, partitions and filesystems, taken from their content: the same image has the same ones, and no
//! random number goes in.

use std::fmt;

use anyhow::Result;
use sha2::{Digest as _, Sha256};

use crate::tree::{Digest, Tree};

/// A UUID of version 8 (RFC 9562), whose bits are a digest's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uuid([u8; 16]);

/// The digest of something that goes into an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentDigest(Digest);

impl Uuid {
    /// The identity that something called `purpose` has in an image of this content.
    pub fn of(purpose: &str, content: &ContentDigest) -> Self {
        let digest = Sha256::new().chain_update(purpose).chain_update([0]).chain_update(content.0).finalize();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                out.write_str("-")?;
            }
            write!(out, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl ContentDigest {
    /// The digest of trees, in the order given.
    ///
    /// # Errors
    /// When a file of the host cannot be read.
    pub fn of<'a>(trees: impl IntoIterator<Item = &'a Tree>) -> Result<Self> {
        let mut hasher = Sha256::new();
        for tree in trees {
            hasher.update(tree.digest()?);
        }
        Ok(Self(hasher.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Content, Node};

    fn tree(text: &str, mode: u32) -> Tree {
        let mut tree = Tree::default();
        tree.put("a", Node::file(Content::Bytes(text.into()), mode)).unwrap();
        tree
    }

    #[test]
    fn identities_follow_content_and_purpose() {
        let digest = |text, mode| ContentDigest::of([&tree(text, mode)]).unwrap();
        let uuid = Uuid::of("root", &digest("x", 0o644));
        assert_eq!(uuid, Uuid::of("root", &digest("x", 0o644)));
        for other in [Uuid::of("disk", &digest("x", 0o644)), Uuid::of("root", &digest("y", 0o644))] {
            assert_ne!(uuid, other);
        }
        assert_ne!(uuid, Uuid::of("root", &digest("x", 0o600)));
    }

    #[test]
    fn a_uuid_says_its_version() {
        let text = Uuid::of("root", &ContentDigest([0; 32])).to_string();
        assert_eq!(text.len(), 36);
        assert_eq!(&text[14..15], "8");
        assert!("89ab".contains(&text[19..20]), "{text}");
    }
}
