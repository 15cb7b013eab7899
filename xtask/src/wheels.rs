//! Pinned wheels: fetched once with pip into the user's cache, their SHA-256 checked each time they are used.
//! It never unpacks or imports one, and never keeps a file whose digest is not the pinned one.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::system::pip_command;
use crate::unpack::{Member, bytes_bar};
use crate::workspace::{cache_folder, run};

/// One wheel of the Python Package Index, and what we want of it.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// What pip is asked for, `name==version`.
    pub requirement: String,
    /// The file name that pip saves it under.
    pub file: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// The members to unpack.
    pub unpack: Vec<Member>,
}

/// Gives the verified files of `wheels`, in their order, downloading those that the cache lacks.
///
/// # Errors
/// When pip fails, or when a file's digest is not the pinned one.
pub fn fetch(wheels: &[Wheel]) -> Result<Vec<PathBuf>> {
    let cache = cache_folder()?.join("wheels");
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    wheels.iter().map(|wheel| fetch_one(wheel, &cache)).collect()
}

/// SHA-256 of bytes, in lowercase hex.
pub fn sha256_of(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn fetch_one(wheel: &Wheel, cache: &Path) -> Result<PathBuf> {
    let file = cache.join(&wheel.file);
    if file.exists() {
        match verify(wheel, &file) {
            Ok(()) => return Ok(file),
            Err(error) => eprintln!("downloading it again: {error:#}"),
        }
    }
    let folder = cache.join(format!("download-{}", std::process::id()));
    let fetched = download(wheel, &folder, &file);
    let _ = fs::remove_dir_all(&folder);
    fetched?;
    Ok(file)
}

fn download(wheel: &Wheel, folder: &Path, file: &Path) -> Result<()> {
    eprintln!("downloading {}", wheel.requirement);
    run(&mut pip_download(wheel, folder)?)?;
    let fresh = folder.join(&wheel.file);
    ensure!(fresh.exists(), "pip saved no {} for {}", wheel.file, wheel.requirement);
    verify(wheel, &fresh)?;
    fs::rename(&fresh, file).with_context(|| format!("cannot move a wheel to {}", file.display()))
}

/// The wheel is named by the tags of the pinned file, whatever Python runs pip.
fn pip_download(wheel: &Wheel, folder: &Path) -> Result<Command> {
    let words = pip_command().context("pip is gone")?;
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args([
        "download",
        "--disable-pip-version-check",
        "--no-cache-dir",
        "--no-deps",
    ]);
    command.args(["--only-binary=:all:", "--python-version", "3.11", "--abi", "cp311", "--abi", "none"]);
    for tag in platform_tags(&wheel.file) {
        command.args(["--platform", tag]);
    }
    command.arg("--dest").arg(folder).arg(&wheel.requirement);
    Ok(command)
}

/// The platforms that a wheel's file name ends in.
fn platform_tags(file: &str) -> impl Iterator<Item = &str> {
    let stem = file.strip_suffix(".whl").unwrap_or(file);
    stem.rsplit('-').next().unwrap_or_default().split('.')
}

fn verify(wheel: &Wheel, file: &Path) -> Result<()> {
    let found = digest_with_bar(file).with_context(|| format!("cannot read {}", file.display()))?;
    ensure!(
        found == wheel.sha256,
        "{} has SHA-256 {found}, toolchains/ pins {} for {}",
        file.display(),
        wheel.sha256,
        wheel.requirement
    );
    Ok(())
}

fn digest_with_bar(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let bar = bytes_bar(file.metadata()?.len(), "verifying", path);
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hasher.update(&buffer[..count]);
        bar.inc(count as u64);
    }
    bar.finish_and_clear();
    Ok(hex(&hasher.finalize()))
}

/// Bytes in lowercase hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(sha256: &str) -> Wheel {
        Wheel { requirement: "x==1".into(), file: "x.whl".into(), sha256: sha256.into(), unpack: Vec::new() }
    }

    #[test]
    fn digests_are_those_of_the_standard() {
        // FIPS 180-4's example "abc".
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_of(b"abc"), abc);
    }

    #[test]
    fn platforms_are_those_of_the_file() {
        let file = "rknpu-1.5.2-cp311-cp311-manylinux_2_17_aarch64.manylinux2014_aarch64.whl";
        let tags: Vec<_> = platform_tags(file).collect();
        assert_eq!(tags, ["manylinux_2_17_aarch64", "manylinux2014_aarch64"]);
    }

    #[test]
    fn a_changed_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("x.whl");
        fs::write(&file, "abc").unwrap();
        verify(&wheel(&sha256_of(b"abc")), &file).unwrap();
        let error = verify(&wheel(&sha256_of(b"abd")), &file).unwrap_err().to_string();
        assert!(error.contains("pins"), "{error}");
    }

    #[test]
    fn a_verified_wheel_in_the_cache_is_not_downloaded() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("x.whl"), "abc").unwrap();
        let file = fetch_one(&wheel(&sha256_of(b"abc")), folder.path()).unwrap();
        assert_eq!(file, folder.path().join("x.whl"));
    }
}
