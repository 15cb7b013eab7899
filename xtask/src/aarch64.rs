//! `cargo xtask test --aarch64`: the suites of what ships to boards, compiled for aarch64 and run by an emulator. Uses the
//! Rust that is there: a rustup target, or Debian's packages beside it. Never runs rustup or `cross`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::system::{self, Need, on_path};
use crate::unpack;
use crate::wheels::{self, Wheel};
use crate::workspace::{Workspace, cache_folder, capture, run, run_inheriting};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Debian's compiler, which other Rust on the PATH must not shadow, and its standard library for the target.
const DEBIAN_BIN: &str = "/usr/bin";
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/aarch64-unknown-linux-gnu/lib";
/// Comes with every arm64 package of Debian, and is what emulated programs are started by.
const LOADER: &str = "/lib/ld-linux-aarch64.so.1";
const VENDOR_PINS: &str = "toolchains/rknpu.toml";

/// The linker and C compiler for the target.
pub const CROSS_COMPILER: Need = Need {
    name: "aarch64-linux-gnu-gcc",
    package: "gcc-aarch64-linux-gnu",
    purpose: "linking for boards",
    is_met: || on_path("aarch64-linux-gnu-gcc"),
};

/// The C library to link with.
const CROSS_LIBC: Need = Need {
    name: "the C library for aarch64",
    package: "libc6-dev-arm64-cross",
    purpose: "linking for boards",
    is_met: || Path::new("/usr/aarch64-linux-gnu/include/stdlib.h").is_file(),
};

/// The emulator.
pub const EMULATOR: Need = Need {
    name: "qemu-aarch64-static",
    package: "qemu-user-static",
    purpose: "running board programs here",
    is_met: || on_path("qemu-aarch64-static"),
};

/// Which Rust compiles for the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rust {
    /// The one that runs us.
    Current,
    /// Debian's.
    Debian,
}

/// Runs the suites.
///
/// # Errors
/// When the machine cannot be made ready, or a test fails.
pub fn test(workspace: &Workspace) -> Result<()> {
    let rust = provide()?;
    let vendor = provide_vendor_runtime(workspace)?;
    let mut suites = cargo(workspace, rust)?;
    for package in ["artifact", "rknn-sys", "repedge", "stand-in"] {
        suites.args(["--package", package]);
    }
    suites.arg("--no-fail-fast");
    run_inheriting(suites.args(["--lib", "--tests"]))?;
    let mut real = cargo(workspace, rust)?;
    real.args(["--package", "rknn-sys", "--test", "vendor_runtime"]);
    real.args(["--package", "repedge", "--test", "rknn_vendor", "--", "--ignored"]);
    run_inheriting(real.env("REPEDGE_VENDOR_RKNN", vendor))
}

/// Whether a Rust here has the target's standard library.
pub fn has_rust() -> bool {
    which_rust().is_some()
}

fn which_rust() -> Option<Rust> {
    let mut rustc = Command::new("rustc");
    let folder = capture(rustc.args(["--print", "target-libdir", "--target", TARGET]));
    if folder.is_ok_and(|folder| Path::new(folder.trim()).is_dir()) {
        return Some(Rust::Current);
    }
    let has_debian = Path::new(DEBIAN_LIBRARY).is_dir() && Path::new(DEBIAN_BIN).join("cargo").is_file();
    has_debian.then_some(Rust::Debian)
}

fn provide() -> Result<Rust> {
    system::provide(&[CROSS_COMPILER, CROSS_LIBC, EMULATOR])?;
    if let Some(rust) = which_rust().filter(|_| Path::new(LOADER).exists()) {
        return Ok(rust);
    }
    let packages: &[&str] = match which_rust() {
        Some(_) => &["libc6:arm64"],
        None => &["rustc-web", "cargo-web", "libstd-rust-web-dev:arm64"],
    };
    system::install_foreign(
        "arm64",
        packages,
        "`rustup target add aarch64-unknown-linux-gnu` or, on Debian,",
    )?;
    which_rust().context("no Rust for aarch64, even after the installation")
}

/// `cargo test` for the target.
fn cargo(workspace: &Workspace, rust: Rust) -> Result<Command> {
    let mut command = match rust {
        Rust::Current => workspace.cargo("test"),
        Rust::Debian => {
            let mut command = Command::new(Path::new(DEBIAN_BIN).join("cargo"));
            let rest = env::var_os("PATH").unwrap_or_default();
            let folders = std::iter::once(PathBuf::from(DEBIAN_BIN)).chain(env::split_paths(&rest));
            // What the cargo that started us set for itself would lead to its own compiler.
            for name in ["CARGO", "RUSTC", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
                command.env_remove(name);
            }
            command.arg("test").current_dir(workspace.root()).env("PATH", env::join_paths(folders)?);
            command
        }
    };
    // Tests are run once on an emulator: compiling fast matters more than code that is fast.
    command.args(["--locked", "--target", TARGET, "--config", "profile.dev.package.\"*\".opt-level=1"]);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    // Without -L: with it the creation of threads hangs.
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64-static");
    // Its own folder, because two compilers in one make each other compile everything anew.
    command.env("CARGO_TARGET_DIR", workspace.target_folder()?.join("aarch64"));
    Ok(command)
}

/// The vendor's library out of its pinned wheel, in the user's cache.
fn provide_vendor_runtime(workspace: &Workspace) -> Result<PathBuf> {
    let pins = workspace.join(VENDOR_PINS);
    let text = fs::read_to_string(&pins).with_context(|| format!("cannot read {VENDOR_PINS}"))?;
    let wheel: Wheel = toml::from_str(&text).context(VENDOR_PINS)?;
    let folder = cache_folder()?.join(format!("rknpu-{}", &wheel.sha256[..16.min(wheel.sha256.len())]));
    let library = folder.join("librknnrt.so");
    if !library.is_file() {
        let archives = wheels::fetch(std::slice::from_ref(&wheel))?;
        let staged = unpack::beside(&folder, "unpacking");
        for archive in &archives {
            unpack::members(archive, &wheel.unpack, &staged)?;
        }
        unpack::swap(&staged, &folder)?;
    }
    Ok(library)
}

/// Installs the packages a fresh machine lacks, so that [`test`] starts at once.
///
/// # Errors
/// As [`test`].
pub fn set_up(workspace: &Workspace) -> Result<()> {
    provide()?;
    provide_vendor_runtime(workspace)?;
    let mut fetch = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    run(fetch.args(["fetch", "--locked"]).current_dir(workspace.root()))
}
