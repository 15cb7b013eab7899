//! A DMA-BUF, mapped to be read by a processor for as long as that takes: the kernel makes its caches consistent before and is
//! told when it is over. Writes nothing, and maps nothing else.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{NonNull, null_mut};

use rustix::fs::SeekFrom;

use crate::preprocess::rga::{SYNC_END, SYNC_READ, sync};

/// A mapped buffer. Told to be over before it is unmapped.
pub(super) struct Mapped<'f> {
    _reading: Reading<'f>,
    memory: Memory,
}

/// The time in which a buffer is read.
struct Reading<'f>(BorrowedFd<'f>);

/// What is mapped.
struct Memory {
    start: NonNull<u8>,
    len: usize,
}

impl<'f> Mapped<'f> {
    /// Maps the whole buffer behind `fd`; none where it is no DMA-BUF: a file may be made shorter at any time, and who then reads
    /// what was mapped is killed.
    ///
    /// # Errors
    /// What the kernel answers, such as that its caches cannot be made consistent or that its driver maps none.
    pub(super) fn new(fd: BorrowedFd<'f>) -> io::Result<Option<Self>> {
        if !sync(fd, SYNC_READ)? {
            return Ok(None);
        }
        let reading = Reading(fd);
        let memory = Memory::map(fd)?;
        Ok(Some(Self { _reading: reading, memory }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        let Memory { start, len } = self.memory;
        // SAFETY: mapped to be read, for as long as this lives. It is a DMA-BUF, whose size never changes, and whoever filled it
        // does not before it is given back, which is after this is dropped.
        unsafe { std::slice::from_raw_parts(start.as_ptr(), len) }
    }
}

impl Memory {
    fn map(fd: BorrowedFd<'_>) -> io::Result<Self> {
        // Where a DMA-BUF's end is, is what tells its size.
        let len = rustix::fs::seek(fd, SeekFrom::End(0))?;
        let len = usize::try_from(len).map_err(io::Error::other)?;
        let (place, access, raw_fd) = (null_mut(), libc::PROT_READ, fd.as_raw_fd());
        // SAFETY: a new mapping, wherever the kernel finds room for it; `fd` is open.
        let start = unsafe { libc::mmap(place, len, access, libc::MAP_SHARED, raw_fd, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at address 0"))?;
        Ok(Self { start, len })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: what was mapped, and nobody has its bytes any more.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len) };
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        // What was read is right, whatever becomes of it.
        let _ = sync(self.0, SYNC_END | SYNC_READ);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_file_is_not_mapped() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 4096]).unwrap();
        assert!(Mapped::new(file.as_fd()).unwrap().is_none());
    }
}
