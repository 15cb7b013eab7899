//! `train-host eval`.

use crate::Result;

/// Arguments of `train-host eval`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command.
///
/// # Errors
/// To be written.
pub fn run(_args: Args) -> Result<()> {
    Ok(())
}
