//! The buffers of one frame: an input to fill and outputs to read, in memory of the NPU or of our own. They move from
//! hand to hand and always come home. Never runs anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::memory::Lent;

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
    /// Whether a processor has written to the input since caches were last made consistent: then no other device may.
    pub(super) is_cached: bool,
    pub(super) outputs: Vec<Output>,
}

/// Where the buffers of one worker are kept while nobody uses them. The worker frees them only when all are here.
pub(super) struct Home {
    shelf: Mutex<Shelf>,
    returned: Condvar,
    is_abandoned: AtomicBool,
}

struct Shelf {
    free: Vec<Buffers>,
    /// Sets that were taken and are not back.
    lent: usize,
}

impl Home {
    /// A home for up to `count` sets of buffers.
    pub(super) fn with_room(count: usize) -> Arc<Self> {
        let shelf = Mutex::new(Shelf { free: Vec::with_capacity(count), lent: 0 });
        Arc::new(Self { shelf, returned: Condvar::new(), is_abandoned: AtomicBool::new(false) })
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
        self.shelf().free.len()
    }

    /// Whether sets were taken and are not back.
    pub(super) fn has_lent(&self) -> bool {
        self.shelf().lent > 0
    }

    /// Puts a new set here.
    pub(super) fn stock(&self, buffers: Buffers) {
        self.shelf().free.push(buffers);
    }

    /// Takes a set; none when all are in use.
    pub(super) fn take(&self) -> Option<Buffers> {
        let mut shelf = self.shelf();
        let taken = shelf.free.pop();
        shelf.lent += usize::from(taken.is_some());
        taken
    }

    /// Brings home what was taken.
    pub(super) fn bring(&self, buffers: Buffers) {
        let mut shelf = self.shelf();
        shelf.lent = shelf.lent.saturating_sub(1);
        shelf.free.push(buffers);
        self.returned.notify_all();
    }

    /// Takes everything once it is all here.
    pub(super) fn close(&self) -> Vec<Buffers> {
        let shelf = self.returned.wait_while(self.shelf(), |shelf| shelf.lent > 0);
        std::mem::take(&mut shelf.unwrap_or_else(PoisonError::into_inner).free)
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A list of buffers is whole after a panic, too.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
