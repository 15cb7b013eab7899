//! What can be wrong with a sample: the fault with its file and line, and the small repairs that are only counted.
//! Never decides whether to go on: that is the caller's [`Broken`] policy.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::console::{counted, say};

/// What to do with a broken label or image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Broken {
    /// Stop with an error that names it.
    Refuse,
    /// Leave the sample out, name it on stderr and count it.
    Skip,
}

/// One broken file of a dataset; prints as `FILE:LINE: reason`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BrokenFile {
    /// The file to repair.
    pub path: PathBuf,
    /// Line in it, counted from 1, where one is known.
    pub line: Option<usize>,
    /// What is wrong.
    pub reason: String,
}

impl BrokenFile {
    /// A fault of the file as a whole.
    pub fn whole(path: impl AsRef<Path>, reason: impl Into<String>) -> Self {
        Self { path: path.as_ref().to_path_buf(), line: None, reason: reason.into() }
    }

    /// A fault at `line` (from 1).
    pub fn at(path: impl AsRef<Path>, line: usize, reason: impl Into<String>) -> Self {
        Self { path: path.as_ref().to_path_buf(), line: Some(line), reason: reason.into() }
    }
}

impl fmt::Display for BrokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.path.display(), self.reason),
            None => write!(f, "{}: {}", self.path.display(), self.reason),
        }
    }
}

/// How many faults an error or a warning prints before it only counts.
const FAULTS_SHOWN: usize = 10;

/// The faults as lines of text, cut after a few.
fn listing(faults: &[BrokenFile]) -> String {
    let mut lines: Vec<String> = faults.iter().take(FAULTS_SHOWN).map(ToString::to_string).collect();
    if faults.len() > FAULTS_SHOWN {
        lines.push(format!("… and {} more", faults.len() - FAULTS_SHOWN));
    }
    lines.join("\n  ")
}

/// Applies `policy` to the faults of the dataset called `what`: an error, or a warning on stderr.
///
/// # Errors
/// [`Error::Data`] under [`Broken::Refuse`] when there is any fault.
pub(crate) fn settle(what: &str, faults: &[BrokenFile], policy: Broken) -> Result<(), Error> {
    if faults.is_empty() {
        return Ok(());
    }
    let found = format!("{} broken in {what}\n  {}", counted(faults.len(), "sample"), listing(faults));
    match policy {
        Broken::Refuse => Err(Error::data(
            found,
            "labels inside the image, of a known class, beside images that open",
            "repair or remove them, or leave them out with --skip-broken (in a plan: `skip_broken: true`)",
        )),
        Broken::Skip => {
            say(format_args!("warning: left out: {found}"));
            Ok(())
        }
    }
}

/// Labels that were changed or dropped while reading, without being broken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Notes {
    /// Dropped: no area.
    pub zero_area: usize,
    /// Dropped: same class and box as an earlier one of the image.
    pub duplicate: usize,
    /// Dropped: marked as a crowd (COCO's `iscrowd`) or as difficult (VOC's `difficult`).
    pub ignored: usize,
    /// Kept, but cut at the image's edge by more than a pixel.
    pub clipped: usize,
}

impl Notes {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Self) {
        self.zero_area += other.zero_area;
        self.duplicate += other.duplicate;
        self.ignored += other.ignored;
        self.clipped += other.clipped;
    }
}

impl fmt::Display for Notes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = [
            (self.zero_area, "without area dropped"),
            (self.duplicate, "repeated dropped"),
            (self.ignored, "marked crowd or difficult dropped"),
            (self.clipped, "cut at the image edge"),
        ]
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{} {what}", counted(*count, "label")))
        .collect();
        f.write_str(if parts.is_empty() { "no label changed" } else { "" })?;
        f.write_str(&parts.join(", "))
    }
}
