//! What can be wrong with a board file, and where. Never prints.

use std::fmt;

use crate::nearest::nearest;

/// Where something was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, from the root of the repository.
    pub file: String,
    /// The line, counted from 1; none where only the file is known.
    pub line: Option<u32>,
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}", self.file),
            None => out.write_str(&self.file),
        }
    }
}

/// Why a board cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no board of this name.
    #[error("unknown board {name:?}\n  expected: one of {known}\n  help: {}", meant(name, known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The boards there are, separated by commas.
        known: String,
    },
    /// A board file is not TOML of the schema.
    #[error("{place}: {found}\n  expected: {expected}\n  help: {help}")]
    Syntax {
        /// Where.
        place: Place,
        /// What the file says.
        found: String,
        /// What the schema allows there.
        expected: String,
        /// What to do.
        help: String,
    },
    /// A board file says something impossible.
    #[error("{place}: {found}\n  expected: {expected}\n  help: {help} (check {check:?})")]
    Check {
        /// Where.
        place: Place,
        /// Name of the check.
        check: &'static str,
        /// What the file says.
        found: String,
        /// What would be right.
        expected: String,
        /// What to do.
        help: String,
    },
}

/// What to do about a name that no board has.
fn meant(name: &str, known: &str) -> String {
    match nearest(name, known.split(", ")) {
        Some(board) => format!("did you mean {board}?"),
        None => "a folder boards/NAME with a board.toml is a board".into(),
    }
}
