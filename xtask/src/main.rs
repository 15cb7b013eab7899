//! `cargo xtask`: set-up, demo, tests and checks of this workspace, one module a command.
//! It only starts other programs and reads files: it never links torch, tract or the runtime, so that it builds in
//! seconds on a machine that is not ready yet.

mod aarch64;
mod armhf;
mod bench;
mod bmap;
mod boards;
mod build_board;
mod cargo_deb;
mod check;
mod codegen;
mod cross;
mod debian;
mod demo;
mod doctor;
mod flash;
mod headers;
mod ignored;
mod image;
mod keys;
mod libtorch;
mod pins;
mod python;
mod rust_source;
mod setup;
mod system;
mod test;
mod test_board;
mod tree;
mod trust;
mod unpack;
mod wheels;
mod workspace;
mod x86_64;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set-up, demo, tests and architecture checks of RepEdge.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Train, fuse, convert, evaluate and run a detector, from nothing to an HTML report.
    Demo(demo::Args),
    /// Make the machine ready, then run every test.
    Test(test::Args),
    /// Boot a board's software in an emulator and judge what it does.
    TestBoard(test_board::Args),
    /// Time our kernels, plain tract, onnxruntime, OpenVINO and ncnn on the same models, turn about.
    Bench(bench::Args),
    /// Check the invariants of ARCHITECTURE.md.
    Check(check::Args),
    /// Regenerate what is generated and committed: the binding of the NPU runtime.
    Codegen(codegen::Args),
    /// Make and list the keys that bundles are signed with.
    Keys(keys::Args),
    /// Put software onto a board: over ssh, over USB, or onto a card.
    Flash(flash::Args),
    /// Make the machine ready: libtorch and the system packages it needs.
    Setup(setup::Args),
    /// Say what this machine has and lacks, for itself and for each board.
    Doctor(doctor::Args),
    /// List the boards.
    Boards(boards::Args),
    /// Build programs, model and settings of a board into a package.
    BuildBoard(build_board::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::TestBoard(args) => test_board::run(&args),
        Command::Bench(args) => bench::run_command(&args),
        Command::Check(args) => check::run(&args),
        Command::Codegen(args) => codegen::run_command(&args),
        Command::Keys(args) => keys::run(&args),
        Command::Flash(args) => flash::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Boards(args) => boards::run(&args),
        Command::BuildBoard(args) => build_board::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
