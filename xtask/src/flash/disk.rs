//! Something that takes a disk image: a card in a reader, a board's memory over USB, a file in tests.
//! A disk knows its size and its bytes; what is written to it and in which order is `write`'s business.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{Advice, fadvise};

/// A disk to write an image to.
pub trait Disk {
    /// How many bytes it has.
    fn bytes(&self) -> u64;

    /// Writes some of `data` from `offset` on and says how many bytes were taken.
    ///
    /// # Errors
    /// When the disk is gone, full or broken.
    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize>;

    /// Reads some of what lies from `offset` on and says how many bytes were read.
    ///
    /// # Errors
    /// When the disk is gone or broken.
    fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize>;

    /// How many bytes it takes at most before it is asked to settle them: what it took beyond that would only be believed.
    fn settle_after(&self) -> u64;

    /// Waits until everything written is on the medium, so that what is read next comes from there.
    ///
    /// # Errors
    /// When the disk is gone or broken.
    fn settle(&mut self) -> io::Result<()>;
}

/// The kernel takes as many bytes as it has memory, and a card that is pulled loses them: a few at a time keep what is counted
/// true. Fewer would make cards wait more often than they write.
const SETTLE_BYTES: u64 = 32 << 20;

/// A disk that the kernel shows as a file.
#[derive(Debug)]
pub struct FileDisk {
    file: File,
    bytes: u64,
}

impl FileDisk {
    /// A disk of `bytes` bytes behind a file that is open for reading and writing.
    pub fn new(file: File, bytes: u64) -> Self {
        Self { file, bytes }
    }
}

impl Disk for FileDisk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.file.write_at(data, offset)
    }

    fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(data, offset)
    }

    fn settle_after(&self) -> u64 {
        SETTLE_BYTES
    }

    fn settle(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        // Without this, reading would be answered from the kernel's memory and prove nothing.
        fadvise(&self.file, 0, None, Advice::DontNeed).map_err(io::Error::from)
    }
}
