//! Who shares a model's weights: the context that loaded them must be destroyed after all that use them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The weights of a loaded model.
#[derive(Default)]
pub(super) struct Weights {
    sharers: Mutex<usize>,
    gone: Condvar,
}

/// A use of weights that another context loaded.
pub(super) struct Shared(Arc<Weights>);

impl Weights {
    /// Another user.
    pub(super) fn share(self: &Arc<Self>) -> Shared {
        *self.sharers() += 1;
        Shared(Arc::clone(self))
    }

    /// Whether somebody else uses them.
    pub(super) fn is_shared(&self) -> bool {
        *self.sharers() > 0
    }

    /// Waits until nobody else uses them.
    pub(super) fn wait_until_unshared(&self) {
        let sharers = self.sharers();
        drop(self.gone.wait_while(sharers, |sharers| *sharers > 0));
    }

    fn sharers(&self) -> MutexGuard<'_, usize> {
        // A number is whole after a panic, too.
        self.sharers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        *self.0.sharers() -= 1;
        self.0.gone.notify_all();
    }
}
