//! `cargo xtask doctor`: what this machine has and lacks, with the command that brings it.
//! It looks only: it installs nothing and changes nothing.

use anyhow::Result;

use crate::libtorch;
use crate::system::{COMPILER, LIBCLANG, Need, PIP, VENV, on_path};
use crate::workspace::{Workspace, capture, succeeds};

/// Arguments of `cargo xtask doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// One line of the report.
struct Finding {
    name: &'static str,
    purpose: &'static str,
    is_there: bool,
    remedy: String,
}

/// Runs the command.
///
/// # Errors
/// When the workspace cannot be found.
pub fn run(_args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    for finding in findings(&workspace) {
        let Finding { name, purpose, is_there, remedy } = finding;
        if is_there {
            println!("ok       {name:24} {purpose}");
        } else {
            println!("missing  {name:24} {purpose}: {remedy}");
        }
    }
    Ok(())
}

fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings: Vec<_> = [COMPILER, PIP, VENV, LIBCLANG].iter().map(of_need).collect();
    findings.push(Finding {
        name: "libtorch",
        purpose: "training",
        is_there: libtorch::expect_libtorch(&workspace.libtorch()).is_ok(),
        remedy: "`cargo xtask setup`".into(),
    });
    findings.push(Finding {
        name: "cargo-nextest",
        purpose: "faster test runs; without it `cargo test` is used",
        is_there: succeeds("cargo", &["nextest", "--version"]),
        remedy: "`cargo install --locked cargo-nextest`".into(),
    });
    findings.push(Finding {
        name: "Rust for aarch64",
        purpose: "building for boards",
        is_there: has_aarch64(),
        remedy: "`rustup target add aarch64-unknown-linux-gnu`, or use `cross`".into(),
    });
    let aarch64_compiler = ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu", "linking for boards");
    let qemu = ("qemu-aarch64-static", "qemu-user-static", "running board programs here");
    for (program, package, purpose) in [aarch64_compiler, qemu] {
        let remedy = format!("`sudo apt-get install {package}`");
        findings.push(Finding { name: program, purpose, is_there: on_path(program), remedy });
    }
    findings
}

fn of_need(need: &Need) -> Finding {
    Finding {
        name: need.name,
        purpose: need.purpose,
        is_there: (need.is_met)(),
        remedy: format!("`sudo apt-get install {}`", need.package),
    }
}

fn has_aarch64() -> bool {
    let target = "aarch64-unknown-linux-gnu";
    let mut rustc = std::process::Command::new("rustc");
    let folder = capture(rustc.args(["--print", "target-libdir", "--target", target]));
    folder.is_ok_and(|folder| std::path::Path::new(folder.trim()).is_dir())
}
