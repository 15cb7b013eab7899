//! A tool made of pinned wheels: a file of `toolchains` says which wheels, for which machine, and what of them goes where.
//! Unpacked, it carries the digest of that file, so that another pin is noticed.

use std::env::consts::{ARCH, OS};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::system::{self, PIP};
use crate::unpack;
use crate::wheels::{self, Wheel, sha256_of};

const STAMP: &str = "repedge-stamp";

/// What a file pins.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// The tool's version.
    pub version: String,
    /// The machine that the wheels are for, as `x86_64-linux`.
    pub host: String,
    /// The wheels.
    #[serde(rename = "wheel")]
    pub wheels: Vec<Wheel>,
    /// Small files beside what comes out of the wheels.
    #[serde(default, rename = "text")]
    pub texts: Vec<Text>,
    #[serde(default, rename = "link")]
    links: Vec<Link>,
    #[serde(skip)]
    digest: String,
}

/// A small file written as it stands.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Text {
    /// Where.
    pub path: PathBuf,
    /// What is in it.
    pub content: String,
}

/// A symbolic link.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Link {
    path: PathBuf,
    target: PathBuf,
}

/// Reads a file of pins, whose text `parse` understands.
///
/// # Errors
/// When it cannot be read or understood; names the file.
pub fn read<T>(file: &Path, parse: impl FnOnce(&str) -> Result<T>) -> Result<T> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| file.display().to_string())
}

/// Whether any version of such a tool was unpacked into a folder.
pub fn is_ours(folder: &Path) -> bool {
    folder.join(STAMP).exists()
}

impl Pins {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read or understood.
    pub fn read(file: &Path) -> Result<Self> {
        read(file, Self::parse)
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn parse(text: &str) -> Result<Self> {
        Ok(Self { digest: sha256_of(text.as_bytes()), ..toml::from_str(text)? })
    }

    /// Whether exactly this is unpacked in a folder.
    pub fn are_in(&self, folder: &Path) -> bool {
        fs::read_to_string(folder.join(STAMP)).is_ok_and(|found| found.trim() == self.digest)
    }

    /// Unpacks the tool into a folder, in the place of what is there, or returns at once where exactly this is there.
    ///
    /// # Errors
    /// On another machine, where the error ends in `elsewhere`, what to do there; and whatever downloading and unpacking meet.
    pub fn unpack(&self, name: &str, folder: &Path, elsewhere: &str) -> Result<()> {
        if self.are_in(folder) {
            return Ok(());
        }
        self.expect_host(name, elsewhere)?;
        system::provide(&[PIP])?;
        let staged = unpack::beside(folder, "unpacking");
        self.assemble(&staged).inspect_err(|_| {
            // The error that stopped us matters more than one about the remains.
            let _ = fs::remove_dir_all(&staged);
        })?;
        unpack::swap(&staged, folder)?;
        eprintln!("{name} {} is in {}", self.version, folder.display());
        Ok(())
    }

    fn expect_host(&self, name: &str, elsewhere: &str) -> Result<()> {
        let host = format!("{ARCH}-{OS}");
        ensure!(
            host == self.host,
            "the pinned {name} is for {}, this machine is {host}: {elsewhere}",
            self.host
        );
        Ok(())
    }

    fn assemble(&self, staged: &Path) -> Result<()> {
        let files = wheels::fetch(&self.wheels)?;
        for (wheel, file) in self.wheels.iter().zip(&files) {
            unpack::members(file, &wheel.unpack, staged)?;
        }
        for Text { path, content } in &self.texts {
            let path = unpack::make_room(&staged.join(path))?;
            fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        }
        for Link { path, target } in &self.links {
            let path = unpack::make_room(&staged.join(path))?;
            symlink(target, &path).with_context(|| format!("cannot link {}", path.display()))?;
        }
        fs::write(staged.join(STAMP), &self.digest)
            .with_context(|| format!("cannot stamp {}", staged.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILES: [&str; 3] = [
        include_str!("../../toolchains/libtorch.toml"),
        include_str!("../../toolchains/zig.toml"),
        include_str!("../../toolchains/linux-headers.toml"),
    ];

    #[test]
    fn the_committed_pins_are_complete() {
        for text in FILES {
            let pins = Pins::parse(text).unwrap();
            assert!(pins.wheels[0].requirement.ends_with(&format!("=={}", pins.version)));
            for wheel in &pins.wheels {
                assert_eq!(wheel.sha256.len(), 64, "{}", wheel.file);
                assert!(!wheel.unpack.is_empty(), "{}", wheel.file);
            }
        }
    }

    #[test]
    fn another_machine_is_told_what_to_do() {
        let pins = Pins { host: "pdp11-bsd".into(), ..Pins::parse(FILES[0]).unwrap() };
        let error = pins.expect_host("libtorch", "export LIBTORCH").unwrap_err().to_string();
        assert!(error.contains("pdp11-bsd") && error.ends_with("export LIBTORCH"), "{error}");
    }

    #[test]
    fn only_the_pinned_version_counts() {
        let (folder, pins) = (tempfile::tempdir().unwrap(), Pins::parse(FILES[1]).unwrap());
        assert!(!pins.are_in(folder.path()) && !is_ours(folder.path()));
        fs::write(folder.path().join(STAMP), "old").unwrap();
        assert!(!pins.are_in(folder.path()) && is_ours(folder.path()));
        fs::write(folder.path().join(STAMP), format!("{}\n", sha256_of(FILES[1].as_bytes()))).unwrap();
        assert!(pins.are_in(folder.path()));
    }
}
