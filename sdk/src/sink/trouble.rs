//! What a thread that works for a sink could not do, handed to whoever feeds the sink; the same trouble once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Health;
use crate::Error;

/// A place for the trouble of another thread.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    untold: Option<Error>,
    /// What is wrong, as it was told.
    known: String,
}

impl Trouble {
    /// Keeps `error` until somebody asks, unless it is the trouble that is known.
    pub(super) fn tell(&self, error: Error) {
        let mut state = self.lock();
        let text = error.to_string();
        if state.known != text {
            (state.known, state.untold) = (text, Some(error));
        }
    }

    /// It works again: the next trouble is news.
    pub(super) fn is_over(&self) {
        self.lock().known.clear();
    }

    /// Whether what was told still goes wrong.
    pub(super) fn is_known(&self) -> bool {
        !self.lock().known.is_empty()
    }

    /// As [`Trouble::is_known`], of a sink.
    pub(super) fn health(&self) -> Health {
        if self.is_known() { Health::Troubled } else { Health::Sound }
    }

    /// Fails once for what was told.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.lock().untold.take().map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
