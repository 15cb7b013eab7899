//! One training of the ablation: a variant under a seed, in a run folder of its own. Says how far it is and whether it is
//! what the plan asks for; never trains (see `training`).

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::plan::Plan;
use crate::model::description_digest;
use crate::report::{self, Epoch};
use crate::train::{Config, RunFolder};
use crate::{Error, Result};

/// Weights of the best epoch.
const BEST: &str = "best.safetensors";

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
    ///
    /// # Errors
    /// What reading a model that is a file reports.
    pub fn all(plan: &Plan, out: &Path) -> Result<Vec<Self>> {
        let digests: Vec<Option<String>> =
            plan.variants.iter().map(|variant| description_digest(&variant.model)).collect::<Result<_>>()?;
        let of_seed = |&seed: &u64| {
            let digests = &digests;
            plan.variants.iter().enumerate().map(move |(index, variant)| {
                let name = format!("{}/seed-{seed}", variant.name);
                let config = plan.config(variant, seed, digests[index].clone());
                Self { variant: index, folder: out.join(&name), name, seed, config }
            })
        };
        Ok(plan.seeds.iter().flat_map(of_seed).collect())
    }

    /// Looks at the run folder.
    ///
    /// # Errors
    /// [`Error::Input`] when it holds a training with other settings, naming what differs, or files that cannot be
    /// read.
    pub fn state(&self) -> Result<State> {
        let Some(found) = RunFolder::config(&self.folder)? else { return Ok(State::Absent) };
        if let Err(misfit) = self.check(&found) {
            // What has not got anywhere keeps nobody from beginning anew.
            let is_blank = !RunFolder::has_epochs(&self.folder) && !RunFolder::is_in_use(&self.folder)?;
            return if is_blank { Ok(State::Absent) } else { Err(misfit) };
        }
        // The last row is written after the last weights: with it there, they are final.
        let done = self.epochs()?.len();
        if done < self.config.epochs {
            return Ok(State::Begun(done));
        }
        if !self.best_weights().is_file() {
            return Err(Error::input(
                format!("{} is finished but has no {}", self.folder.display(), BEST),
                "the weights of its best epoch",
                "put them back, or remove that folder, so that it is trained again",
            ));
        }
        Ok(State::Finished)
    }

    /// Checks that what was trained as `found` is what the plan asks for.
    fn check(&self, found: &Config) -> Result<()> {
        self.check_model(found)?;
        let Some((setting, found, planned)) = difference(found, &self.config)? else { return Ok(()) };
        Err(Error::input(
            format!("{} was trained with {setting} {found}", self.folder.display()),
            format!("{setting} {planned}, as the plan says"),
            "choose another --out for this plan, correct the plan, or remove that folder",
        ))
    }

    /// Checks that a model that is a file was not edited after it was trained as `found`.
    fn check_model(&self, found: &Config) -> Result<()> {
        if found.model != self.config.model || found.model_digest == self.config.model_digest {
            return Ok(());
        }
        let folder = self.folder.display();
        let (model, hint) = (&self.config.model, "choose another --out for this plan, or remove that folder");
        Err(match found.model_digest {
            Some(_) => Error::input(
                format!("{folder} was trained before {model} was edited"),
                "the description that it was trained with",
                format!("undo the edit, {hint}"),
            ),
            None => Error::input(
                format!("{folder} does not tell what was in {model} when it was trained"),
                "a training that noted the digest of its model's description",
                hint,
            ),
        })
    }

    /// Writes the settings, for a training that starts by resuming; in place of those of one that finished no epoch.
    ///
    /// # Errors
    /// As [`RunFolder::begin`].
    pub fn begin(&self) -> Result<()> {
        RunFolder::begin(&self.folder, &self.config).map(drop)
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
        self.folder.join(BEST)
    }
}

