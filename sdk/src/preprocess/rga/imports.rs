//! Buffers that the device knows: each is imported once, and the one unused for longest goes when there are too many. All are
//! released at the end.

use std::os::fd::BorrowedFd;

use super::ffi::{Imported, Library, Refused, Surface};

/// Buffers kept; a camera and an NPU together have fewer.
const MOST: usize = 16;

/// What a descriptor stands for, however it is numbered. The device keeps a buffer while it is imported, so that none has
/// another's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity([u64; 2]);

/// What is imported, the last used last.
pub(super) struct Imports {
    kept: Vec<(Identity, Imported, Surface)>,
}

/// Whether a buffer is known since now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    Before,
    SinceNow,
}

impl Identity {
    /// That of `fd`; all descriptors that cannot be asked have the same.
    #[expect(clippy::useless_conversion, reason = "the width of a device's number differs between machines")]
    pub(super) fn of(fd: BorrowedFd<'_>) -> Self {
        rustix::fs::fstat(fd).map_or(Self([0; 2]), |about| Self([about.st_dev.into(), about.st_ino.into()]))
    }
}

impl Imports {
    pub(super) fn new() -> Self {
        Self { kept: Vec::with_capacity(MOST) }
    }

    /// The buffer behind `fd`, imported where it is not yet.
    pub(super) fn get(
        &mut self,
        library: &Library,
        fd: BorrowedFd<'_>,
        identity: Identity,
        surface: Surface,
    ) -> Result<(Imported, Known), Refused> {
        let known = self.kept.iter().position(|kept| (kept.0, kept.2) == (identity, surface));
        if let Some(at) = known {
            let kept = self.kept.remove(at);
            self.kept.push(kept);
            return Ok((kept.1, Known::Before));
        }
        if self.kept.len() == MOST {
            library.release(self.kept.remove(0).1);
        }
        let imported = library.import(fd, surface)?;
        self.kept.push((identity, imported, surface));
        Ok((imported, Known::SinceNow))
    }

    /// Releases all.
    pub(super) fn clear(&mut self, library: &Library) {
        self.kept.drain(..).for_each(|(_, imported, _)| library.release(imported));
    }
}
