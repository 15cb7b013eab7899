//! Building for another machine: which Rust there is for it, and what links. It uses what is there and says what is
//! missing and how to get it; it never runs rustup, and runs `cross` only when asked.

pub mod elf;
pub mod gcc;
pub mod pinned;
pub mod rust;
mod vendor;
pub mod zig;

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use boards::{Board, Target, Version};

use crate::system::{self, on_path};
use crate::workspace::{Workspace, capture};
use gcc::Gcc;
use rust::Rust;
use vendor::Vendor;
use zig::Zig;

/// Who links, as a user asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum With {
    /// zig, through cargo-zigbuild: against the oldest glibc that a board has.
    Zig,
    /// The GNU cross compiler: against the glibc of its packages.
    Gcc,
    /// `cross`, which runs cargo in a container.
    Cross,
}

/// What builds for a target.
#[derive(Debug, Clone)]
pub struct Toolchain {
    triple: String,
    rust: Rust,
    linker: Linker,
}

#[derive(Debug, Clone)]
enum Linker {
    /// Against the oldest glibc of all boards of this target, so that one build serves them all.
    Zig(Zig, Version),
    Gcc(Gcc),
    Vendor(Vendor),
    Cross,
}

/// What compiled and linked, beyond a version: two compilers of one version may be others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tools {
    /// What `rustc -vV` prints; nothing where the compiler lies in a container.
    pub rustc: String,
    /// The program that rustc calls to link, and the one which that calls.
    pub linkers: Vec<PathBuf>,
    /// What else of Debian's packages goes into programs or compiles them: a file of each.
    pub packaged: Vec<PathBuf>,
}

/// Something that is not there, and the command that brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// What.
    pub what: String,
    /// What it is for.
    pub purpose: String,
    /// The command.
    pub remedy: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, purpose, remedy } = self;
        write!(out, "missing: {what}, {purpose}\n  help: {remedy}")
    }
}

impl Toolchain {
    /// The toolchain for a target: zig where it is set up, else the GNU cross compiler where its glibc is not too new.
    ///
    /// # Errors
    /// Names everything that is missing, and how to get it.
    pub fn find(workspace: &Workspace, target: &Target, with: Option<With>) -> Result<Self> {
        let missing = match search(workspace, target, with) {
            Ok(toolchain) => return Ok(toolchain),
            Err(missing) => missing,
        };
        let lines: Vec<_> = missing.iter().map(|missing| format!("\n  {missing}")).collect();
        bail!("cannot build for {} on this machine{}", target.triple, lines.concat())
    }

    /// `cargo build` for the target, to which packages and the profile are added.
    ///
    /// # Errors
    /// When a path cannot be an environment variable.
    pub fn cargo_build(&self, workspace: &Workspace) -> Result<Command> {
        let mut command = match &self.linker {
            Linker::Zig(zig, floor) => {
                let mut command = self.rust.program(workspace, zig.cargo_zigbuild())?;
                command.arg("build").env("CARGO_ZIGBUILD_ZIG_PATH", zig.program());
                command.args(["--target", &format!("{}.{floor}", self.triple)]);
                command
            }
            Linker::Gcc(gcc) => {
                let mut command = self.rust.cargo(workspace, "build")?;
                command.args(["--target", &self.triple]);
                command.env(variable("CARGO_TARGET", &self.triple, "LINKER"), gcc.program());
                command
            }
            Linker::Vendor(vendor) => {
                let mut command = self.rust.cargo(workspace, "build")?;
                command.args(["--target", &self.triple]);
                vendor.hand_to(&mut command, &self.triple);
                command
            }
            Linker::Cross => {
                let mut command = Command::new("cross");
                command.arg("build").current_dir(workspace.root()).args(["--target", &self.triple]);
                command.env("CROSS_CONFIG", workspace.join("toolchains/Cross.toml"));
                command
            }
        };
        command.arg("--locked");
        Ok(command)
    }

    /// The environment variable that holds cargo's flags for this target's compiler.
    pub fn flags_variable(&self) -> String {
        variable("CARGO_TARGET", &self.triple, "RUSTFLAGS")
    }

    /// The folder of the standard library's sources, where the programs have it compiled from them: its path is in them then.
    ///
    /// # Errors
    /// When the compiler does not tell where it lies.
    pub fn std_sources(&self) -> Result<Option<PathBuf>> {
        if self.rust == Rust::FromSource { rust::std_sources().map(Some) } else { Ok(None) }
    }

