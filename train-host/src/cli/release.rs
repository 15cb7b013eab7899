//! What `convert` asks about a bundle on its way to devices: who signs it, how old it may look, what tests it there.

use std::path::{Path, PathBuf};

use artifact::Signer;
use signing::PrivateKey;

use super::quantize::pictures_in;
use super::sign;
use crate::Result;
use crate::dataset::Split;
use crate::export::bundle::Release;

/// How a bundle goes out to devices.
#[derive(Debug, clap::Args)]
pub struct ReleaseArgs {
    /// Private key to sign with, as `cargo xtask keys generate` makes it [default: unsigned].
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Rises with each release that mends a flaw: a device refuses bundles below what it has moved on to.
    #[arg(long, value_name = "N", default_value_t = 0)]
    security_version: u32,
    /// Pictures for the self-test of devices: a dataset or a folder of images; a few travel in the bundle, with what
    /// the model finds on them [default: those of --calib].
    #[arg(long, value_name = "DATA")]
    check_images: Option<PathBuf>,
}

impl ReleaseArgs {
    /// Whether the bundle will be signed.
    pub fn is_signed(&self) -> bool {
        self.sign.is_some()
    }

    /// Gives `write` what was asked for; `calibration` are pictures to fall back on.
    ///
    /// # Errors
    /// As [`PrivateKey::read`], when the pictures cannot be listed, and what `write` reports.
    pub fn release<T>(
        &self,
        calibration: &[PathBuf],
        write: impl FnOnce(Release<'_>) -> Result<T>,
    ) -> Result<T> {
        let key = self.sign.as_deref().map(|path| PrivateKey::read(path, sign::SUBJECT)).transpose()?;
        let named = self.check_images.as_deref().map(validation).transpose()?;
        write(Release {
            security_version: self.security_version,
            check_images: named.as_deref().unwrap_or(calibration),
            signer: key.as_ref().map(|key| key as &dyn Signer),
        })
    }
}

/// The validation split of a dataset, or a folder of images.
fn validation(path: &Path) -> Result<Vec<PathBuf>> {
    pictures_in(path, Split::Val)
}
