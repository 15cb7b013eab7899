//! `cargo xtask doctor`: what this machine has and lacks, for everything or for one board, with the command that brings it.
//! It looks only: it installs nothing and changes nothing.

use anyhow::{Context, Result};
use boards::{Board, Method, Target};
use clap::builder::PossibleValuesParser;
use serde::Serialize;

use crate::build_board;
use crate::cross::pinned::{self, Pinned};
use crate::cross::rust::Rust;
use crate::cross::{self, Toolchain};
use crate::flash::Usb;
use crate::system::{COMPILER, LIBCLANG, Need, PIP, SSH, SSHD, VENV};
use crate::workspace::{Workspace, succeeds};
use crate::{aarch64, cargo_deb, headers, image, libtorch, python, test_board};

/// Arguments of `cargo xtask doctor`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look only at what this board needs [default: at everything, and at each board in a line].
    #[arg(long, value_parser = PossibleValuesParser::new(boards::names()))]
    board: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// One line of the report.
#[derive(Debug, Serialize)]
struct Finding {
    name: String,
    purpose: String,
    is_there: bool,
    /// The command that brings it.
    remedy: String,
}

/// What a board can have done for it on this machine.
#[derive(Debug, Serialize)]
struct BoardReport {
    board: String,
    /// Whether `build-board` has what it needs.
    can_build: bool,
    findings: Vec<Finding>,
}

/// The whole report.
#[derive(Debug, Serialize)]
struct Report {
    machine: Vec<Finding>,
    boards: Vec<BoardReport>,
}

/// Runs the command.
///
/// # Errors
/// When the workspace cannot be found, or there is no such board.
pub fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::find()?;
    let report = match &args.board {
        Some(name) => Report { machine: Vec::new(), boards: vec![of_board(&workspace, &Board::find(name)?)] },
        None => {
            let boards = boards::names().map(|name| Ok(of_board(&workspace, &Board::find(name)?)));
            Report { machine: of_machine(&workspace)?, boards: boards.collect::<Result<_>>()? }
        }
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report).context("cannot write JSON")?);
    } else if args.board.is_some() {
        report.boards.iter().for_each(print_whole);
    } else {
        report.machine.iter().for_each(print_finding);
        println!();
        report.boards.iter().for_each(print_line);
    }
    Ok(())
}

fn print_finding(finding: &Finding) {
    let Finding { name, purpose, is_there, remedy } = finding;
    if *is_there {
        println!("ok       {name:24} {purpose}");
    } else {
        println!("missing  {name:24} {purpose}: {remedy}");
    }
}

fn print_whole(report: &BoardReport) {
    report.findings.iter().for_each(print_finding);
    print_line(report);
}

fn print_line(report: &BoardReport) {
    let BoardReport { board, can_build, findings } = report;
    let missing: Vec<_> =
        findings.iter().filter(|finding| !finding.is_there).map(|finding| finding.name.as_str()).collect();
    let lacks = match missing.as_slice() {
        [] => String::new(),
        names => format!("; lacks {} (`cargo xtask doctor --board {board}`)", names.join(", ")),
    };
    println!("{:8} {board:24} build-board{lacks}", if *can_build { "ok" } else { "missing" });
}

fn of_machine(workspace: &Workspace) -> Result<Vec<Finding>> {
    let mut findings = vec![pinned_rust(&Rust::Current.identity(workspace)?)?];
    findings.extend([COMPILER, PIP, VENV, LIBCLANG].iter().map(of_need));
    findings.push(finding(
        "libtorch",
        "training",
        libtorch::expect_libtorch(&workspace.libtorch()).is_ok(),
        "`cargo xtask setup`",
    ));
    findings.push(camera_headers(workspace));
    findings.push(toolkit(workspace));
    findings.push(finding(
        "cargo-nextest",
        "faster test runs; without it `cargo test` is used",
        succeeds("cargo", &["nextest", "--version"]),
        pinned::install("cargo-nextest"),
    ));
    findings.push(packer());
    findings.push(of_need(&aarch64::EMULATOR));
    findings.extend(needs_of_emulating());
    findings.extend([SSH, SSHD].iter().chain(&image::TOOLS).map(of_need));
    Ok(findings)
}

/// Whether a compiler that says this of itself is the pinned one. Nothing else depends on it: what builds for a board is told there.
fn pinned_rust(identity: &str) -> Result<Finding> {
    let pinned = Pinned::read()?;
    let version = &pinned.rust.version;
    Ok(finding(
        format!("Rust {version}"),
        "the pinned compiler: others that are new enough build too, other bytes",
        pinned.has(identity),
        format!("`rustup toolchain install {version}`, then `cargo +{version} xtask …`"),
    ))
}

