//! The fixed header of a bundle, which is verified before anything else is looked at.
//!
//! Little endian, 88 bytes:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0      | 8    | magic `REPEDGE\n` |
//! | 8      | 4    | format version, 1 |
//! | 12     | 4    | manifest length in bytes |
//! | 16     | 8    | length of the whole file in bytes |
//! | 24     | 32   | SHA-256 of the manifest |
//! | 56     | 32   | SHA-256 of bytes 0..56 |

use std::io::{self, Read, Seek, SeekFrom};

use super::{damaged, unreadable, unwritable};
use crate::{Error, Fault, digest};

const MAGIC: [u8; 8] = *b"REPEDGE\n";
const FORMAT_VERSION: u32 = 1;
const SIGNED_LEN: usize = 56;
pub(super) const HEADER_LEN: usize = SIGNED_LEN + 32;
/// Far above any real manifest, far below what a small board can hold.
const MAX_MANIFEST_LEN: u32 = 4 << 20;

/// The header's fields, except for constants.
pub(super) struct Header {
    pub(super) manifest_len: u32,
    pub(super) file_len: u64,
    pub(super) manifest_sha256: [u8; 32],
}

impl Header {
    pub(super) fn describe(json: &[u8], payloads: &[&[u8]]) -> Result<Self, Error> {
        let manifest_len = u32::try_from(json.len()).ok().filter(|&n| n <= MAX_MANIFEST_LEN);
        let manifest_len = manifest_len.ok_or_else(|| unwritable("the manifest is larger than 4 MiB"))?;
        let file_len = HEADER_LEN + json.len() + payloads.iter().map(|p| p.len()).sum::<usize>();
        Ok(Self { manifest_len, file_len: file_len as u64, manifest_sha256: digest::sha256(json) })
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.manifest_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.file_len.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.manifest_sha256);
        let own = digest::sha256(&bytes[..SIGNED_LEN]);
        bytes[SIGNED_LEN..].copy_from_slice(&own);
        bytes
    }

    pub(super) fn read(source: &mut (impl Read + Seek), actual_len: u64) -> Result<Self, Error> {
        source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut bytes = [0; HEADER_LEN];
        source.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                damaged(format!("a file of {actual_len} bytes"), "at least the header's 88 bytes")
            }
            _ => unreadable(e),
        })?;
        check_magic_and_version(&bytes)?;
        if digest::sha256(&bytes[..SIGNED_LEN]) != bytes[SIGNED_LEN..] {
            return Err(damaged("a header without its digest".into(), "a header whose SHA-256 fits"));
        }
        let header = Self {
            manifest_len: u32::from_le_bytes(array(&bytes, 12)),
            file_len: u64::from_le_bytes(array(&bytes, 16)),
            manifest_sha256: array(&bytes, 24),
        };
        header.check_lengths(actual_len)?;
        Ok(header)
    }

    fn check_lengths(&self, actual_len: u64) -> Result<(), Error> {
        if self.file_len != actual_len {
            return Err(damaged(
                format!("a file of {actual_len} bytes"),
                &format!("the {} bytes its header states", self.file_len),
            ));
        }
        let room = actual_len - HEADER_LEN as u64;
        if self.manifest_len > MAX_MANIFEST_LEN || u64::from(self.manifest_len) > room {
            return Err(damaged(
                format!("a manifest of {} bytes", self.manifest_len),
                "one that fits the file and is at most 4 MiB",
            ));
        }
        Ok(())
    }
}

fn check_magic_and_version(header: &[u8; HEADER_LEN]) -> Result<(), Error> {
    if header[..8] != MAGIC {
        return Err(Error::Artifact(Fault::new(
            "a file that does not begin with RepEdge's magic bytes",
            "a bundle",
            "give the .bundle file that `train-host convert --out` wrote",
        )));
    }
    let version = u32::from_le_bytes(array(header, 8));
    if version != FORMAT_VERSION {
        return Err(Error::Artifact(Fault::new(
            format!("bundle format version {version}"),
            format!("version {FORMAT_VERSION}"),
            "update RepEdge on this device, or convert the model again with this version",
        )));
    }
    Ok(())
}

fn array<const N: usize>(bytes: &[u8; HEADER_LEN], at: usize) -> [u8; N] {
    std::array::from_fn(|i| bytes[at + i])
}
