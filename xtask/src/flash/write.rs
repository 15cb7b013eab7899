//! Writes a disk image to a disk: checks the image before it touches the disk, writes only the blocks that matter, reads
//! them back and compares. Whatever goes wrong, the error says what the disk holds now. It never retries silently.

use std::error::Error;
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

/// What a disk holds after something went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// What it held before.
    Untouched,
    /// What it held before, or a piece of the image over it: the first write failed, and nobody tells how far it came.
    Begun,
    /// The first part of the image over what it held before.
    Partly {
        /// Bytes that were written.
        written: u64,
        /// Bytes that should have been.
        total: u64,
    },
    /// The image, as far as it took it; it could not be read back whole.
    Unread,
    /// Something else than was written.
    Unlike {
        /// Where the first run of bytes starts that differs.
        start: u64,
        /// How many bytes it has.
        bytes: u64,
    },
}

/// An image that was not written, or not whole, or not as it is.
#[derive(Debug)]
pub struct Interrupted {
    /// What the disk holds.
    pub state: State,
    cause: anyhow::Error,
}

impl fmt::Display for State {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untouched => out.write_str("nothing was written, it holds what it held before"),
            Self::Begun => out.write_str(
                "it holds what it held before, or a piece of the new image over that; write it again",
            ),
            Self::Partly { written, total } => write!(
                out,
                "it took {written} of {total} bytes of the new image over the old content, and boots neither; \
                 write it again"
            ),
            Self::Unread => {
                out.write_str("all was written, but what it holds was not confirmed; write it again")
            }
            Self::Unlike { start, bytes } => write!(
                out,
                "it holds something else than was written within the {bytes} bytes from {start} on, and may not boot; \
                 write it again, and if that ends the same, the disk is worn, or smaller than it says"
            ),
        }
    }
}

impl fmt::Display for Verified {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} bytes verified", self.bytes)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#}\n  state of the disk: {}", self.cause, self.state)
    }
}

impl Error for Interrupted {}

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
    let total = image.map.mapped_bytes();
    // A process that is killed says nothing any more.
    eprintln!("until it is verified, the disk holds neither the old content nor the new whole");
    let bar = bars::bytes("writing", total);
    let mut written = 0;
    for range in image.map.ranges() {
        write_range(image, range, disk, &mut written, &bar).map_err(|cause| {
            let state = if written == 0 { State::Begun } else { State::Partly { written, total } };
            Interrupted { state, cause }
        })?;
    }
    let unread = |cause: anyhow::Error| Interrupted { state: State::Unread, cause };
    disk.settle().context("the disk did not take what was written").map_err(unread)?;
    bar.finish();
    let bar = bars::bytes("reading back", total);
    for range in image.map.ranges() {
        let Range { start, bytes, sha256 } = *range;
        let found = digest(range, &bar, |offset, data| disk.read_at(offset, data)).map_err(unread)?;
        if found != sha256 {
            let cause = anyhow!("what was read back differs from what was written");
            return Err(Interrupted { state: State::Unlike { start, bytes }, cause });
        }
    }
    let verified = Verified { bytes: total };
    bars::finish(&bar, "verified");
    Ok(verified)
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

