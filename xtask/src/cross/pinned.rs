//! The versions of Rust and of cargo's tools that `toolchains/rust.toml` pins, with the commands that install them. Installs nothing:
//! another version builds, too.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

const TEXT: &str = include_str!("../../../toolchains/rust.toml");

/// What the file pins.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pinned {
    /// rustup's Rust.
    pub rust: Release,
    debian: Release,
    tools: BTreeMap<String, String>,
}

/// A release of Rust.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// Its version.
    pub version: String,
    /// What `rustc -vV` says as its `commit-hash`.
    pub commit: String,
}

impl Pinned {
    /// What is pinned.
    ///
    /// # Errors
    /// When the file cannot be understood.
    pub fn read() -> Result<Self> {
        toml::from_str(TEXT).context("toolchains/rust.toml")
    }

    /// Whether a compiler that says this of itself, with `-vV`, is one of the pinned.
    pub fn has(&self, identity: &str) -> bool {
        [&self.rust, &self.debian].into_iter().any(|release| release.is(identity))
    }
}

impl Release {
    fn is(&self, identity: &str) -> bool {
        identity.lines().any(|line| line.strip_prefix("commit-hash: ") == Some(&self.commit))
    }
}

/// The version that a tool of cargo's is pinned in.
///
/// # Errors
/// When it is not pinned.
pub fn version(tool: &str) -> Result<String> {
    let version = Pinned::read()?.tools.remove(tool);
    version.with_context(|| format!("toolchains/rust.toml pins no {tool}"))
}

/// The command that installs a tool of cargo's, in the pinned version.
pub fn install(tool: &str) -> String {
    let version = version(tool).map_or_else(|_| String::new(), |version| format!("@{version}"));
    format!("`cargo install --locked {tool}{version}`")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debian::Pins;
    use crate::workspace::Workspace;

    #[test]
    fn what_is_pinned_is_whole() {
        let pinned = Pinned::read().unwrap();
        for Release { version, commit } in [&pinned.rust, &pinned.debian] {
            assert_eq!(version.split('.').count(), 3, "{version}");
            assert!(commit.len() == 40 && commit.bytes().all(|digit| digit.is_ascii_hexdigit()), "{commit}");
        }
        for tool in ["cargo-deb", "cargo-nextest", "cross"] {
            let command = install(tool);
            assert!(command.starts_with("`cargo install --locked ") && command.contains('@'), "{command}");
        }
    }

    #[test]
    fn a_compiler_is_told_by_its_commit() {
        let pinned = Pinned::read().unwrap();
        for Release { version, commit } in [&pinned.rust, &pinned.debian] {
            assert!(pinned.has(&format!("rustc {version}\ncommit-hash: {commit}\nhost: x")));
            assert!(!pinned.has(&format!("rustc {version}\ncommit-hash: 1159e78c4747b02e\nhost: x")));
        }
    }

    #[test]
    fn debians_pinned_rust_is_that_of_its_pinned_packages() {
        let pins = Pins::read(&Workspace::find().unwrap()).unwrap();
        let release = Pinned::read().unwrap().debian.version;
        for (name, architecture) in
            [("rustc-web", "amd64"), ("cargo-web", "amd64"), ("libstd-rust-web-dev", "arm64")]
        {
            let version = pins.version(name, architecture).unwrap();
            assert!(
                version.starts_with(&format!("{release}+")),
                "toolchains/rust.toml has Debian's Rust {release} and debian.toml {name} {version}: renew rust.toml"
            );
        }
    }

    #[test]
    fn the_pinned_rust_is_as_new_as_cargo_toml_asks() {
        let manifest: toml::Table = toml::from_str(include_str!("../../../Cargo.toml")).unwrap();
        let oldest: boards::Version =
            manifest["workspace"]["package"]["rust-version"].as_str().unwrap().parse().unwrap();
        let pinned = Pinned::read().unwrap();
        for release in [&pinned.rust, &pinned.debian] {
            assert!(release.version.parse::<boards::Version>().unwrap() >= oldest, "{}", release.version);
        }
        let container = include_str!("../../../toolchains/docker/host.Dockerfile");
        let image = container.lines().find_map(|line| line.strip_prefix("FROM rust:")).unwrap();
        let version: boards::Version = image.split('-').next().unwrap().parse().unwrap();
        assert!(version >= oldest, "{image}");
    }
}
