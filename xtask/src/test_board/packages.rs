//! Debian's arm64 packages that a guest is made of: a kernel, busybox and the C library, unpacked in the user's cache.
//! Debian replaces versions as it mends them, so none is pinned; what was used is recorded with its digest, in the cache
//! and in every report. apt verifies what it downloads. It never installs a package on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::system;
use crate::unpack;
use crate::workspace::{cache_folder, capture, run};

/// The package that always depends on the newest kernel.
const KERNEL: &str = "linux-image-arm64";
const OTHERS: [&str; 3] = ["busybox-static", "libc6", "libgcc-s1"];
const RECORD: &str = "packages.json";
const KERNEL_FOLDER: &str = "kernel";
const ROOT_FOLDER: &str = "root";

/// One package as it was used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name in Debian.
    pub name: String,
    /// Version in Debian.
    pub version: String,
    /// Of the `.deb`, in hexadecimal digits.
    pub sha256: String,
}

/// The unpacked packages.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
    /// What they are.
    pub list: Vec<Package>,
}

impl Packages {
    /// Those in the cache; downloads them where there are none.
    ///
    /// # Errors
    /// When they cannot be downloaded or unpacked; says how to get them.
    pub fn provide() -> Result<Self> {
        match Self::cached()? {
            Some(packages) => Ok(packages),
            None => Self::renew(),
        }
    }

    /// Those in the cache, if they are there.
    ///
    /// # Errors
    /// When there is no place for a cache.
    pub fn cached() -> Result<Option<Self>> {
        let folder = cache_folder()?.join("debian-arm64");
        let list = fs::read(folder.join(RECORD)).ok().and_then(|text| serde_json::from_slice(&text).ok());
        Ok(list.map(|list| Self { folder, list }))
    }

    /// Puts the newest that apt knows in the place of those in the cache, or returns at once where they are the same.
    ///
    /// # Errors
    /// When apt or dpkg fails.
    pub fn renew() -> Result<Self> {
        let wanted = Wanted::newest()?;
        if let Some(packages) = Self::cached()?.filter(|packages| wanted.are(&packages.list)) {
            return Ok(packages);
        }
        let folder = cache_folder()?.join("debian-arm64");
        let staged = unpack::beside(&folder, "unpacking");
        let debs = staged.join("debs");
        fs::create_dir_all(&debs).with_context(|| format!("cannot make {}", debs.display()))?;
        let done = wanted.fill(&staged, &debs).and_then(|list| {
            fs::remove_dir_all(&debs)?;
            fs::write(staged.join(RECORD), serde_json::to_string_pretty(&list)? + "\n")?;
            unpack::swap(&staged, &folder)?;
            Ok(list)
        });
        if done.is_err() {
            let _ = fs::remove_dir_all(&staged);
        }
        Ok(Self { folder, list: done? })
    }

    /// The kernel's file.
    ///
    /// # Errors
    /// When the package holds none.
    pub fn kernel(&self) -> Result<PathBuf> {
        only(&self.folder.join(KERNEL_FOLDER).join("boot"), "vmlinuz-")
    }

    /// The `lib/modules/VERSION` of the kernel.
    ///
    /// # Errors
    /// When the package holds none.
    pub fn modules(&self) -> Result<PathBuf> {
        let kernel = self.folder.join(KERNEL_FOLDER);
        let places = ["usr/lib/modules", "lib/modules"].map(|place| kernel.join(place));
        only(places.iter().find(|place| place.is_dir()).unwrap_or(&places[1]), "")
    }

    /// Everything but the kernel, as unpacked.
    pub fn root(&self) -> PathBuf {
        self.folder.join(ROOT_FOLDER)
    }
}

/// The packages to have, as apt knows them.
#[derive(Debug)]
struct Wanted {
    kernel: String,
    /// SHA-256 of each `.deb`.
    digests: BTreeSet<String>,
}

impl Wanted {
    fn newest() -> Result<Self> {
        system::provide_foreign_lists("arm64", KERNEL)?;
        let depends = capture(Command::new("apt-cache").args(["depends", &foreign(KERNEL)]))?;
        let mut wanted = Self { kernel: newest_kernel(&depends)?, digests: BTreeSet::new() };
        wanted.digests = digests(&capture(wanted.download().arg("--print-uris"))?);
        Ok(wanted)
    }

    fn are(&self, list: &[Package]) -> bool {
        self.digests == list.iter().map(|package| package.sha256.clone()).collect()
    }

