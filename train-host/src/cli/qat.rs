//! Arguments of quantization-aware training, which `quantize` and `convert --precision int8` share.

use std::path::PathBuf;

use super::train::all_cores;
use crate::Result;
use crate::quantize::Calibration;
use crate::train::{Qat, QatSettings};

/// Whether and how to train on in int8.
#[derive(Debug, clap::Args)]
pub struct QatArgs {
    /// Train on in int8, to answer as the float model does, with this many passes over all images of --calib but those that
    /// judge; needs no labels [default: no training].
    #[arg(long, value_name = "EPOCHS")]
    qat: Option<usize>,
    /// Images a step of that training.
    #[arg(long, value_name = "N", requires = "qat", default_value_t = QatSettings::default().batch)]
    qat_batch: usize,
    /// Where to train: cpu, cuda or cuda:N.
    #[arg(long, value_name = "DEVICE", requires = "qat", default_value = "cpu")]
    qat_device: String,
    /// Key of all randomness in that training.
    #[arg(long, value_name = "N", requires = "qat", default_value_t = 0)]
    qat_seed: u64,
    /// Threads to train with [default: all].
    #[arg(long, value_name = "N", requires = "qat")]
    qat_threads: Option<usize>,
}

impl QatArgs {
    /// Whether training is asked for.
    pub fn is_asked(&self) -> bool {
        self.qat.is_some()
    }

    /// What trains on `all` but those of `images` that judge.
    ///
    /// # Errors
    /// As [`Qat::new`].
    pub fn trainer(&self, all: &[PathBuf], images: &Calibration) -> Result<Qat> {
        let settings = QatSettings {
            epochs: self.qat.unwrap_or_default(),
            batch: self.qat_batch,
            device: self.qat_device.clone(),
            seed: self.qat_seed,
            threads: self.qat_threads.unwrap_or_else(all_cores),
            ..QatSettings::default()
        };
        Qat::new(settings, &images.without_judges(all), images.chosen().progress())
    }
}