    /// One line for people and for the build record.
    ///
    /// # Errors
    /// When a compiler does not tell its version.
    pub fn describe(&self, workspace: &Workspace) -> Result<String> {
        let linker = match &self.linker {
            Linker::Zig(zig, floor) => format!("{zig} against glibc {floor}"),
            Linker::Gcc(gcc) => gcc.to_string(),
            Linker::Vendor(vendor) => vendor.to_string(),
            Linker::Cross => return first_line(&capture(Command::new("cross").arg("--version"))?),
        };
        Ok(format!("{}, linked by {linker}", first_line(&self.rust.identity(workspace)?)?))
    }

    /// What compiles and links.
    ///
    /// # Errors
    /// When one of them does not answer.
    pub fn tools(&self, workspace: &Workspace) -> Result<Tools> {
        let linked_by = match &self.linker {
            Linker::Zig(zig, _) => Tools { linkers: vec![zig.program()], ..Tools::default() },
            Linker::Gcc(gcc) => linked_by(system::program(gcc.program())?)?,
            Linker::Vendor(vendor) => linked_by(vendor.program().clone())?,
            Linker::Cross => return Ok(Tools::default()),
        };
        let packaged = [linked_by.packaged, self.rust.packaged(&self.triple), system::libclang()].concat();
        Ok(Tools { rustc: self.rust.identity(workspace)?, packaged, ..linked_by })
    }
}

/// What compiles and links for this machine.
///
/// # Errors
/// As [`Toolchain::tools`].
pub fn native_tools(workspace: &Workspace) -> Result<Tools> {
    let linked_by = linked_by(system::program("cc")?)?;
    let packaged = [linked_by.packaged, system::libclang()].concat();
    Ok(Tools { rustc: Rust::Current.identity(workspace)?, packaged, ..linked_by })
}

fn first_line(text: &str) -> Result<String> {
    Ok(text.lines().next().context("a program was asked for its version and printed nothing")?.to_owned())
}

/// A C compiler, which is called to link, the linker that it calls, and what it links with.
fn linked_by(compiler: PathBuf) -> Result<Tools> {
    let ask = |question: &str| {
        capture(Command::new(&compiler).arg(question)).map(|answer| PathBuf::from(answer.trim()))
    };
    let linker = ask("-print-prog-name=ld")?;
    let libraries = ["libc.so.6", "crt1.o", "libgcc.a"].map(|name| ask(&format!("-print-file-name={name}")));
    let packaged = libraries.into_iter().collect::<Result<_>>()?;
    let linker = system::program(&linker.to_string_lossy())?;
    Ok(Tools { linkers: vec![compiler, linker], packaged, ..Tools::default() })
}

/// What a target lacks on this machine; nothing where programs can be built for it.
pub fn missing(workspace: &Workspace, target: &Target) -> Vec<Missing> {
    search(workspace, target, None).err().unwrap_or_default()
}

fn search(workspace: &Workspace, target: &Target, with: Option<With>) -> Result<Toolchain, Vec<Missing>> {
    let Some(floor) = target.glibc_floor else { return search_vendor(target, with) };
    let toolchain = |rust, linker| Ok(Toolchain { triple: target.triple.clone(), rust, linker });
    if with == Some(With::Cross) {
        return if on_path("cross") {
            toolchain(Rust::Current, Linker::Cross)
        } else {
            let remedy = format!("{}, and Docker or Podman", pinned::install("cross"));
            Err(vec![Missing { what: "cross".into(), purpose: "which was asked for".into(), remedy }])
        };
    }
    let rust = rust::find(&target.triple).ok_or_else(|| rust::missing(&target.triple));
    let (rust, linker) = both(rust, linker(workspace, target, floor, with))?;
    toolchain(rust, linker)
}

/// What builds for a board without glibc: Rust's standard library from source where Rust ships none, and the vendor's linker.
fn search_vendor(target: &Target, with: Option<With>) -> Result<Toolchain, Vec<Missing>> {
    if with.is_some() {
        return Err(vec![Missing {
            what: format!("another linker for {} than the vendor's", target.triple),
            purpose: "which was asked for".into(),
            remedy: "`cargo xtask build-board` without `--with`".into(),
        }]);
    }
    let shipped = rust::find(&target.triple).map(Ok);
    let rust = shipped.unwrap_or_else(|| rust::find_from_source(&target.triple));
    let (rust, vendor) = both(rust, vendor::find(target))?;
    Ok(Toolchain { triple: target.triple.clone(), rust, linker: Linker::Vendor(vendor) })
}

/// Both, or everything that is missing of them.
fn both<A, B>(one: Result<A, Missing>, other: Result<B, Missing>) -> Result<(A, B), Vec<Missing>> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).collect()),
    }
}

