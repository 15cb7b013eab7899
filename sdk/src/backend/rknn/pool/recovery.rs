//! What becomes of a core that fails: counted, replaced while that makes sense, and in the end given up. A context that is
//! opened in place of another one is never waited for while frames can be had.

use std::sync::Weak;
use std::time::Instant;

use super::Pool;
use crate::Error;
use crate::backend::rknn::failure::NpuFailure;
use crate::backend::rknn::options::after;
use crate::backend::rknn::worker::{Origin, Silence};

/// How the NPU does.
#[derive(Default)]
pub(super) struct Health {
    given_up: Option<GivenUp>,
    /// Of workers set aside: gone once their calls have returned.
    stuck: Vec<Weak<()>>,
    pub(super) quarantined: u64,
    pub(super) reopened: u64,
}

struct GivenUp {
    failure: NpuFailure,
    /// Why no other context could be opened.
    reason: Option<String>,
}

impl Health {
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }

    /// Gives the NPU up, unless it is already.
    fn give_up(&mut self, failure: NpuFailure, reason: Option<String>) {
        self.given_up.get_or_insert(GivenUp { failure, reason });
    }

    /// Notes a worker whose call did not return.
    fn set_aside(&mut self, calls: Weak<()>) {
        self.stuck.push(calls);
        self.quarantined += 1;
    }

    /// Workers set aside whose call has not returned since.
    fn stuck(&mut self) -> u32 {
        self.stuck.retain(|calls| calls.strong_count() > 0);
        u32::try_from(self.stuck.len()).unwrap_or(u32::MAX)
    }
}

impl Pool {
    pub(super) fn check_given_up(&self) -> Result<(), Error> {
        let Some(GivenUp { failure, reason }) = &self.health.given_up else { return Ok(()) };
        let call = match reason {
            Some(reason) => format!("the NPU, where no new context could be opened ({reason})"),
            None => "the NPU".into(),
        };
        Err(failure.during(&call, &self.recipe.checked.versions))
    }

    /// Counts a failure of a core; too many in a row, and the NPU is given up.
    pub(super) fn count_failure(&mut self, index: usize, failure: NpuFailure) {
        let core = &mut self.crew.cores[index];
        core.failures += u32::from(failure.may_pass());
        let failures = core.failures;
        if failure.may_pass() && failures >= self.recipe.options.limits.max_failures {
            self.health.give_up(NpuFailure::GivenUp { failures }, None);
        }
    }

    /// Sets a worker aside that does not answer, and begins to open a new context in its place.
    pub(super) fn replace(&mut self, index: usize, silence: Silence, failure: NpuFailure) {
        let worker = &mut self.crew.cores[index].worker;
        if silence == Silence::Stalled {
            self.health.set_aside(worker.calls());
        }
        worker.abandon();
        self.count_failure(index, failure);
        // From here on its frames are known as lost, also when nothing takes its place.
        self.crew.cores[index].generation = self.next_generation;
        self.next_generation += 1;
        if self.health.is_given_up() {
            return;
        }
        let quarantined = self.health.stuck();
        if quarantined > self.recipe.options.limits.max_quarantined {
            self.health.give_up(NpuFailure::Exhausted { quarantined }, None);
            return;
        }
        // The first owns the weights, and shares them with the others.
        let origin = match (index, self.crew.cores.first()) {
            (1.., Some(first)) if !first.worker.is_opening() => first.worker.ask_for_duplicate(),
            _ => Origin::Model,
        };
        match self.recipe.start(origin, self.crew.cores[index].core_mask, 0) {
            Ok(worker) => self.crew.cores[index].worker = worker,
            Err(error) => self.exhausted(&error),
        }
    }

    /// Looks how contexts do that are being opened, waiting until `end` for those that are not yet.
    pub(super) fn settle(&mut self, end: Instant) {
        for index in 0..self.crew.cores.len() {
            let worker = &mut self.crew.cores[index].worker;
            let calls = worker.calls();
            match worker.opened(end) {
                None => {}
                Some(Ok(_)) => self.health.reopened += 1,
                Some(Err(error)) => {
                    if matches!(error, Error::Npu { failure: NpuFailure::Stalled { .. }, .. }) {
                        self.health.set_aside(calls);
                    }
                    self.exhausted(&error);
                }
            }
        }
    }

    /// As [`Pool::settle`], for as long as opening may take.
    pub(super) fn settle_all(&mut self) {
        self.settle(after(Instant::now(), self.recipe.options.limits.open));
    }

    /// Gives the NPU up because no context could be opened.
    fn exhausted(&mut self, error: &Error) {
        let reason = match error {
            Error::Npu { fault, .. } | Error::Backend(fault) => fault.found.clone(),
            other => other.to_string(),
        };
        let quarantined = self.health.stuck();
        self.health.give_up(NpuFailure::Exhausted { quarantined }, Some(reason));
    }
}
