//! The run folder: `args.json`, `results.csv`, the best and last weights, and the state a run resumes from. Every file
//! is whole or absent; `state.safetensors` is written last, so that it never speaks of an epoch whose files are missing.

use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use artifact::atomic;
use tch::Tensor;

use super::config::Config;
use super::learner::Learner;
use super::net::{insert, to_i64};
use crate::model::{Checkpoint, TrainedModel, Weights, checkpoint};
use crate::{Error, Result};

/// Columns of `results.csv`.
pub const COLUMNS: &str = "epoch,box_loss,obj_loss,cls_loss,lr,precision,recall,map50,map,images_per_second,\
                           train_seconds,val_seconds";
const ARGS: &str = "args.json";
const RESULTS: &str = "results.csv";
const STATE: &str = "state.safetensors";
/// Version of `state.safetensors`.
const STATE_FORMAT: &str = "1";

/// A run folder.
pub struct RunFolder {
    root: PathBuf,
    /// Holds the lock on the run: two trainings of one folder would overwrite each other.
    _lock: File,
}

/// Where a run stands, beside its tensors.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// Epochs finished.
    pub epochs_done: usize,
    /// Batches since the start.
    pub iteration: usize,
    /// Batches whose gradients wait for a step.
    pub pending: usize,
    /// Best fitness so far (0.1·mAP50 + 0.9·mAP), and its epoch.
    pub best: Option<(f64, usize)>,
    /// Lines of `results.csv` below the header.
    pub rows: Vec<String>,
}

impl RunFolder {
    /// Starts a new run.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder already holds a run; I/O errors.
    pub fn create(root: &Path, config: &Config) -> Result<Self> {
        Self::expect_none(root)?;
        Self::begin(root, config)
    }

    /// Starts a run, also where one was begun that has finished no epoch: its settings are replaced.
    ///
    /// # Errors
    /// [`Error::Input`] when the folder holds a run that has, or one that a process trains right now; I/O errors.
    pub fn begin(root: &Path, config: &Config) -> Result<Self> {
        if Self::has_epochs(root) {
            Self::expect_none(root)?;
        }
        let held = if root.join(ARGS).exists() { Some(Self::lock(root)?) } else { None };
        let text = serde_json::to_vec_pretty(config).map_err(|e| Error::io(root, e.into()))?;
        atomic::write(&root.join(ARGS), &text)?;
        drop(held);
        Self::lock(root)
    }

    /// Whether the run in `root` has finished an epoch.
    pub fn has_epochs(root: &Path) -> bool {
        [RESULTS, STATE].iter().any(|name| root.join(name).exists())
    }

    /// Checks that `root` holds no run yet.
    ///
    /// # Errors
    /// [`Error::Input`] when it does.
    pub fn expect_none(root: &Path) -> Result<()> {
        if !root.join(ARGS).exists() {
            return Ok(());
        }
        Err(Error::input(
            format!("{} already holds a run", root.display()),
            "a new folder for a new run",
            "choose another --out, continue that run with --resume, or remove the folder",
        ))
    }

    /// The settings of the run in `root`, finished or not; `None` when there is none.
    ///
    /// # Errors
    /// As [`RunFolder::open`].
    pub fn config(root: &Path) -> Result<Option<Config>> {
        if root.join(ARGS).exists() { read_config(root).map(Some) } else { Ok(None) }
    }

    /// Whether a process trains in `root` right now.
    ///
    /// # Errors
    /// I/O errors.
    pub fn is_in_use(root: &Path) -> Result<bool> {
        let path = root.join(ARGS);
        if !path.exists() {
            return Ok(false);
        }
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
    }

    fn lock(root: &Path) -> Result<Self> {
        let path = root.join(ARGS);
        let file = File::open(&path).map_err(|e| Error::io(&path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { root: root.to_path_buf(), _lock: file }),
            Err(TryLockError::WouldBlock) => Err(Error::input(
                format!("{} is being trained by another process", root.display()),
                "one training a folder",
                "wait for it, or choose another --out",
            )),
            Err(TryLockError::Error(e)) => Err(Error::io(&path, e)),
        }
    }

