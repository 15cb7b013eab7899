//! The `train-host` program. Exit codes: 0 done, 1 failed or below its bar, 2 wrong usage.

use std::process::ExitCode;

use clap::Parser;
use train_host::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_stdout() => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
