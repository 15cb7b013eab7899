//! The files that a self-test writes: those of an earlier run go when it begins, so that none of them is taken for this one's, and
//! one that cannot be written keeps no other from it.

use std::path::{Path, PathBuf};

use anyhow::Result;
use examples::console;
use repedge::selftest::{self, Broken, Outcome};

/// Where reports go.
#[derive(Debug, clap::Args)]
pub struct Files {
    /// Report as JSON in FILE, or on stdout as `-`
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Verdict as JUnit XML in FILE
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Times of the stages as comma-separated values in FILE
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
}

impl Files {
    /// Removes what an earlier run has left.
    ///
    /// # Errors
    /// When one cannot be removed; the others are all the same.
    pub fn remove_old(&self) -> Result<()> {
        all([&self.json, &self.junit, &self.csv].into_iter().flatten().map(|path| remove(path)))
    }

    /// Writes what was measured.
    ///
    /// # Errors
    /// When one cannot be written; the others are all the same.
    pub fn write(&self, outcome: &Outcome) -> Result<()> {
        all([
            console::emit_json(self.json.as_deref(), &outcome.report),
            write(self.junit.as_deref(), || selftest::junit(outcome)),
            write(self.csv.as_deref(), || selftest::csv(&outcome.report)),
        ])
    }

    /// Writes that nothing was measured: no times, which would be those of nothing.
    ///
    /// # Errors
    /// As [`Files::write`].
    pub fn write_broken(&self, broken: &Broken) -> Result<()> {
        all([
            console::emit_json(self.json.as_deref(), broken),
            write(self.junit.as_deref(), || selftest::junit_of_broken(broken)),
        ])
    }
}

/// The first error of all that was tried; the others are told, because an error says one thing.
///
/// # Errors
/// That one.
pub fn all(tried: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    let mut first = Ok(());
    for error in tried.into_iter().filter_map(Result::err) {
        if first.is_ok() {
            first = Err(error);
        } else if !console::is_closed_stdout(&error) {
            console::note(format_args!("note: {error}"));
        }
    }
    first
}

/// Only a file is removed: a pipe or a terminal keeps nothing, and where a link leads is written anew.
fn remove(path: &Path) -> Result<()> {
    if !path.symlink_metadata().is_ok_and(|data| data.is_file()) {
        return Ok(());
    }
    Ok(std::fs::remove_file(path).map_err(|e| artifact::Error::io(path, e))?)
}

fn write(path: Option<&Path>, text: impl FnOnce() -> String) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    Ok(artifact::atomic::write(path, text().as_bytes())?)
}