    fn download(&self) -> Command {
        let mut download = Command::new("apt-get");
        // As the user who owns the cache: apt's own user could not write there.
        download.args(["-o", "APT::Sandbox::User=root", "download", &foreign(&self.kernel)]);
        download.args(OTHERS.map(foreign));
        download
    }

    /// Downloads into `debs` and unpacks below `staged`.
    fn fill(&self, staged: &Path, debs: &Path) -> Result<Vec<Package>> {
        run(self.download().current_dir(debs))?;
        let mut list = Vec::new();
        for deb in entries(debs)? {
            let package = describe(&deb)?;
            let place = if package.name == self.kernel { KERNEL_FOLDER } else { ROOT_FOLDER };
            run(Command::new("dpkg-deb").arg("--extract").arg(&deb).arg(staged.join(place)))?;
            list.push(package);
        }
        ensure!(
            list.len() == OTHERS.len() + 1,
            "apt-get downloaded {} packages instead of {}",
            list.len(),
            OTHERS.len() + 1
        );
        Ok(list)
    }
}

/// The digests in what `apt-get download --print-uris` prints, a package a line.
fn digests(printed: &str) -> BTreeSet<String> {
    let words = printed.split_ascii_whitespace();
    words.filter_map(|word| word.strip_prefix("SHA256:")).map(String::from).collect()
}

fn foreign(name: &str) -> String {
    format!("{name}:arm64")
}

/// The kernel's own package out of what `apt-cache depends` prints for the package that depends on it.
fn newest_kernel(printed: &str) -> Result<String> {
    let names = printed.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    let mut kernels = names.filter(|name| name.starts_with("linux-image-"));
    let kernel = kernels.next().with_context(|| format!("{KERNEL} depends on no kernel:\n{printed}"))?;
    Ok(kernel.trim_end_matches(":arm64").to_owned())
}

fn describe(deb: &Path) -> Result<Package> {
    let mut show = Command::new("dpkg-deb");
    let text = capture(show.args(["--show", "--showformat=${Package} ${Version}"]).arg(deb))?;
    let (name, version) = text.split_once(' ').with_context(|| format!("dpkg-deb printed {text:?}"))?;
    let bytes = fs::read(deb).with_context(|| format!("cannot read {}", deb.display()))?;
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    Ok(Package { name: name.to_owned(), version: version.trim().to_owned(), sha256 })
}

/// The one entry of a folder whose name begins so.
fn only(folder: &Path, start: &str) -> Result<PathBuf> {
    let begins =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
    let found: Vec<_> = entries(folder)?.into_iter().filter(begins).collect();
    match &found[..] {
        [one] => Ok(one.clone()),
        _ => anyhow::bail!(
            "{} holds {} of {start}*, not one: remove it and run `cargo xtask setup qemu`",
            folder.display(),
            found.len()
        ),
    }
}

/// Paths in a folder, sorted.
///
/// # Errors
/// When it cannot be read.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_depends_on() {
        let printed = "linux-image-arm64:arm64\n  Depends: linux-image-6.1.0-56-arm64:arm64\n";
        assert_eq!(newest_kernel(printed).unwrap(), "linux-image-6.1.0-56-arm64");
        assert!(newest_kernel("linux-image-arm64:arm64\n").is_err());
    }

    #[test]
    fn packages_are_compared_by_their_digests() {
        let printed = "'http://a.example/x_1%2b_arm64.deb' x_1+_arm64.deb 822 SHA256:01ab\n\
                       'http://a.example/y_2_arm64.deb' y_2_arm64.deb 23 SHA256:23cd\n";
        let wanted = Wanted { kernel: "x".into(), digests: digests(printed) };
        let package = |sha256: &str| Package { name: "x".into(), version: "1".into(), sha256: sha256.into() };
        assert!(wanted.are(&[package("23cd"), package("01ab")]));
        assert!(!wanted.are(&[package("23cd"), package("01ac")]));
        assert!(!wanted.are(&[package("23cd")]));
    }

    #[test]
    fn exactly_one_kernel_is_expected() {
        let folder = tempfile::tempdir().unwrap();
        assert!(only(folder.path(), "vmlinuz-").is_err());
        fs::write(folder.path().join("vmlinuz-1"), "").unwrap();
        fs::write(folder.path().join("config-1"), "").unwrap();
        assert_eq!(only(folder.path(), "vmlinuz-").unwrap(), folder.path().join("vmlinuz-1"));
        fs::write(folder.path().join("vmlinuz-2"), "").unwrap();
        assert!(only(folder.path(), "vmlinuz-").is_err());
    }
}