fn linker(
    workspace: &Workspace,
    target: &Target,
    floor: Version,
    with: Option<With>,
) -> Result<Linker, Missing> {
    let lowest = lowest_floor(&target.triple).unwrap_or(floor);
    let zig = || zig::find(workspace).map(|zig| Linker::Zig(zig, lowest));
    let gcc = || gcc::find(&target.triple).map(Linker::Gcc);
    match with {
        Some(With::Zig) => zig(),
        Some(With::Gcc) => gcc(),
        _ => zig().or_else(|no_zig| match gcc::find(&target.triple) {
            Ok(gcc) if gcc.glibc() <= floor => Ok(Linker::Gcc(gcc)),
            Ok(gcc) => Err(Missing {
                purpose: format!(
                    "because {gcc} links against glibc {}, and images may have {floor}",
                    gcc.glibc()
                ),
                ..no_zig
            }),
            Err(_) => Err(no_zig),
        }),
    }
}

/// The oldest glibc of all boards of a target.
fn lowest_floor(triple: &str) -> Option<Version> {
    let targets = boards::names().filter_map(|name| Board::find(name).ok()?.target);
    targets.filter(|target| target.triple == triple).filter_map(|target| target.glibc_floor).min()
}

/// A variable of cargo's for a target, such as `CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER`.
fn variable(prefix: &str, triple: &str, suffix: &str) -> String {
    format!("{prefix}_{}_{suffix}", triple.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_spelled_as_cargo_spells_them() {
        let name = variable("CARGO_TARGET", "aarch64-unknown-linux-gnu", "LINKER");
        assert_eq!(name, "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
    }

    #[test]
    fn what_builds_for_this_machine_is_known_by_commit_and_file() {
        let tools = native_tools(&Workspace::find().unwrap()).unwrap();
        assert!(tools.rustc.contains("\ncommit-hash: "), "{}", tools.rustc);
        assert!(tools.linkers.len() == 2 && tools.linkers.iter().all(|path| path.is_file()), "{tools:?}");
    }

    #[test]
    fn one_floor_serves_every_board_of_a_target() {
        assert_eq!(lowest_floor("aarch64-unknown-linux-gnu"), Some(Version::new(2, 31)));
        assert_eq!(lowest_floor("armv7-unknown-linux-uclibceabihf"), None);
    }

    #[test]
    fn containers_have_what_the_programs_are_compiled_with() {
        let boards = include_str!("../../../toolchains/docker/aarch64.Dockerfile");
        for text in [boards, include_str!("../../../toolchains/docker/host.Dockerfile")] {
            assert!(text.contains("libclang"), "bindgen cannot read the headers of V4L2: {text}");
        }
    }

    #[test]
    fn what_is_for_containers_says_how_far_it_can_be_trusted() {
        let images = [
            include_str!("../../../toolchains/docker/aarch64.Dockerfile"),
            include_str!("../../../toolchains/docker/host.Dockerfile"),
        ];
        for text in images {
            let base = text.lines().find_map(|line| line.strip_prefix("FROM ")).unwrap();
            assert_ne!(base.contains("@sha256:"), text.contains("Not pinned by digest"), "{base}");
            let (tag, _) = base.split_once('@').unwrap_or((base, ""));
            assert!(text.contains(&format!("docker pull {tag}")), "how {tag} is pinned is not said");
            // The part before a slash would be the host of a registry.
            assert!(!base.contains('/') && tag.contains(':'), "{base}");
        }
        for text in images.iter().copied().chain([include_str!("../../../toolchains/Cross.toml")]) {
            assert!(text.contains("Untested"), "{text}");
        }
    }

    #[test]
    fn a_vendors_linker_is_named() {
        let target = Board::find("rv1106").unwrap().target.unwrap();
        let target = Target {
            triple: "armv7-nobody-linux-uclibceabihf".into(),
            vendor_linker: target.vendor_linker.map(|name| format!("{name}-of-nobody")),
            ..target
        };
        assert!(rust::missing_std(&target.triple).what.contains("uclibceabihf"));
        // A machine that can build the standard library lacks the linker alone.
        let missing = search_vendor(&target, None).unwrap_err();
        let linker = missing.last().unwrap();
        assert!(linker.what.contains("arm-rockchip830"), "{missing:?}");
        assert!(missing.iter().all(|missing| missing.remedy.contains('`')), "{missing:?}");
        let refused = search_vendor(&target, Some(With::Zig)).unwrap_err();
        assert!(
            refused[0].what.contains("uclibceabihf") && refused[0].remedy.contains("--with"),
            "{refused:?}"
        );
    }
}
