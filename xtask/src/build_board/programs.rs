//! The programs of a board: built, stripped, and checked to run there by what their files say they need.

use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use boards::{Board, Target};

use super::notice;
use crate::cross::elf::{self, Needs};
use crate::cross::{self, Toolchain, Tools, With};
use crate::headers;
use crate::workspace::{Workspace, capture, cargo_home, run};

/// Programs that every board gets.
const ALWAYS: [&str; 2] = ["self-test", "detect-image"];
/// What it gets beside them where nothing else is asked for.
const DEFAULT: &str = "camera-demo";
/// The one file that all of them are.
pub const FILE: &str = "board-programs";
/// What of the programs is not built unless asked for: cameras and displays.
const FEATURES: &str = "examples/camera,examples/screen";
/// The profile of Cargo.toml that ships.
const PROFILE: &str = "board";
/// The file may not be larger.
const MOST_BYTES: usize = 12_000_000;

/// The programs of a board: one file, called by several names.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The names, in order.
    pub names: Vec<String>,
    /// The file.
    pub bytes: Vec<u8>,
    /// What it needs.
    pub needs: Needs,
    /// The architecture as Debian's packages name it.
    pub debian_arch: &'static str,
    /// What built them, in a line.
    pub toolchain: String,
    /// The same, so that it can be told from others of its version.
    pub tools: Tools,
    /// The profile they were built with.
    pub profile: String,
    /// What of others is in them, and under which licenses.
    pub notice: String,
}

/// Builds and checks the programs.
///
/// # Errors
/// When there is no such program, no toolchain, when building fails, or when the programs would not run on the board.
pub fn build(
    workspace: &Workspace,
    board: &Board,
    examples: &[String],
    with: Option<With>,
) -> Result<Programs> {
    let names = choose(workspace, examples)?;
    headers::provide(workspace)?;
    let (folder, debian_arch, toolchain, tools, profile) = match &board.target {
        Some(target) => {
            let toolchain = Toolchain::find(workspace, target, with)?;
            let folder = cross(workspace, &toolchain, target)?;
            let (line, tools) = (toolchain.describe(workspace)?, toolchain.tools(workspace)?);
            (folder, target.debian_arch(), line, tools, PROFILE)
        }
        None => {
            let tools = cross::native_tools(workspace)?;
            let line = tools.rustc.lines().next().unwrap_or_default().to_owned();
            (native(workspace)?, debian_arch_of_this_machine()?, line, tools, "dev")
        }
    };
    let path = folder.join(FILE);
    let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let needs = elf::needs(&path)?;
    let triple =
        board.target.as_ref().map_or_else(triple_of_this_machine, |target| Ok(target.triple.clone()))?;
    let notice = notice::of(workspace, &triple, FEATURES)?;
    let profile = profile.into();
    let programs = Programs { names, bytes, needs, debian_arch, toolchain, tools, profile, notice };
    check(board, &programs)?;
    if board.target.is_some() {
        let paths = [workspace.root().to_owned(), workspace.target_folder()?, cargo_home()?];
        expect_no_path(&programs.bytes, &paths)?;
    }
    Ok(programs)
}

/// The names that the programs are called by, each once, in order.
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
    let names = programs.filter_map(|target| target["name"].as_str());
    Ok(names.filter(|name| *name != FILE).map(String::from).collect())
}

/// Builds with a cross toolchain, in a folder that all boards of a target share.
fn cross(workspace: &Workspace, toolchain: &Toolchain, target: &Target) -> Result<PathBuf> {
    let folder = workspace.target_folder()?.join("board-programs");
    let mut command = cargo_build(workspace, toolchain, &folder)?;
    run(command.args(["--package", "examples", "--bin", FILE, "--features", FEATURES]))?;
    Ok(folder.join(&target.triple).join(PROFILE))
}

/// Builds the shared library of a package for a board, beside its programs.
///
/// # Errors
/// When the board is this machine, there is no toolchain, or building fails.
pub fn library(workspace: &Workspace, board: &Board, package: &str) -> Result<PathBuf> {
    let folder = alone(workspace, board, &["--package", package, "--lib"])?;
    Ok(folder.join(format!("lib{}.so", package.replace('-', "_"))))
}

/// Builds the program of a package that tests a board's cameras, beside its programs.
///
/// # Errors
/// As [`library`].
pub fn camera_test(workspace: &Workspace, board: &Board, package: &str) -> Result<PathBuf> {
    headers::provide(workspace)?;
    let folder = alone(workspace, board, &["--package", package, "--bin", package, "--features", "camera"])?;
    Ok(folder.join(package))
}

/// Builds something for a board that does not ship: alone, because with the programs it would have all that they depend on
/// compiled once more, with other features. Gives the folder it lies in.
fn alone(workspace: &Workspace, board: &Board, what: &[&str]) -> Result<PathBuf> {
    let target = board.target.as_ref().with_context(|| format!("{} is this machine", board.name))?;
    let toolchain = Toolchain::find(workspace, target, None)?;
    let folder = workspace.target_folder()?.join("board-programs");
    run(cargo_build(workspace, &toolchain, &folder)?.args(what))?;
    Ok(folder.join(&target.triple).join(PROFILE))
}

fn cargo_build(workspace: &Workspace, toolchain: &Toolchain, folder: &Path) -> Result<Command> {
    let mut command = toolchain.cargo_build(workspace)?;
    command.args(["--profile", PROFILE]).env("CARGO_TARGET_DIR", folder);
    command.env(toolchain.flags_variable(), hide_paths(&cargo_home()?, toolchain.std_sources()?.as_deref())?);
    Ok(command)
}

