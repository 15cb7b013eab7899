//! What people may change while frames are shown; shared by the page that shows the controls and the pipeline that heeds them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Handles to the same controls; changes count from the next frame on.
#[derive(Debug, Clone)]
pub struct Controls {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    is_paused: AtomicBool,
    confidence_bits: AtomicU32,
}

impl Controls {
    /// Running, showing objects with a score above `confidence`.
    pub fn new(confidence: f32) -> Self {
        let shared = Shared {
            is_paused: AtomicBool::new(false),
            confidence_bits: AtomicU32::new(confidence.to_bits()),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Whether frames are not looked at for now.
    pub fn is_paused(&self) -> bool {
        self.shared.is_paused.load(Ordering::Relaxed)
    }

    /// Looks at frames no more, until [`Controls::resume`].
    pub fn pause(&self) {
        self.shared.is_paused.store(true, Ordering::Relaxed);
    }

    /// Looks at frames again.
    pub fn resume(&self) {
        self.shared.is_paused.store(false, Ordering::Relaxed);
    }

    /// Least score of what is shown.
    pub fn confidence(&self) -> f32 {
        f32::from_bits(self.shared.confidence_bits.load(Ordering::Relaxed))
    }

    /// Shows what scores above `confidence`, which is brought into 0 to 1; NaN changes nothing.
    pub fn set_confidence(&self, confidence: f32) {
        if !confidence.is_nan() {
            self.shared.confidence_bits.store(confidence.clamp(0.0, 1.0).to_bits(), Ordering::Relaxed);
        }
    }
}
