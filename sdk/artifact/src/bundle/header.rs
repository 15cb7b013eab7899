//! The fixed header of a bundle, which is verified before anything else is looked at.
//!
//! Little endian, 92 bytes:
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0      | 8    | magic `REPEDGE\n` |
//! | 8      | 4    | format version, 2 |
//! | 12     | 4    | manifest length in bytes |
//! | 16     | 8    | length of the whole file in bytes |
//! | 24     | 4    | length of the signature block: 512, or 0 in an unsigned bundle |
//! | 28     | 32   | SHA-256 of the manifest |
//! | 60     | 32   | SHA-256 of bytes 0..60 |

use std::io::{self, Read, Seek, SeekFrom};

use super::signature::SIGNATURE_LEN;
use super::{damaged, unreadable, unwritable};
use crate::{Error, Fault, digest};

const MAGIC: [u8; 8] = *b"REPEDGE\n";
const FORMAT_VERSION: u32 = 2;
const FIELDS_LEN: usize = 60;
pub(super) const HEADER_LEN: usize = FIELDS_LEN + 32;
/// Far above any real manifest, far below what a small board can hold.
const MAX_MANIFEST_LEN: u32 = 4 << 20;

/// The header's fields, except for constants.
pub(super) struct Header {
    pub(super) manifest_len: u32,
    pub(super) file_len: u64,
    pub(super) signature_len: u32,
    pub(super) manifest_sha256: [u8; 32],
}

impl Header {
    /// The header of a file with this manifest, a signature block of `signature_len` bytes and these parts.
    pub(super) fn describe(json: &[u8], signature_len: u32, parts: &[&[u8]]) -> Result<Self, Error> {
        let manifest_len = u32::try_from(json.len()).ok().filter(|&n| n <= MAX_MANIFEST_LEN);
        let manifest_len = manifest_len.ok_or_else(|| unwritable("the manifest is larger than 4 MiB"))?;
        let content_len = json.len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let file_len = (HEADER_LEN + content_len) as u64 + u64::from(signature_len);
        Ok(Self { manifest_len, file_len, signature_len, manifest_sha256: digest::sha256(json) })
    }

    pub(super) fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.manifest_len.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.file_len.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.signature_len.to_le_bytes());
        bytes[28..60].copy_from_slice(&self.manifest_sha256);
        let own = digest::sha256(&bytes[..FIELDS_LEN]);
        bytes[FIELDS_LEN..].copy_from_slice(&own);
        bytes
    }

    pub(super) fn read(source: &mut (impl Read + Seek), actual_len: u64) -> Result<Self, Error> {
        source.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        let mut bytes = [0; HEADER_LEN];
        source.read_exact(&mut bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                damaged(format!("a file of {actual_len} bytes"), "at least the header's 92 bytes")
            }
            _ => unreadable(e),
        })?;
        check_magic_and_version(&bytes)?;
        if digest::sha256(&bytes[..FIELDS_LEN]) != bytes[FIELDS_LEN..] {
            return Err(damaged("a header without its digest".into(), "a header whose SHA-256 fits"));
        }
        let header = Self {
            manifest_len: u32::from_le_bytes(array(&bytes, 12)),
            file_len: u64::from_le_bytes(array(&bytes, 16)),
            signature_len: u32::from_le_bytes(array(&bytes, 24)),
            manifest_sha256: array(&bytes, 28),
        };
        header.check_lengths(actual_len)?;
        Ok(header)
    }

    /// Where the parts begin: behind header, manifest and signature block.
    pub(super) fn parts_start(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.manifest_len) + u64::from(self.signature_len)
    }

    fn check_lengths(&self, actual_len: u64) -> Result<(), Error> {
        if self.file_len != actual_len {
            return Err(damaged(
                format!("a file of {actual_len} bytes"),
                &format!("the {} bytes its header states", self.file_len),
            ));
        }
        if ![0, SIGNATURE_LEN].contains(&self.signature_len) {
            return Err(damaged(
                format!("a signature block of {} bytes", self.signature_len),
                &format!("{SIGNATURE_LEN} bytes, or none"),
            ));
        }
        if self.manifest_len > MAX_MANIFEST_LEN || self.parts_start() > actual_len {
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
