//! A frame where a camera put it, for devices to read it there. A processor reads it only where no device could after all: it
//! takes the same buffer, and gives the pixels to a shot.

mod ffi;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use artifact::Fault;

use super::{Shot, unpack};
use crate::Error;
use crate::preprocess::rga::{DmaFrame, DmaLayout};
use ffi::Mapped;

/// A frame in a camera's DMA-BUF. The camera fills that buffer again once all clones of this are dropped, so it is to be held no
/// longer than it is read.
#[derive(Debug, Clone)]
pub struct ShotDma {
    fd: Arc<OwnedFd>,
    layout: DmaLayout,
}

impl ShotDma {
    /// The frame that lies as `layout` says from the first byte of `fd`, which is in use as long as it is shared: nobody writes to
    /// it meanwhile.
    pub fn new(fd: Arc<OwnedFd>, layout: DmaLayout) -> Self {
        Self { fd, layout }
    }

    /// For devices.
    pub fn frame(&self) -> DmaFrame<'_> {
        DmaFrame { fd: self.fd.as_fd(), layout: self.layout }
    }

    /// Copies the pixels into `shot`.
    pub(super) fn read_into(&self, shot: &mut Shot) -> Result<(), Error> {
        match Mapped::new(self.fd.as_fd()).map_err(unreadable)? {
            Some(mapped) => self.copy(mapped.bytes(), shot),
            None => self.copy(&self.read_file().map_err(unreadable)?, shot),
        }
    }

    fn copy(&self, bytes: &[u8], shot: &mut Shot) -> Result<(), Error> {
        unpack::copy(&unpack::look(&self.layout, bytes)?, shot);
        Ok(())
    }

    /// What lies in `fd` where that is no DMA-BUF, as in tests.
    fn read_file(&self) -> io::Result<Vec<u8>> {
        let file = File::from(self.fd.try_clone()?);
        let len = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn unreadable(error: io::Error) -> Error {
    Error::Input(Fault::new(
        format!("a camera's buffer that cannot be read: {error}"),
        "a DMA-BUF that a processor can read",
        "use `--rga off`, or RgaChoice::Off: then frames are copied when they come",
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    use super::*;
    use crate::frame::YuvColor;
    use crate::preprocess::rga::DmaPacking;
    use crate::source::Format;

    fn shot(bytes: &[u8]) -> Shot {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        shot_in(file)
    }

    fn shot_in(file: File) -> Shot {
        let packing = DmaPacking::Nv12 { stride: 6 };
        let layout = DmaLayout { width_px: 4, height_px: 2, packing, color: YuvColor::default() };
        Shot { dma: Some(ShotDma::new(Arc::new(file.into()), layout)), ..Shot::default() }
    }

    #[test]
    fn pixels_that_stayed_in_the_buffer_are_read_once_and_without_padding() {
        let mut shot = shot(&[1, 2, 3, 4, 0, 0, 5, 6, 7, 8, 0, 0, 21, 22, 23, 24]);
        assert!(!shot.has_pixels());
        shot.read().unwrap();
        assert_eq!(shot.bytes, [1, 2, 3, 4, 5, 6, 7, 8, 21, 22, 23, 24]);
        assert_eq!((shot.width_px, shot.height_px), (4, 2));
        assert_eq!(shot.format, Format::Nv12(YuvColor::default()));
        assert!(shot.has_pixels() && shot.picture().is_ok());
        shot.bytes[0] = 9;
        shot.read().unwrap();
        assert_eq!(shot.bytes[0], 9, "what is drawn on a frame stays");
    }

    #[test]
    fn a_buffer_that_is_too_short_or_empty_is_an_error() {
        assert!(shot(&[0; 15]).read().unwrap_err().to_string().contains("4x2"));
        assert!(shot(&[]).read().unwrap_err().to_string().contains("4x2"));
    }

    #[test]
    fn a_buffer_that_cannot_be_read_is_an_error_that_says_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0; 64]).unwrap();
        let open = |options: &mut std::fs::OpenOptions| options.open(file.path()).unwrap();
        // One that may only be written, and one that only names the file.
        let unread =
            [open(File::options().write(true)), open(File::options().read(true).custom_flags(libc::O_PATH))];
        for file in unread {
            let said = shot_in(file).read().unwrap_err().to_string();
            assert!(said.contains("cannot be read") && said.contains("--rga off"), "{said}");
        }
    }
}
