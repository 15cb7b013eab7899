//! How the workers of a pool are started, at first and to replace one that was set aside, and in which order they end.

use std::sync::Arc;
use std::time::Instant;

use super::options::{RknnOptions, after};
use super::plan::Plan;
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
}

/// The workers of a pool; the first owns the weights that the others share.
pub(super) struct Crew {
    pub(super) cores: Vec<Core>,
}

/// How workers are started, then and later.
pub(super) struct Recipe {
    pub(super) checked: Checked,
    pub(super) request: Arc<Request>,
    pub(super) flags: u32,
    pub(super) options: RknnOptions,
    pub(super) waker: Waker,
}

impl Recipe {
    /// Starts a worker for each context that the options ask for. The first loads the model; the others share its
    /// weights where the runtime can do that, and load it themselves where it cannot.
    pub(super) fn start_all(&mut self) -> Result<(Crew, Plan), Error> {
        let masks = self.options.cores.masks();
        let first_mask = masks.first().copied().flatten();
        let (worker, ready) = self.open(Origin::Model, first_mask, masks.len().saturating_sub(1))?;
        let Ready { plan, versions, mut duplicates } = ready;
        self.checked.versions = versions;
        let core = |worker, generation, core_mask| Core { worker, generation, core_mask, failures: 0 };
        // From here on whatever fails ends the workers before it, and waits for them.
        let mut crew = Crew { cores: vec![core(worker, 0, first_mask)] };
        for (generation, &mask) in (1..).zip(masks.iter().skip(1)) {
            let origin = duplicates.take().map_or(Origin::Model, Origin::Duplicate);
            let opened = self.open(origin, mask, 0);
            if opened.is_err() {
                // Before the workers, the first of which waits for all that share its weights.
                drop(std::mem::replace(&mut duplicates, Spare::none()));
            }
            crew.cores.push(core(opened?.0, generation, mask));
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
                return Ok((worker, outcome?));
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
            limits: self.options.limits,
            waker: self.waker.clone(),
        })
    }

    /// Sets of buffers of a worker.
    pub(super) fn sets(&self) -> usize {
        self.options.frames_per_core.max(1)
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        // Those that share weights before the one that owns them.
        let mut rest = Rest::Own;
        while let Some(mut core) = self.cores.pop() {
            let is_owner = self.cores.is_empty();
            if !core.worker.close(if is_owner { rest } else { Rest::Own }) {
                rest = Rest::SharedElsewhere;
            }
        }
    }
}
