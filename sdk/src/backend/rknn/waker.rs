//! Who is to be woken when a frame is finished: known to every worker, those that replace others too.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;

/// Clones wake the same thread.
#[derive(Clone, Default)]
pub(super) struct Waker {
    thread: Arc<Mutex<Option<Thread>>>,
}

impl Waker {
    /// From now on wakes `thread`.
    pub(super) fn set(&self, thread: Thread) {
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    }

    /// Unparks the thread, if there is one.
    pub(super) fn wake(&self) {
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.unpark();
        }
    }
}
