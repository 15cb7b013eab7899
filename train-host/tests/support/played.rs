//! An interpreter that is taken for the one of rknn-toolkit2.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use train_host::rknn::packages;

/// An interpreter in `folder` that tells the versions of the pinned packages, and else does what `shell` says.
pub fn python(folder: &Path, shell: &str) -> PathBuf {
    let pinned: String = packages().map(|(name, version)| format!("{name} {version}\n")).collect();
    let told = folder.join("packages.txt");
    fs::write(&told, pinned).unwrap();
    let asked = "*PackageNotFoundError*";
    let text = format!("#!/bin/sh\ncase \"$2\" in {asked}) cat '{}'; exit;; esac\n{shell}\n", told.display());
    let path = folder.join("python");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}
