//! The report of a self-test that measured nothing, because it could not run: whoever collects reports finds one that fails, and
//! none of an earlier run.

use serde::{Deserialize, Serialize};

use super::Verdict;

/// Why a self-test could not run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// What was said to be the board: its name, or its file.
    board: String,
    /// It always fails.
    verdict: Verdict,
    /// What went wrong, for people.
    error: String,
}

impl Broken {
    /// A self-test of `board` that failed with `error`.
    pub fn new(board: impl Into<String>, error: impl Into<String>) -> Self {
        Self { board: board.into(), verdict: Verdict::Fail, error: error.into() }
    }

    /// What was said to be the board.
    pub fn board(&self) -> &str {
        &self.board
    }

    /// What went wrong.
    pub fn error(&self) -> &str {
        &self.error
    }
}
