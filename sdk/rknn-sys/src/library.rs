//! Loads the runtime and keeps it. Never unloads it: its own threads may outlive every context.

use std::ffi::{CStr, OsStr, c_void};
use std::mem::{ManuallyDrop, MaybeUninit};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::bindings::RknnTable;
use crate::version::{self, Runtime, Stated};

/// A loaded runtime library and its table of functions.
pub struct Library {
    /// Unloading would pull code from under the runtime's threads.
    table: ManuallyDrop<RknnTable>,
    path: Option<PathBuf>,
    stated: Option<Stated>,
}

/// Why a library could not be loaded.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct LoadError {
    /// What the dynamic linker said.
    pub reason: String,
}

impl Library {
    /// Loads the library `name`: a file name is looked for as the dynamic linker does (`LD_LIBRARY_PATH`, then the
    /// system's folders), a path with a slash is taken as it is. Functions that it lacks are errors in the table, not
    /// here.
    ///
    /// # Errors
    /// When it is not there, or not a library for this machine.
    pub fn open(name: &OsStr) -> Result<Self, LoadError> {
        // SAFETY: loading runs the library's initializers. It is the NPU runtime that the caller asked for, which may
        // be loaded by any program, at any time, and is never unloaded.
        let table = unsafe { RknnTable::new(name) };
        let table = table.map_err(|error| LoadError { reason: describe(&error) })?;
        let path = table.rknn_init.as_ref().ok().and_then(|init| file_of(*init as *const c_void));
        let stated = path.as_deref().and_then(version::of_file);
        Ok(Self { table: ManuallyDrop::new(table), path, stated })
    }

    /// The functions; each is an error where the library lacks it.
    pub fn table(&self) -> &RknnTable {
        &self.table
    }

    /// The file that was loaded, where the dynamic linker tells.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The version that the library's file states, such as `2.3.2`, known before any context exists.
    pub fn version(&self) -> Option<&str> {
        self.stated.as_ref().map(|stated| stated.version.as_str())
    }

    /// Which of the two runtimes it is: what its file states, else what it is called, else the one of RK35xx.
    pub fn runtime(&self) -> Runtime {
        let named = || Runtime::of_name(self.path.as_deref()?.file_name()?.to_str()?);
        self.stated.as_ref().map(|stated| stated.runtime).or_else(named).unwrap_or(Runtime::Rknnrt)
    }
}

/// The dynamic linker's own words; the error's `Display` hides them behind its source.
fn describe(error: &libloading::Error) -> String {
    let source = std::error::Error::source(error);
    source.map_or_else(|| error.to_string(), ToString::to_string)
}

/// The file that the code at `address` was loaded from.
fn file_of(address: *const c_void) -> Option<PathBuf> {
    let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: `info` is writable memory of the right type; any address may be asked about.
    let found = unsafe { libc::dladdr(address, info.as_mut_ptr()) };
    // SAFETY: zeroed memory is a valid Dl_info (null pointers), which dladdr may have filled in.
    let info = unsafe { info.assume_init() };
    if found == 0 || info.dli_fname.is_null() {
        return None;
    }
    // SAFETY: dladdr gave a C string that lives as long as the library, which is never unloaded.
    let name = unsafe { CStr::from_ptr(info.dli_fname) };
    Some(PathBuf::from(OsStr::from_bytes(name.to_bytes())))
}
