//! `cargo xtask setup`: system packages and libtorch.
//! The other commands call what they need of it themselves; it is here for CI and for offline preparation.

use std::path::PathBuf;

use anyhow::Result;

use crate::system::{self, COMPILER};
use crate::workspace::Workspace;
use crate::{aarch64, libtorch, python};

/// Arguments of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Unpack libtorch here instead of into toolchains/libtorch (then export LIBTORCH with this path).
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
    /// Also make toolchains/venv, the Python environment of the tests.
    #[arg(long)]
    python: bool,
    /// Also install what `cargo xtask test --aarch64` needs.
    #[arg(long)]
    aarch64: bool,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing and how to get it.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    system::provide(&[COMPILER])?;
    match &args.libtorch {
        Some(destination) => libtorch::provide_at(&workspace, &std::path::absolute(destination)?)?,
        None => libtorch::provide(&workspace)?,
    };
    if args.python {
        python::provide(&workspace)?;
    }
    if args.aarch64 {
        aarch64::set_up(&workspace)?;
    }
    Ok(())
}
