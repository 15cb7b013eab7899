//! Fails a test whose call does not return, which would hang with it otherwise. The bounds are far beyond what a busy
//! machine takes.

use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// What a busy machine may take longer than a time limit says.
pub const SLACK: Duration = Duration::from_secs(30);

/// Told by work that is watched what it does next.
pub struct Steps(Sender<(String, Duration)>);

impl Steps {
    /// From now until the next step, or the end of the work, no more than `limit` and [`SLACK`] may go by.
    pub fn next(&self, what: &str, limit: Duration) {
        // Where nobody listens any more, the test has failed already.
        let _ = self.0.send((what.into(), limit.saturating_add(SLACK)));
    }
}

/// What `work` gives, done on a thread of its own. Its first step must come at once.
///
/// # Panics
/// When a step takes longer than it may, or `work` panics.
#[track_caller]
pub fn bounded<T: Send + 'static>(name: &str, work: impl FnOnce(&Steps) -> T + Send + 'static) -> T {
    let (tell, told) = channel();
    let thread = std::thread::spawn(move || work(&Steps(tell)));
    let (mut step, mut limit) = (String::from("the first step"), SLACK);
    loop {
        match told.recv_timeout(limit) {
            Ok(next) => (step, limit) = next,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("{name}: {step} has not returned after {limit:?}"),
        }
    }
    match thread.join() {
        Ok(given) => given,
        Err(panic) => resume_unwind(panic),
    }
}
