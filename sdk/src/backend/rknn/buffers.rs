//! The buffers of one frame: an input to fill and outputs to read, in memory of the NPU or of our own. They move from
//! hand to hand and always come home. Never runs anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::ffi::Lent;

/// Bytes of one tensor, aligned for any element type.
pub(super) enum Buffer {
    /// Memory that the NPU reaches.
    Lent(Lent),
    /// Memory that the runtime copies to or from, in units that are aligned for any element.
    Own(Box<[u64]>, usize),
}

impl Buffer {
    /// Zeroed memory of our own.
    pub(super) fn zeroed(bytes: usize) -> Self {
        Self::Own(vec![0; bytes.div_ceil(8)].into(), bytes)
    }

    /// The bytes.
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Lent(lent) => lent.bytes(),
            Self::Own(words, bytes) => &bytemuck::cast_slice(words)[..*bytes],
        }
    }

    /// The bytes, to be filled.
    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Lent(lent) => lent.bytes_mut(),
            Self::Own(words, bytes) => &mut bytemuck::cast_slice_mut(words)[..*bytes],
        }
    }
}

/// An output and, where it cannot be read as it lies, what it is turned into.
pub(super) struct Output {
    /// As the runtime writes it.
    pub(super) raw: Buffer,
    /// Dense, and in an element type of ours.
    pub(super) converted: Option<Buffer>,
}

/// The buffers of one frame.
pub(super) struct Buffers {
    /// Which of its worker's sets it is.
    pub(super) index: usize,
    pub(super) input: Buffer,
    pub(super) outputs: Vec<Output>,
}

/// Where the buffers of one worker are kept while nobody uses them. The worker frees them only when all are here.
pub(super) struct Home {
    free: Mutex<Vec<Buffers>>,
    returned: Condvar,
    is_abandoned: AtomicBool,
}

impl Home {
    /// A home for up to `count` sets of buffers.
    pub(super) fn with_room(count: usize) -> Arc<Self> {
        let free = Mutex::new(Vec::with_capacity(count));
        Arc::new(Self { free, returned: Condvar::new(), is_abandoned: AtomicBool::new(false) })
    }

    /// Says that nobody waits for the worker's frames any more.
    pub(super) fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Release);
    }

    /// Whether nobody waits for the worker's frames any more.
    pub(super) fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Acquire)
    }

    /// How many sets are here.
    pub(super) fn free_sets(&self) -> usize {
        self.free().len()
    }

    /// Takes a set; none when all are in use.
    pub(super) fn take(&self) -> Option<Buffers> {
        self.free().pop()
    }

    /// Brings a set home.
    pub(super) fn bring(&self, buffers: Buffers) {
        self.free().push(buffers);
        self.returned.notify_all();
    }

    /// Takes everything once `count` sets are here, or what is here after `patience`.
    pub(super) fn close(&self, count: usize, patience: Duration) -> Vec<Buffers> {
        let end = Instant::now() + patience;
        let mut free = self.free();
        while free.len() < count {
            let Some(left) = end.checked_duration_since(Instant::now()) else { break };
            free = self.returned.wait_timeout(free, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut *free)
    }

    fn free(&self) -> MutexGuard<'_, Vec<Buffers>> {
        // A list of buffers is whole after a panic, too.
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
