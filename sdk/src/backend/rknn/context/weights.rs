//! Who shares a model's weights: the context that loaded them must be destroyed after all that use them.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// The weights of a loaded model.
#[derive(Default)]
pub(super) struct Weights {
    users: Mutex<Users>,
    gone: Condvar,
}

/// Who uses weights that another context loaded.
#[derive(Default)]
struct Users {
    /// Contexts that will let go of them.
    sharers: usize,
    /// Whether there is a context that never will, because it was not destroyed.
    is_kept: bool,
}

/// A use of weights that another context loaded.
pub(super) struct Shared(Arc<Weights>);

impl Weights {
    /// Another user.
    pub(super) fn share(self: &Arc<Self>) -> Shared {
        self.users().sharers += 1;
        Shared(Arc::clone(self))
    }

    /// Whether somebody else uses them.
    pub(super) fn is_shared(&self) -> bool {
        let users = self.users();
        users.sharers > 0 || users.is_kept
    }

    /// Waits until nobody else uses them who will ever let go.
    pub(super) fn wait_until_unshared(&self) {
        drop(self.gone.wait_while(self.users(), |users| users.sharers > 0));
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        // Two numbers are whole after a panic, too.
        self.users.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    /// Says that the context that uses the weights is still there, and always will be.
    pub(super) fn keep(&self) {
        self.0.users().is_kept = true;
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.0.users().sharers -= 1;
        self.0.gone.notify_all();
    }
}
