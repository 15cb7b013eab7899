//! How a pipeline is asked to end, from anywhere, and how those who watch it are woken.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Handles to the same request to end.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    /// Something happened that whoever watches has not looked at.
    is_rung: bool,
}

impl Stop {
    /// Nobody has asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks to end.
    pub fn stop(&self) {
        let mut state = self.lock();
        (state.is_asked, state.is_rung) = (true, true);
        drop(state);
        self.shared.changed.notify_all();
    }

    /// Whether somebody has asked.
    pub fn is_stopped(&self) -> bool {
        self.lock().is_asked
    }

    /// Wakes whoever watches.
    pub(super) fn ring(&self) {
        self.lock().is_rung = true;
        self.shared.changed.notify_all();
    }

    /// Waits until `end`, or until something happens.
    pub(super) fn watch_until(&self, end: Instant) {
        let mut state = self.lock();
        while !state.is_rung {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_rung = false;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
