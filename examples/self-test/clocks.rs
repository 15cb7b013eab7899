//! Fixes the board's clocks while speed is measured and puts them back: at the end, on a signal, or, should the program be
//! killed, at its next start. What was is on disk before it is changed. Clocks that cannot be fixed are told, and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, anyhow, ensure};
use boards::Clock;
use examples::console;
use repedge::selftest::FixedClock;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What was changed, below the root. In memory, as what it undoes: neither outlives a restart.
const JOURNAL: &str = "run/repedge/clocks.json";
/// Held by the program that changes clocks.
const LOCK: &str = "run/repedge/clocks.lock";

/// Held by the thread that changes clocks or puts them back, from what is written down to what is written into the clock, so that a
/// signal in between finds both or neither. The thread that a signal ends the program from never gives it up.
#[derive(Clone, Default)]
struct Turn(Arc<Mutex<()>>);

impl Turn {
    fn wait(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Clocks that stay fixed for as long as this lives.
pub struct FixedClocks {
    root: PathBuf,
    turn: Turn,
    clocks: BTreeMap<String, Wanted>,
    /// Held until the clocks are as they were.
    lock: Option<File>,
    changes: Vec<Change>,
    /// Files that an earlier run changed and that cannot be put back now: no fault of this one.
    left: BTreeSet<PathBuf>,
}

/// A clock that is to be fixed.
struct Wanted {
    clock: Clock,
    /// Why it is not.
    not_fixed: Option<String>,
}

/// A file, and what to write into it to undo what was done.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Change {
    file: PathBuf,
    was: String,
}

impl FixedClocks {
    /// Undoes what a run that was killed has left, and fixes `clocks` of the machine whose `/sys` and `/run` stand in `root`.
    /// What cannot be fixed or undone is told on standard error.
    ///
    /// # Errors
    /// When another run holds the clocks, or the record of one is none.
    pub fn fix(clocks: &BTreeMap<String, Clock>, root: &Path) -> Result<Self> {
        let mut fixed = Self {
            root: root.into(),
            turn: Turn::default(),
            clocks: BTreeMap::new(),
            lock: None,
            changes: Vec::new(),
            left: BTreeSet::new(),
        };
        if clocks.is_empty() && !root.join(JOURNAL).exists() {
            return Ok(fixed);
        }
        let lock = match open_lock(root) {
            Ok(lock) => lock,
            Err(error) if root.join(JOURNAL).exists() => return Err(error),
            Err(error) => {
                console::note(format_args!("note: clocks stay as they are: {error}"));
                clocks.iter().for_each(|(name, clock)| fixed.want(name, clock, Err(&error)));
                return Ok(fixed);
            }
        };
        ensure!(
            lock.try_lock().is_ok(),
            "another self-test has fixed the clocks of this machine\n  help: wait until it has ended"
        );
        // Only from here on may dropping it put anything back.
        fixed.lock = Some(lock);
        for Failure { change, error } in put_back(root)? {
            console::note(format_args!("note: {error}; the next self-test tries again"));
            fixed.left.insert(change.file.clone());
            fixed.changes.push(change);
        }
        undo_on_signals(root.into(), fixed.turn.clone())?;
        for (name, clock) in clocks {
            let done = fixed.fix_one(clock);
            if let Err(error) = &done {
                console::note(format_args!("note: clock {name} stays as it is: {error}"));
            }
            fixed.want(name, clock, done.as_ref().copied());
        }
        Ok(fixed)
    }

    /// Keeps what became of a clock.
    fn want(&mut self, name: &str, clock: &Clock, done: Result<(), &anyhow::Error>) {
        let not_fixed = done.err().map(ToString::to_string);
        self.clocks.insert(name.to_owned(), Wanted { clock: clock.clone(), not_fixed });
    }

