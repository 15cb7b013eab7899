//! Whether a stage moves. One that waits for its next frame has nothing to do and is well; one that works, or cannot hand over
//! what it has, must get on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Kept by the stage.
#[derive(Debug, Default)]
pub struct Pulse {
    beats: AtomicU64,
    is_idle: AtomicBool,
}

impl Pulse {
    /// Something was finished, or there was nothing to do.
    pub fn beat(&self) {
        self.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Does `wait`, which is for something to do.
    pub fn idle<T>(&self, wait: impl FnOnce() -> T) -> T {
        self.is_idle.store(true, Ordering::Relaxed);
        let came = wait();
        self.is_idle.store(false, Ordering::Relaxed);
        self.beat();
        came
    }
}

/// Kept by whoever watches the stage.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    beats: u64,
    /// When it was last seen to move.
    pub moved: Instant,
}

impl Seen {
    /// A stage that begins.
    pub fn new(now: Instant) -> Self {
        Self { beats: 0, moved: now }
    }

    /// Looks at the stage.
    pub fn look(&mut self, pulse: &Pulse, now: Instant) {
        let beats = pulse.beats.load(Ordering::Relaxed);
        if beats != self.beats || pulse.is_idle.load(Ordering::Relaxed) {
            (self.beats, self.moved) = (beats, now);
        }
    }
}
