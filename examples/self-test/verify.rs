//! `self-test --verify-file FILE`: whether somebody whom the device trusts has signed a file, such as a package before it is
//! installed. Exit codes: 0 yes, 1 no, 2 wrong usage.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use artifact::KeyRing;
use artifact::trust::signer_of_file;
use clap::Parser;
use examples::console;

/// What begins the command line.
const FLAG: &str = "--verify-file";

/// Check who signed a file.
#[derive(Debug, Parser)]
#[command(name = "self-test", version)]
struct Args {
    /// File that was signed
    #[arg(long, value_name = "FILE")]
    verify_file: PathBuf,
    /// Its signature, a .minisig
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
    /// Folder of the public keys (*.pub) whose signatures count
    #[arg(long, value_name = "DIR")]
    keys: PathBuf,
}

/// Whether this is what the program was called for.
pub fn is_asked() -> bool {
    std::env::args_os().nth(1).is_some_and(|first| first == FLAG)
}

/// Does it.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::exit_code(&error),
    }
}

fn run(args: &Args) -> Result<()> {
    let signer = signer_of_file(&args.verify_file, &args.signature, &KeyRing::read(&args.keys)?)?;
    console::print(&format!("{} is signed by {signer}\n", args.verify_file.display()))
}
