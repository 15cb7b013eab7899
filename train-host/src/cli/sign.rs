//! `train-host sign`: puts a signature into a bundle, or another in its place.

use std::path::PathBuf;

use artifact::{Bundle, Trust};
use serde::Serialize;
use signing::PrivateKey;

use super::json::JsonArgs;
use super::out_path;
use crate::Result;

/// What signatures say of what they sign.
pub(super) const SUBJECT: &str = "RepEdge bundle";

/// Arguments of `train-host sign`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Bundle to sign.
    #[arg(value_name = "X.bundle")]
    bundle: PathBuf,
    /// Private key, as `cargo xtask keys generate` makes it.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to write the signed bundle [default: in place of the other].
    #[arg(long, value_name = "X.bundle", value_parser = out_path::bundle)]
    out: Option<PathBuf>,
    /// Security version to state instead of the bundle's own.
    #[arg(long, value_name = "N")]
    security_version: Option<u32>,
    #[command(flatten)]
    json: JsonArgs,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Summary {
    bundle: PathBuf,
    bytes: u64,
    sha256: String,
    security_version: u32,
}

/// Signs.
///
/// # Errors
/// [`Error::Artifact`](crate::Error::Artifact) when the bundle is damaged or cannot be written; else as [`PrivateKey::read`].
pub fn run(args: Args) -> Result<()> {
    let key = PrivateKey::read(&args.key, SUBJECT)?;
    let mut bundle = Bundle::open(&args.bundle, &Trust::anyone())?;
    let mut manifest = bundle.manifest().clone();
    manifest.security_version = args.security_version.unwrap_or(manifest.security_version);
    let parts = bundle.read_parts()?;
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    let out = args.out.unwrap_or(args.bundle);
    let written = Bundle::write_signed(&out, &manifest, &parts, &key)?;
    let summary = Summary {
        bundle: out,
        bytes: written.bytes,
        sha256: written.sha256,
        security_version: manifest.security_version,
    };
    args.json.emit(&summary)?;
    args.json.say(&format!(
        "{}: signed, security version {}\n{} bytes, sha256 {}, verified",
        summary.bundle.display(),
        summary.security_version,
        summary.bytes,
        summary.sha256
    ))
}
