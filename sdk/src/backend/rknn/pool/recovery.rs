//! What becomes of a core that fails: counted, replaced while that makes sense, left out for longer and longer where that
//! fails, and all given up once none is left. A context that is opened in place of another one is never waited for while
//! frames can be had.

use std::sync::Weak;
use std::time::{Duration, Instant};

use super::Pool;
use super::pause::{is_left_out, pause};
use crate::Error;
use crate::backend::rknn::failure::NpuFailure;
use crate::backend::rknn::options::after;
use crate::backend::rknn::recipe::{Core, Standing};
use crate::backend::rknn::worker::{Origin, Silence};

/// Time from one look at contexts that are being opened to the next: little beside what opening takes.
const LOOK: Duration = Duration::from_millis(10);

/// How the NPU does.
#[derive(Default)]
pub(super) struct Health {
    given_up: Option<GivenUp>,
    /// When it was first seen that no core takes frames, where none has since and no context was begun to be opened.
    pub(super) idle_since: Option<Instant>,
    /// Why the last context that was refused could not be opened.
    refusal: Option<String>,
    /// Of workers set aside: gone once their calls have returned.
    stuck: Vec<Weak<()>>,
    pub(super) quarantined: u64,
    pub(super) reopened: u64,
    pub(super) retried: u64,
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
        self.check_quarantine();
        if !self.health.is_given_up() {
            self.reopen_sharing(index);
        }
    }

    /// Gives the NPU up where more calls than allowed have not returned.
    fn check_quarantine(&mut self) {
        let quarantined = self.health.stuck();
        if quarantined > self.recipe.options.limits.max_quarantined {
            self.health.give_up(NpuFailure::Exhausted { quarantined }, self.health.refusal.clone());
        }
    }

    /// Begins to open a context on a core that has none, which shares the first one's weights if it can.
    fn reopen_sharing(&mut self, index: usize) {
        let (origin, shares) = match (index, self.crew.cores.first()) {
            (1.., Some(first)) if first.takes_frames() => {
                (first.worker.ask_for_duplicate(), Some(first.generation))
            }
            _ => (Origin::Model, None),
        };
        self.reopen(index, origin, shares);
    }

    /// Begins to open a context on a core that has none.
    fn reopen(&mut self, index: usize, origin: Origin, shares: Option<u64>) {
        match self.recipe.start(origin, self.crew.cores[index].core_mask, 0) {
            Ok(worker) => {
                self.crew.replace(index, worker, shares);
                // It has its time, however long nobody has looked.
                self.health.idle_since = None;
            }
            Err(error) => self.note_refusal(index, &error),
        }
    }

    /// Looks how contexts do that are being opened, and opens those whose time has come. Gives the NPU up where no core has
    /// taken frames, nor was one begun to be opened, for as long as opening may take. Never waits.
    pub(super) fn settle(&mut self) {
        // Before the contexts are looked at, so that one that is too late is known as such when time is up for all.
        let now = Instant::now();
        for index in 0..self.crew.cores.len() {
            if self.is_due(index) {
                self.try_again(index);
            }
            self.settle_one(index);
        }
        if self.takes_frames() {
            self.health.idle_since = None;
            return;
        }
        let since = *self.health.idle_since.get_or_insert(now);
        if now >= after(since, self.recipe.options.limits.open) {
            self.exhausted();
        }
    }

    /// Whether there is a core that takes frames.
    fn takes_frames(&self) -> bool {
        self.crew.cores.iter().any(Core::takes_frames)
    }

    /// Whether the pause of a core without a worker is over.
    fn is_due(&self, index: usize) -> bool {
        let is_over = |until: Instant| until <= self.recipe.options.clock.now();
        let standing = self.crew.cores[index].standing;
        !self.health.is_given_up() && matches!(standing, Standing::Vacant { until } if is_over(until))
    }

    /// Begins to open a context where the last one was refused.
    fn try_again(&mut self, index: usize) {
        if !is_left_out(self.crew.cores[index].refusals) {
            return self.reopen_sharing(index);
        }
        // Should it stall, there must be room yet for the call of a frame that does: the others are not given up for this one.
        if self.health.stuck().saturating_add(1) < self.recipe.options.limits.max_quarantined {
            self.health.retried += 1;
            // Not with the first one's weights: it would make the context between its frames, which wait for that meanwhile.
            self.reopen(index, Origin::Model, None);
        } else {
            self.pause(index);
        }
    }

    /// Leaves a core without a worker for as long as its refusals say.
    fn pause(&mut self, index: usize) {
        let core = &mut self.crew.cores[index];
        let until = after(self.recipe.options.clock.now(), pause(core.refusals));
        core.standing = Standing::Vacant { until };
    }

    /// As [`Pool::settle`], of the context that is being opened on a core, if there is one.
    fn settle_one(&mut self, index: usize) {
        let core = &mut self.crew.cores[index];
        let calls = core.worker.calls();
        match core.worker.opened(Instant::now()) {
            None => {}
            Some(Ok(_)) => {
                core.refusals = 0;
                self.health.refusal = None;
                self.health.reopened += 1;
            }
            Some(Err(error)) => {
                if matches!(error, Error::Npu { failure: NpuFailure::Stalled { .. }, .. }) {
                    self.health.set_aside(calls);
                }
                self.note_refusal(index, &error);
                self.check_quarantine();
            }
        }
    }

    /// Waits until a core takes frames, whichever is the first, or the NPU is given up: no longer than opening may take, whenever
    /// it was looked at last and whatever is begun to be opened meanwhile.
    pub(super) fn settle_any(&mut self) {
        self.health.idle_since = None;
        let end = after(Instant::now(), self.recipe.options.limits.open);
        loop {
            // As in `settle`, before the contexts are looked at.
            let is_over = end <= Instant::now();
            self.settle();
            if self.health.is_given_up() || self.takes_frames() {
                return;
            }
            if is_over {
                return self.exhausted();
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Notes that no context could be opened on a core: that is tried again in a while. Gives the NPU up where all cores are
    /// left out.
    fn note_refusal(&mut self, index: usize, error: &Error) {
        self.health.refusal = Some(match error {
            Error::Npu { fault, .. } | Error::Backend(fault) => fault.found.clone(),
            other => other.to_string(),
        });
        let core = &mut self.crew.cores[index];
        core.refusals = core.refusals.saturating_add(1);
        self.pause(index);
        let is_out = |core: &Core| core.standing != Standing::Manned && is_left_out(core.refusals);
        if self.crew.cores.iter().all(is_out) {
            self.exhausted();
        }
    }

    /// Gives the NPU up because no core has a context.
    fn exhausted(&mut self) {
        let quarantined = self.health.stuck();
        self.health.give_up(NpuFailure::Exhausted { quarantined }, self.health.refusal.clone());
    }
}
