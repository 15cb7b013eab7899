//! A board in rockusb mode as something that can be asked, read and written, and as a disk.
//! The protocol is the crate rockusb's; nothing here knows a USB packet.

use std::io;

use anyhow::{Context, Result, ensure};
use rockusb::device::{Device, Transport};
use rockusb::protocol::{ResetOpcode, SECTOR_SIZE};

use crate::flash::disk::Disk;

/// Bytes of one transfer: what rockusb's own block device uses.
const TRANSFER_BYTES: usize = 64 << 10;

/// A board on the other end of a USB cable.
pub trait Link {
    /// Puts code into the boot ROM's memory and runs it; only a boot ROM takes it.
    ///
    /// # Errors
    /// When the cable is out, or what runs on the board is no boot ROM.
    fn download(&mut self, area: u16, code: &[u8]) -> Result<()>;

    /// Bytes of the board's memory; only a loader answers.
    ///
    /// # Errors
    /// When no loader answers.
    fn flash_bytes(&mut self) -> Result<u64>;

    /// Writes whole sectors.
    ///
    /// # Errors
    /// When the board is gone or its memory refuses.
    fn write(&mut self, sector: u32, data: &[u8]) -> io::Result<()>;

    /// Reads whole sectors.
    ///
    /// # Errors
    /// When the board is gone or its memory refuses.
    fn read(&mut self, sector: u32, data: &mut [u8]) -> io::Result<()>;

    /// Starts the board anew.
    ///
    /// # Errors
    /// When the board is gone.
    fn restart(&mut self) -> Result<()>;
}

impl<T: Transport> Link for Device<T> {
    fn download(&mut self, area: u16, code: &[u8]) -> Result<()> {
        self.write_maskrom_area(area, code).map_err(|error| anyhow::anyhow!("{error}"))
    }

    fn flash_bytes(&mut self) -> Result<u64> {
        let info = self.flash_info().map_err(|error| anyhow::anyhow!("{error}"))?;
        ensure!(info.sectors() > 0, "the loader finds no memory to write to");
        Ok(info.size())
    }

    fn write(&mut self, sector: u32, data: &[u8]) -> io::Result<()> {
        let done = self.write_lba(sector, data).map_err(|error| io::Error::other(error.to_string()))?;
        expect_whole(done, data.len())
    }

    fn read(&mut self, sector: u32, data: &mut [u8]) -> io::Result<()> {
        let done = self.read_lba(sector, data).map_err(|error| io::Error::other(error.to_string()))?;
        expect_whole(done, data.len())
    }

    fn restart(&mut self) -> Result<()> {
        self.reset_device(ResetOpcode::Reset).map_err(|error| anyhow::anyhow!("{error}"))
    }
}

/// The protocol moves a command's sectors whole or fails; a loader that says otherwise is not to be trusted.
fn expect_whole(done: u32, asked: usize) -> io::Result<()> {
    if usize::try_from(done).ok() == Some(asked) {
        return Ok(());
    }
    Err(io::Error::other(format!("the loader moved {done} of {asked} bytes")))
}

/// The memory of a board whose loader runs.
pub struct LinkDisk<'a> {
    link: &'a mut dyn Link,
    bytes: u64,
}

impl<'a> LinkDisk<'a> {
    /// Asks the loader for the memory's size.
    ///
    /// # Errors
    /// When no loader answers.
    pub fn new(link: &'a mut dyn Link) -> Result<Self> {
        let bytes = link.flash_bytes().context("the board's loader does not answer")?;
        Ok(Self { link, bytes })
    }
}

impl Disk for LinkDisk<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn write_at(&mut self, offset: u64, data: &[u8]) -> io::Result<usize> {
        let (sector, length) = span(offset, data.len())?;
        self.link.write(sector, &data[..length])?;
        Ok(length)
    }

    fn read_at(&mut self, offset: u64, data: &mut [u8]) -> io::Result<usize> {
        let (sector, length) = span(offset, data.len())?;
        self.link.read(sector, &mut data[..length])?;
        Ok(length)
    }

    fn settle_after(&self) -> u64 {
        0
    }

    fn settle(&mut self) -> io::Result<()> {
        // A command ends when the memory has taken its sectors; the loader keeps none back.
        Ok(())
    }
}

/// The first sector of a transfer and how many bytes it moves.
fn span(offset: u64, length: usize) -> io::Result<(u32, usize)> {
    let sector = u32::try_from(offset / SECTOR_SIZE).map_err(io::Error::other)?;
    let is_whole = offset.is_multiple_of(SECTOR_SIZE) && (length as u64).is_multiple_of(SECTOR_SIZE);
    if !is_whole {
        return Err(io::Error::other(format!("{length} bytes from {offset} on are no whole sectors")));
    }
    Ok((sector, length.min(TRANSFER_BYTES)))
}
