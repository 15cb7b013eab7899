//! What the schema alone cannot say about a board, as a chain of small named checks.

mod clocks;
mod delivery;
mod hardware;
mod identity;

use crate::nearest::nearest;
use crate::{Board, Error, Place};

/// What a failed check found, and what would be right.
#[derive(Debug)]
struct Finding {
    /// The key it is about, dotted.
    key: String,
    found: String,
    expected: String,
    help: Option<String>,
}

type Check = (&'static str, fn(&Board) -> Result<(), Finding>);

/// A check that failed.
#[derive(Debug)]
pub struct Failed {
    check: &'static str,
    finding: Finding,
}

impl Failed {
    /// The error, with the place that `place_of` knows for a dotted key.
    pub fn at(self, place_of: impl FnOnce(&str) -> Place) -> Error {
        let Finding { key, found, expected, help } = self.finding;
        let help = help.unwrap_or_else(|| format!("change `{key}`: boards/src/schema says what it is for"));
        Error::Check { place: place_of(&key), check: self.check, found, expected, help }
    }
}

impl Board {
    /// Checks what the schema alone cannot say; `folder` is the board's name as its place has it.
    ///
    /// # Errors
    /// [`Error::Check`] naming the first check that failed.
    pub fn validate(&self, folder: &str) -> Result<(), Error> {
        let place = |_: &str| Place { file: format!("board {folder}"), line: None };
        self.checked(folder).map_err(|failed| failed.at(place))
    }

    pub(crate) fn checked(&self, folder: &str) -> Result<(), Failed> {
        let name = ("name is the folder", identity::name_is_the_folder(self, folder));
        let chain =
            [identity::CHECKS, hardware::CHECKS, clocks::CHECKS, delivery::CHECKS].into_iter().flatten();
        let all = std::iter::once(name).chain(chain.map(|(check, holds)| (*check, holds(self))));
        for (check, outcome) in all {
            outcome.map_err(|finding| Failed { check, finding })?;
        }
        Ok(())
    }
}

impl Finding {
    fn new(key: impl Into<String>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { key: key.into(), found: found.into(), expected: expected.into(), help: None }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// With the candidate that `word` was meant to be, where one is near.
    fn meant<'a>(self, word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(word, candidates) {
            Some(meant) => self.help(format!("did you mean {meant:?}?")),
            None => self,
        }
    }
}

fn require(holds: bool, finding: impl FnOnce() -> Finding) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(finding()) }
}

fn is_listed_once<T: PartialEq>(list: &[T]) -> bool {
    !list.is_empty() && list.iter().enumerate().all(|(i, item)| !list[..i].contains(item))
}

fn is_one_line(text: &str) -> bool {
    !text.trim().is_empty() && !text.contains('\n')
}

#[cfg(test)]
mod tests;
