//! How the workers of a pool are started, at first and to replace one that was set aside.

use std::sync::Arc;

use super::options::RknnOptions;
use super::plan::Plan;
use super::runtime::Checked;
use super::worker::{Origin, Ready, Request, Start, Worker};
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

/// How workers are started, then and later.
pub(super) struct Recipe {
    pub(super) checked: Checked,
    pub(super) request: Arc<Request>,
    pub(super) flags: u32,
    pub(super) options: RknnOptions,
}

impl Recipe {
    /// Starts a worker for each context that the options ask for. The first loads the model; the others share its
    /// weights where the runtime can do that, and load it themselves where it cannot.
    pub(super) fn start_all(&mut self) -> Result<(Vec<Core>, Plan), Error> {
        let masks = self.options.cores.masks();
        let (worker, ready) =
            self.start(Origin::Model, masks.first().copied().flatten(), masks.len().saturating_sub(1))?;
        let Ready { plan, versions, duplicates } = ready;
        self.checked.versions = versions;
        let mut duplicates = duplicates.into_iter();
        let core = |worker, generation, core_mask| Core { worker, generation, core_mask, failures: 0 };
        let mut workers = vec![core(worker, 0, masks.first().copied().flatten())];
        for (generation, &mask) in (1..).zip(masks.iter().skip(1)) {
            let origin = duplicates.next().map_or(Origin::Model, Origin::Duplicate);
            workers.push(core(self.start(origin, mask, 0)?.0, generation, mask));
        }
        Ok((workers, plan))
    }

    /// Starts one worker; see [`Start`].
    pub(super) fn start(
        &self,
        origin: Origin,
        core_mask: Option<u32>,
        duplicates: usize,
    ) -> Result<(Worker, Ready), Error> {
        Worker::start(Start {
            library: Arc::clone(&self.checked.library),
            versions: self.checked.versions.clone(),
            origin,
            flags: self.flags,
            core_mask,
            duplicates,
            sets: self.sets(),
            request: Arc::clone(&self.request),
            limits: self.options.limits,
        })
    }

    /// Sets of buffers of a worker.
    pub(super) fn sets(&self) -> usize {
        self.options.frames_per_core.max(1)
    }
}
