//! How a test talks to the stand-in of librga: a copy of the library's file, which has a state of its own.

use std::path::{Path, PathBuf};

use libloading::Library;

use crate::control::built;

/// A copy of the stand-in of librga.
pub struct Rga {
    library: Library,
    path: PathBuf,
}

impl Rga {
    /// Copies the library, as cargo builds it for tests that depend on `stand-in-rga`, into `folder` and loads it.
    ///
    /// # Panics
    /// When it has not been built, or cannot be copied or loaded.
    pub fn copy_to(folder: &Path) -> Self {
        let path = folder.join("librga-stand-in.so");
        std::fs::copy(built("libstand_in_rga.so"), &path).expect("room for a copy");
        // SAFETY: a stand-in, which the tests built and may load at any time.
        let library = unsafe { Library::new(&path) }.expect("a stand-in library");
        Self { library, path }
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Handles that are not released.
    pub fn handles(&self) -> u32 {
        self.count(b"stand_in_rga_handles\0")
    }

    /// Calls that the real one must not be given.
    pub fn misuses(&self) -> u32 {
        self.count(b"stand_in_rga_misuses\0")
    }

    /// Frames that were resized.
    pub fn done(&self) -> u32 {
        self.count(b"stand_in_rga_done\0")
    }

    /// Has all imports, fills and resizes fail but the next `count`.
    pub fn fail_after(&self, count: u32) {
        self.tell(b"stand_in_rga_fail_after\0", count);
    }

    /// Has it be version 1.`minor`.0; it is 1.10.0 before.
    pub fn set_minor(&self, minor: u32) {
        self.tell(b"stand_in_rga_set_minor\0", minor);
    }

    fn count(&self, name: &[u8]) -> u32 {
        // SAFETY: the stand-in exports these functions with this signature.
        unsafe { self.library.get::<unsafe extern "C" fn() -> u32>(name).expect("a stand-in")() }
    }

    fn tell(&self, name: &[u8], number: u32) {
        // SAFETY: the stand-in exports these functions with this signature.
        unsafe { self.library.get::<unsafe extern "C" fn(u32)>(name).expect("a stand-in")(number) }
    }
}
