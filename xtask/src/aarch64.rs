//! `cargo xtask test --aarch64`: the suites of what ships to boards, compiled for aarch64 and run by an emulator. Uses the
//! Rust that is there: a rustup target, or Debian's packages beside it. Never runs rustup or `cross`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::cross::gcc::{CROSS_COMPILER, CROSS_LIBC};
use crate::cross::rust::{self, DEBIAN_PACKAGES, Rust};
use crate::pins;
use crate::system::{self, Need, on_path};
use crate::unpack;
use crate::wheels::{self, Wheel};
use crate::workspace::{Workspace, cache_folder, run, run_inheriting};

const TARGET: &str = "aarch64-unknown-linux-gnu";
/// Comes with every arm64 package of Debian, and is what emulated programs are started by.
const LOADER: &str = "/lib/ld-linux-aarch64.so.1";
const VENDOR_PINS: &str = "toolchains/rknpu.toml";
/// What ships to boards, and what it is tested with.
const PACKAGES: [&str; 5] = ["artifact", "kernels", "rknn-sys", "repedge", "stand-in"];
/// Frames of the soak test, which runs ten times as many where nothing is emulated.
const SOAK_FRAMES: (&str, &str) = ("REPEDGE_SOAK_FRAMES", "10000");

/// The emulator.
pub const EMULATOR: Need = Need {
    name: "qemu-aarch64-static",
    package: "qemu-user-static",
    purpose: "running board programs here",
    is_met: || on_path("qemu-aarch64-static"),
};

/// Runs the suites.
///
/// # Errors
/// When the machine cannot be made ready, or a test fails.
pub fn test(workspace: &Workspace) -> Result<()> {
    let rust = provide()?;
    let vendor = provide_vendor_runtime(workspace)?;
    let mut suites = cargo(workspace, rust)?;
    suites.args(["--no-fail-fast", "--lib", "--tests"]);
    let mut real = cargo(workspace, rust)?;
    real.args(["--test", "vendor_runtime", "--test", "rknn_vendor", "--", "--ignored"]);
    real.env("REPEDGE_VENDOR_RKNN", vendor);
    run_all([suites, real])
}

/// Runs every command, also behind one that fails.
fn run_all(commands: impl IntoIterator<Item = Command>) -> Result<()> {
    let run = |mut command| run_inheriting(&mut command);
    let failures: Vec<String> = commands
        .into_iter()
        .filter_map(|command| run(command).err())
        .map(|error| error.to_string())
        .collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn provide() -> Result<Rust> {
    system::provide(&[CROSS_COMPILER, CROSS_LIBC, EMULATOR])?;
    if let Some(rust) = rust::find(TARGET).filter(|_| Path::new(LOADER).exists()) {
        return Ok(rust);
    }
    let library = "libstd-rust-web-dev:arm64";
    let packages: &[&str] = match rust::find(TARGET) {
        Some(_) => &["libc6:arm64"],
        None => &[DEBIAN_PACKAGES[0], DEBIAN_PACKAGES[1], library],
    };
    system::install_foreign(
        "arm64",
        packages,
        "`rustup target add aarch64-unknown-linux-gnu` or, on Debian,",
    )?;
    rust::find(TARGET).context("no Rust for aarch64, even after the installation")
}

/// `cargo test` for the target, always of all packages: of some alone it would compile them anew, with fewer features.
fn cargo(workspace: &Workspace, rust: Rust) -> Result<Command> {
    let mut command = rust.cargo(workspace, "test")?;
    command.args(PACKAGES.iter().flat_map(|package| ["--package", package]));
    // Tests are run once on an emulator: compiling fast matters more than code that is fast.
    command.args(["--locked", "--target", TARGET, "--config", "profile.dev.package.\"*\".opt-level=1"]);
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    // Without -L: with it the creation of threads hangs.
    command.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", "qemu-aarch64-static");
    command.env(SOAK_FRAMES.0, SOAK_FRAMES.1);
    // Tests that have the runtime loaded hundreds of times do so less often.
    command.env("REPEDGE_EMULATED", "1");
    // Its own folder, because two compilers in one make each other compile everything anew.
    command.env("CARGO_TARGET_DIR", workspace.target_folder()?.join("aarch64"));
    Ok(command)
}

/// The vendor's library out of its pinned wheel, in the user's cache.
fn provide_vendor_runtime(workspace: &Workspace) -> Result<PathBuf> {
    let wheel: Wheel = pins::read(&workspace.join(VENDOR_PINS), |text| Ok(toml::from_str(text)?))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_suite_that_fails_keeps_no_other_from_running() {
        let folder = tempfile::tempdir().unwrap();
        let witness = folder.path().join("ran");
        let second = || shell(&format!("touch {}", witness.display()));
        let error = run_all([shell("exit 3"), second()]).unwrap_err().to_string();
        assert!(witness.exists() && error.contains("exit 3"), "{error}");
        let error = run_all([shell("exit 3"), shell("exit 4")]).unwrap_err().to_string();
        assert!(error.contains("exit 3") && error.contains("exit 4"), "{error}");
        run_all([second()]).unwrap();
    }

    #[test]
    fn emulated_tests_soak_for_less_long() {
        let workspace = Workspace::find().unwrap();
        let command = cargo(&workspace, Rust::Current).unwrap();
        let is_soak = |(name, _): &(&std::ffi::OsStr, Option<&std::ffi::OsStr>)| *name == SOAK_FRAMES.0;
        let (_, frames) = command.get_envs().find(is_soak).unwrap();
        let frames: u32 = frames.unwrap().to_str().unwrap().parse().unwrap();
        assert!(frames <= 10_000, "{frames}");
    }
}
