//! Contexts on their way to their workers. Those that nobody takes are destroyed by a thread of their own, because a call
//! of the runtime may never return.

use std::sync::mpsc::sync_channel;
use std::time::Duration;

use crate::backend::rknn::context::Unbound;

/// Contexts that no worker has taken yet.
pub(in crate::backend::rknn) struct Spare {
    contexts: Vec<Unbound>,
    patience: Duration,
}

impl Spare {
    /// `patience`: how long their end is waited for.
    pub(super) fn new(contexts: Vec<Unbound>, patience: Duration) -> Self {
        Self { contexts, patience }
    }

    /// None of them.
    pub(in crate::backend::rknn) fn none() -> Self {
        Self::new(Vec::new(), Duration::ZERO)
    }

    /// One of them.
    pub(in crate::backend::rknn) fn take(&mut self) -> Option<Unbound> {
        self.contexts.pop()
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let contexts = std::mem::take(&mut self.contexts);
        if contexts.is_empty() {
            return;
        }
        let (give, taken) = sync_channel::<Vec<Unbound>>(1);
        let (end, ended) = sync_channel::<()>(0);
        let thread = std::thread::Builder::new().name("npu-end".into()).spawn(move || {
            drop(taken.recv());
            drop(end);
        });
        match thread {
            Ok(_) => {
                let _ = give.send(contexts);
                let _ = ended.recv_timeout(self.patience);
            }
            // Without a thread they stay: better than a program that hangs.
            Err(_) => std::mem::forget(contexts),
        }
    }
}
