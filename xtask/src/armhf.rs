//! `cargo xtask test --armhf`: what has another layout on 32-bit Arm, which RV1106 is, compiled for it and run by an
//! emulator: the binding, the formats, and the backend over the stand-in of librknnmrt. Without tract: nothing there
//! computes. Uses the Rust that is there: a rustup target, or Debian's compiler, which builds the standard library from
//! Debian's sources. Never runs rustup.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};

use crate::cross::rust::{self, DEBIAN_PACKAGES, Rust};
use crate::system::{self, Need, on_path};
use crate::workspace::{Workspace, run_inheriting};

const TRIPLE: &str = "armv7-unknown-linux-gnueabihf";
/// Where Debian's cross packages have the C library. Programs are linked to be loaded from there, so that they run without
/// packages of another architecture, and without the emulator's `-L`, with which the creation of threads hangs.
const LIBRARIES: &str = "/usr/arm-linux-gnueabihf/lib";

const COMPILER: Need = Need {
    name: "arm-linux-gnueabihf-gcc",
    package: "gcc-arm-linux-gnueabihf",
    purpose: "linking for 32-bit Arm",
    is_met: || on_path("arm-linux-gnueabihf-gcc"),
};

const LIBC: Need = Need {
    name: "the C library for 32-bit Arm",
    package: "libc6-dev-armhf-cross",
    purpose: "linking for 32-bit Arm",
    is_met: || Path::new("/usr/arm-linux-gnueabihf/include/stdlib.h").is_file(),
};

const EMULATOR: Need = Need {
    name: "qemu-arm-static",
    package: "qemu-user-static",
    purpose: "running programs for 32-bit Arm here",
    is_met: || on_path("qemu-arm-static"),
};

const DEBIAN_RUSTC: Need = Need {
    name: "Debian's rustc",
    package: DEBIAN_PACKAGES[0],
    purpose: "compiling for 32-bit Arm",
    is_met: || rust::debian_program("rustc").is_file(),
};

const DEBIAN_CARGO: Need = Need {
    name: "Debian's cargo",
    package: DEBIAN_PACKAGES[1],
    purpose: "compiling for 32-bit Arm",
    is_met: || rust::debian_program("cargo").is_file(),
};

const SOURCES: Need = Need {
    name: "the sources of Rust's standard library",
    package: "rust-web-src",
    purpose: "compiling for 32-bit Arm",
    is_met: || Path::new("/usr/lib/rustlib/src/rust/library/Cargo.lock").is_file(),
};

/// Where the standard library for the target comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standard {
    /// It is there.
    Compiled(Rust),
    /// Debian's compiler builds it, from its sources.
    FromSource,
}

/// Runs the suites.
///
/// # Errors
/// When the machine cannot be made ready, or a test fails.
pub fn test(workspace: &Workspace) -> Result<()> {
    let standard = provide()?;
    let mut layouts = cargo(workspace, standard)?;
    // Not the comparison with the vendor's header: that is of C programs, which this machine's compiler makes.
    run_inheriting(layouts.args(["--package", "rknn-sys", "--lib", "--test", "pointer32"]))?;
    let mut suites = cargo(workspace, standard)?;
    suites.args(["--package", "artifact", "--package", "stand-in", "--no-default-features"]);
    run_inheriting(suites.args(["--no-fail-fast", "--lib", "--tests"]))
}

/// Installs what a fresh machine lacks, so that [`test`] starts at once.
///
/// # Errors
/// When it cannot be installed.
pub fn set_up() -> Result<()> {
    provide().map(drop)
}

fn provide() -> Result<Standard> {
    system::provide(&[COMPILER, LIBC, EMULATOR])?;
    if let Some(rust) = rust::find(TRIPLE) {
        return Ok(Standard::Compiled(rust));
    }
    ensure!(
        system::are_met(&[DEBIAN_RUSTC, DEBIAN_CARGO, SOURCES]) || system::may_install(),
        "no Rust for {TRIPLE} (`rustup target add {TRIPLE}` or, on Debian, `sudo apt-get install {} {}`)",
        DEBIAN_PACKAGES.join(" "),
        SOURCES.package
    );
    system::provide(&[DEBIAN_RUSTC, DEBIAN_CARGO, SOURCES])?;
    Ok(Standard::FromSource)
}

/// `cargo test` for the target.
fn cargo(workspace: &Workspace, standard: Standard) -> Result<Command> {
    let mut command = match standard {
        Standard::Compiled(rust) => rust.cargo(workspace, "test")?,
        Standard::FromSource => {
            let mut command = Rust::Debian.cargo(workspace, "test")?;
            // Building the standard library is an unstable feature of cargo, which this allows a stable one.
            command.arg("-Zbuild-std").env("RUSTC_BOOTSTRAP", "1");
            command
        }
    };
    // Tests are run once on an emulator: compiling fast matters more than code that is fast.
    command.args(["--locked", "--target", TRIPLE, "--config", "profile.dev.package.\"*\".opt-level=1"]);
    command.env("CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_LINKER", COMPILER.name);
    command.env("CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUNNER", EMULATOR.name);
    command.env("CARGO_TARGET_ARMV7_UNKNOWN_LINUX_GNUEABIHF_RUSTFLAGS", loaded_from(LIBRARIES));
    // Its own folder, because two compilers in one make each other compile everything anew.
    command.env("CARGO_TARGET_DIR", workspace.target_folder()?.join("armhf"));
    Ok(command)
}

/// Flags for programs whose loader and libraries lie in `folder`.
fn loaded_from(folder: &str) -> String {
    let loader = format!("-Wl,--dynamic-linker={folder}/ld-linux-armhf.so.3");
    format!("-Clink-arg={loader} -Clink-arg=-Wl,-rpath,{folder}")
}
