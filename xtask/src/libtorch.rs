//! The pinned libtorch: read from `toolchains/libtorch.toml`, unpacked from PyPI wheels, stamped.
//! It never touches a folder that has no stamp of ours, and never a LIBTORCH that the user exported.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use crate::system::{self, PIP};
use crate::unpack;
use crate::wheels::{self, Wheel};
use crate::workspace::Workspace;

const STAMP: &str = "repedge-stamp";

/// The contents of `toolchains/libtorch.toml`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Pins {
    version: String,
    host: String,
    #[serde(rename = "wheel")]
    wheels: Vec<Wheel>,
    #[serde(rename = "text")]
    texts: Vec<Text>,
    #[serde(rename = "link")]
    links: Vec<Link>,
}

/// A small file written as it stands.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Text {
    path: PathBuf,
    content: String,
}

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Link {
    path: PathBuf,
    target: PathBuf,
}

/// Gives a usable libtorch: the exported one after a look at it, else ours, unpacked where it is not yet.
///
/// # Errors
/// When the exported LIBTORCH is none, on hosts without pinned wheels, and whatever downloading and unpacking meet.
pub fn provide(workspace: &Workspace) -> Result<PathBuf> {
    match workspace.exported_libtorch() {
        Some(path) if path.join(STAMP).exists() => provide_at(workspace, &path),
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
    let text = fs::read_to_string(workspace.join("toolchains/libtorch.toml"))
        .context("cannot read toolchains/libtorch.toml")?;
    let stamp = wheels::sha256_of(text.as_bytes());
    if fs::read_to_string(destination.join(STAMP)).is_ok_and(|found| found.trim() == stamp) {
        return Ok(destination.to_owned());
    }
    let pins: Pins = toml::from_str(&text).context("toolchains/libtorch.toml")?;
    expect_host(&pins)?;
    expect_ours(destination)?;
    system::provide(&[PIP])?;
    let staged = unpack::beside(destination, "unpacking");
    assemble(&pins, &staged).and_then(|()| seal(&staged, &stamp)).inspect_err(|_| {
        // The error that stopped us matters more than one about the remains.
        let _ = fs::remove_dir_all(&staged);
    })?;
    unpack::swap(&staged, destination)?;
    eprintln!("libtorch {} is in {}", pins.version, destination.display());
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

fn expect_host(pins: &Pins) -> Result<()> {
    let host = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    ensure!(
        host == pins.host,
        "the pinned libtorch is for {}, this machine is {host}: install PyTorch {} (for example with pip into a \
         virtual environment) and export LIBTORCH=…/site-packages/torch",
        pins.host,
        pins.version
    );
    Ok(())
}

fn expect_ours(destination: &Path) -> Result<()> {
    let is_empty = fs::read_dir(destination).map_or(true, |mut entries| entries.next().is_none());
    if is_empty || destination.join(STAMP).exists() {
        return Ok(());
    }
    bail!(
        "{} holds something that setup did not unpack: move it away, or export LIBTORCH to use it",
        destination.display()
    )
}

fn assemble(pins: &Pins, staged: &Path) -> Result<()> {
    let files = wheels::fetch(&pins.wheels)?;
    for (wheel, file) in pins.wheels.iter().zip(&files) {
        unpack::members(file, &wheel.unpack, staged)?;
    }
    for Text { path, content } in &pins.texts {
        let path = unpack::make_room(&staged.join(path))?;
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
    }
    for Link { path, target } in &pins.links {
        let path = unpack::make_room(&staged.join(path))?;
        symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))?;
    }
    Ok(())
}

fn seal(staged: &Path, stamp: &str) -> Result<()> {
    let path = staged.join(STAMP);
    fs::write(&path, format!("{stamp}\n")).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PINS: &str = include_str!("../../toolchains/libtorch.toml");

    #[test]
    fn the_committed_pins_are_complete() {
        let pins: Pins = toml::from_str(PINS).unwrap();
        assert_eq!(pins.wheels.len(), 3);
        for wheel in &pins.wheels {
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.file);
            assert!(!wheel.unpack.is_empty(), "{}", wheel.file);
        }
    }

    #[test]
    fn the_version_written_for_torch_sys_is_the_pinned_one() {
        let pins: Pins = toml::from_str(PINS).unwrap();
        let written = pins.texts.iter().find(|text| text.path == Path::new("build-version")).unwrap();
        assert_eq!(written.content.trim(), pins.version);
        assert!(pins.wheels[0].requirement.ends_with(&pins.version));
    }

    #[test]
    fn another_host_is_told_about_libtorch() {
        let pins = Pins { host: "pdp11-bsd".into(), ..toml::from_str(PINS).unwrap() };
        let error = expect_host(&pins).unwrap_err().to_string();
        assert!(error.contains("pdp11-bsd") && error.contains("LIBTORCH"), "{error}");
    }

    #[test]
    fn a_folder_without_our_stamp_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        expect_ours(folder.path()).unwrap();
        expect_ours(&folder.path().join("absent")).unwrap();
        fs::write(folder.path().join("precious"), "data").unwrap();
        assert!(expect_ours(folder.path()).is_err());
        fs::write(folder.path().join(STAMP), "old").unwrap();
        expect_ours(folder.path()).unwrap();
    }

    #[test]
    fn a_libtorch_without_libraries_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = expect_libtorch(folder.path()).unwrap_err().to_string();
        assert!(error.contains("lib/libtorch_cpu.so"), "{error}");
    }
}
