//! Everything that decides the outcome of a run; written to `args.json` so that a run can be repeated or resumed.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tch::{Cuda, Device};

use super::hyper::Hyper;
use super::net::ConvFormat;
use super::schedule::Decay;
use crate::dataset::Broken;
use crate::model::{Activation, Block, description_digest};
use crate::{Error, Result};

/// Largest counts that make sense; beyond them memory or the progress counters give out.
pub(crate) const MAX_EPOCHS: usize = 1_000_000;
pub(crate) const MAX_BATCH: usize = 65_536;
pub(crate) const MAX_THREADS: usize = 1024;

/// Settings of a training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name of a built-in model, or a YAML file.
    pub model: String,
    /// SHA-256 of the YAML file in hexadecimal; absent for a built-in model, and for runs older than this setting.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_digest: Option<String>,
    /// Activation instead of the model's own.
    pub act: Option<Activation>,
    /// Rep block instead of the model's own.
    pub block: Option<Block>,
    /// Dataset description.
    pub data: PathBuf,
    /// Passes over the training images.
    pub epochs: usize,
    /// Side of the square input, px.
    pub imgsz: usize,
    /// Images a batch.
    pub batch: usize,
    /// Images that make up an optimizer step.
    pub nominal_batch: usize,
    /// `cpu` or `cuda:N`.
    pub device: String,
    /// Checkpoint to start from.
    pub weights: Option<PathBuf>,
    /// Key of all randomness.
    pub seed: u64,
    /// Hyper-parameters.
    pub hyper: Hyper,
    /// Shape of the learning-rate schedule.
    pub decay: Decay,
    /// Number format of convolutions.
    pub format: ConvFormat,
    /// Threads libtorch computes with; part of the result, bit for bit.
    pub threads: usize,
    /// Threads that prepare batches.
    pub workers: usize,
    /// What to do about broken labels and images.
    pub broken: Broken,
}

impl Config {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// [`Error::Input`] for a size that cannot be trained with.
    pub fn validate(&self) -> Result<()> {
        for (name, value, limit) in [
            ("--epochs", self.epochs, MAX_EPOCHS),
            // Whether it fits the model's strides is for `Architecture::check_imgsz` to say.
            ("--imgsz", self.imgsz, artifact::MAX_SIDE_PX),
            ("--batch", self.batch, MAX_BATCH),
            ("--nbs", self.nominal_batch, MAX_BATCH),
            ("--threads", self.threads, MAX_THREADS),
            ("--workers", self.workers, MAX_THREADS),
        ] {
            if !(1..=limit).contains(&value) {
                return Err(Error::input(
                    format!("{name} {value}"),
                    format!("1 to {limit}"),
                    format!("correct {name} (in args.json for a run that is resumed)"),
                ));
            }
        }
        Ok(())
    }
}

impl Config {
    /// Checks that a model that is a file is the one that these settings were made with.
    ///
    /// # Errors
    /// [`Error::Input`] when it has been edited since; what reading it reports.
    pub fn check_model(&self) -> Result<()> {
        if self.model_digest.is_none() || self.model_digest == description_digest(&self.model)? {
            return Ok(());
        }
        Err(Error::input(
            format!("{} has been edited since this run began", self.model),
            "the description that the run began with",
            "undo the edit, or begin a new run in another folder",
        ))
    }
}

/// The device called `name`, checked to be there.
///
/// # Errors
/// [`Error::Input`] for a name that is not one, [`Error::Backend`] for CUDA that is not available.
pub fn device(name: &str) -> Result<Device> {
    if name == "cpu" {
        return Ok(Device::Cpu);
    }
    let index = name.strip_prefix("cuda").and_then(|rest| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(':')?.parse::<usize>().ok(),
    });
    let Some(index) = index else {
        return Err(Error::input(format!("device {name:?}"), "cpu, cuda or cuda:N", "name one of these"));
    };
    super::ffi::load_cuda();
    let count = usize::try_from(Cuda::device_count()).unwrap_or(0);
    if !Cuda::is_available() || index >= count {
        return Err(Error::backend(
            format!("device {name:?}, but libtorch finds {count} CUDA devices"),
            "a CUDA device of that number and a libtorch built with CUDA",
            "use cpu, or point LIBTORCH at a libtorch with CUDA and check `nvidia-smi`",
        ));
    }
    Ok(Device::Cuda(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_that_are_not_there_are_refused() {
        assert_eq!(device("cpu").unwrap(), Device::Cpu);
        for wrong in ["gpu", "cuda:", "cuda:x", "cuda0"] {
            assert!(matches!(device(wrong), Err(Error::Input(_))), "{wrong}");
        }
        assert!(matches!(device("cuda:4096"), Err(Error::Backend(_))));
    }
}
