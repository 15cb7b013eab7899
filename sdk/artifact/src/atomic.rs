//! Files that are either whole or absent: written beside their target, synced, then renamed over it.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::Error;

/// Writes `path` through `fill`; a failure at any point leaves the old file (or none) in place.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be made, the disk is full, or `fill` fails.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("unnamed");
    let beside = parent.join(format!(".{name}.{}.tmp", std::process::id()));
    let outcome = write_and_rename(&beside, path, fill);
    if outcome.is_err() {
        // The original error matters more than a failed clean-up of the temporary file.
        let _ = fs::remove_file(&beside);
    }
    outcome.map_err(|e| Error::io(path, e))?;
    // Makes the rename itself durable; some file systems refuse to sync a folder, which loses nothing.
    let _ = File::open(parent).and_then(|dir| dir.sync_all());
    Ok(())
}

/// Writes `bytes` to `path` atomically.
///
/// # Errors
/// As [`write_with`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_with(path, |out| out.write_all(bytes))
}

fn write_and_rename(
    beside: &Path,
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(beside)?);
    fill(&mut out)?;
    let file = out.into_inner().map_err(std::io::IntoInnerError::into_error)?;
    file.sync_all()?;
    fs::rename(beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_write_keeps_the_old_file_and_leaves_nothing_beside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.bin");
        write(&path, b"old").unwrap();
        let failed = write_with(&path, |out| {
            out.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        assert!(failed.unwrap_err().to_string().contains("disk full"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
