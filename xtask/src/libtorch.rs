//! The pinned libtorch: read from `toolchains/libtorch.toml`, unpacked from PyPI wheels, stamped.
//! It never touches a folder that has no stamp of ours, and never a LIBTORCH that the user exported.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use crate::pins::{self, Pins};
use crate::workspace::Workspace;

const PINS: &str = "toolchains/libtorch.toml";

/// Gives a usable libtorch: the exported one after a look at it, else ours, unpacked where it is not yet.
///
/// # Errors
/// When the exported LIBTORCH is none, on hosts without pinned wheels, and whatever downloading and unpacking meet.
pub fn provide(workspace: &Workspace) -> Result<PathBuf> {
    match workspace.exported_libtorch() {
        Some(path) if pins::is_ours(&path) => provide_at(workspace, &path),
        Some(path) => {
            expect_libtorch(&path)?;
            Ok(path)
        }
        None => provide_at(workspace, &workspace.own_libtorch()),
    }
}

/// Unpacks the pinned libtorch into `destination`, or returns at once where it is there already.
///
/// # Errors
/// On hosts without pinned wheels, when `destination` is someone else's, and whatever downloading and unpacking meet.
pub fn provide_at(workspace: &Workspace, destination: &Path) -> Result<PathBuf> {
    let pins = Pins::read(&workspace.join(PINS))?;
    expect_ours(destination)?;
    let elsewhere = format!(
        "install PyTorch {} (for example with pip into a virtual environment) and export LIBTORCH=…/site-packages/torch",
        pins.version
    );
    pins.unpack("libtorch", destination, &elsewhere)?;
    Ok(destination.to_owned())
}

/// Whether a folder looks like a libtorch that torch-sys can link.
///
/// # Errors
/// Names the file that is missing.
pub fn expect_libtorch(folder: &Path) -> Result<()> {
    for file in ["lib/libtorch_cpu.so", "include/torch"] {
        ensure!(
            folder.join(file).exists(),
            "LIBTORCH={} has no {file}: point it at a libtorch, or unset it and run `cargo xtask setup`",
            folder.display()
        );
    }
    Ok(())
}

fn expect_ours(destination: &Path) -> Result<()> {
    let is_empty = fs::read_dir(destination).map_or(true, |mut entries| entries.next().is_none());
    if is_empty || pins::is_ours(destination) {
        return Ok(());
    }
    bail!(
        "{} holds something that setup did not unpack: move it away, or export LIBTORCH to use it",
        destination.display()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_written_for_torch_sys_is_the_pinned_one() {
        let pins = Pins::parse(include_str!("../../toolchains/libtorch.toml")).unwrap();
        let written = pins.texts.iter().find(|text| text.path == Path::new("build-version")).unwrap();
        assert_eq!(written.content.trim(), pins.version);
    }

    #[test]
    fn a_folder_without_our_stamp_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        expect_ours(folder.path()).unwrap();
        expect_ours(&folder.path().join("absent")).unwrap();
        fs::write(folder.path().join("precious"), "data").unwrap();
        assert!(expect_ours(folder.path()).is_err());
        fs::write(folder.path().join("repedge-stamp"), "old").unwrap();
        expect_ours(folder.path()).unwrap();
    }

    #[test]
    fn a_libtorch_without_libraries_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = expect_libtorch(folder.path()).unwrap_err().to_string();
        assert!(error.contains("lib/libtorch_cpu.so"), "{error}");
    }
}
