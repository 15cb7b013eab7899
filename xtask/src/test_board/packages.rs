//! Debian's arm64 packages that a guest is made of: a kernel, busybox and the C library, unpacked in the user's cache.
//! Those that are pinned, while Debian has them; what was used is recorded with its digest, in the cache and in every report.
//! apt verifies what it downloads. It never installs a package on the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};

use crate::debian::kernel::{self, is_kernel};
use crate::debian::{self, Package, Pins, Used};
use crate::system;
use crate::unpack;
use crate::workspace::{Workspace, cache_folder, capture, run};

const OTHERS: [&str; 3] = ["busybox-static", "libc6", "libgcc-s1"];
/// What guests are.
const ARCHITECTURE: &str = "arm64";
const RECORD: &str = "packages.json";
const KERNEL_FOLDER: &str = "kernel";
const ROOT_FOLDER: &str = "root";

/// The unpacked packages.
#[derive(Debug, Clone)]
pub struct Packages {
    folder: PathBuf,
    /// What they are.
    list: Vec<Package>,
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

    /// Puts the pinned in the place of those in the cache, or where Debian has them no more those that it has. Returns at once
    /// where they are the same.
    ///
    /// # Errors
    /// When apt or dpkg fails, or what they give is not what is pinned in its version.
    pub fn renew() -> Result<Self> {
        let (pins, cached) = (Pins::read(&Workspace::find()?)?, Self::cached()?);
        if let Some(packages) = cached.clone().filter(|packages| packages.are_pinned(&pins)) {
            return Ok(packages);
        }
        let wanted = Wanted::choose(&pins)?;
        if let Some(packages) = cached.filter(|packages| wanted.are(&packages.list)) {
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

    /// Those that are not the pinned ones.
    pub fn unpinned(&self, pins: &Pins) -> impl Iterator<Item = &Package> {
        self.list.iter().filter(|package| !pins.has(package))
    }

    /// Whether they are all that there is to have, in the pinned versions.
    fn are_pinned(&self, pins: &Pins) -> bool {
        let has = |wanted: &str| self.list.iter().any(|package| package.name == wanted);
        let is_whole =
            OTHERS.into_iter().all(has) && self.list.iter().any(|package| is_kernel(&package.name));
        is_whole && self.unpinned(pins).next().is_none()
    }

    /// What reports tell of them.
    ///
    /// # Errors
    /// When the pins cannot be read.
    pub fn used(&self) -> Result<Vec<Used>> {
        let pins = Pins::read(&Workspace::find()?)?;
        Ok(self.list.iter().map(|package| package.used(&pins)).collect())
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
    packages: Vec<Package>,
}

impl Wanted {
    fn choose(pins: &Pins) -> Result<Self> {
        system::renew_foreign_lists(ARCHITECTURE, kernel::NEWEST)?;
        let kernel = kernel::to_take(pins)?;
        let names = OTHERS.into_iter().chain([kernel.as_str()]);
        let names: Vec<_> = names.map(|name| format!("{name}:{ARCHITECTURE}")).collect();
        let packages = debian::choose(pins, &names)?;
        ensure!(
            packages.len() == names.len(),
            "apt knows {} of the packages {}\n  help: `apt-get update`, as root, reads its lists anew",
            packages.len(),
            names.join(", ")
        );
        Ok(Self { packages })
    }

    fn are(&self, list: &[Package]) -> bool {
        digests(&self.packages) == digests(list)
    }

    fn download(&self) -> Command {
        let mut download = Command::new("apt-get");
        // As the user who owns the cache: apt's own user could not write there.
        download.args(["-o", "APT::Sandbox::User=root", "download"]);
        download.args(self.packages.iter().map(Package::exactly));
        download
    }

    /// Downloads into `debs` and unpacks below `staged`.
    fn fill(&self, staged: &Path, debs: &Path) -> Result<Vec<Package>> {
        run(self.download().current_dir(debs))?;
        let files = entries(debs)?;
        let list = files.iter().map(|deb| describe(deb)).collect::<Result<Vec<_>>>()?;
        self.expect(&list)?;
        for (deb, package) in files.iter().zip(&list) {
            let place = if is_kernel(&package.name) { KERNEL_FOLDER } else { ROOT_FOLDER };
            run(Command::new("dpkg-deb").arg("--extract").arg(deb).arg(staged.join(place)))?;
        }
        Ok(list)
    }

    /// Checks that exactly these packages were downloaded: nothing else is unpacked.
    fn expect(&self, list: &[Package]) -> Result<()> {
        let shown = |packages: &[Package]| {
            let lines = packages.iter().map(|package| format!("{package} with SHA-256 {}", package.sha256));
            lines.collect::<Vec<_>>().join(", ")
        };
        ensure!(
            self.are(list),
            "apt-get downloaded {}\n  expected: {}\n  help: a mirror that is being renewed has both; run `cargo xtask setup qemu` again",
            shown(list),
            shown(&self.packages)
        );
        Ok(())
    }
}

fn digests(list: &[Package]) -> BTreeSet<&str> {
    list.iter().map(|package| package.sha256.as_str()).collect()
}

fn describe(deb: &Path) -> Result<Package> {
    let mut show = Command::new("dpkg-deb");
    let format = "--showformat=${Package} ${Architecture} ${Version}";
    let text = capture(show.args(["--show", format]).arg(deb))?;
    let [name, architecture, version] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("dpkg-deb printed {text:?} of {}", deb.display());
    };
    let bytes = fs::read(deb).with_context(|| format!("cannot read {}", deb.display()))?;
    let sha256 = format!("{:x}", Sha256::digest(bytes));
    let [name, architecture, version] = [name, architecture, version].map(String::from);
    Ok(Package { name, architecture, version, sha256 })
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

    fn package(name: &str, sha256: &str) -> Package {
        let [name, architecture, version, sha256] = [name, ARCHITECTURE, "1+", sha256].map(String::from);
        Package { name, architecture, version, sha256 }
    }

    #[test]
    fn packages_are_compared_by_their_digests() {
        let wanted = Wanted { packages: vec![package("x", "01ab"), package("y", "23cd")] };
        assert!(wanted.are(&[package("y", "23cd"), package("x", "01ab")]));
        assert!(!wanted.are(&[package("y", "23cd"), package("x", "01ac")]));
        assert!(!wanted.are(&[package("y", "23cd")]));
    }

    #[test]
    fn a_cache_that_lacks_a_package_is_not_what_is_pinned() {
        let names = ["busybox-static", "libc6", "libgcc-s1", "linux-image-6.1.0-56-arm64"];
        let list: Vec<_> = names.map(|name| package(name, &"ab".repeat(32))).into();
        let pins = Pins::of(&list).unwrap();
        let packages = |list: &[Package]| Packages { folder: PathBuf::new(), list: list.to_vec() };
        assert!(packages(&list).are_pinned(&pins));
        assert!(!packages(&list[1..]).are_pinned(&pins) && !packages(&list[..3]).are_pinned(&pins));
        assert!(!packages(&list).are_pinned(&Pins::default()));
    }

    #[test]
    fn the_chosen_versions_are_downloaded_and_nothing_else_is_unpacked() {
        let wanted = Wanted { packages: vec![package("x", "01ab"), package("y", "23cd")] };
        let download = wanted.download();
        assert!(download.get_args().skip(3).eq(["x:arm64=1+", "y:arm64=1+"]), "{download:?}");
        wanted.expect(&[package("y", "23cd"), package("x", "01ab")]).unwrap();
        let error = wanted.expect(&[package("y", "23cd"), package("x", "01ac")]).unwrap_err().to_string();
        for part in
            ["x:arm64 1+ with SHA-256 01ac", "x:arm64 1+ with SHA-256 01ab", "`cargo xtask setup qemu`"]
        {
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    #[test]
    fn packages_that_were_unpacked_before_architectures_were_recorded_count_on() {
        let text = r#"[{"name": "busybox-static", "version": "1:1.35.0-4", "sha256": "01ab"}]"#;
        let list: Vec<Package> = serde_json::from_str(text).unwrap();
        assert_eq!(list[0].full_name(), "busybox-static:arm64");
    }

    #[test]
    fn every_package_of_a_guest_is_pinned() {
        let pins = Pins::read(&Workspace::find().unwrap()).unwrap();
        let names: Vec<_> = pins.names(ARCHITECTURE).collect();
        assert!(OTHERS.iter().all(|name| names.contains(name)), "{names:?}");
        assert_eq!(names.iter().filter(|name| is_kernel(name)).count(), 1, "{names:?}");
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
