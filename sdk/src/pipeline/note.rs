//! What happened that somebody should know of. At most so many wait to be said; those that do not fit are counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::{Stage, Stop};

/// Notes that wait to be said.
const WAITING: usize = 64;

/// Something that happened and that the pipeline went on after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A frame of the source could not be used.
    Skipped(String),
    /// A frame was lost on its way.
    Lost(String),
    /// A sink failed and is left out for a while.
    SinkFailed(String),
    /// A sink that had failed works again.
    SinkWorks(String),
    /// A thread runs on any core.
    NotPinned(Stage, String),
    /// The NPU was given up, and the CPU goes on.
    FellBack(String),
    /// A stage has not moved for so many seconds.
    Stuck(Stage, u64),
    /// So many notes more than could be said.
    More(u64),
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Lost(reason) => write!(f, "note: a frame was lost: {reason}"),
            Self::SinkFailed(reason) => write!(f, "note: going on without a sink: {reason}"),
            Self::SinkWorks(name) => write!(f, "note: {name} works again"),
            Self::NotPinned(stage, reason) => write!(f, "note: {stage}: {reason}"),
            Self::FellBack(reason) => write!(f, "note: going on with the CPU because {reason}"),
            Self::Stuck(stage, seconds) => write!(f, "note: {stage} has not moved for {seconds} s"),
            Self::More(count) => write!(f, "note: and {count} notes more"),
        }
    }
}

/// Where stages leave notes.
#[derive(Debug)]
pub(super) struct Notes {
    waiting: Mutex<(VecDeque<Note>, u64)>,
    stop: Stop,
}

impl Notes {
    pub(super) fn new(stop: Stop) -> Self {
        Self { waiting: Mutex::new((VecDeque::with_capacity(WAITING), 0)), stop }
    }

    /// Leaves a note.
    pub(super) fn leave(&self, note: Note) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.0.len() < WAITING {
            waiting.0.push_back(note);
        } else {
            waiting.1 += 1;
        }
        drop(waiting);
        self.stop.ring();
    }

    /// Wakes whoever watches.
    pub(super) fn ring(&self) {
        self.stop.ring();
    }

    /// The oldest note.
    pub(super) fn take(&self) -> Option<Note> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.0.pop_front() {
            None if waiting.1 > 0 => Some(Note::More(std::mem::take(&mut waiting.1))),
            note => note,
        }
    }
}
