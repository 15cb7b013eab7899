//! A Rust that compiles for a target: the one that runs us, or Debian's packages beside it. Where Rust ships no standard library for a
//! target (its tier 3), the one that runs us may build it.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::Missing;
use crate::workspace::{Workspace, capture};

/// Debian's compiler, which other Rust on the PATH must not shadow, and its standard libraries.
const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_LIBRARIES: &str = "/usr/lib/rustlib";
/// Where the sources of the standard library lie below a compiler's folder: rustup's component rust-src.
const SOURCES: &str = "lib/rustlib/src/rust/library/Cargo.lock";
/// Debian's packages of a Rust that is new enough, without the standard library of a target.
pub const DEBIAN_PACKAGES: [&str; 2] = ["rustc-web", "cargo-web"];
/// What the cargo that started us set for itself, and what would lead another to that one's compiler.
const INHERITED: [&str; 4] = ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"];

/// Which Rust compiles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rust {
    /// The one that runs us.
    Current,
    /// Debian's.
    Debian,
    /// The one that runs us, a nightly one, which builds the standard library too.
    FromSource,
}

/// Where Debian's package puts a program of Rust.
pub fn debian_program(name: &str) -> PathBuf {
    Path::new(DEBIAN_BIN).join(name)
}

/// A Rust here that has the target's standard library.
pub fn find(triple: &str) -> Option<Rust> {
    let mut rustc = Command::new("rustc");
    let folder = capture(rustc.args(["--print", "target-libdir", "--target", triple]));
    if folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Some(Rust::Current);
    }
    let library = Path::new(DEBIAN_LIBRARIES).join(triple).join("lib");
    let has_debian = library.is_dir() && debian_program("cargo").is_file();
    has_debian.then_some(Rust::Debian)
}

/// What to say where there is none.
pub fn missing(triple: &str) -> Missing {
    let short = if triple.starts_with("aarch64-") { "aarch64" } else { "armhf" };
    let debian = if short == "aarch64" { ", or on Debian `cargo xtask setup aarch64`" } else { "" };
    Missing {
        what: format!("Rust for {triple}"),
        purpose: "which compiles the programs".into(),
        remedy: format!("`rustup target add {triple}`{debian}"),
    }
}

/// The Rust that runs us, where it can build the standard library.
///
/// # Errors
/// What is missing.
pub fn find_from_source(triple: &str) -> Result<Rust, Missing> {
    let ask = |arguments: &[&str]| capture(Command::new("rustc").args(arguments)).unwrap_or_default();
    let can = can_build_std(&ask(&["-vV"]), Path::new(ask(&["--print", "sysroot"]).trim()));
    can.then_some(Rust::FromSource).ok_or_else(|| missing_std(triple))
}

/// The folder that the sources of the standard library lie in.
///
/// # Errors
/// When the compiler does not tell where it lies.
pub fn std_sources() -> Result<PathBuf> {
    let sysroot = capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(Path::new(sysroot.trim()).join("lib/rustlib/src"))
}

/// What to say where there is no Rust that can build the standard library of a target that has none.
pub fn missing_std(triple: &str) -> Missing {
    Missing {
        what: format!("Rust's standard library for {triple}"),
        purpose: "which Rust does not ship (tier 3), so that a nightly one builds it from source".into(),
        remedy: "`rustup toolchain install nightly --component rust-src`, then `cargo +nightly xtask …` instead of `cargo xtask …`"
            .into(),
    }
}

/// Whether a compiler takes `-Zbuild-std`, and has what that builds.
fn can_build_std(identity: &str, sysroot: &Path) -> bool {
    let release = identity.lines().find_map(|line| line.strip_prefix("release: "));
    release.is_some_and(|release| release.contains("nightly")) && sysroot.join(SOURCES).is_file()
}

impl Rust {
    /// A cargo command of this Rust.
    ///
    /// # Errors
    /// When PATH cannot be put together.
    pub fn cargo(self, workspace: &Workspace, subcommand: &str) -> Result<Command> {
        match self {
            Self::Current => Ok(workspace.cargo(subcommand)),
            Self::Debian => {
                let mut command = self.program(workspace, debian_program("cargo"))?;
                command.arg(subcommand);
                Ok(command)
            }
            Self::FromSource => {
                let mut command = workspace.cargo(subcommand);
                command.arg("-Zbuild-std=std,panic_unwind");
                Ok(command)
            }
        }
    }

    /// A program that runs cargo itself, made to find this Rust's.
    ///
    /// # Errors
    /// When PATH cannot be put together.
    pub fn program(self, workspace: &Workspace, program: impl AsRef<OsStr>) -> Result<Command> {
        let mut command = Command::new(program);
        command.current_dir(workspace.root());
        if self == Self::Debian {
            let rest = env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(PathBuf::from(DEBIAN_BIN)).chain(env::split_paths(&rest));
            command.env("PATH", env::join_paths(folders)?);
            for name in INHERITED {
                command.env_remove(name);
            }
        }
        Ok(command)
    }

    /// What the compiler says it is: its version, and below it a fact a line, its commit among them.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn identity(self, workspace: &Workspace) -> Result<String> {
        let mut rustc = match self {
            Self::Current | Self::FromSource => Command::new("rustc"),
            Self::Debian => self.program(workspace, debian_program("rustc"))?,
        };
        Ok(capture(rustc.arg("-vV"))?.trim().to_owned())
    }

    /// Files of Debian's packages that programs for a target are compiled by and with; none of another Rust, whose commit tells all.
    pub fn packaged(self, triple: &str) -> Vec<PathBuf> {
        match self {
            Self::Current | Self::FromSource => Vec::new(),
            Self::Debian => {
                let library = Path::new(DEBIAN_LIBRARIES).join(triple).join("lib");
                vec![debian_program("rustc"), debian_program("cargo"), library]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_nightly_rust_with_sources_builds_the_standard_library() {
        let folder = tempfile::tempdir().unwrap();
        let (nightly, stable) = ("rustc\nrelease: 1.97.0-nightly\n", "rustc\nrelease: 1.95.0\n");
        assert!(!can_build_std(nightly, folder.path()), "without sources");
        let lock = folder.path().join(SOURCES);
        std::fs::create_dir_all(lock.parent().unwrap()).unwrap();
        std::fs::write(lock, "").unwrap();
        assert!(can_build_std(nightly, folder.path()));
        assert!(!can_build_std(stable, folder.path()));
        let workspace = Workspace::find().unwrap();
        let cargo = Rust::FromSource.cargo(&workspace, "build").unwrap();
        assert!(cargo.get_args().eq(["build", "-Zbuild-std=std,panic_unwind"]));
    }
}
