//! What happened that somebody should know of. At most so many are said in a time; those beyond are counted.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Stage, Stop};

/// Notes of a kind that may come with every frame that are said in [`LATELY`]; a camera that gives nothing but broken frames, or
/// comes and goes, must not fill the disk with what is said of it. Each kind has its own: broken frames must not hide that the
/// camera is gone.
const MOST: usize = 20;
/// Kinds of notes that may come with every frame.
const FREQUENT: usize = 3;
/// Notes that wait to be taken: all that those kinds may say, and as many others.
const MOST_WAITING: usize = 2 * FREQUENT * MOST;
/// How long a note counts as one of lately.
const LATELY: Duration = Duration::from_secs(10);

/// Something that happened and that the pipeline went on after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// A frame of the source could not be used.
    Skipped(String),
    /// Something happened to the source: it was unplugged, or begun anew.
    Source(String),
    /// A frame was lost on its way.
    Lost(String),
    /// A sink failed; it is left out for a while, or tries again by itself.
    SinkFailed(String),
    /// A sink that had failed works again.
    SinkWorks(String),
    /// A thread runs on any core.
    NotPinned(Stage, String),
    /// Who prepares the frames of a camera that RGA could take: RGA, or the CPU and why.
    Prepares(String),
    /// A core of the NPU is left out, or came back.
    Cores {
        /// Cores that take frames now.
        in_service: u64,
        /// Cores that the model was opened on.
        all: u64,
    },
    /// The NPU was given up, and the CPU goes on.
    FellBack(String),
    /// A stage has not moved for so many seconds.
    Stuck(Stage, u64),
    /// So many notes more than could be said.
    More(u64),
}

impl Note {
    /// Which of the kinds it is that may come with every frame, if it is any.
    fn frequent(&self) -> Option<usize> {
        match self {
            Self::Skipped(_) => Some(0),
            Self::Lost(_) => Some(1),
            Self::Source(_) => Some(2),
            _ => None,
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(reason) => write!(f, "skipped: {reason}"),
            Self::Source(what) => write!(f, "note: {what}"),
            Self::Lost(reason) => write!(f, "note: a frame was lost: {reason}"),
            Self::SinkFailed(reason) => write!(f, "note: going on without a sink: {reason}"),
            Self::SinkWorks(name) => write!(f, "note: {name} works again"),
            Self::NotPinned(stage, reason) => write!(f, "note: {stage}: {reason}"),
            Self::Prepares(who) => write!(f, "note: frames are prepared by {who}"),
            Self::Cores { in_service, all } => {
                write!(f, "note: {in_service} of {all} cores of the NPU take frames")
            }
            Self::FellBack(reason) => write!(f, "note: going on with the CPU because {reason}"),
            Self::Stuck(stage, seconds) => write!(f, "note: {stage} has not moved for {seconds} s"),
            Self::More(count) => write!(f, "note: and {count} notes more"),
        }
    }
}

/// Where stages leave notes.
#[derive(Debug)]
pub(super) struct Notes {
    state: Mutex<State>,
    stop: Stop,
}

#[derive(Debug)]
struct State {
    waiting: VecDeque<Note>,
    /// When those that count as lately began to.
    since: Instant,
    /// How many of each kind.
    lately: [usize; FREQUENT],
    left_out: u64,
}

impl Notes {
    pub(super) fn new(stop: Stop) -> Self {
        let waiting = VecDeque::with_capacity(MOST_WAITING);
        let state = State { waiting, since: Instant::now(), lately: [0; FREQUENT], left_out: 0 };
        Self { state: Mutex::new(state), stop }
    }

    /// Leaves a note, unless there were too many lately.
    pub(super) fn leave(&self, note: Note) {
        let mut state = self.lock();
        if state.since.elapsed() >= LATELY {
            (state.since, state.lately) = (Instant::now(), [0; FREQUENT]);
        }
        let is_too_frequent = note.frequent().is_some_and(|kind| state.lately[kind] >= MOST);
        if is_too_frequent || state.waiting.len() >= MOST_WAITING {
            state.left_out += 1;
        } else {
            note.frequent().into_iter().for_each(|kind| state.lately[kind] += 1);
            state.waiting.push_back(note);
        }
        drop(state);
        self.ring();
    }

    /// Whether somebody asked the pipeline to end.
    pub(super) fn is_stopped(&self) -> bool {
        self.stop.is_stopped()
    }

    /// Wakes whoever watches.
    pub(super) fn ring(&self) {
        self.stop.ring();
    }

    /// The oldest note, or how many were left out, once it is time to say so.
    pub(super) fn take(&self) -> Option<Note> {
        let mut state = self.lock();
        let is_due = state.since.elapsed() >= LATELY;
        state.waiting.pop_front().or_else(|| if is_due { state.left_out() } else { None })
    }

    /// As [`Notes::take`], at the end.
    pub(super) fn take_last(&self) -> Option<Note> {
        let mut state = self.lock();
        state.waiting.pop_front().or_else(|| state.left_out())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn left_out(&mut self) -> Option<Note> {
        Some(std::mem::take(&mut self.left_out)).filter(|count| *count > 0).map(Note::More)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that is said at the end.
    fn said(notes: &Notes) -> Vec<Note> {
        std::iter::from_fn(|| notes.take_last()).collect()
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other_and_is_counted() {
        let notes = Notes::new(Stop::new());
        let (broken, lost) = (Note::Skipped("damaged".into()), Note::Lost("stuck".into()));
        let (gone, cores) = (Note::Source("unplugged".into()), Note::Cores { in_service: 2, all: 3 });
        for note in [&broken, &lost, &broken] {
            (0..100).for_each(|_| notes.leave(note.clone()));
        }
        notes.leave(gone.clone());
        notes.leave(cores.clone());
        let said = said(&notes);
        let count = |note: &Note| said.iter().filter(|said| *said == note).count();
        assert_eq!([&broken, &lost, &gone, &cores].map(count), [MOST, MOST, 1, 1]);
        assert_eq!(said.last(), Some(&Note::More(300 - 2 * MOST as u64)));
    }

    #[test]
    fn a_source_that_comes_and_goes_does_not_flood_either() {
        let notes = Notes::new(Stop::new());
        (0..100).for_each(|_| notes.leave(Note::Source("unplugged".into())));
        assert_eq!(said(&notes).len(), MOST + 1);
    }
}
