//! The programs of a board: built, stripped, and checked to run there by what their files say they need.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use boards::{Board, Target};

use crate::cross::elf::{self, Needs};
use crate::cross::{Toolchain, With};
use crate::workspace::{Workspace, capture, cargo_home, run};

/// Programs that every board gets.
const ALWAYS: [&str; 2] = ["self-test", "detect-image"];
/// What it gets beside them where nothing else is asked for.
const DEFAULT: &str = "camera-demo";
/// The profile of Cargo.toml that ships.
const PROFILE: &str = "board";
/// No program of a board may be larger.
const MOST_BYTES: usize = 12_000_000;

/// A program and what it needs.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// What it needs.
    pub needs: Needs,
}

/// The programs of a board.
#[derive(Debug, Clone)]
pub struct Programs {
    /// In the order of their names.
    pub all: Vec<Program>,
    /// The architecture as Debian's packages name it.
    pub debian_arch: &'static str,
    /// What built them.
    pub toolchain: String,
    /// The profile they were built with.
    pub profile: String,
}

/// Builds and checks the programs.
///
/// # Errors
/// When there is no such program, no toolchain, when building fails, or when a program would not run on the board.
pub fn build(
    workspace: &Workspace,
    board: &Board,
    examples: &[String],
    with: Option<With>,
) -> Result<Programs> {
    let names = choose(workspace, examples)?;
    let (folder, debian_arch, toolchain, profile) = match &board.target {
        Some(target) => {
            let toolchain = Toolchain::find(workspace, target, with)?;
            let folder = cross(workspace, &toolchain, target, &names)?;
            (folder, target.debian_arch(), toolchain.describe(workspace)?, PROFILE)
        }
        None => (native(workspace, &names)?, debian_arch_of_this_machine()?, native_version()?, "dev"),
    };
    let mut all = Vec::new();
    for name in names {
        let path = folder.join(&name);
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        all.push(Program { needs: elf::needs(&path)?, name, bytes });
    }
    for program in &all {
        check(board, program)?;
    }
    Ok(Programs { all, debian_arch, toolchain, profile: profile.into() })
}

/// The names of what is built, each once, in order.
fn choose(workspace: &Workspace, examples: &[String]) -> Result<Vec<String>> {
    let there = available(workspace)?;
    let mut names = ALWAYS.map(String::from).to_vec();
    names.extend_from_slice(examples);
    if examples.is_empty() {
        names.push(DEFAULT.into());
    }
    names.sort();
    names.dedup();
    for name in &names {
        ensure!(there.contains(name), "there is no example {name}: there are {}", there.join(", "));
    }
    Ok(names)
}

/// Names of the programs of the package `examples`.
fn available(workspace: &Workspace) -> Result<Vec<String>> {
    let metadata = workspace.metadata(&["--no-deps"])?;
    let packages = metadata["packages"].as_array().context("cargo metadata prints no packages")?;
    let examples =
        packages.iter().find(|package| package["name"] == "examples").context("no package examples")?;
    let targets = examples["targets"].as_array().context("a package without targets")?;
    let programs = targets.iter().filter(|target| target["kind"][0] == "bin");
    Ok(programs.filter_map(|target| target["name"].as_str()).map(String::from).collect())
}

/// Builds with a cross toolchain, in a folder that all boards of a target share.
fn cross(workspace: &Workspace, toolchain: &Toolchain, target: &Target, names: &[String]) -> Result<PathBuf> {
    let folder = workspace.target_folder()?.join("board-programs");
    run(with_programs(&mut cargo_build(workspace, toolchain, &folder)?, names))?;
    Ok(folder.join(&target.triple).join(PROFILE))
}

/// Builds the shared library of a package for a board, beside its programs.
///
/// # Errors
/// When the board is this machine, there is no toolchain, or building fails.
pub fn library(workspace: &Workspace, board: &Board, package: &str) -> Result<PathBuf> {
    let target = board.target.as_ref().with_context(|| format!("{} is this machine", board.name))?;
    let toolchain = Toolchain::find(workspace, target, None)?;
    let folder = workspace.target_folder()?.join("board-programs");
    let mut command = cargo_build(workspace, &toolchain, &folder)?;
    // With the programs' package, so that what both depend on has the same features and is compiled once.
    run(command.args(["--package", "examples", "--package", package, "--lib"]))?;
    let name = format!("lib{}.so", package.replace('-', "_"));
    Ok(folder.join(&target.triple).join(PROFILE).join(name))
}

