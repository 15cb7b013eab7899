//! Debian's packages: which versions `toolchains/debian.toml` pins, what apt offers, and what of that is taken. apt verifies
//! what it downloads by Debian's signatures. It installs and unpacks nothing.

mod apt;
pub mod kernel;
mod pins;
mod renew;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use apt::{choose, in_pinned_versions};
pub use pins::{FILE, Pins};
pub use renew::renew;

/// What follows from a package that is not the pinned one.
const OTHER_THAN_TESTED: &str =
    "images differ from those that were tested (`cargo xtask setup pins` pins what Debian has now)";

/// A package, as its `.deb` is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Name in Debian.
    pub name: String,
    /// What it is for: `arm64`, `amd64`, or `all`.
    // Records of before say nothing of it, and tell of guests' packages alone.
    #[serde(default = "guests_architecture")]
    pub architecture: String,
    /// Version in Debian.
    pub version: String,
    /// Of the `.deb`, in hexadecimal digits.
    pub sha256: String,
}

/// A package as reports tell that it was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Used {
    /// Name in Debian.
    pub name: String,
    /// As [`Package::architecture`].
    pub architecture: String,
    /// Version in Debian.
    pub version: String,
    /// Of the `.deb`; none of what is installed, of which dpkg keeps no digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Whether it is what `toolchains/debian.toml` pins.
    pub pinned: bool,
}

impl Package {
    /// Its name as apt takes it.
    pub fn full_name(&self) -> String {
        format!("{}:{}", self.name, self.architecture)
    }

    /// Exactly this version of it, as apt takes it.
    pub fn exactly(&self) -> String {
        format!("{}={}", self.full_name(), self.version)
    }

    /// What reports tell of it.
    pub fn used(&self, pins: &Pins) -> Used {
        let Self { name, architecture, version, sha256 } = self.clone();
        Used { name, architecture, version, sha256: Some(sha256), pinned: pins.has(self) }
    }
}

impl fmt::Display for Package {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.full_name(), self.version)
    }
}

fn guests_architecture() -> String {
    "arm64".into()
}

/// A package of tests.
#[cfg(test)]
fn package(full_name: &str, version: &str, digit: &str) -> Package {
    let (name, architecture) = full_name.split_once(':').unwrap();
    Package {
        name: name.into(),
        architecture: architecture.into(),
        version: version.into(),
        sha256: digit.repeat(64),
    }
}
