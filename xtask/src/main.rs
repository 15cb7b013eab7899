//! `cargo xtask`: set-up, demo, tests and checks of this workspace, one module a command.
//! It only starts other programs and reads files: it never links torch, tract or the sdk, so that it builds in
//! seconds on a machine that is not ready yet.

mod aarch64;
mod check;
mod codegen;
mod demo;
mod doctor;
mod ignored;
mod libtorch;
mod python;
mod rust_source;
mod setup;
mod system;
mod test;
mod unpack;
mod wheels;
mod workspace;

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
    /// Check the invariants of ARCHITECTURE.md.
    Check(check::Args),
    /// Regenerate what is generated and committed: the binding of the NPU runtime.
    Codegen(codegen::Args),
    /// Make the machine ready: libtorch and the system packages it needs.
    Setup(setup::Args),
    /// Say what this machine has and lacks.
    Doctor(doctor::Args),
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Codegen(args) => codegen::run_command(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Doctor(args) => doctor::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