/// What `build-board` needs for a board, as it is called without arguments.
fn needs_of_building(workspace: &Workspace, board: &Board) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(target) = &board.target {
        let missing = cross::missing(workspace, target);
        if missing.is_empty() {
            let toolchain = describe(workspace, target);
            findings.push(finding("toolchain", toolchain.unwrap_or_default(), true, ""));
        }
        let absent = |cross::Missing { what, purpose, remedy }| finding(what, purpose, false, remedy);
        findings.extend(missing.into_iter().map(absent));
    }
    findings.push(finding(LIBCLANG.name, "compiling for cameras", (LIBCLANG.is_met)(), remedy_of(&LIBCLANG)));
    findings.push(camera_headers(workspace));
    findings.push(packer());
    if build_board::needs_compiler(board) {
        let mut toolkit = toolkit(workspace);
        toolkit.remedy += ", or `build-board --cpu-only`";
        findings.push(toolkit);
    }
    findings
}

/// The toolchain for a target, in a line.
fn describe(workspace: &Workspace, target: &Target) -> Result<String> {
    let toolchain = Toolchain::find(workspace, target, None)?;
    let line = toolchain.describe(workspace)?;
    let is_pinned = Pinned::read()?.has(&toolchain.tools(workspace)?.rustc);
    Ok(if is_pinned { line } else { format!("{line}; toolchains/rust.toml pins another Rust") })
}

fn of_board(workspace: &Workspace, board: &Board) -> BoardReport {
    let mut findings = needs_of_building(workspace, board);
    let can_build = findings.iter().all(|finding| finding.is_there);
    findings.extend(needs_of_images(board));
    findings.extend(needs_of_flashing(board));
    if test_board::is_emulated(board) {
        findings.extend(needs_of_emulating());
    }
    BoardReport { board: board.name.clone(), can_build, findings }
}

/// What `build-board --image` needs beside that.
fn needs_of_images(board: &Board) -> Vec<Finding> {
    let tools: &[Need] = if board.flash.layout.is_some() { &image::TOOLS } else { &[] };
    tools.iter().map(of_need).collect()
}

/// What `flash` needs, in the ways that the board takes. A card takes nothing but a reader.
fn needs_of_flashing(board: &Board) -> Vec<Finding> {
    let need = |method: &Method| match method {
        Method::Ssh => Some(of_need(&SSH)),
        Method::Usb => Some(finding(
            "USB",
            "flash --usb",
            Usb::is_there(),
            "a machine with USB; a container is given it by `docker run --device /dev/bus/usb …`",
        )),
        Method::Sd => None,
    };
    board.flash.methods.iter().filter_map(need).collect()
}

/// What `test-board` needs beside the board's programs.
fn needs_of_emulating() -> Vec<Finding> {
    let has_guests = test_board::has_guests().unwrap_or(false);
    let kernel =
        finding("a kernel for guests", "booting a board in qemu", has_guests, "`cargo xtask setup qemu`");
    vec![of_need(&test_board::EMULATOR), kernel]
}

fn camera_headers(workspace: &Workspace) -> Finding {
    let is_there = headers::are_there(workspace);
    finding("headers of V4L2", "compiling for cameras", is_there, "`cargo xtask setup`")
}

fn packer() -> Finding {
    let is_there = cargo_deb::find().is_ok();
    finding(cargo_deb::NAME, "packing what boards install", is_there, "`cargo xtask setup deb`")
}

fn toolkit(workspace: &Workspace) -> Finding {
    let is_there = python::RKNN.is_there(workspace);
    finding("rknn-toolkit2", "compiling for Rockchip's NPUs", is_there, "`cargo xtask setup rknn`")
}

fn finding(
    name: impl Into<String>,
    purpose: impl Into<String>,
    is_there: bool,
    remedy: impl Into<String>,
) -> Finding {
    Finding { name: name.into(), purpose: purpose.into(), is_there, remedy: remedy.into() }
}

fn of_need(need: &Need) -> Finding {
    finding(need.name, need.purpose, (need.is_met)(), remedy_of(need))
}

