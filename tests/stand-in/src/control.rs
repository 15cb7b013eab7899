//! How a test talks to the stand-in library that the program under test has loaded: reads counters, lets stalled calls
//! return. Loading the same file again gives the same library, with its state.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};

use libloading::Library;

use crate::Kind;

pub use crate::device::Counters;

type Report = unsafe extern "C" fn(*const c_char, *mut c_char, usize) -> usize;
type Release = unsafe extern "C" fn(*const c_char) -> i32;

/// A model in a loaded stand-in.
pub struct Control {
    library: Library,
    name: CString,
}

/// The stand-in of a runtime, as cargo builds it for tests that depend on `stand-in-rk` or `stand-in-rv`.
///
/// # Panics
/// When it has not been built.
pub fn library(kind: Kind) -> PathBuf {
    built(match kind {
        Kind::Rk => "libstand_in_rk.so",
        Kind::Rv => "libstand_in_rv.so",
    })
}

/// The library called `name`, as cargo builds it for tests that depend on its package.
///
/// # Panics
/// When it has not been built.
pub fn built(name: &str) -> PathBuf {
    let program = std::env::current_exe().expect("no path of the running test");
    let folders = program.ancestors().skip(1).take(2);
    let places = folders.flat_map(|folder| [folder.join(name), folder.join("deps").join(name)]);
    let found = places.into_iter().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built: run `cargo build --workspace`"))
}

impl Control {
    /// The model called `model` in the stand-in at `library`.
    ///
    /// # Panics
    /// When the library cannot be loaded.
    pub fn new(library: &Path, model: &str) -> Self {
        // SAFETY: a stand-in, which the tests built and may load at any time.
        let library = unsafe { Library::new(library) }.expect("a stand-in library");
        Self { library, name: CString::new(model).expect("a name without zeros") }
    }

    /// The counters so far; none before the model is loaded for the first time.
    ///
    /// # Panics
    /// When the library is no stand-in.
    pub fn counters(&self) -> Counters {
        let mut text = vec![0_u8; 64 << 10];
        // SAFETY: the stand-in exports the function with this signature; the name is a C string, the text has room.
        let length = unsafe {
            let report = self.library.get::<Report>(b"stand_in_report\0").expect("a stand-in");
            report(self.name.as_ptr(), text.as_mut_ptr().cast(), text.len())
        };
        serde_json::from_slice(&text[..length.min(text.len())]).unwrap_or_default()
    }

    /// Lets every stalled call return, those to come among them.
    ///
    /// # Panics
    /// When the library is no stand-in.
    pub fn release(&self) {
        // SAFETY: the stand-in exports the function with this signature; the name is a C string.
        unsafe {
            let release = self.library.get::<Release>(b"stand_in_release\0").expect("a stand-in");
            release(self.name.as_ptr());
        }
    }
}