/// Builds for this machine, in the profile that everything here is built with.
fn native(workspace: &Workspace) -> Result<PathBuf> {
    // As a part of the workspace, so that it has the features, and with them the engine, that everything here is built with.
    run(workspace.cargo("build").args(["--locked", "--workspace", "--bin", FILE, "--features", FEATURES]))?;
    Ok(workspace.target_folder()?.join("debug"))
}

/// The compiler flag that keeps this machine's paths out of the programs: they would differ from machine to machine. The
/// workspace's own path is not in them anyway, and a flag that named it would have each clone compile everything anew.
fn hide_paths(cargo_home: &Path, std_sources: Option<&Path>) -> Result<String> {
    let registry = cargo_home.join("registry/src");
    let hidden =
        iter::once((registry.as_path(), "registry")).chain(std_sources.map(|folder| (folder, "rust-src")));
    let flags: Vec<_> =
        hidden.map(|(folder, name)| format!("--remap-path-prefix={}={name}", folder.display())).collect();
    for flag in &flags {
        ensure!(
            !flag.contains(' '),
            "a folder with a space in its name cannot be told to the compiler: {flag}"
        );
    }
    Ok(flags.join(" "))
}

/// Checks that none of the paths that differ from machine to machine, or from clone to clone, is in the programs.
fn expect_no_path(bytes: &[u8], paths: &[PathBuf]) -> Result<()> {
    for path in paths {
        let text = path.as_os_str().as_encoded_bytes();
        // The root alone, or a folder in it such as `/src`, says nothing of this machine.
        let is_telling = path.components().count() > 2;
        ensure!(
            !is_telling || !bytes.windows(text.len()).any(|window| window == text),
            "{FILE} holds the path {}: on another machine it would be another program",
            path.display()
        );
    }
    Ok(())
}

fn debian_arch_of_this_machine() -> Result<&'static str> {
    Ok(match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "arm" => "armhf",
        other => bail!("there is no package for a {other} machine: build for a board"),
    })
}

fn triple_of_this_machine() -> Result<String> {
    let text = capture(Command::new("rustc").arg("-vV"))?;
    let triple = text.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(triple.context("rustc does not tell what it runs on")?.to_owned())
}

/// What the programs must be to run on a board.
fn check(board: &Board, programs: &Programs) -> Result<()> {
    let Programs { bytes, needs, .. } = programs;
    let Some(target) = &board.target else { return Ok(()) };
    let machine = machine_of(target);
    ensure!(
        needs.machine == machine,
        "{FILE} is for ELF machine {}, {} is {machine}: the toolchain built for another target",
        needs.machine,
        target.triple
    );
    if let Some((needed, floor)) =
        needs.glibc.zip(target.glibc_floor).filter(|(needed, floor)| needed > floor)
    {
        bail!(
            "{FILE} needs glibc {needed}, images for {} may have {floor}: build with zig (`cargo xtask setup zig`)",
            board.name
        );
    }
    ensure!(
        bytes.len() <= MOST_BYTES,
        "{FILE} has {} bytes, programs for a board may have {MOST_BYTES}",
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
        self.names.iter().any(|found| found == name)
    }

    #[cfg(test)]
    pub fn of(names: &[&str], bytes: Vec<u8>) -> Self {
        Self {
            names: names.iter().copied().map(String::from).collect(),
            bytes,
            needs: Needs::default(),
            debian_arch: "arm64",
            toolchain: String::new(),
            tools: Tools::default(),
            profile: String::new(),
            notice: "licenses of others\n".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use boards::Version;

    use super::*;

    fn programs(machine: u16, glibc: Version, size: usize) -> Programs {
        let needs = Needs { machine, glibc: Some(glibc), ..Needs::default() };
        Programs { needs, ..Programs::of(&[], vec![0; size]) }
    }

    #[test]
    fn the_programs_must_run_on_the_board() {
        let board = Board::find("rk3588").unwrap();
        let error = |programs: &Programs| check(&board, programs).unwrap_err().to_string();
        let (arm, floor) = (object::elf::EM_AARCH64, Version::new(2, 31));
        check(&board, &programs(arm, floor, 100)).unwrap();
        assert!(error(&programs(object::elf::EM_X86_64, floor, 100)).contains("another target"));
        let new = error(&programs(arm, Version::new(2, 34), 100));
        assert!(new.contains("2.34") && new.contains("setup zig"), "{new}");
        assert!(error(&programs(arm, floor, MOST_BYTES + 1)).contains("may have"));
    }

    #[test]
    fn the_standard_librarys_sources_are_hidden_where_they_are_compiled() {
        let hide = |sources: Option<&str>| hide_paths(Path::new("/users/me/.cargo"), sources.map(Path::new));
        let registry = "--remap-path-prefix=/users/me/.cargo/registry/src=registry";
        assert_eq!(hide(None).unwrap(), registry);
        let sources = "/users/me/nightly/lib/rustlib/src";
        assert_eq!(
            hide(Some(sources)).unwrap(),
            format!("{registry} --remap-path-prefix={sources}=rust-src")
        );
        assert!(hide(Some("/users/my own/src")).unwrap_err().to_string().contains("space"));
    }

    #[test]
    fn paths_of_this_machine_are_found_in_programs() {
        let paths = ["/users/somebody/clone", "/src"].map(PathBuf::from);
        expect_no_path(b"registry/x.rs /src/main.rs", &paths).unwrap();
        let error = expect_no_path(b"at /users/somebody/clone/sdk/x.rs", &paths).unwrap_err().to_string();
        assert!(error.contains("/users/somebody/clone"), "{error}");
    }
}
