//! Files that are either whole or absent: written beside their target, synced, then renamed over it. Links are
//! followed and never replaced; devices and pipes are written into, because there is nothing to replace.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Links followed before a circle is assumed; Linux allows as many.
const MAX_LINKS: usize = 40;

/// Writes `path` through `fill`; a failure at any point leaves the old file (or none) in place. A file that is replaced
/// passes its permissions on.
///
/// # Errors
/// [`Error::Io`] when the folder cannot be made, the disk is full, or `fill` fails.
pub fn write_with(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    write_checked(path, fill, |_| Ok(()))
}

/// As [`write_with`], and shows the finished file to `check` before it takes its name; not so for devices and pipes,
/// which cannot be read back.
///
/// # Errors
/// As [`write_with`], and what `check` says.
pub fn write_checked(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
    check: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let named = |e| Error::io(path, e);
    let present = fs::metadata(path).ok();
    if present.as_ref().is_some_and(|it| !it.is_file() && !it.is_dir()) {
        return File::options()
            .write(true)
            .open(path)
            .and_then(|file| filled(file, fill))
            .map(drop)
            .map_err(named);
    }
    let target = follow(path).map_err(named)?;
    let parent = folder_of(&target);
    fs::create_dir_all(parent).map_err(|e| Error::io(parent, e))?;
    let (beside, file) = create_beside(parent).map_err(named)?;
    let outcome = present
        .map_or(Ok(()), |old| file.set_permissions(old.permissions()))
        .and_then(|()| filled(file, fill)?.sync_all())
        .map_err(named)
        .and_then(|()| check(&beside))
        .and_then(|()| fs::rename(&beside, &target).map_err(named));
    if outcome.is_err() {
        // The original error matters more than a failed clean-up of the temporary file.
        let _ = fs::remove_file(&beside);
    }
    outcome?;
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

fn filled(file: File, fill: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<File> {
    let mut out = BufWriter::new(file);
    fill(&mut out)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)
}

/// Where writing to `path` ends up, also when that file is not there yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        // What is no link is the target; what cannot be looked at will not be written either, and says so then.
        let Ok(next) = fs::read_link(&target) else { return Ok(target) };
        target = folder_of(&target).join(next);
    }
    Err(io::Error::other("too many symbolic links"))
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file in `folder`. Its name is short, so that it fits wherever the target's does.
fn create_beside(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{}-{number}.tmp", std::process::id()));
        match File::create_new(&path) {
            // Left by a process of the same id that was killed, or another machine's on a shared disk.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|file| (path, file)),
        }
    }
}

#[cfg(test)]
mod tests;
