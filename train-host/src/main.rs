//! The `train-host` program. Exit codes: 0 done, 1 failed or below its bar, 2 wrong usage: an argument or a file of settings
//! that cannot be used.

#![deny(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

use clap::Parser;
use train_host::Error;
use train_host::cli::Cli;
use train_host::console::say;

/// As clap ends for what it cannot parse.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_stdout() => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("error: {error}"));
            if matches!(error, Error::Input(_)) { WRONG_USAGE.into() } else { ExitCode::FAILURE }
        }
    }
}