fn cargo_build(workspace: &Workspace, toolchain: &Toolchain, folder: &Path) -> Result<Command> {
    let mut command = toolchain.cargo_build(workspace)?;
    command.args(["--profile", PROFILE]).env("CARGO_TARGET_DIR", folder);
    command.env(toolchain.flags_variable(), hide_paths(workspace)?);
    Ok(command)
}

/// Builds for this machine, in the profile that everything here is built with.
fn native(workspace: &Workspace, names: &[String]) -> Result<PathBuf> {
    run(with_programs(workspace.cargo("build").arg("--locked"), names))?;
    Ok(workspace.target_folder()?.join("debug"))
}

fn with_programs<'a>(command: &'a mut Command, names: &[String]) -> &'a mut Command {
    command.args(["--package", "examples"]);
    for name in names {
        command.args(["--bin", name]);
    }
    command
}

/// Compiler flags that keep the paths of this machine out of the programs: they would differ from machine to machine.
fn hide_paths(workspace: &Workspace) -> Result<String> {
    let home = cargo_home()?;
    let shown = [(workspace.root().to_owned(), "repedge"), (home.join("registry/src"), "registry")];
    let flag = |(path, name): &(PathBuf, &str)| format!("--remap-path-prefix={}={name}", path.display());
    let flags: Vec<_> = shown.iter().map(flag).collect();
    if flags.iter().any(|flag| flag.contains(' ')) {
        bail!("a folder with a space in its name cannot be told to the compiler: {}", flags.join(" "));
    }
    Ok(flags.join(" "))
}

fn debian_arch_of_this_machine() -> Result<&'static str> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => bail!("there is no package for a {other} machine: build for a board"),
    })
}

fn native_version() -> Result<String> {
    Ok(capture(Command::new("rustc").arg("--version"))?.trim().to_owned())
}

/// What a program must be to run on a board.
fn check(board: &Board, program: &Program) -> Result<()> {
    let Program { name, bytes, needs } = program;
    let Some(target) = &board.target else { return Ok(()) };
    let machine = machine_of(target);
    ensure!(
        needs.machine == machine,
        "{name} is for ELF machine {}, {} is {machine}: the toolchain built for another target",
        needs.machine,
        target.triple
    );
    if let Some((needed, floor)) =
        needs.glibc.zip(target.glibc_floor).filter(|(needed, floor)| needed > floor)
    {
        bail!(
            "{name} needs glibc {needed}, images for {} may have {floor}: build with zig (`cargo xtask setup zig`)",
            board.name
        );
    }
    ensure!(
        bytes.len() <= MOST_BYTES,
        "{name} has {} bytes, a program for a board may have {MOST_BYTES}",
        bytes.len()
    );
    Ok(())
}

/// The processor as ELF numbers it.
fn machine_of(target: &Target) -> u16 {
    if target.triple.starts_with("aarch64-") { object::elf::EM_AARCH64 } else { object::elf::EM_ARM }
}

impl Programs {
    /// Whether a program of this name is among them.
    pub fn has(&self, name: &str) -> bool {
        self.all.iter().any(|program| program.name == name)
    }
}

#[cfg(test)]
mod tests {
    use boards::Version;

    use super::*;

    fn program(machine: u16, glibc: Version, size: usize) -> Program {
        let needs = Needs { machine, glibc: Some(glibc), ..Needs::default() };
        Program { name: "p".into(), bytes: vec![0; size], needs }
    }

    #[test]
    fn a_program_must_run_on_the_board() {
        let board = Board::find("rk3588").unwrap();
        let error = |program: &Program| check(&board, program).unwrap_err().to_string();
        let (arm, floor) = (object::elf::EM_AARCH64, Version::new(2, 31));
        check(&board, &program(arm, floor, 100)).unwrap();
        assert!(error(&program(object::elf::EM_X86_64, floor, 100)).contains("another target"));
        let new = error(&program(arm, Version::new(2, 34), 100));
        assert!(new.contains("2.34") && new.contains("setup zig"), "{new}");
        assert!(error(&program(arm, floor, MOST_BYTES + 1)).contains("may have"));
    }
}