    /// What was asked of each clock, what the kernel tells of it now, and why it is not fixed, if it is not.
    pub fn read_back(&self) -> BTreeMap<String, FixedClock> {
        let found =
            |clock: &Clock| clock.read_mhz(&fs::read_to_string(self.under_root(&clock.read_file())).ok()?);
        let read = |(name, Wanted { clock, not_fixed }): (&String, &Wanted)| {
            let (requested_mhz, found_mhz) = (clock.frequency_mhz, found(clock));
            (name.clone(), FixedClock { requested_mhz, found_mhz, not_fixed: not_fixed.clone() })
        };
        self.clocks.iter().map(read).collect()
    }

    /// Puts everything back.
    ///
    /// # Errors
    /// When a clock that this run fixed cannot be put back; the next start tries again.
    pub fn restore(mut self) -> Result<()> {
        if self.lock.is_none() {
            // What is on record is another run's.
            return Ok(());
        }
        // Whatever comes of this, there is nothing left for dropping to do.
        self.changes.clear();
        let failures = {
            let _turn = self.turn.wait();
            put_back(&self.root)?
        };
        all_back(failures.into_iter().filter(|failure| !self.left.contains(&failure.change.file)))
    }

    /// Chooses governor and frequency, in this order, because frequencies can be set under some governors only.
    fn fix_one(&mut self, clock: &Clock) -> Result<()> {
        let turn = self.turn.clone();
        let _turn = turn.wait();
        let set_file = self.under_root(&clock.set_file());
        // A number only where the present governor takes one: then it is to be put back, after the governor.
        let frequency = fs::read_to_string(&set_file).ok().filter(|text| text.trim().parse::<u64>().is_ok());
        if let (Some(file), Some(governor)) = (clock.governor_file(), &clock.governor) {
            self.change(&self.under_root(&file), governor)?;
        }
        let Some(value) = clock.set_value() else { return Ok(()) };
        match frequency {
            Some(_) => self.change(&set_file, &value.to_string()),
            None => write(&set_file, &value.to_string()),
        }
    }

    /// Writes `value` into `file`, once it is on record what to write to undo that.
    fn change(&mut self, file: &Path, value: &str) -> Result<()> {
        let was = fs::read_to_string(file).map_err(|e| anyhow!("cannot read {}: {e}", file.display()))?;
        // What an earlier run left is not what was.
        if self.left.contains(file) {
            return write(file, value);
        }
        self.changes.push(Change { file: file.into(), was: was.trim().to_owned() });
        record(&self.root, &self.changes)?;
        write(file, value).inspect_err(|_| {
            // Nothing was changed, so nothing is to be undone. The record may say more: that writes what is there already.
            self.changes.pop();
            let _ = record(&self.root, &self.changes);
        })
    }

