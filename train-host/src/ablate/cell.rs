//! One training of the ablation: a variant under a seed, in a run folder of its own. Says how far it is and whether it is
//! what the plan asks for; never trains (see `training`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::plan::Plan;
use crate::report::{self, Epoch};
use crate::train::{Config, RunFolder};
use crate::{Error, Result};

/// A variant under a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// Index of the variant in the plan.
    pub variant: usize,
    /// `VARIANT/seed-N`: what it is called in messages.
    pub name: String,
    /// Key of its randomness.
    pub seed: u64,
    /// Its run folder.
    pub folder: PathBuf,
    /// What it is trained with.
    pub config: Config,
}

/// How far a cell is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Nothing is there.
    Absent,
    /// Begun: so many epochs are done.
    Begun(usize),
    /// Every epoch is done; its best weights are final.
    Finished,
}

impl Cell {
    /// The cells of `plan` below `out`: seed by seed, so that an early stop leaves whole comparisons.
    pub fn all(plan: &Plan, out: &Path) -> Vec<Self> {
        let of_seed = |&seed: &u64| {
            plan.variants.iter().enumerate().map(move |(index, variant)| {
                let name = format!("{}/seed-{seed}", variant.name);
                let config = plan.config(variant, seed);
                Self { variant: index, folder: out.join(&name), name, seed, config }
            })
        };
        plan.seeds.iter().flat_map(of_seed).collect()
    }

    /// Looks at the run folder.
    ///
    /// # Errors
    /// [`Error::Input`] when it holds a training with other settings, naming what differs, or files that cannot be
    /// read.
    pub fn state(&self) -> Result<State> {
        let Some(found) = RunFolder::config(&self.folder)? else { return Ok(State::Absent) };
        if let Some((setting, found, planned)) = difference(&found, &self.config)? {
            return Err(Error::input(
                format!("{} was trained with {setting} {found}", self.folder.display()),
                format!("{setting} {planned}, as the plan says"),
                "choose another --out for this plan, correct the plan, or remove that folder",
            ));
        }
        // The last row is written after the last weights: with it there, they are final.
        let done = self.epochs()?.len();
        Ok(if done >= self.config.epochs { State::Finished } else { State::Begun(done) })
    }

    /// Writes the settings, for a training that starts by resuming.
    ///
    /// # Errors
    /// I/O errors; [`Error::Input`] when a training was begun meanwhile.
    pub fn begin(&self) -> Result<()> {
        RunFolder::create(&self.folder, &self.config).map(drop)
    }

    /// The epochs that are done.
    ///
    /// # Errors
    /// As [`report::epochs`].
    pub fn epochs(&self) -> Result<Vec<Epoch>> {
        report::epochs(&self.folder)
    }

    /// Weights of its best epoch.
    pub fn best_weights(&self) -> PathBuf {
        self.folder.join("best.safetensors")
    }
}

/// The first setting in which two configurations differ, and its values. How many threads load batches is no setting
/// of a result, and a dataset may be named by different paths.
fn difference(found: &Config, planned: &Config) -> Result<Option<(String, Value, Value)>> {
    let plain = |config: &Config| {
        let data = config.data.canonicalize().unwrap_or_else(|_| config.data.clone());
        serde_json::to_value(Config { data, workers: 1, ..config.clone() }).map_err(|e| {
            Error::input(e.to_string(), "settings that JSON can hold", "correct the plan's paths")
        })
    };
    Ok(first_difference("", &plain(found)?, &plain(planned)?))
}

fn first_difference(name: &str, found: &Value, planned: &Value) -> Option<(String, Value, Value)> {
    if let (Value::Object(a), Value::Object(b)) = (found, planned) {
        let absent = Value::Null;
        return a.iter().find_map(|(key, value)| {
            let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
            first_difference(&name, value, b.get(key).unwrap_or(&absent))
        });
    }
    (found != planned).then(|| (name.to_owned(), found.clone(), planned.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ablate::plan::Changes;

    fn plan(folder: &Path, more: &str) -> Plan {
        let text = "epochs: 2\nimgsz: 64\nseeds: [4, 5]\nvariants: [{name: a, model: yolov5n, baseline: true}, \
                    {name: b, model: repyolov5n}]\n";
        let path = folder.join("plan.yaml");
        std::fs::write(&path, format!("{text}{more}")).unwrap();
        let changes = Changes { data: Some(folder.to_path_buf()), frames: None };
        Plan::read(&path, changes).unwrap()
    }

    #[test]
    fn cells_come_seed_by_seed_and_know_how_far_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let cells = Cell::all(&plan(dir.path(), ""), &dir.path().join("out"));
        let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names, ["a/seed-4", "b/seed-4", "a/seed-5", "b/seed-5"]);
        let cell = &cells[1];
        assert_eq!(cell.state().unwrap(), State::Absent);
        cell.begin().unwrap();
        assert_eq!(cell.state().unwrap(), State::Begun(0));
        assert!(cell.begin().is_err());
        let results = cell.folder.join("results.csv");
        std::fs::write(&results, "epoch,map\n0,0.1\n").unwrap();
        assert_eq!(cell.state().unwrap(), State::Begun(1));
        std::fs::write(&results, "epoch,map\n0,0.1\n1,0.2\n").unwrap();
        assert_eq!(cell.state().unwrap(), State::Finished);
    }

    #[test]
    fn another_training_in_the_folder_is_named_by_its_difference() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        Cell::all(&plan(dir.path(), ""), &out)[0].begin().unwrap();
        for (more, named) in [("batch: 8\n", "batch 16"), ("threads: 2\n", "threads 1")] {
            let error = Cell::all(&plan(dir.path(), more), &out)[0].state().unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("seed-4"), "{error}");
        }
        std::fs::write(dir.path().join("hyp.yaml"), "lr0: 0.5\n").unwrap();
        let error = Cell::all(&plan(dir.path(), "hyp: hyp.yaml\n"), &out)[0].state().unwrap_err().to_string();
        assert!(error.contains("hyper.lr0 0.01") && error.contains("0.5"), "{error}");
        assert_eq!(Cell::all(&plan(dir.path(), "workers: 2\n"), &out)[0].state().unwrap(), State::Begun(0));
    }

    #[test]
    fn one_dataset_under_two_paths_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let cell = Cell::all(&plan(dir.path(), ""), dir.path()).remove(0);
        let other = Config { data: dir.path().join("."), ..cell.config.clone() };
        assert_eq!(difference(&other, &cell.config).unwrap(), None);
    }
}
