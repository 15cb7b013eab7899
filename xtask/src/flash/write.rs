//! Writes a disk image to a disk: checks the image before it touches the disk, writes only the blocks that matter, reads
//! them back and compares. Whatever goes wrong, the error says what the disk holds now. It never retries silently.

mod state;
#[cfg(test)]
mod tests;
mod writing;

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use super::bars;
use super::disk::Disk;
use crate::bmap::{Bmap, Range};
pub use state::{Interrupted, State};
use writing::Writing;

/// Bytes handed to a disk at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Bytes of a sector; images are made of whole ones.
const SECTOR_BYTES: u64 = 512;

/// An image file with the map of what matters in it.
#[derive(Debug)]
pub struct DiskImage {
    path: PathBuf,
    file: File,
    map: Bmap,
}

/// An image that was read back from the disk as it was written; only [`write`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verified {
    bytes: u64,
}

impl fmt::Display for Verified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes verified", self.bytes)
    }
}

impl DiskImage {
    /// Opens an image with the block map beside it; without one, all of the image matters.
    ///
    /// # Errors
    /// When either cannot be read or they do not belong together.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
        let map = Bmap::beside(path)?;
        ensure!(
            map.image_bytes().is_multiple_of(SECTOR_BYTES),
            "{} has {} bytes: no disk image, which consists of sectors of {SECTOR_BYTES}",
            path.display(),
            map.image_bytes()
        );
        Ok(Self { path: path.to_owned(), file, map })
    }

    /// The block map.
    pub fn map(&self) -> &Bmap {
        &self.map
    }
}

/// Writes the blocks of an image that matter, and reads them back.
///
/// # Errors
/// [`Interrupted`] with the state of the disk.
pub fn write(image: &DiskImage, disk: &mut dyn Disk) -> Result<Verified, Interrupted> {
    let untouched = |cause| Interrupted { state: State::Untouched, cause };
    check(image, disk).map_err(untouched)?;
    // A process that is killed says nothing any more.
    eprintln!("until it is verified, the disk holds neither the old content nor the new whole");
    Writing::new(disk, image).run()?;
    read_back(image, disk)
}

/// Compares what a disk holds with what the image's map says.
fn read_back(image: &DiskImage, disk: &mut dyn Disk) -> Result<Verified, Interrupted> {
    let total = image.map.mapped_bytes();
    let bar = bars::bytes("reading back", total);
    for range in image.map.ranges() {
        let Range { start, bytes, sha256 } = *range;
        let unread = |cause| Interrupted { state: State::Unread, cause };
        let found = digest(range, &bar, |offset, data| disk.read_at(offset, data)).map_err(unread)?;
        if found != sha256 {
            let cause = anyhow!("what was read back differs from what was written");
            return Err(Interrupted { state: State::Unlike { start, bytes }, cause });
        }
    }
    bars::finish(&bar, "verified");
    Ok(Verified { bytes: total })
}

/// Everything that can be known before the first byte is written.
fn check(image: &DiskImage, disk: &dyn Disk) -> Result<()> {
    let (needed, there) = (image.map.image_bytes(), disk.bytes());
    ensure!(needed <= there, "the image has {needed} bytes, the disk {there}: it does not fit");
    let bar = bars::bytes("checking image", image.map.mapped_bytes());
    for range in image.map.ranges() {
        let found = digest(range, &bar, |offset, data| image.file.read_at(data, offset))?;
        ensure!(
            found == range.sha256,
            "{} is damaged: its {} bytes from {} on have another SHA-256 than its block map says; build it again",
            image.path.display(),
            range.bytes,
            range.start
        );
    }
    bar.finish();
    Ok(())
}

/// The digest of a run of bytes, however few come at once.
fn digest(
    range: &Range,
    bar: &ProgressBar,
    mut read: impl FnMut(u64, &mut [u8]) -> io::Result<usize>,
) -> Result<[u8; 32]> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; CHUNK_BYTES];
    for (at, length) in chunks(range) {
        let chunk = &mut buffer[..length];
        let mut done = 0;
        while done < length {
            let offset = at + done as u64;
            let count = match read(offset, &mut chunk[done..]) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            done += count.with_context(|| format!("cannot read at byte {offset}"))?;
        }
        hasher.update(chunk);
        bar.inc(length as u64);
    }
    Ok(hasher.finalize().into())
}

/// A run of bytes in pieces: where each starts, and its length.
fn chunks(range: &Range) -> impl Iterator<Item = (u64, usize)> {
    let end = range.start + range.bytes;
    (range.start..end).step_by(CHUNK_BYTES).map(move |at| {
        let length = usize::try_from(end - at).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        (at, length)
    })
}
