//! How the workers of a pool are started, at first and to replace one that was set aside, and in which order they end.

use std::sync::Arc;
use std::time::Instant;

use super::options::{RknnOptions, after};
use super::plan::{Plan, Wanted};
use super::runtime::Checked;
use super::waker::Waker;
use super::worker::{Origin, Ready, Request, Rest, Spare, Start, Worker};
use crate::Error;

/// A worker and its place.
pub(super) struct Core {
    pub(super) worker: Worker,
    /// Tells the worker from those that were here before.
    pub(super) generation: u64,
    pub(super) core_mask: Option<u32>,
    /// Frames in a row that failed by the device's fault.
    pub(super) failures: u32,
    /// Whether it has a worker.
    pub(super) standing: Standing,
    /// Contexts in a row that could not be opened in place of one that was set aside.
    pub(super) refusals: u32,
    /// The generation of the first core's worker, where the weights are that one's.
    pub(super) shares: Option<u64>,
}

/// What can be had of a core.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// A worker, perhaps one that is still opening its context.
    Manned,
    /// Nothing: no context could be opened, which is tried again from `until` on, by the clock of the options.
    Vacant { until: Instant },
}

/// The workers of a pool; the first owns the weights that the others share.
pub(super) struct Crew {
    pub(super) cores: Vec<Core>,
    /// Workers that others have taken the place of and that have not freed everything yet, with what they share.
    set_aside: Vec<(Worker, Option<u64>)>,
}

/// How workers are started, then and later.
pub(super) struct Recipe {
    pub(super) checked: Checked,
    pub(super) request: Arc<Request>,
    /// Once the first worker has its plan, the same for every other one.
    pub(super) wanted: Wanted,
    pub(super) flags: u32,
    pub(super) options: RknnOptions,
    pub(super) waker: Waker,
}

impl Recipe {
    /// Starts a worker for each context that the options ask for. The first loads the model; the others share its
    /// weights where the runtime can do that, and load it themselves where it cannot.
    pub(super) fn start_all(&mut self) -> Result<(Crew, Arc<Plan>), Error> {
        let masks = self.options.cores.masks();
        let first_mask = masks.first().copied().flatten();
        let (worker, ready) = self.open(Origin::Model, first_mask, masks.len().saturating_sub(1))?;
        let Ready { plan, versions, mut duplicates } = ready;
        self.checked.versions = versions;
        let plan = Arc::new(plan);
        self.wanted = Wanted::Same(Arc::clone(&plan));
        // From here on whatever fails ends the workers before it, and waits for them.
        let mut crew = Crew { cores: vec![Core::new(worker, 0, first_mask, None)], set_aside: Vec::new() };
        for (generation, &mask) in (1..).zip(masks.iter().skip(1)) {
            let duplicate = duplicates.take();
            let shares = duplicate.is_some().then_some(0);
            let origin = duplicate.map_or(Origin::Model, Origin::Duplicate);
            let opened = self.open(origin, mask, 0);
            if opened.is_err() {
                // Before the workers, the first of which waits for all that share its weights.
                drop(std::mem::replace(&mut duplicates, Spare::none()));
            }
            crew.cores.push(Core::new(opened?.0, generation, mask, shares));
        }
        Ok((crew, plan))
    }

    /// Starts one worker and waits until its model is loaded, or cannot be.
    fn open(
        &self,
        origin: Origin,
        core_mask: Option<u32>,
        duplicates: usize,
    ) -> Result<(Worker, Ready), Error> {
        let mut worker = self.start(origin, core_mask, duplicates)?;
        let end = after(Instant::now(), self.options.limits.open);
        loop {
            if let Some(outcome) = worker.opened(end) {
                let ready = outcome?;
                worker.wait_first();
                return Ok((worker, ready));
            }
        }
    }

    /// Starts one worker; see [`Start`].
    pub(super) fn start(
        &self,
        origin: Origin,
        core_mask: Option<u32>,
        duplicates: usize,
    ) -> Result<Worker, Error> {
        Worker::start(Start {
            vendor: Arc::clone(&self.checked.vendor),
            versions: self.checked.versions.clone(),
            origin,
            flags: self.flags,
            core_mask,
            duplicates,
            sets: self.sets(),
            request: Arc::clone(&self.request),
            wanted: self.wanted.clone(),
            limits: self.options.limits,
            waker: self.waker.clone(),
        })
    }

    /// Sets of buffers of a worker.
    pub(super) fn sets(&self) -> usize {
        self.options.frames_per_core.max(1)
    }
}

impl Core {
    fn new(worker: Worker, generation: u64, core_mask: Option<u32>, shares: Option<u64>) -> Self {
        Self { worker, generation, core_mask, failures: 0, standing: Standing::Manned, refusals: 0, shares }
    }

    /// Whether frames can go to it.
    pub(super) fn takes_frames(&self) -> bool {
        self.standing == Standing::Manned && !self.worker.is_opening()
    }
}

impl Crew {
    /// Puts `worker` in the place of one that is no more, sharing the weights of the first core's generation `shares`.
    pub(super) fn replace(&mut self, index: usize, worker: Worker, shares: Option<u64>) {
        let core = &mut self.cores[index];
        core.standing = Standing::Manned;
        let old = std::mem::replace(&mut core.worker, worker);
        let old_shares = std::mem::replace(&mut core.shares, shares);
        self.set_aside.retain(|(worker, _)| !worker.has_ended());
        self.set_aside.push((old, old_shares));
    }

    /// Cores on which the last context could not be opened, those among them where another attempt is under way.
    pub(super) fn left_out(&self) -> usize {
        self.cores.iter().filter(|core| core.refusals > 0).count()
    }

    /// What the worker that owns the weights needs, beside the cores, to free everything. A worker that was set aside may
    /// never let go of them: its call does not return.
    fn rest_of_owner(&self) -> Rest {
        let Some(owner) = self.cores.first() else { return Rest::Own };
        let mut left = self.set_aside.iter().filter(|(worker, _)| !worker.has_ended());
        if left.any(|(_, shares)| *shares == Some(owner.generation)) {
            Rest::SharedElsewhere
        } else {
            Rest::Own
        }
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let mut rest = self.rest_of_owner();
        // Those that share weights before the one that owns them.
        while let Some(mut core) = self.cores.pop() {
            let is_owner = self.cores.is_empty();
            if !core.worker.close(if is_owner { rest } else { Rest::Own }) {
                rest = Rest::SharedElsewhere;
            }
        }
    }
}
