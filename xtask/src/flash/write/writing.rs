//! Hands an image to a disk and counts what is on it for certain: what a disk took may still lie in a cache, and is lost there
//! when the disk is pulled. It neither checks the image nor reads anything back.

use std::io;
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};
use indicatif::ProgressBar;

use super::{CHUNK_BYTES, DiskImage, Interrupted, State, chunks};
use crate::bmap::Range;
use crate::flash::bars;
use crate::flash::disk::Disk;

/// An image on its way to a disk.
pub struct Writing<'a> {
    disk: &'a mut dyn Disk,
    image: &'a DiskImage,
    /// Shows what is settled.
    bar: ProgressBar,
    total: u64,
    taken: u64,
    settled: u64,
}

impl<'a> Writing<'a> {
    /// Writes nothing yet.
    pub fn new(disk: &'a mut dyn Disk, image: &'a DiskImage) -> Self {
        let total = image.map.mapped_bytes();
        Self { disk, image, bar: bars::bytes("writing", total), total, taken: 0, settled: 0 }
    }

    /// Writes the blocks that matter, and returns once they are on the disk.
    ///
    /// # Errors
    /// [`Interrupted`] with the state of the disk.
    pub fn run(mut self) -> Result<(), Interrupted> {
        for range in self.image.map.ranges() {
            self.write_range(range)?;
        }
        self.settle()?;
        self.bar.finish();
        Ok(())
    }

    fn write_range(&mut self, range: &Range) -> Result<(), Interrupted> {
        let mut buffer = vec![0; CHUNK_BYTES];
        for (at, length) in chunks(range) {
            self.copy(at, &mut buffer[..length]).map_err(|cause| self.interrupted(cause))?;
            if self.taken - self.settled >= self.disk.settle_after() {
                self.settle()?;
            }
        }
        Ok(())
    }

    /// Copies the bytes from `at` on, as many as `chunk` has room for.
    fn copy(&mut self, at: u64, chunk: &mut [u8]) -> Result<()> {
        let Self { image, disk, .. } = self;
        image
            .file
            .read_exact_at(chunk, at)
            .with_context(|| format!("cannot read {}", image.path.display()))?;
        let mut done = 0;
        while done < chunk.len() {
            let offset = at + done as u64;
            let taken = match disk.write_at(offset, &chunk[done..]) {
                Ok(0) => Err(io::Error::from(io::ErrorKind::WriteZero)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                other => other,
            };
            let taken = taken.with_context(|| format!("cannot write at byte {offset}"))?;
            done += taken;
            self.taken += taken as u64;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Interrupted> {
        let settled = self.disk.settle().context("the disk does not confirm that it holds what it took");
        settled.map_err(|cause| Interrupted { state: self.unsettled(), cause })?;
        self.settled = self.taken;
        self.bar.set_position(self.settled);
        Ok(())
    }

    /// What the disk holds after a write that failed. Only the disk can tell whether what it took before is on it.
    fn interrupted(&mut self, cause: anyhow::Error) -> Interrupted {
        let is_settled = self.taken == self.settled || self.disk.settle().is_ok();
        let state = match (is_settled, self.taken) {
            (false, _) => self.unsettled(),
            (true, 0) => State::Begun,
            (true, written) => State::Partly { written, total: self.total },
        };
        Interrupted { state, cause }
    }

    fn unsettled(&self) -> State {
        State::Unsettled { written: self.settled, total: self.total }
    }
}
