//! The GNU cross compiler of Debian's packages as linker, and which glibc it links against.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use boards::Version;

use super::{Missing, elf};
use crate::system::{Need, on_path};
use crate::workspace::capture;

/// The linker and C compiler for 64-bit Arm.
pub const CROSS_COMPILER: Need = Need {
    name: "aarch64-linux-gnu-gcc",
    package: "gcc-aarch64-linux-gnu",
    purpose: "linking for boards",
    is_met: || on_path("aarch64-linux-gnu-gcc"),
};

/// The C library to link with.
pub const CROSS_LIBC: Need = Need {
    name: "the C library for aarch64",
    package: "libc6-dev-arm64-cross",
    purpose: "linking for boards",
    is_met: || Path::new("/usr/aarch64-linux-gnu/include/stdlib.h").is_file(),
};

/// A cross compiler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gcc {
    program: String,
    version: String,
    glibc: Version,
}

impl Gcc {
    /// Its name.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// The glibc that it links against.
    pub fn glibc(&self) -> Version {
        self.glibc
    }
}

impl fmt::Display for Gcc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.program, self.version)
    }
}

/// The cross compiler for a target.
///
/// # Errors
/// What is missing.
pub fn find(triple: &str) -> Result<Gcc, Missing> {
    // Rust's triples name a vendor, Debian's do not.
    let gnu = triple.replace("-unknown-", "-").replace("armv7-", "arm-");
    let program = format!("{gnu}-gcc");
    let missing = |what: &str| Missing {
        what: format!("{what} for {triple}"),
        purpose: "which links the programs".into(),
        remedy: format!("`sudo apt-get install gcc-{gnu} libc6-dev-{}-cross`", debian_arch(triple)),
    };
    if !on_path(&program) {
        return Err(missing("a cross compiler"));
    }
    let ask =
        |argument: &str| capture(Command::new(&program).arg(argument)).map(|text| text.trim().to_owned());
    let library = ask("-print-file-name=libc.so.6").map(PathBuf::from);
    let glibc = library.and_then(|library| elf::newest_glibc_defined(&library));
    match (ask("-dumpversion"), glibc) {
        (Ok(version), Ok(glibc)) => Ok(Gcc { program, version, glibc }),
        _ => Err(missing("a C library")),
    }
}

fn debian_arch(triple: &str) -> &'static str {
    if triple.starts_with("aarch64-") { "arm64" } else { "armhf" }
}
