//! `cargo xtask doctor`: what this machine has and lacks, with the command that brings it.
//! It looks only: it installs nothing and changes nothing.

use anyhow::Result;

use crate::system::{COMPILER, LIBCLANG, Need, PIP, VENV};
use crate::workspace::{Workspace, succeeds};
use crate::{aarch64, libtorch, python};

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
        name: "rknn-toolkit2",
        purpose: "compiling for Rockchip's NPUs",
        is_there: python::RKNN.is_there(workspace),
        remedy: "`cargo xtask setup rknn`".into(),
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
        is_there: aarch64::has_rust(),
        remedy: "`rustup target add aarch64-unknown-linux-gnu`, or on Debian `cargo xtask setup aarch64`"
            .into(),
    });
    findings.extend([aarch64::CROSS_COMPILER, aarch64::EMULATOR].iter().map(of_need));
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