fn remedy_of(need: &Need) -> String {
    format!("`sudo apt-get install {}`", need.package)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of all that was looked at for a board.
    fn looked_at(board: &Board) -> Vec<String> {
        let report = of_board(&Workspace::find().unwrap(), board);
        report.findings.into_iter().map(|finding| finding.name).collect()
    }

    #[test]
    fn each_board_is_asked_for_what_its_commands_use() {
        for name in boards::names() {
            let board = Board::find(name).unwrap();
            let names = looked_at(&board);
            let flash = &board.flash;
            for (need, is_needed) in [
                // The programs are always built with cameras.
                (LIBCLANG.name, true),
                ("headers of V4L2", true),
                (cargo_deb::NAME, true),
                ("rknn-toolkit2", build_board::needs_compiler(&board)),
                ("genimage", flash.layout.is_some()),
                ("mke2fs and debugfs", flash.layout.is_some()),
                ("fakeroot", flash.layout.is_some()),
                (SSH.name, flash.methods.contains(&Method::Ssh)),
                ("USB", flash.methods.contains(&Method::Usb)),
                (test_board::EMULATOR.name, name == "qemu-virt"),
                ("a kernel for guests", name == "qemu-virt"),
            ] {
                let count = names.iter().filter(|name| *name == need).count();
                assert_eq!(count, usize::from(is_needed), "{name}, {need}: {names:?}");
            }
        }
    }

    #[test]
    fn what_is_missing_comes_with_a_way_to_get_it() {
        let workspace = Workspace::find().unwrap();
        for name in boards::names() {
            for finding in of_board(&workspace, &Board::find(name).unwrap()).findings {
                assert!(finding.is_there || !finding.remedy.is_empty(), "{name}: {finding:?}");
                assert!(!finding.purpose.is_empty(), "{name}: {finding:?}");
            }
        }
    }

    /// What stands between backticks, as the report sets commands.
    fn commands(remedy: &str) -> Vec<&str> {
        remedy.split('`').skip(1).step_by(2).collect()
    }

    #[test]
    fn whatever_a_board_may_lack_has_a_command() {
        let folder = tempfile::tempdir().unwrap();
        // Nothing is set up in it, and nobody has a Rust or a linker for such targets.
        let workspace = Workspace::at(folder.path());
        let mut findings = of_machine(&Workspace::find().unwrap()).unwrap();
        for mut board in boards::names().map(|name| Board::find(name).unwrap()) {
            if let Some(target) = &mut board.target {
                target.triple = target.triple.replace("-unknown-", "-nobody-");
                target.vendor_linker = target.vendor_linker.as_ref().map(|name| format!("{name}-of-nobody"));
            }
            findings.extend(of_board(&workspace, &board).findings);
        }
        for finding in &findings {
            let commands = commands(&finding.remedy);
            assert!(!commands.is_empty() && commands.iter().all(|command| command.len() > 3), "{finding:?}");
        }
        for part in [
            "arm-rockchip830",
            "uclibceabihf",
            "Rust for aarch64",
            "zig",
            "cargo-deb",
            "rknn-toolkit2",
            "USB",
            "Rust 1.",
        ] {
            assert!(
                findings.iter().any(|it| it.name.contains(part)),
                "{part} was not looked at: {findings:?}"
            );
        }
    }

    #[test]
    fn another_rust_than_the_pinned_one_is_told_with_the_command_that_brings_it() {
        let pinned = Pinned::read().unwrap().rust;
        let ours = pinned_rust(&format!("rustc\ncommit-hash: {}\n", pinned.commit)).unwrap();
        assert!(ours.is_there && ours.name.contains(&pinned.version), "{ours:?}");
        let other = pinned_rust("rustc\ncommit-hash: 1159e78c\n").unwrap();
        let install = format!("rustup toolchain install {}", pinned.version);
        assert!(!other.is_there && commands(&other.remedy).contains(&&*install), "{other:?}");
    }

    #[test]
    fn a_board_can_be_built_for_when_all_that_building_takes_is_there() {
        let workspace = Workspace::find().unwrap();
        let needs = |name: &str| {
            let board = Board::find(name).unwrap();
            let needs = needs_of_building(&workspace, &board);
            let is_whole = needs.iter().all(|finding| finding.is_there);
            assert_eq!(of_board(&workspace, &board).can_build, is_whole, "{name}");
            needs.into_iter().map(|finding| finding.name).collect::<Vec<_>>()
        };
        let has = |needs: &[String], name: &str| needs.iter().any(|need| need == name);
        let (npu, cpu) = (needs("rk3588"), needs("qemu-virt"));
        assert!(has(&npu, LIBCLANG.name) && has(&npu, "rknn-toolkit2"), "{npu:?}");
        assert!(has(&cpu, LIBCLANG.name) && !has(&cpu, "rknn-toolkit2"), "{cpu:?}");
    }
}
