//! Trains the cells that are not finished, each in a child process of our own program, some at once. A finished cell is
//! never trained again, a begun one goes on, and one that another process trains is waited for.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::cell::{Cell, State};
use super::child::{cannot_start, command};
use crate::console::say;
use crate::report::Epoch;
use crate::train::RunFolder;
use crate::{Error, Result};

/// Time between two looks at the children.
const PAUSE: Duration = Duration::from_millis(200);
/// What a child printed, in its run folder.
const LOG: &str = "train.log";
/// Lines of a failed child's log that are shown.
const SHOWN_LINES: usize = 12;

/// Trains every unfinished cell with `program`, at most `jobs` at once.
///
/// # Errors
/// As [`Cell::state`]; [`Error::Backend`] with the end of its log when a training fails, which ends the others.
pub fn train(program: &Path, cells: &[Cell], jobs: usize) -> Result<()> {
    let mut trainings = Trainings::new(program, cells, jobs)?;
    while trainings.advance()? {
        std::thread::sleep(PAUSE);
    }
    trainings.bar.finish_and_clear();
    Ok(())
}

struct Trainings<'a> {
    program: &'a Path,
    cells: &'a [Cell],
    jobs: usize,
    waiting: Vec<&'a Cell>,
    running: Vec<Training<'a>>,
    /// Cells that another process has been seen to train.
    elsewhere: Vec<&'a Cell>,
    bar: ProgressBar,
}

/// A child at work; dropping it ends it.
struct Training<'a> {
    cell: &'a Cell,
    child: Child,
}

impl Drop for Training<'_> {
    fn drop(&mut self) {
        // Both fail only for a child that has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Trainings<'a> {
    fn new(program: &'a Path, cells: &'a [Cell], jobs: usize) -> Result<Self> {
        let mut waiting = Vec::new();
        for cell in cells {
            if cell.state()? != State::Finished {
                waiting.push(cell);
            }
        }
        let total: usize = cells.iter().map(|cell| cell.config.epochs).sum();
        let style = ProgressStyle::with_template("training [{bar:32}] {pos}/{len} epochs, {eta} left  {msg}")
            .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("=> "));
        let bar = ProgressBar::new(total as u64).with_style(style);
        let trainings =
            Self { program, cells, jobs, waiting, running: Vec::new(), elsewhere: Vec::new(), bar };
        // Not progress of this run: the time that is left would come out too short.
        trainings.bar.set_position(trainings.epochs_done()?);
        trainings.bar.reset_eta();
        Ok(trainings)
    }

    /// Takes note of children that ended and starts the next; whether there is more to do.
    fn advance(&mut self) -> Result<bool> {
        self.reap()?;
        self.drop_finished()?;
        while self.running.len() < self.jobs
            && let Some(at) = self.next()?
        {
            let cell = self.waiting.remove(at);
            self.start(cell)?;
        }
        if !self.running.is_empty() || !self.waiting.is_empty() {
            self.bar.set_position(self.epochs_done()?);
            let names: Vec<&str> = self.running.iter().map(|training| training.cell.name.as_str()).collect();
            self.bar.set_message(names.join(", "));
            return Ok(true);
        }
        Ok(false)
    }

    fn reap(&mut self) -> Result<()> {
        let mut at = 0;
        while let Some(training) = self.running.get_mut(at) {
            match training.child.try_wait().map_err(|e| cannot_start(&e))? {
                None => at += 1,
                Some(status) if status.success() && training.cell.state()? == State::Finished => {
                    let done = self.running.remove(at);
                    self.say(&format!("trained {}: {}", done.cell.name, summary(&done.cell.epochs()?)));
                }
                Some(status) => {
                    return Err(failed(training.cell, &status.to_string()));
                }
            }
        }
        Ok(())
    }

    /// Forgets waiting cells that another process has finished.
    fn drop_finished(&mut self) -> Result<()> {
        let mut unfinished = Vec::new();
        for &cell in &self.waiting {
            if cell.state()? != State::Finished {
                unfinished.push(cell);
            }
        }
        self.waiting = unfinished;
        Ok(())
    }

    /// The next cell that nobody trains.
    fn next(&mut self) -> Result<Option<usize>> {
        for (at, &cell) in self.waiting.iter().enumerate() {
            if !RunFolder::is_in_use(&cell.folder)? {
                return Ok(Some(at));
            }
            if !self.elsewhere.contains(&cell) {
                self.elsewhere.push(cell);
                self.say(&format!("{} is being trained by another process: waiting for it", cell.name));
            }
        }
        Ok(None)
    }

    fn start(&mut self, cell: &'a Cell) -> Result<()> {
        match cell.state()? {
            State::Absent => {
                cell.begin()?;
                self.say(&format!("training {}", cell.name));
            }
            State::Begun(done) => self.say(&format!("going on with {} after epoch {done}", cell.name)),
            State::Finished => return Ok(()),
        }
        let path = log(cell);
        let file = File::options().create(true).append(true).open(&path).map_err(|e| Error::io(&path, e))?;
        let child = command(self.program, "train")
            .args(["--resume", "--tethered", "--out"])
            .arg(&cell.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .map_err(|e| cannot_start(&e))?;
        self.running.push(Training { cell, child });
        Ok(())
    }

    fn epochs_done(&self) -> Result<u64> {
        let done = self.cells.iter().map(|cell| Ok(cell.epochs()?.len() as u64));
        done.sum()
    }

    fn say(&self, text: &str) {
        // Not the bar's own `println`: that is silent when stderr is a file.
        self.bar.suspend(|| say(text));
    }
}

fn log(cell: &Cell) -> PathBuf {
    cell.folder.join(LOG)
}

fn summary(epochs: &[Epoch]) -> String {
    let best = epochs.iter().filter_map(|epoch| epoch.map).fold(0.0, f64::max);
    let seconds: f64 =
        epochs.iter().filter_map(|e| Some(e.train_seconds? + e.val_seconds.unwrap_or(0.0))).sum();
    format!("{} epochs in {:.1} min, best validation mAP {best:.4}", epochs.len(), seconds / 60.0)
}

fn failed(cell: &Cell, status: &str) -> Error {
    let path = log(cell);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let end = lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n    ");
    Error::backend(
        format!("training {} ended with {status}; {} ends with\n    {end}", cell.name, path.display()),
        "a training that finishes",
        "correct what it says and run the command again: finished epochs are kept",
    )
}
