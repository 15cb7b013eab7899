//! `cargo xtask setup`: system packages, libtorch and the headers of V4L2, and what else is asked for.
//! The other commands call what they need of it themselves; it is here for CI and for offline preparation.

use std::path::PathBuf;

use anyhow::Result;

use crate::cross::zig;
use crate::system::{self, COMPILER, E2FSPROGS, GENIMAGE, SSH, SSHD};
use crate::workspace::Workspace;
use crate::{aarch64, armhf, headers, libtorch, python, test_board};

/// Arguments of `cargo xtask setup`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to make ready beside libtorch.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Unpack libtorch here instead of into toolchains/libtorch (then export LIBTORCH with this path).
    #[arg(long, value_name = "DIR")]
    libtorch: Option<PathBuf>,
}

/// What not everybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// toolchains/venv, the Python environment of the tests.
    Python,
    /// What `cargo xtask test --aarch64` needs.
    Aarch64,
    /// What `cargo xtask test --armhf` needs.
    Armhf,
    /// What `cargo xtask test-board qemu-virt` needs: the emulator, and Debian's newest kernel and busybox for arm64.
    Qemu,
    /// toolchains/rknn, the Python environment of Rockchip's compiler: for `train-host convert --target rk3588`.
    Rknn,
    /// zig, the linker that `cargo xtask build-board` needs for boards with an old glibc; it is unpacked in your cache.
    Zig,
    /// What disk images are made with, and the ssh server that flashing is tested with.
    Flash,
}

/// Runs the command.
///
/// # Errors
/// Names what is missing and how to get it.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    system::provide(&[COMPILER])?;
    headers::provide(&workspace)?;
    match &args.libtorch {
        Some(destination) => libtorch::provide_at(&workspace, &std::path::absolute(destination)?)?,
        None => libtorch::provide(&workspace)?,
    };
    for part in &args.parts {
        match part {
            Part::Python => python::TESTS.provide(&workspace).map(drop)?,
            Part::Aarch64 => aarch64::set_up(&workspace)?,
            Part::Armhf => armhf::set_up()?,
            Part::Zig => zig::provide(&workspace).map(drop)?,
            Part::Flash => system::provide_optional(&[GENIMAGE, E2FSPROGS, SSH, SSHD])?,
            Part::Qemu => test_board::renew()?,
            Part::Rknn => python::RKNN.provide(&workspace).map(drop)?,
        }
    }
    Ok(())
}
