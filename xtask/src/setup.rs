//! `cargo xtask setup`: system packages, libtorch and the headers of V4L2, and what else is asked for.
//! The other commands call what they need of it themselves, but for qemu, zig, cargo-deb and other architectures; it is also
//! here for CI and for offline preparation.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::cross::zig;
use crate::system::{self, COMPILER, SSH, SSHD};
use crate::workspace::Workspace;
use crate::{aarch64, armhf, cargo_deb, debian, headers, image, libtorch, python, test_board, x86_64};

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
    /// deb, zig, aarch64 and qemu at once: what `build-board` needs for most boards, and what `cargo xtask test` boots one in
    /// qemu with. A guest's kernel that is there is not renewed.
    Boards,
    /// toolchains/venv, the Python environment of the tests.
    Python,
    /// What `cargo xtask test --aarch64` needs.
    Aarch64,
    /// What `cargo xtask test --armhf` needs.
    Armhf,
    /// What `cargo xtask test --x86-64` needs: toolchains/emulator, a Python environment.
    #[value(name = "x86-64")]
    X86,
    /// What `cargo xtask test-board qemu-virt` needs: the emulator, and Debian's kernel and busybox for arm64: those that
    /// toolchains/debian.toml pins while Debian has them, else the newest.
    Qemu,
    /// toolchains/rknn, the Python environment of Rockchip's compiler: for `train-host convert --target rk3588`.
    Rknn,
    /// cargo-deb, with which `cargo xtask build-board` packs what boards install; it is compiled into your cache.
    Deb,
    /// zig, the linker that `cargo xtask build-board` needs for boards with an old glibc; it is unpacked in your cache.
    Zig,
    /// Pin what Debian has now: writes toolchains/debian.toml anew, and takes nothing of it. `qemu` then takes what guests are made
    /// of; test it, and commit the file.
    Pins,
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
    args.parts.iter().try_for_each(|part| part.provide(&workspace))
}

impl Part {
    /// What `boards` stands for.
    const FOR_BOARDS: [Self; 4] = [Self::Deb, Self::Zig, Self::Aarch64, Self::Qemu];

    fn provide(self, workspace: &Workspace) -> Result<()> {
        match self {
            Self::Boards => all(Self::FOR_BOARDS.iter().map(|part| part.provide_once(workspace))),
            Self::Python => python::TESTS.provide(workspace).map(drop),
            Self::Aarch64 => aarch64::set_up(workspace),
            Self::Armhf => armhf::set_up(),
            Self::X86 => x86_64::set_up(workspace),
            Self::Deb => cargo_deb::provide(workspace),
            Self::Zig => zig::provide(workspace).map(drop),
            Self::Flash => system::provide_optional(&[&image::TOOLS[..], &[SSH, SSHD]].concat()),
            Self::Qemu => test_board::renew(),
            Self::Pins => debian::renew(workspace),
            Self::Rknn => python::RKNN.provide(workspace).map(drop),
        }
    }

    /// As [`Self::provide`], but does not renew what is there. The others never do.
    fn provide_once(self, workspace: &Workspace) -> Result<()> {
        if self == Self::Qemu && test_board::is_ready()? {
            return test_board::tell_unpinned();
        }
        self.provide(workspace)
    }
}

/// Everything, also behind what fails: a machine may have one part and not another.
fn all(parts: impl Iterator<Item = Result<()>>) -> Result<()> {
    let failures: Vec<_> = parts.filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn one_step_sets_up_all_that_the_board_test_needs() {
        let line = Line::try_parse_from(["setup", "boards"]).unwrap();
        assert_eq!(line.args.parts, [Part::Boards]);
        for part in [Part::Deb, Part::Zig, Part::Aarch64, Part::Qemu] {
            assert!(Part::FOR_BOARDS.contains(&part), "{part:?}");
        }
    }

    #[test]
    fn pins_are_renewed_by_the_command_that_messages_name() {
        let line = Line::try_parse_from(["setup", "pins"]).unwrap();
        assert_eq!(line.args.parts, [Part::Pins]);
        assert!(!Part::FOR_BOARDS.contains(&Part::Pins), "what was tested changes only when somebody asks");
    }

    #[test]
    fn a_part_that_cannot_be_had_keeps_no_other_from_being_set_up() {
        let mut done = Vec::new();
        let parts = ["zig", "gcc", "qemu"].into_iter().map(|part| {
            done.push(part);
            if part == "qemu" { Ok(()) } else { Err(anyhow!("no {part} here")) }
        });
        let error = all(parts).unwrap_err().to_string();
        assert_eq!(error, "no zig here\nno gcc here");
        assert_eq!(done, ["zig", "gcc", "qemu"]);
    }
}
