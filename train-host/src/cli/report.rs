//! `train-host report`.

use crate::Result;

/// Arguments of `train-host report`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// To be written.
pub fn run(_args: Args) -> Result<()> {
    Ok(())
}
