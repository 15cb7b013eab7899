//! The file of pins: one version of each package, with the SHA-256 of its `.deb`. That version has to be this very file; another
//! one is no error, because Debian removes the versions that it replaces.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::Package;
use crate::pins;
use crate::workspace::Workspace;

/// The file, from the root of the workspace.
pub const FILE: &str = "toolchains/debian.toml";

/// What the file pins, by architecture and name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pins {
    /// Packages that are the same everywhere.
    #[serde(default)]
    all: Group,
    #[serde(default)]
    amd64: Group,
    #[serde(default)]
    arm64: Group,
}

type Group = BTreeMap<String, Pin>;

/// One package's pin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pin {
    version: String,
    sha256: Digest,
}

/// 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Digest(String);

/// How a package stands to the pins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It is the pinned one.
    Pinned,
    /// This other version of it is pinned.
    Other(String),
    /// None of it is pinned.
    Unnamed,
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_whole =
            text.len() == 64 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        let what = format!("{text:?} is no SHA-256, which has 64 lowercase hexadecimal digits");
        is_whole.then_some(Self(text)).ok_or(what)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl Pins {
    /// The pins of a workspace.
    ///
    /// # Errors
    /// When the file cannot be read or understood; names it, and the line.
    pub fn read(workspace: &Workspace) -> Result<Self> {
        Self::read_file(&workspace.join(FILE))
    }

    fn read_file(file: &Path) -> Result<Self> {
        pins::read(file, |text| Ok(toml::from_str(text)?))
    }

    /// How a package stands to them.
    ///
    /// # Errors
    /// When it has the pinned version and is another file.
    pub fn judge(&self, package: &Package) -> Result<Standing> {
        let Some(pin) = self.pin(&package.name, &package.architecture) else { return Ok(Standing::Unnamed) };
        if pin.version != package.version {
            return Ok(Standing::Other(pin.version.clone()));
        }
        ensure!(
            pin.sha256.0 == package.sha256,
            "{package} has SHA-256 {}\n  expected: {}, which {FILE} pins for this version\n  help: Debian never changes a version's \
             file. `apt-cache policy {}` names the servers that offer it: remove one that is not Debian's, then `apt-get update`. \
             Where Debian's is the one that was found, `cargo xtask setup pins` pins it",
            package.sha256,
            pin.sha256.0,
            package.full_name()
        );
        Ok(Standing::Pinned)
    }

    /// Whether exactly this file is pinned.
    pub fn has(&self, package: &Package) -> bool {
        matches!(self.judge(package), Ok(Standing::Pinned))
    }

    /// The pinned version of a package.
    pub fn version(&self, name: &str, architecture: &str) -> Option<&str> {
        self.pin(name, architecture).map(|pin| pin.version.as_str())
    }

    /// Whether any version of a package is pinned, for any architecture where it is named without one.
    pub fn cover(&self, package: &str) -> bool {
        match package.split_once(':') {
            Some((name, architecture)) => self.pin(name, architecture).is_some(),
            None => self.packages().any(|(_, name)| name == package),
        }
    }

    /// Names of the packages that are pinned for an architecture.
    pub fn names(&self, architecture: &str) -> impl Iterator<Item = &str> {
        self.group(architecture).into_iter().flatten().map(|(name, _)| name.as_str())
    }

    /// All packages, each with its architecture.
    pub fn packages(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.groups().flat_map(|(group, pins)| pins.keys().map(move |name| (group, name.as_str())))
    }

    /// Packages with versions that others do not pin.
    pub fn beyond(&self, others: &Self) -> impl Iterator<Item = String> {
        self.packages().filter_map(|(architecture, name)| {
            let pin =
                self.pin(name, architecture).filter(|pin| others.pin(name, architecture) != Some(pin))?;
            Some(format!("{name}:{architecture} {}", pin.version))
        })
    }

    /// Pins of these packages.
    ///
    /// # Errors
    /// When one is of an architecture that the file has no place for, or has no whole digest.
    pub fn of(packages: &[Package]) -> Result<Self> {
        let mut pins = Self::default();
        for Package { name, architecture, version, sha256 } in packages {
            let sha256 = Digest::try_from(sha256.clone()).map_err(anyhow::Error::msg)?;
            let group = match architecture.as_str() {
                "all" => &mut pins.all,
                "amd64" => &mut pins.amd64,
                "arm64" => &mut pins.arm64,
                other => anyhow::bail!("{FILE} has no place for {name}:{other}"),
            };
            group.insert(name.clone(), Pin { version: version.clone(), sha256 });
        }
        Ok(pins)
    }

    fn pin(&self, name: &str, architecture: &str) -> Option<&Pin> {
        self.group(architecture)?.get(name)
    }

    fn group(&self, architecture: &str) -> Option<&Group> {
        self.groups().find_map(|(name, group)| (name == architecture).then_some(group))
    }

    fn groups(&self) -> impl Iterator<Item = (&'static str, &Group)> {
        [("all", &self.all), ("amd64", &self.amd64), ("arm64", &self.arm64)].into_iter()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::slice::from_ref;

    use super::super::package;
    use super::*;
    use crate::cross::gcc::{CROSS_COMPILER, CROSS_LIBC};
    use crate::cross::rust::DEBIAN_PACKAGES;
    use crate::image;

    #[test]
    fn the_pinned_version_is_accepted_as_the_pinned_file_alone() {
        let right = package("libc6:arm64", "2.36-9", "a");
        let pins = Pins::of(from_ref(&right)).unwrap();
        assert_eq!(pins.judge(&right).unwrap(), Standing::Pinned);
        assert!(pins.has(&right) && right.used(&pins).pinned);

        let wrong = package("libc6:arm64", "2.36-9", "b");
        let error = pins.judge(&wrong).unwrap_err().to_string();
        for part in [
            "libc6:arm64 2.36-9",
            &wrong.sha256,
            &right.sha256,
            FILE,
            "help: ",
            "`apt-cache policy libc6:arm64`",
        ] {
            assert!(error.contains(part), "{part}: {error}");
        }
        assert!(!pins.has(&wrong) && !wrong.used(&pins).pinned);
    }

    #[test]
    fn another_version_is_no_error_and_not_pinned() {
        let pins = Pins::of(&[package("libc6:arm64", "2.36-9", "a")]).unwrap();
        let newer = package("libc6:arm64", "2.36-10", "b");
        assert_eq!(pins.judge(&newer).unwrap(), Standing::Other("2.36-9".into()));
        assert!(!newer.used(&pins).pinned);
        let elsewhere = package("libc6:amd64", "2.36-9", "a");
        assert_eq!(pins.judge(&elsewhere).unwrap(), Standing::Unnamed);
        assert!(!elsewhere.used(&pins).pinned);
    }

    #[test]
    fn a_package_is_covered_by_its_name_for_its_architecture() {
        let pins = Pins::of(&[package("libc6:arm64", "1", "a"), package("gcc:amd64", "1", "a")]).unwrap();
        assert!(pins.cover("libc6:arm64") && pins.cover("libc6") && pins.cover("gcc"));
        assert!(!pins.cover("libc6:amd64") && !pins.cover("g++") && !pins.cover("gcc:all"));
    }

    #[test]
    fn a_damaged_file_is_named_with_the_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("debian.toml");
        let whole = format!("# Pins.\n\n[arm64.libc6]\nversion = \"1\"\nsha256 = \"{}\"\n", "a".repeat(64));
        let read = |text: &str| {
            fs::write(&file, text).unwrap();
            Pins::read_file(&file).map_err(|error| format!("{error:#}"))
        };
        assert_eq!(read(&whole).unwrap(), Pins::of(&[package("libc6:arm64", "1", "a")]).unwrap());
        for (damage, line, what) in [
            (whole.replace("arm64", "arm46"), 3, "arm46"),
            (whole.replace("version = \"1\"\n", ""), 3, "version"),
            (whole.replace("version = \"1\"", "version = 1"), 4, "string"),
            (whole.replace("version", "Version"), 4, "Version"),
            (whole.replace("aaa\"", "\""), 5, "64 lowercase hexadecimal digits"),
            (whole.replace("aaa\"", "AAA\""), 5, "64 lowercase hexadecimal digits"),
            (whole.replace("aaa\"", "aaa"), 5, "string"),
            (format!("{whole}\n[arm64.libc6]\n"), 7, "duplicate"),
        ] {
            let error = read(&damage).unwrap_err();
            assert!(error.starts_with(&format!("{}: ", file.display())), "{error}");
            assert!(
                error.contains(&format!("at line {line},")) && error.contains(what),
                "{line}, {what}: {error}"
            );
        }
        fs::remove_file(&file).unwrap();
        let error = Pins::read_file(&file).unwrap_err().to_string();
        assert!(error.contains(&file.display().to_string()), "{error}");
    }

    #[test]
    fn whatever_makes_products_is_pinned() {
        let pins = Pins::read(&Workspace::find().unwrap()).unwrap();
        let gcc = [&CROSS_COMPILER, &CROSS_LIBC].map(|need| need.package);
        let makers = image::TOOLS.map(|need| need.package);
        let rust = ["libstd-rust-web-dev:arm64"].into_iter().chain(DEBIAN_PACKAGES);
        for name in rust.chain(gcc).chain(makers) {
            assert!(pins.cover(name), "{FILE} does not pin {name}");
        }
        for (architecture, name) in pins.packages() {
            let version = pins.version(name, architecture).unwrap();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{name}:{architecture} {version}");
        }
    }
}
