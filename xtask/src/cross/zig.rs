//! zig and cargo-zigbuild, pinned in `toolchains/zig.toml` and unpacked into `toolchains/zig`. Never one of the user's:
//! another version may link otherwise.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::Missing;
use crate::system::{self, PIP};
use crate::unpack;
use crate::wheels::{self, Wheel, sha256_of};
use crate::workspace::Workspace;

const PINS: &str = "toolchains/zig.toml";
const FOLDER: &str = "toolchains/zig";
const STAMP: &str = "repedge-stamp";

#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Pins {
    version: String,
    host: String,
    #[serde(rename = "wheel")]
    wheels: Vec<Wheel>,
}

/// zig, unpacked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zig {
    folder: PathBuf,
    version: String,
}

impl Zig {
    /// The program.
    pub fn program(&self) -> PathBuf {
        self.folder.join("ziglang/zig")
    }

    /// What calls cargo with zig as linker.
    pub fn cargo_zigbuild(&self) -> PathBuf {
        self.folder.join("cargo-zigbuild")
    }
}

impl fmt::Display for Zig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "zig {}", self.version)
    }
}

/// zig, where it is unpacked in the pinned version.
///
/// # Errors
/// That it is missing.
pub fn find(workspace: &Workspace) -> Result<Zig, Missing> {
    let found = read_pins(workspace).ok().filter(|(_, stamp)| is_there(&workspace.join(FOLDER), stamp));
    match found {
        Some((pins, _)) => Ok(Zig { folder: workspace.join(FOLDER), version: pins.version }),
        None => Err(Missing {
            what: "zig".into(),
            purpose: "which links for old glibc".into(),
            remedy: "`cargo xtask setup zig`".into(),
        }),
    }
}

/// Unpacks the pinned zig, or returns at once where it is there already.
///
/// # Errors
/// On hosts without pinned wheels, and whatever downloading and unpacking meet.
pub fn provide(workspace: &Workspace) -> Result<Zig> {
    let (pins, stamp) = read_pins(workspace)?;
    let folder = workspace.join(FOLDER);
    if !is_there(&folder, &stamp) {
        let host = format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS);
        ensure!(
            host == pins.host,
            "the pinned zig is for {}, this machine is {host}: build with `--with gcc`",
            pins.host
        );
        system::provide(&[PIP])?;
        let staged = unpack::beside(&folder, "unpacking");
        assemble(&pins, &staged, &stamp).inspect_err(|_| {
            // The error that stopped us matters more than one about the remains.
            let _ = fs::remove_dir_all(&staged);
        })?;
        unpack::swap(&staged, &folder)?;
        eprintln!("zig {} is in {}", pins.version, folder.display());
    }
    Ok(Zig { folder, version: pins.version })
}

fn read_pins(workspace: &Workspace) -> Result<(Pins, String)> {
    let text = fs::read_to_string(workspace.join(PINS)).with_context(|| format!("cannot read {PINS}"))?;
    Ok((toml::from_str(&text).context(PINS)?, sha256_of(text.as_bytes())))
}

fn is_there(folder: &Path, stamp: &str) -> bool {
    fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found == stamp)
}

fn assemble(pins: &Pins, staged: &Path, stamp: &str) -> Result<()> {
    let files = wheels::fetch(&pins.wheels)?;
    for (wheel, file) in pins.wheels.iter().zip(&files) {
        unpack::members(file, &wheel.unpack, staged)?;
    }
    fs::write(staged.join(STAMP), stamp).context("cannot stamp zig")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_pins_are_complete() {
        let pins: Pins = toml::from_str(include_str!("../../../toolchains/zig.toml")).unwrap();
        assert_eq!(pins.wheels[0].requirement, format!("ziglang=={}", pins.version));
        for wheel in &pins.wheels {
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.file);
            assert!(!wheel.unpack.is_empty(), "{}", wheel.file);
        }
    }

    #[test]
    fn only_the_pinned_version_counts() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!is_there(folder.path(), "new"));
        fs::write(folder.path().join(STAMP), "old").unwrap();
        assert!(!is_there(folder.path(), "new"));
        fs::write(folder.path().join(STAMP), "new").unwrap();
        assert!(is_there(folder.path(), "new"));
    }
}