    /// Opens a run that was started before, with its settings.
    ///
    /// # Errors
    /// [`Error::Input`] when there is none or its `args.json` cannot be read.
    pub fn open(root: &Path) -> Result<(Self, Config)> {
        let config = read_config(root)?;
        Ok((Self::lock(root)?, config))
    }

    /// Weights of the best epoch.
    pub fn best_file(&self) -> PathBuf {
        self.root.join("best.safetensors")
    }

    fn state_file(&self) -> PathBuf {
        self.root.join(STATE)
    }

    /// Whether an epoch has been finished and can be resumed from.
    pub fn has_state(&self) -> bool {
        self.state_file().exists()
    }

    /// Writes what an epoch produced; the state comes last.
    ///
    /// # Errors
    /// I/O errors, such as a full disk: every file is then whole, of this epoch or the one before, and the run resumes
    /// from the epoch of its state.
    pub fn save_epoch(&self, model: &TrainedModel, learner: &Learner, progress: &Progress) -> Result<()> {
        let checkpoint = Checkpoint::Trained(model.clone());
        if progress.best.is_none_or(|(_, epoch)| epoch + 1 == progress.epochs_done) {
            checkpoint::save(&self.best_file(), &checkpoint)?;
        }
        checkpoint::save(&self.root.join("last.safetensors"), &checkpoint)?;
        let mut table = format!("{COLUMNS}\n");
        for row in &progress.rows {
            table.push_str(row);
            table.push('\n');
        }
        atomic::write(&self.root.join(RESULTS), table.as_bytes())?;
        self.save_state(learner, progress)
    }

    fn save_state(&self, learner: &Learner, progress: &Progress) -> Result<()> {
        let Learner { net, sgd, ema, .. } = learner;
        let mut state = Weights::default();
        for (name, tensor) in net.tensors() {
            insert(&mut state, &format!("net.{name}"), tensor)?;
        }
        for (name, tensor) in ema.net.tensors() {
            insert(&mut state, &format!("ema.{name}"), tensor)?;
        }
        for (name, tensor) in &sgd.momentum {
            insert(&mut state, &format!("momentum.{name}"), tensor)?;
        }
        for parameter in net.parameters() {
            let gradient = parameter.tensor.f_grad()?;
            if gradient.defined() {
                insert(&mut state, &format!("grad.{}", parameter.name), &gradient)?;
            }
        }
        checkpoint::write_tensors(&self.state_file(), &state, &progress.metadata(ema.updates))
    }

    /// Brings a freshly built run to where it stood; `None` when no epoch had finished.
    ///
    /// # Errors
    /// [`Error::Model`] when the state is damaged or of another model.
    pub fn restore(&self, learner: &mut Learner) -> Result<Option<Progress>> {
        let Learner { net, sgd, ema, .. } = learner;
        let path = self.state_file();
        if !path.exists() {
            return Ok(None);
        }
        let (state, metadata) = checkpoint::read_tensors(&path)?;
        let (progress, updates) = Progress::from_metadata(&metadata).ok_or_else(|| damaged(&path))?;
        ema.updates = updates;
        tch::no_grad(|| {
            for (name, target) in net.tensors() {
                fill(target, &state, &format!("net.{name}"))?;
            }
            for (name, target) in ema.net.tensors() {
                fill(target, &state, &format!("ema.{name}"))?;
            }
            Ok::<_, Error>(())
        })?;
        for parameter in net.parameters() {
            let momentum = format!("momentum.{}", parameter.name);
            if state.contains(&momentum) {
                let buffer = parameter.tensor.f_zeros_like()?;
                fill(&buffer, &state, &momentum)?;
                sgd.momentum.insert(parameter.name.to_owned(), buffer);
            }
            let gradient = format!("grad.{}", parameter.name);
            if state.contains(&gradient) {
                restore_gradient(parameter.tensor, &state, &gradient)?;
            }
        }
        Ok(Some(progress))
    }
}

