//! `train-host report`: the HTML report of a run.

use std::path::PathBuf;

use super::json;
use crate::Result;
use crate::report::{Parts, Sources, html};

/// Arguments of `train-host report`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder of a run, for its args.json and results.csv.
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// JSON of `train-host eval RUN`.
    #[arg(long, value_name = "FILE")]
    trained: Option<PathBuf>,
    /// JSON of `train-host eval` on the fused weights or the bundle.
    #[arg(long, value_name = "FILE")]
    fused: Option<PathBuf>,
    /// JSON of `train-host fuse`.
    #[arg(long, value_name = "FILE")]
    fuse: Option<PathBuf>,
    /// JSON of `detect-image`.
    #[arg(long, value_name = "FILE")]
    detections: Option<PathBuf>,
    /// Folder that `detect-image` wrote its pictures into.
    #[arg(long, value_name = "DIR")]
    pictures: Option<PathBuf>,
    /// The report to write.
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
}

/// Runs the command.
///
/// # Errors
/// [`Error::Artifact`](crate::Error::Artifact) for a file that cannot be read or written;
/// [`Error::Input`](crate::Error::Input) for one that holds something else.
pub fn run(args: Args) -> Result<()> {
    let parts = Parts::read(&Sources {
        run: args.run,
        trained: args.trained,
        fused: args.fused,
        fuse: args.fuse,
        detections: args.detections,
        pictures: args.pictures,
    })?;
    artifact::atomic::write(&args.out, html(&parts)?.as_bytes())?;
    json::print(&format!("wrote {}\n", args.out.display()))
}
