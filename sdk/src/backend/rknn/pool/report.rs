//! What a pool tells of its frames. Plain data.

use crate::Error;
use crate::backend::rknn::slot::Finished;

/// A frame and what became of it.
pub struct Completed {
    /// The number that [`super::Pool::submit`] gave.
    pub frame: u64,
    /// The outputs, or why there are none.
    pub result: Result<Finished, Error>,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct PoolReport {
    /// Frames that came back with outputs.
    pub finished: u64,
    /// Frames that came back with an error, those lost behind a call that did not return among them.
    pub failed: u64,
    /// Workers whose call did not return, set aside with their contexts and buffers; those that were to replace another
    /// one among them.
    pub quarantined: u64,
    /// Contexts opened to replace them.
    pub reopened: u64,
    /// Cores that no context could be opened on in place of another one: they take no frames until one is opened, which is
    /// tried again and again, in pauses that grow to 10 minutes.
    pub left_out: u64,
    /// Attempts to bring a core back that three attempts in a row had left out; those that succeeded count as `reopened` too.
    pub retried: u64,
    /// Contexts and memories that the runtime refused to destroy, or that stay because a worker panicked, and contexts that
    /// stay because those use their weights.
    pub unfreed: u64,
}