fn read_config(root: &Path) -> Result<Config> {
    let path = root.join(ARGS);
    let text = std::fs::read_to_string(&path).map_err(|e| {
        Error::input(
            format!("{}: {e}", path.display()),
            "the folder of a run started earlier",
            "give the folder that was --out when the run began",
        )
    })?;
    serde_json::from_str(&text).map_err(|e| {
        Error::input(
            format!("{}: {e}", path.display()),
            "the settings train-host wrote",
            "start the run anew: the file was changed, or is of another version",
        )
    })
}

fn fill(target: &Tensor, state: &Weights, name: &str) -> Result<()> {
    let source = state.get(name)?;
    let shape: Vec<i64> = source.shape.iter().map(|&d| to_i64(d)).collect();
    if shape != target.size() {
        return Err(Error::model(
            format!("{name} of shape {shape:?} in the saved state"),
            format!("{:?}", target.size()),
            "the state belongs to another model: start the run anew",
        ));
    }
    let source = Tensor::f_from_slice(&source.data)?.f_reshape(shape)?;
    tch::no_grad(|| target.shallow_clone().f_copy_(&source))?;
    Ok(())
}

/// tch cannot set a gradient, so it is made by differentiating `sum(parameter · gradient)`.
fn restore_gradient(parameter: &Tensor, state: &Weights, name: &str) -> Result<()> {
    let gradient = tch::no_grad(|| parameter.f_zeros_like())?;
    fill(&gradient, state, name)?;
    parameter.f_mul(&gradient)?.f_sum(tch::Kind::Float)?.f_backward()?;
    Ok(())
}

fn damaged(path: &Path) -> Error {
    Error::model(
        format!("{}: no usable progress record", path.display()),
        format!("a state of format {STATE_FORMAT}"),
        "start the run anew: the file was changed, or is of another version",
    )
}

impl Progress {
    /// Floats travel as bits: decimal text could lose the last one.
    fn metadata(&self, updates: u64) -> BTreeMap<String, String> {
        let mut map = BTreeMap::from([
            ("state_format".to_owned(), STATE_FORMAT.to_owned()),
            ("epochs_done".to_owned(), self.epochs_done.to_string()),
            ("iteration".to_owned(), self.iteration.to_string()),
            ("pending".to_owned(), self.pending.to_string()),
            ("updates".to_owned(), updates.to_string()),
            ("rows".to_owned(), self.rows.join("\n")),
        ]);
        if let Some((fitness, epoch)) = self.best {
            map.insert("best".to_owned(), format!("{} {epoch}", fitness.to_bits()));
        }
        map
    }

    fn from_metadata(map: &BTreeMap<String, String>) -> Option<(Self, u64)> {
        let number = |key: &str| map.get(key)?.parse::<usize>().ok();
        if map.get("state_format")? != STATE_FORMAT {
            return None;
        }
        let best = match map.get("best") {
            None => None,
            Some(text) => {
                let (bits, epoch) = text.split_once(' ')?;
                Some((f64::from_bits(bits.parse().ok()?), epoch.parse().ok()?))
            }
        };
        let progress = Self {
            epochs_done: number("epochs_done")?,
            iteration: number("iteration")?,
            pending: number("pending")?,
            best,
            rows: map.get("rows")?.lines().map(str::to_owned).collect(),
        };
        Some((progress, map.get("updates")?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_survives_the_state_file_bit_for_bit() {
        let progress = Progress {
            epochs_done: 3,
            iteration: 42,
            pending: 2,
            best: Some((0.1 + 0.2, 1)),
            rows: vec!["0,1".into(), "1,2".into()],
        };
        let map = progress.metadata(7);
        assert_eq!(Progress::from_metadata(&map), Some((progress, 7)));
        assert_eq!(Progress::from_metadata(&BTreeMap::new()), None);
    }
}
