//! A Rust that compiles for a target: the one that runs us, or Debian's packages beside it.

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
            Self::Current => Command::new("rustc"),
            Self::Debian => self.program(workspace, debian_program("rustc"))?,
        };
        Ok(capture(rustc.arg("-vV"))?.trim().to_owned())
    }
}