/// The first setting in which two configurations differ, and its values. How many threads load batches is no setting
/// of a result, and a dataset may be named by different paths.
fn difference(found: &Config, planned: &Config) -> Result<Option<(String, Value, Value)>> {
    let plain = |config: &Config| {
        let data = config.data.canonicalize().unwrap_or_else(|_| config.data.clone());
        serde_json::to_value(Config { data, workers: 1, model_digest: None, ..config.clone() }).map_err(|e| {
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

    fn all(plan: &Plan, out: &Path) -> Vec<Cell> {
        Cell::all(plan, out).unwrap()
    }

    fn finish_epochs(cell: &Cell, count: usize) {
        let rows: String = (0..count).map(|epoch| format!("{epoch},0.{epoch}\n")).collect();
        std::fs::write(cell.folder.join("results.csv"), format!("epoch,map\n{rows}")).unwrap();
    }

    #[test]
    fn cells_come_seed_by_seed_and_know_how_far_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let cells = all(&plan(dir.path(), ""), &dir.path().join("out"));
        let names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
        assert_eq!(names, ["a/seed-4", "b/seed-4", "a/seed-5", "b/seed-5"]);
        let cell = &cells[1];
        assert_eq!(cell.state().unwrap(), State::Absent);
        cell.begin().unwrap();
        assert_eq!(cell.state().unwrap(), State::Begun(0));
        finish_epochs(cell, 1);
        assert_eq!(cell.state().unwrap(), State::Begun(1));
        assert!(cell.begin().is_err());
        finish_epochs(cell, 2);
        let error = cell.state().unwrap_err().to_string();
        assert!(error.contains("no best.safetensors") && error.contains("remove that folder"), "{error}");
        std::fs::write(cell.best_weights(), "").unwrap();
        assert_eq!(cell.state().unwrap(), State::Finished);
    }

    #[test]
    fn settings_that_trained_nothing_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let (wrong, right) = (plan(dir.path(), "device: cuda:7\n"), plan(dir.path(), ""));
        all(&wrong, &out)[0].begin().unwrap();
        let cell = &all(&right, &out)[0];
        let held = std::fs::File::open(cell.folder.join("args.json")).unwrap();
        held.lock().unwrap();
        assert!(cell.state().unwrap_err().to_string().contains("cuda:7"), "another process trains it");
        assert!(cell.begin().is_err());
        held.unlock().unwrap();
        assert_eq!(cell.state().unwrap(), State::Absent);
        cell.begin().unwrap();
        assert_eq!(cell.state().unwrap(), State::Begun(0));
        assert_eq!(RunFolder::config(&cell.folder).unwrap().unwrap().device, "cpu");
    }

    #[test]
    fn another_training_in_the_folder_is_named_by_its_difference() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        let cell = all(&plan(dir.path(), ""), &out).remove(0);
        cell.begin().unwrap();
        finish_epochs(&cell, 1);
        for (more, named) in [("batch: 8\n", "batch 16"), ("threads: 2\n", "threads 1")] {
            let error = all(&plan(dir.path(), more), &out)[0].state().unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("seed-4"), "{error}");
        }
        std::fs::write(dir.path().join("hyp.yaml"), "lr0: 0.5\n").unwrap();
        let error = all(&plan(dir.path(), "hyp: hyp.yaml\n"), &out)[0].state().unwrap_err().to_string();
        assert!(error.contains("hyper.lr0 0.01") && error.contains("0.5"), "{error}");
        assert_eq!(all(&plan(dir.path(), "workers: 2\n"), &out)[0].state().unwrap(), State::Begun(1));
    }

    #[test]
    fn an_edited_model_file_is_noticed_and_built_in_models_need_no_digest() {
        let dir = tempfile::tempdir().unwrap();
        let (out, model) = (dir.path().join("out"), dir.path().join("mine.yaml"));
        let plan = plan(dir.path(), "");
        let mut own = plan.clone();
        own.variants[1].model = model.to_str().unwrap().to_owned();
        std::fs::write(&model, "before").unwrap();
        let cells = all(&own, &out);
        assert_eq!((&cells[0].config.model_digest, cells[1].config.model_digest.is_some()), (&None, true));
        for cell in &cells[..2] {
            cell.begin().unwrap();
            finish_epochs(cell, 1);
            assert_eq!(cell.state().unwrap(), State::Begun(1));
        }
        let written = |cell: &Cell| std::fs::read_to_string(cell.folder.join("args.json")).unwrap();
        assert!(!written(&cells[0]).contains("model_digest"), "as runs before it was noted");
        std::fs::write(&model, "after").unwrap();
        let edited = all(&own, &out);
        assert_eq!(edited[0].state().unwrap(), State::Begun(1));
        let error = edited[1].state().unwrap_err().to_string();
        assert!(error.contains("mine.yaml was edited"), "{error}");
        assert!(cells[1].config.check_model().unwrap_err().to_string().contains("has been edited"));
        let unnoted =
            written(&cells[1]).lines().filter(|line| !line.contains("model_digest")).collect::<String>();
        std::fs::write(cells[1].folder.join("args.json"), unnoted).unwrap();
        assert!(cells[1].state().unwrap_err().to_string().contains("does not tell"));
    }

    #[test]
    fn one_dataset_under_two_paths_is_one() {
        let dir = tempfile::tempdir().unwrap();
        let cell = all(&plan(dir.path(), ""), dir.path()).remove(0);
        let other = Config { data: dir.path().join("."), ..cell.config.clone() };
        assert_eq!(difference(&other, &cell.config).unwrap(), None);
    }
}
