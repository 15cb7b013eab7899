//! Names of files and folders that a command writes: the right extension, nothing of another kind in their place, no two of
//! its files under one name, and room to write there. Checked before anything is computed; leaves nothing behind.

use std::path::{Component, Path, PathBuf};

use crate::{Error, Result};

/// Value parser for the name of a bundle.
pub(super) fn bundle(text: &str) -> std::result::Result<PathBuf, String> {
    with_extension(text, "bundle", "the name of a bundle ends in .bundle")
}

/// Value parser for the name of a weights file.
pub(super) fn weights(text: &str) -> std::result::Result<PathBuf, String> {
    with_extension(text, "safetensors", "the name of a weights file ends in .safetensors")
}

/// Value parser for the name of a folder.
pub(super) fn folder(text: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.exists() && !path.is_dir() { Err("this is a file, not a folder".to_owned()) } else { Ok(path) }
}

/// Checks that `out`, the value of `flag`, is not the file `other`, which is `role` of the command.
///
/// # Errors
/// [`Error::Input`] naming both when they are one file, also by way of links and `..`.
pub(super) fn expect_other(flag: &str, out: &Path, role: &str, other: &Path) -> Result<()> {
    if resolve(out)? != resolve(other)? {
        return Ok(());
    }
    Err(Error::input(
        format!("{flag} {} is also {role}, {}", out.display(), other.display()),
        "two files of different names",
        format!("choose another name with {flag}"),
    ))
}

/// Checks that a file or a folder can be made at `path`, the value of `flag`: in the nearest folder on the way to it that there is.
///
/// # Errors
/// [`Error::Input`] naming that folder and what the system says of it.
pub(super) fn expect_writable(flag: &str, path: &Path) -> Result<()> {
    let resolved = resolve(path)?;
    // Devices and pipes are written into as they are.
    if resolved.exists() && !resolved.is_file() && !resolved.is_dir() {
        return Ok(());
    }
    let Some(present) = resolved.ancestors().skip(1).find(|folder| folder.exists()) else { return Ok(()) };
    match tempfile::NamedTempFile::new_in(present) {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::input(
            format!("{flag} {}: no file can be made in {}: {error}", path.display(), present.display()),
            "a folder that can be written to",
            format!("choose another place with {flag}, or make that one writable"),
        )),
    }
}

fn with_extension(text: &str, extension: &str, complaint: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_dir() {
        return Err("this is a folder, not a file".to_owned());
    }
    let fits = path.extension().is_some_and(|found| found.eq_ignore_ascii_case(extension));
    if fits { Ok(path) } else { Err(complaint.to_owned()) }
}

/// The path without `..` and, as far as it exists, without links.
fn resolve(path: &Path) -> Result<PathBuf> {
    let mut resolved = PathBuf::new();
    for part in std::path::absolute(path).map_err(|e| Error::io(path, e))?.components() {
        if part == Component::ParentDir {
            resolved.pop();
        } else {
            resolved.push(part);
        }
        // What does not exist yet is no link.
        resolved = resolved.canonicalize().unwrap_or(resolved);
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extensions_are_checked_whatever_their_case() {
        for good in ["a.safetensors", "runs/a.SafeTensors"] {
            assert_eq!(weights(good).unwrap(), Path::new(good));
        }
        for bad in ["", "a", "a.pt", "safetensors", ".safetensors"] {
            assert!(weights(bad).is_err(), "{bad}");
        }
        assert!(bundle("a.bundle").is_ok() && bundle("a.onnx").is_err());
    }

    #[test]
    fn a_folder_is_no_file_and_a_file_no_folder() {
        let dir = tempfile::tempdir().unwrap();
        let name = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::create_dir(name("a.bundle")).unwrap();
        std::fs::write(name("report"), "").unwrap();
        assert!(bundle(&name("a.bundle")).unwrap_err().contains("folder"));
        assert!(folder(&name("report")).unwrap_err().contains("file"));
        assert!(folder(&name("a.bundle")).is_ok() && folder(&name("new")).is_ok());
    }

    #[test]
    fn a_place_that_cannot_be_written_to_is_seen_before_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        for good in [dir.path().join("a.bundle"), dir.path().join("new/deep/a.bundle"), file.clone()] {
            expect_writable("--out", &good).unwrap();
        }
        expect_writable("--json", Path::new("/dev/null")).unwrap();
        for bad in [file.join("a.bundle"), PathBuf::from("/proc/none/a.bundle")] {
            let error = expect_writable("--out", &bad).unwrap_err().to_string();
            assert!(error.contains("--out") && error.contains("choose another place"), "{error}");
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_file_under_two_names_is_seen_before_it_exists() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.bundle");
        std::fs::create_dir(dir.path().join("real")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("real"), dir.path().join("link")).unwrap();
        for (a, b) in [
            ("x.bundle", "./new/../x.bundle"),
            ("real/x.bundle", "link/x.bundle"),
            ("x.bundle", "link/../x.bundle"),
        ] {
            let (a, b) = (dir.path().join(a), dir.path().join(b));
            let error = expect_other("--onnx", &a, "the bundle", &b).unwrap_err().to_string();
            assert!(error.contains("--onnx"), "{error}");
        }
        expect_other("--onnx", &file, "the bundle", &dir.path().join("real/x.bundle")).unwrap();
    }
}
