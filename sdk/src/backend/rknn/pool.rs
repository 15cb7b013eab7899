//! A model on one or more cores: frames go in, come out in the order they went in, and none is lost without a word. A
//! core whose call does not return is set aside and replaced. Never waits for a free slot: it says that there is none.

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use artifact::TensorSpec;

use super::bench::Usage;
use super::buffers::Home;
use super::failure::{NpuFailure, Versions};
use super::options::{IoPath, RknnOptions};
use super::plan::{Path, Plan};
use super::recipe::{Core, Recipe};
use super::runtime;
use super::slot::{DmaBuffer, Finished, Slot};
use super::worker::{Done, Failing, Origin, Request, Silence, Source};
use crate::Error;

/// A model loaded once for each core.
///
/// ```no_run
/// # fn frames() -> impl Iterator<Item = artifact::Tensor> { std::iter::empty() }
/// # fn run(model: Vec<u8>, input: artifact::TensorSpec, outputs: Vec<artifact::TensorSpec>) -> Result<(), repedge::Error> {
/// use repedge::backend::rknn::{Cores, Pool, RknnOptions};
///
/// let mut pool = Pool::open(model, input, outputs, &RknnOptions { cores: Cores::Each(3), ..Default::default() })?;
/// for frame in frames() {
///     let mut slot = loop {
///         if let Some(slot) = pool.slot()? {
///             break slot;
///         }
///         if let Some(completed) = pool.next() {
///             println!("frame {} has {} outputs", completed.frame, completed.result?.outputs().len());
///         }
///     };
///     slot.write(&frame)?;
///     pool.submit(slot);
/// }
/// # Ok(())
/// # }
/// ```
pub struct Pool {
    /// The first owns the weights that the others share.
    workers: Vec<Core>,
    pending: VecDeque<Pending>,
    recipe: Recipe,
    plan: Arc<Plan>,
    output_specs: Vec<TensorSpec>,
    next_frame: u64,
    next_generation: u64,
    given_up: Option<NpuFailure>,
    /// Buffers of workers set aside; gone with their threads.
    quarantined: Vec<Weak<Home>>,
    report: PoolReport,
}

/// A frame and what became of it.
pub struct Completed {
    /// The number that [`Pool::submit`] gave.
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
    /// Workers whose call did not return, set aside with their contexts and buffers.
    pub quarantined: u64,
    /// Contexts opened to replace them.
    pub reopened: u64,
}

/// A frame that is under way.
struct Pending {
    frame: u64,
    core: usize,
    generation: u64,
    submitted: Instant,
}

impl Pool {
    /// Loads `model`, a `.rknn` file that takes `input` and gives `outputs` according to its bundle.
    ///
    /// # Errors
    /// [`Error::Npu`] when there is no runtime library, the model is for another chip or too new for the runtime, or the
    /// runtime refuses it or does not answer; [`Error::Artifact`] when it is no whole `.rknn` file; [`Error::Backend`]
    /// when its tensors are not the bundle's.
    pub fn open(
        model: Vec<u8>,
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
        options: &RknnOptions,
    ) -> Result<Self, Error> {
        let checked = runtime::check(&model, options)?;
        let paths = match options.path {
            IoPath::Auto => vec![Path::ZeroCopy, Path::Copied],
            IoPath::ZeroCopy => vec![Path::ZeroCopy],
            IoPath::Copied => vec![Path::Copied],
        };
        let request = Arc::new(Request { model, input, outputs, paths, timing: options.timing });
        let mut recipe = Recipe { checked, request, flags: options.flags(), options: options.clone() };
        let (workers, plan) = recipe.start_all()?;
        let output_specs = plan.output_specs();
        let frames = workers.len() * recipe.sets();
        Ok(Self {
            next_generation: to_u64(workers.len()),
            workers,
            pending: VecDeque::with_capacity(frames),
            recipe,
            plan: Arc::new(plan),
            output_specs,
            next_frame: 0,
            given_up: None,
            quarantined: Vec::new(),
            report: PoolReport::default(),
        })
    }

    /// What a slot is filled with.
    pub fn input(&self) -> &TensorSpec {
        &self.plan.input.spec
    }

    /// What a finished frame holds, in the bundle's order; in the NPU's own memory order where nothing is copied.
    pub fn outputs(&self) -> &[TensorSpec] {
        &self.output_specs
    }

