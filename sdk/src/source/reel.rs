//! When the frames of a recording were filmed, by a clock that counts frames and not the time that reading them takes: what they
//! show moves as it did, on every machine. Never runs backwards.

use std::time::Duration;

/// From one frame to the next where the recording does not say: 30 frames a second.
pub(super) const USUAL_INTERVAL: Duration = Duration::from_nanos(33_333_333);

/// The clock of one recording.
#[derive(Debug, Clone)]
pub(super) struct Reel {
    interval: Duration,
    next: Duration,
}

impl Reel {
    /// A recording with so much time between frames.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, next: Duration::ZERO }
    }

    /// When the next frame was filmed. To be asked for broken ones too, for they took their time. Who begins anew goes on with the
    /// same clock, as if the first frame followed the last.
    pub(super) fn advance(&mut self) -> Duration {
        let filmed_at = self.next;
        self.next = self.next.saturating_add(self.interval);
        filmed_at
    }
}

impl Default for Reel {
    fn default() -> Self {
        Self::new(USUAL_INTERVAL)
    }
}
