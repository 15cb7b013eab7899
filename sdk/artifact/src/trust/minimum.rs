//! The lowest security version that a device still accepts, in a file of one number. It only rises, and only when the
//! caller says so: after what brings the higher version has proved itself on this device.

use std::fs;
use std::path::Path;

use crate::{Error, Fault, atomic};

/// The minimum in the file at `path`; 0 where there is none yet.
///
/// # Errors
/// [`Error::Untrusted`] when it holds no number; [`Error::Io`] when it cannot be read.
pub fn minimum_security_version(path: &Path) -> Result<u32, Error> {
    let text = match fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        text => text.map_err(|e| Error::io(path, e))?,
    };
    text.trim_end().parse().map_err(|_| {
        Error::Untrusted(Fault::new(
            format!("{}: {:?} is no security version", path.display(), text.trim_end()),
            "one number",
            "write the security version of the bundle that this device runs into it",
        ))
    })
}

/// Raises the minimum in the file at `path` to `version`, and leaves it where it is higher already. The file is replaced
/// as a whole, so that a power cut leaves the old number or the new.
///
/// # Errors
/// As [`minimum_security_version`], and [`Error::Io`] when it cannot be written.
pub fn raise_minimum_security_version(path: &Path, version: u32) -> Result<u32, Error> {
    let old = minimum_security_version(path)?;
    if version <= old {
        return Ok(old);
    }
    atomic::write(path, format!("{version}\n").as_bytes())?;
    Ok(version)
}