    /// Whether inputs and outputs move without copies.
    pub fn is_zero_copy(&self) -> bool {
        self.plan.path == Path::ZeroCopy
    }

    /// Bytes from one row of an imported buffer to the next.
    pub fn import_row_bytes(&self) -> usize {
        self.plan.input.row_bytes()
    }

    /// Versions of the model's toolkit, the runtime and the driver, as far as they are known.
    pub fn versions(&self) -> [(&'static str, Option<String>); 3] {
        let Versions { toolkit, runtime, driver } = self.recipe.checked.versions.clone();
        [("toolkit", toolkit.map(|version| version.to_string())), ("runtime", runtime), ("driver", driver)]
    }

    /// What happened so far.
    pub fn report(&self) -> PoolReport {
        self.report
    }

    /// Frames under way.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Room for one frame on the core with the fewest; none when every core has all it may have: then call
    /// [`Pool::next`].
    ///
    /// # Errors
    /// [`Error::Npu`] with [`NpuFailure::GivenUp`] once the NPU has failed too often, [`NpuFailure::Exhausted`] once too
    /// many calls did not return.
    pub fn slot(&mut self) -> Result<Option<Slot>, Error> {
        self.check_given_up()?;
        let (next, count) = (to_usize(self.next_frame), self.workers.len());
        let free = |index: usize| self.workers[index].worker.home.free_sets();
        // Of equally busy cores the one with most slots left, and of those the one whose turn it is: frames go round, also
        // where slots are taken ahead.
        let order = |&index: &usize| {
            let turn = (index + count - next % count) % count;
            (self.workers[index].worker.in_flight, Reverse(free(index)), turn)
        };
        let best = (0..count).filter(|&index| free(index) > 0).min_by_key(order);
        Ok(best.and_then(|index| {
            let core = &self.workers[index];
            let buffers = core.worker.home.take()?;
            Some(Slot::new(buffers, &core.worker.home, &self.plan, index, core.generation))
        }))
    }

    /// Starts a filled slot and gives the frame its number, counted from 0.
    pub fn submit(&mut self, slot: Slot) -> u64 {
        self.submit_from(slot, Source::Slot)
    }

    /// As [`Pool::submit`], the pixels being those in `pixels`, which must not change until the frame is finished: rows of
    /// RGB, [`Pool::import_row_bytes`] apart. The frame fails with [`NpuFailure::NotZeroCopy`] where
    /// [`Pool::is_zero_copy`] is false, with [`NpuFailure::InvalidInput`] where `pixels` are too few.
    pub fn submit_imported(&mut self, slot: Slot, pixels: &DmaBuffer) -> u64 {
        self.submit_from(slot, Source::Imported(Arc::clone(&pixels.inner)))
    }

    fn submit_from(&mut self, slot: Slot, source: Source) -> u64 {
        let (frame, core, generation) = (self.next_frame, slot.worker, slot.generation);
        self.next_frame += 1;
        let mut submitted = Instant::now();
        // A slot of a worker that has been set aside since: its frame is lost, and `next` says so in its turn.
        if let Some(place) = self.workers.get_mut(core).filter(|place| place.generation == generation) {
            submitted = place.worker.submit(slot, source);
        }
        self.pending.push_back(Pending { frame, core, generation, submitted });
        frame
    }

    /// Waits for the oldest frame under way; none when there is none. Never longer than the time limits allow: a core
    /// that does not answer in time is replaced, and its frames come back as errors, in their turn.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator would borrow the pool that is to be fed meanwhile"
    )]
    pub fn next(&mut self) -> Option<Completed> {
        self.next_within(None)
    }

    /// As [`Pool::next`], waiting no longer than until `end` for the frame: none also when the oldest frame is not finished by then, and
    /// what is finished already however long ago `end` was. For who has something else to do, such as to take the next
    /// frame from a camera.
    pub fn next_until(&mut self, end: Instant) -> Option<Completed> {
        self.next_within(Some(end))
    }

    fn next_within(&mut self, end: Option<Instant>) -> Option<Completed> {
        let pending = self.pending.pop_front()?;
        let frame = pending.frame;
        let Some(result) = self.wait_for(&pending, end) else {
            self.pending.push_front(pending);
            return None;
        };
        match &result {
            Ok(_) => self.report.finished += 1,
            Err(_) => self.report.failed += 1,
        }
        Some(Completed { frame, result })
    }

    /// What became of a frame; none when that is not known by `end`.
    fn wait_for(&mut self, pending: &Pending, end: Option<Instant>) -> Option<Result<Finished, Error>> {
        let limits = self.recipe.options.limits;
        let Some(core) =
            self.workers.get_mut(pending.core).filter(|core| core.generation == pending.generation)
        else {
            return Some(Err(self.failed(("the frame", NpuFailure::LostBehindStall))));
        };
        let began = pending.submitted.max(core.worker.progressed);
        let patience = limits.run + limits.grace;
        let deadline = began + patience;
        let result = match core.worker.receive(end.map_or(deadline, |end| end.min(deadline))) {
            Ok(Done { slot, outcome: Ok(()), submitted, started, finished }) => {
                core.failures = 0;
                Ok(Finished { slot, run: finished - started, queued: started - submitted })
            }
            Ok(Done { outcome: Err(failing), .. }) => {
                self.count_failure(pending.core, failing.1);
                Err(self.failed(failing))
            }
            Err(Silence::Stalled) if end.is_some_and(|end| end < deadline) => return None,
            Err(silence) => {
                let failure = match silence {
                    Silence::Stalled => NpuFailure::Stalled { waited: patience },
                    Silence::Ended => NpuFailure::Failed,
                };
                self.replace(pending.core, failure);
                Err(self.failed(("the NPU", failure)))
            }
        };
        Some(result)
    }

    /// What the runtime says about memory and time of the first context, between frames.
    ///
    /// # Errors
    /// [`Error::Npu`] when the runtime does not tell.
    pub fn usage(&mut self) -> Result<Usage, Error> {
        self.check_given_up()?;
        let limits = self.recipe.options.limits;
        let patience = (limits.run + limits.grace) * to_u32(self.recipe.sets() + 1);
        let usage = self.workers.first_mut().map(|core| core.worker.inspect(patience));
        usage.unwrap_or(Err(("the NPU", NpuFailure::NoWorker))).map_err(|failing| self.failed(failing))
    }

    fn check_given_up(&self) -> Result<(), Error> {
        self.given_up.map_or(Ok(()), |failure| Err(self.failed(("the NPU", failure))))
    }

    fn failed(&self, (call, failure): Failing) -> Error {
        failure.during(call, &self.recipe.checked.versions)
    }

    /// Counts a failure of a core; too many in a row, and the NPU is given up.
    fn count_failure(&mut self, index: usize, failure: NpuFailure) {
        let core = &mut self.workers[index];
        core.failures += u32::from(failure.may_pass());
        if core.failures >= self.recipe.options.limits.max_failures {
            self.given_up.get_or_insert(NpuFailure::GivenUp { failures: core.failures });
        }
    }

    /// Sets a worker aside and opens a new context in its place.
    fn replace(&mut self, index: usize, failure: NpuFailure) {
        let worker = &mut self.workers[index].worker;
        worker.abandon();
        self.quarantined.push(Arc::downgrade(&worker.home));
        self.report.quarantined += 1;
        self.count_failure(index, failure);
        let generation = self.next_generation;
        self.next_generation += 1;
        // From here on its frames are known as lost, also when nothing takes its place.
        self.workers[index].generation = generation;
        if self.given_up.is_some() {
            return;
        }
        // Workers whose call has returned meanwhile have freed everything and are gone; the one just set aside is not.
        self.quarantined.retain(|home| home.strong_count() > 0);
        let quarantined = to_u32(self.quarantined.len());
        let exhausted = Some(NpuFailure::Exhausted { quarantined });
        if quarantined > self.recipe.options.limits.max_quarantined {
            self.given_up = exhausted;
            return;
        }
        let core = &mut self.workers[index];
        match self.recipe.start(Origin::Model, core.core_mask, 0) {
            Ok((worker, _)) => {
                core.worker = worker;
                self.report.reopened += 1;
            }
            Err(_) => self.given_up = exhausted,
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let limits = self.recipe.options.limits;
        let frame = limits.run + limits.grace;
        let patience: Duration = frame * to_u32(self.recipe.sets()) + limits.grace;
        // Those that share weights before the one that owns them.
        for core in self.workers.iter_mut().rev() {
            core.worker.close(patience);
        }
    }
}

fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Where only the remainder of a small division matters.
fn to_usize(number: u64) -> usize {
    usize::try_from(number & 0xffff).unwrap_or(0)
}