fn write_range(
    image: &DiskImage,
    range: &Range,
    disk: &mut dyn Disk,
    written: &mut u64,
    bar: &ProgressBar,
) -> Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES];
    for (at, length) in chunks(range) {
        let chunk = &mut buffer[..length];
        image
            .file
            .read_exact_at(chunk, at)
            .with_context(|| format!("cannot read {}", image.path.display()))?;
        let mut done = 0;
        while done < length {
            let offset = at + done as u64;
            let taken = match disk.write_at(offset, &chunk[done..]) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let taken = taken.with_context(|| format!("cannot write at byte {offset}"))?;
            done += taken;
            *written += taken as u64;
            bar.inc(taken as u64);
        }
    }
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::disk::FileDisk;
    use super::*;
    use crate::bmap::path_beside;

    const DISK_BYTES: u64 = 4 << 20;

    /// An image of 3 MiB of which the second MiB does not matter, and a disk full of old bytes.
    struct Bench {
        folder: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            let bench = Self { folder: tempfile::tempdir().unwrap() };
            let bytes: Vec<u8> =
                (0..3_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 24).to_le_bytes()[0]).collect();
            fs::write(bench.image(), bytes).unwrap();
            let map = Bmap::of(&bench.image(), &[(0, 1 << 20), (2 << 20, 1 << 20)]).unwrap();
            fs::write(path_beside(&bench.image()), map.to_xml()).unwrap();
            bench
        }

        fn image(&self) -> PathBuf {
            self.folder.path().join("a.img")
        }

        fn write_to(&self, disk: &mut Faulty) -> Result<Verified, Interrupted> {
            write(&DiskImage::open(&self.image()).unwrap(), disk)
        }
    }

    /// What a disk may do wrong.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        None,
        /// It takes and gives a few bytes at once.
        Short,
        /// Every other call is interrupted by a signal.
        Signals,
        /// It is gone after this many bytes.
        Pulled(u64),
        /// It is full after this many bytes.
        Full(u64),
        /// It takes nothing from here on and says that it did.
        Forgets(u64),
        /// It changes a bit.
        Flips,
        /// It cannot be read.
        Unreadable,
    }

    struct Faulty {
        bytes: Vec<u8>,
        fault: Fault,
        written: u64,
        calls: u64,
    }

    impl Faulty {
        fn new(fault: Fault) -> Self {
            Self { bytes: vec![0xee; usize::try_from(DISK_BYTES).unwrap()], fault, written: 0, calls: 0 }
        }

        fn expect_no_signal(&mut self) -> io::Result<()> {
            self.calls += 1;
            let is_interrupted = self.fault == Fault::Signals && self.calls % 2 == 1;
            if is_interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) }
        }

        fn is_untouched(&self) -> bool {
            self.bytes.iter().all(|byte| *byte == 0xee)
        }
    }

    impl Disk for Faulty {
        fn bytes(&self) -> u64 {
            self.bytes.len() as u64
        }

        fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
            self.expect_no_signal()?;
            let length = match self.fault {
                Fault::Short => data.len().min(1000),
                Fault::Pulled(after) if self.written >= after => {
                    return Err(io::ErrorKind::NotConnected.into());
                }
                Fault::Full(after) if self.written >= after => return Err(io::ErrorKind::StorageFull.into()),
                _ => data.len(),
            };
            self.written += length as u64;
            if matches!(self.fault, Fault::Forgets(from) if offset >= from) {
                return Ok(length);
            }
            let start = usize::try_from(offset).unwrap();
            self.bytes[start..start + length].copy_from_slice(&data[..length]);
            Ok(length)
        }

        fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize> {
            self.expect_no_signal()?;
            let start = usize::try_from(offset).unwrap();
            let length = if self.fault == Fault::Short { data.len().min(1000) } else { data.len() };
            data[..length].copy_from_slice(&self.bytes[start..start + length]);
            match self.fault {
                Fault::Unreadable => Err(io::ErrorKind::NotConnected.into()),
                _ => Ok(length),
            }
        }

        fn settle(&mut self) -> io::Result<()> {
            if self.fault == Fault::Flips {
                self.bytes[2 << 20] ^= 1;
            }
            Ok(())
        }
    }

    #[test]
    fn only_what_matters_is_written() {
        let bench = Bench::new();
        for fault in [Fault::None, Fault::Short, Fault::Signals] {
            let mut disk = Faulty::new(fault);
            let verified = bench.write_to(&mut disk).unwrap();
            assert_eq!(verified.to_string(), "2097152 bytes verified", "{fault:?}");
            let image = fs::read(bench.image()).unwrap();
            let mib = 1 << 20;
            assert!(disk.bytes[..mib] == image[..mib] && disk.bytes[2 * mib..3 * mib] == image[2 * mib..]);
            assert!(disk.bytes[mib..2 * mib].iter().chain(&disk.bytes[3 * mib..]).all(|byte| *byte == 0xee));
        }
    }

    #[test]
    fn a_file_is_a_disk() {
        let bench = Bench::new();
        let path = bench.folder.path().join("disk");
        fs::write(&path, vec![0xee; usize::try_from(DISK_BYTES).unwrap()]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        write(&DiskImage::open(&bench.image()).unwrap(), &mut FileDisk::new(file, DISK_BYTES)).unwrap();
        assert_eq!(fs::read(&path).unwrap()[2 << 20..3 << 20], fs::read(bench.image()).unwrap()[2 << 20..]);
    }

    #[test]
    fn a_cable_that_is_pulled_leaves_a_part() {
        let bench = Bench::new();
        let mut disk = Faulty::new(Fault::Pulled(1 << 20));
        let error = bench.write_to(&mut disk).unwrap_err();
        assert_eq!(error.state, State::Partly { written: 1 << 20, total: 2 << 20 });
        assert!(
            error.to_string().contains("cannot write at byte 2097152")
                && error.to_string().contains("boots neither")
        );
        let mut disk = Faulty::new(Fault::Pulled(0));
        let error = bench.write_to(&mut disk).unwrap_err();
        assert_eq!(error.state, State::Begun);
        assert!(error.to_string().contains("or a piece of the new image") && disk.is_untouched(), "{error}");
    }

    #[test]
    fn a_disk_that_is_full_says_how_far_it_came() {
        let error = Bench::new().write_to(&mut Faulty::new(Fault::Full(1 << 20))).unwrap_err();
        assert_eq!(error.state, State::Partly { written: 1 << 20, total: 2 << 20 });
    }

    #[test]
    fn a_disk_that_lies_is_found_out_by_reading_back() {
        let bench = Bench::new();
        let state = State::Unlike { start: 2 << 20, bytes: 1 << 20 };
        for fault in [Fault::Flips, Fault::Forgets(2 << 20)] {
            assert_eq!(bench.write_to(&mut Faulty::new(fault)).unwrap_err().state, state, "{fault:?}");
        }
        assert_eq!(bench.write_to(&mut Faulty::new(Fault::Unreadable)).unwrap_err().state, State::Unread);
    }

    #[test]
    fn what_is_wrong_with_the_image_is_found_before_the_disk_is_touched() {
        let bench = Bench::new();
        let mut bytes = fs::read(bench.image()).unwrap();
        bytes[5] ^= 1;
        fs::write(bench.image(), bytes).unwrap();
        let mut disk = Faulty::new(Fault::None);
        let error = bench.write_to(&mut disk).unwrap_err();
        assert!(error.to_string().contains("is damaged") && disk.is_untouched(), "{error}");
        assert_eq!(error.state, State::Untouched);
    }

    #[test]
    fn a_disk_that_is_too_small_is_not_touched() {
        let mut disk = Faulty::new(Fault::None);
        disk.bytes.truncate(2 << 20);
        let error = Bench::new().write_to(&mut disk).unwrap_err();
        assert!(error.to_string().contains("does not fit") && disk.is_untouched(), "{error}");
    }
}