    fn under_root(&self, file: &Path) -> PathBuf {
        self.root.join(file.strip_prefix("/").unwrap_or(file))
    }
}

impl Drop for FixedClocks {
    fn drop(&mut self) {
        let _turn = self.turn.wait();
        if self.lock.is_some()
            && !self.changes.is_empty()
            && let Err(error) = undo(&self.root)
        {
            console::note(format_args!("note: {error}"));
        }
    }
}

/// A change that could not be undone.
struct Failure {
    change: Change,
    error: anyhow::Error,
}

/// Writes down what is to be undone; nothing where nothing is.
fn record(root: &Path, changes: &[Change]) -> Result<()> {
    let journal = root.join(JOURNAL);
    if changes.is_empty() {
        return fs::remove_file(&journal).map_err(|e| anyhow!("cannot delete {}: {e}", journal.display()));
    }
    Ok(artifact::atomic::write(&journal, &serde_json::to_vec(changes)?)?)
}

/// Puts back what the journal says, if there is one, and forgets all but what failed: one clock that cannot be put back keeps no
/// other from it.
fn put_back(root: &Path) -> Result<Vec<Failure>> {
    let Some(changes) = recorded(root)? else { return Ok(Vec::new()) };
    let try_back = |change: Change| {
        let error = write(&change.file, &change.was).err()?;
        Some(Failure { change, error })
    };
    let failures: Vec<_> = changes.into_iter().filter_map(try_back).collect();
    let left: Vec<_> = failures.iter().map(|failure| failure.change.clone()).collect();
    record(root, &left)?;
    Ok(failures)
}

/// What is to be undone, if anything is.
fn recorded(root: &Path) -> Result<Option<Vec<Change>>> {
    let journal = root.join(JOURNAL);
    let Ok(json) = fs::read(&journal) else { return Ok(None) };
    let changes: Vec<Change> = serde_json::from_slice(&json).map_err(|e| {
        anyhow!(
            "{}: not a record of clocks: {e}\n  help: delete it; the clocks are reset when the board restarts",
            journal.display()
        )
    })?;
    for Change { file, .. } in &changes {
        let is_plain = !file.components().any(|part| part == std::path::Component::ParentDir);
        ensure!(
            file.starts_with(root.join("sys")) && is_plain,
            "{}: {} is no clock\n  help: delete the record",
            journal.display(),
            file.display()
        );
    }
    Ok(Some(changes))
}

/// Nothing, where nothing failed.
///
/// # Errors
/// All failures in one.
fn all_back(failures: impl Iterator<Item = Failure>) -> Result<()> {
    let said: Vec<String> = failures.map(|failure| failure.error.to_string()).collect();
    ensure!(
        said.is_empty(),
        "{}\n  expected: every clock as it was before the run; the others are\n  \
         help: the next self-test tries again; a restart of the board resets them",
        said.join("\n")
    );
    Ok(())
}

/// Puts everything back.
fn undo(root: &Path) -> Result<()> {
    all_back(put_back(root)?.into_iter())
}

/// From here on, signals that end the program put the clocks back first, as soon as it is their `turn`.
fn undo_on_signals(root: PathBuf, turn: Turn) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context("cannot catch signals")?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            // Held until the program has ended.
            let _turn = undo_last(&root, &turn);
            // As a shell reports a program that a signal ended.
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}

/// Puts everything back when it is its `turn`, and gives that, for as long as nothing may be changed any more.
fn undo_last<'t>(root: &Path, turn: &'t Turn) -> MutexGuard<'t, ()> {
    let turn = turn.wait();
    if let Err(error) = undo(root) {
        console::note(format_args!("note: {error}"));
    }
    turn
}

fn open_lock(root: &Path) -> Result<File> {
    let path = root.join(LOCK);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|e| anyhow!("cannot make {}: {e}", folder.display()))?;
    }
    let open = File::options().create(true).truncate(false).write(true).open(&path);
    open.map_err(|e| anyhow!("cannot open {}: {e}", path.display()))
}

fn write(file: &Path, value: &str) -> Result<()> {
    // Files of sysfs take a value in one write; they cannot be replaced.
    let written = File::options().write(true).truncate(true).open(file).and_then(|mut file| {
        use std::io::Write;
        file.write_all(value.as_bytes())
    });
    written.map_err(|e| anyhow!("cannot write {value} into {}: {e}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_while_a_clock_is_changed_finds_it_changed_and_lets_nothing_be_changed_after() {
        let folder = tempfile::tempdir().unwrap();
        let (root, file) = (folder.path(), folder.path().join("sys/governor"));
        fs::create_dir_all(root.join("sys")).unwrap();
        fs::create_dir_all(root.join(JOURNAL).parent().unwrap()).unwrap();
        fs::write(&file, "ondemand").unwrap();
        let turn = Turn::default();
        std::thread::scope(|scope| {
            let changing = turn.wait();
            let signal = scope.spawn(|| {
                let _last = undo_last(root, &turn);
                assert!(turn.0.try_lock().is_err(), "nothing may be changed any more");
            });
            record(root, &[Change { file: file.clone(), was: "ondemand".into() }]).unwrap();
            write(&file, "userspace").unwrap();
            drop(changing);
            signal.join().unwrap();
        });
        assert_eq!(fs::read_to_string(&file).unwrap(), "ondemand");
        assert!(!root.join(JOURNAL).exists());
    }
}
