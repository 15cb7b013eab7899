//! The time by which a pool tries again what failed, told by whoever opens it. Time limits of calls do not follow it: a call
//! that hangs does so in real time.

use std::fmt::Debug;
use std::time::Instant;

/// Tells a pool when a pause is over, so that tests need not wait for minutes.
pub trait Clock: Debug + Send + Sync {
    /// The time, which never goes back.
    fn now(&self) -> Instant;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::now()
    }
}
