//! A model on one or more cores: frames go in, come out in the order they went in, and none is lost without a word. A
//! core whose call does not return is set aside and replaced, or left out for as long as that cannot be. Never waits for a
//! free slot: it says that there is none. Only [`Pool::slot`] waits, where no core works, for one that is just being replaced.

mod frames;
mod pause;
mod recovery;
mod report;

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::Thread;
use std::time::Instant;

use artifact::TensorSpec;

use super::bench::Usage;
use super::failure::{Failing, NpuFailure};
use super::options::{IoPath, RknnOptions};
use super::plan::{Path, Plan, Wanted};
use super::recipe::{Core, Crew, Recipe};
use super::runtime;
use super::slot::Slot;
use super::versions::Versions;
use super::waker::Waker;
use super::worker::Request;
use crate::Error;
use recovery::Health;
pub use report::{Completed, PoolReport};

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
    crew: Crew,
    pending: VecDeque<Pending>,
    recipe: Recipe,
    /// Also what slots are known by as this pool's.
    plan: Arc<Plan>,
    output_specs: Vec<TensorSpec>,
    next_frame: u64,
    /// The core that gives the next slot, if it has one.
    next_core: usize,
    next_generation: u64,
    health: Health,
    finished: u64,
    failed: u64,
}

/// A frame that [`Pool::next`] has not given yet.
struct Pending {
    frame: u64,
    fate: Fate,
}

/// Where such a frame is.
#[derive(Clone, Copy)]
enum Fate {
    /// At the worker of this core and generation.
    UnderWay { core: usize, generation: u64, submitted: Instant },
    /// Nowhere.
    Lost(Failing),
}

impl Pool {
    /// Loads `model`, a `.rknn` file that takes `input` and gives `outputs` according to its bundle.
    ///
    /// # Errors
    /// [`Error::Input`] when no chip has the cores that `options` ask for; [`Error::Npu`] when there is no runtime library,
    /// the model is for another chip or too new for the runtime, or the runtime refuses it or does not answer;
    /// [`Error::Artifact`] when it is no whole `.rknn` file; [`Error::Backend`] when its tensors are not the bundle's.
    pub fn open(
        model: Vec<u8>,
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
        options: &RknnOptions,
    ) -> Result<Self, Error> {
        options.cores.check()?;
        let checked = runtime::check(&model, options)?;
        let paths = match options.path {
            IoPath::Auto => vec![Path::ZeroCopy, Path::Copied],
            IoPath::ZeroCopy => vec![Path::ZeroCopy],
            IoPath::Copied => vec![Path::Copied],
        };
        let request = Arc::new(Request { model, input, outputs, timing: options.timing });
        let (wanted, flags, options) = (Wanted::First(paths), options.flags(), options.clone());
        let mut recipe = Recipe { checked, request, wanted, flags, options, waker: Waker::default() };
        let (crew, plan) = recipe.start_all()?;
        let output_specs = plan.output_specs();
        let next_generation = crew.cores.iter().map(|core| core.generation + 1).max().unwrap_or(0);
        Ok(Self {
            pending: VecDeque::with_capacity(crew.cores.len() * recipe.sets()),
            crew,
            recipe,
            plan,
            output_specs,
            next_frame: 0,
            next_core: 0,
            next_generation,
            health: Health::default(),
            finished: 0,
            failed: 0,
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
        let Versions { toolkit, runtime, driver, .. } = self.recipe.checked.versions.clone();
        [("toolkit", toolkit.map(|version| version.to_string())), ("runtime", runtime), ("driver", driver)]
    }

    /// What happened so far.
    pub fn report(&self) -> PoolReport {
        let Self { finished, failed, .. } = *self;
        let Health { quarantined, reopened, retried, .. } = self.health;
        let left_out = u64::try_from(self.crew.left_out()).unwrap_or(u64::MAX);
        let unfreed = self.recipe.checked.vendor.unfreed();
        PoolReport { finished, failed, quarantined, reopened, left_out, retried, unfreed }
    }

    /// Contexts that run the model, each a frame at a time.
    pub fn cores(&self) -> usize {
        self.crew.cores.len()
    }

    /// Has `thread` unparked whenever a frame is finished: for who has something else to wait for, too, and parks until
    /// either comes.
    pub fn wake(&self, thread: Thread) {
        self.recipe.waker.set(thread);
    }

    /// Frames under way.
    pub fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// Room for one frame on the next core that has some; none when every core has all it may have: then call
    /// [`Pool::next`]. That was the core's turn, also where the slot is dropped. Waits only where nothing is under way and every
    /// core is being replaced, no longer than [`super::TimeLimits::open`]. A core on which no context can be opened is left
    /// out, as [`Pool::report`] tells, and tried again after 30 seconds, and after twice as long each time, up to 10 minutes;
    /// the others do not notice.
    ///
    /// # Errors
    /// [`Error::Npu`] with [`NpuFailure::GivenUp`] once the NPU has failed too often, [`NpuFailure::Exhausted`] once too
    /// many calls did not return, or no core has a context any more.
    pub fn slot(&mut self) -> Result<Option<Slot>, Error> {
        if self.pending.is_empty() {
            self.settle_any();
        }
        self.slot_now()
    }

    /// As [`Pool::slot`], and never waits: none also where every core is being replaced. For who tells a watchdog that all
    /// is well, and asks again until there is one or the NPU is given up: once none has come within
    /// [`super::TimeLimits::open`] of when one was last begun to be opened, or three in a row were refused on each core.
    ///
    /// # Errors
    /// As [`Pool::slot`].
    pub fn slot_now(&mut self) -> Result<Option<Slot>, Error> {
        self.settle();
        self.check_given_up()?;
        let cores = &self.crew.cores;
        let has_room =
            |&index: &usize| cores[index].takes_frames() && cores[index].worker.home.free_sets() > 0;
        // Strictly in turn: cores are alike and frames come back in order, so that a core which gets two in a row has them wait
        // while another has nothing to do.
        let Some(index) = (self.next_core..cores.len()).chain(0..self.next_core).find(has_room) else {
            return Ok(None);
        };
        self.next_core = (index + 1) % cores.len();
        let home = &cores[index].worker.home;
        Ok(home.take().map(|buffers| Slot::new(buffers, home, &self.plan, index)))
    }

    /// What the runtime says about memory and time of the first context that there is, between frames. Where it does not
    /// answer in the time that the frames before may take, the core is replaced as for a frame.
    ///
    /// # Errors
    /// [`Error::Npu`] when the runtime does not tell.
    pub fn usage(&mut self) -> Result<Usage, Error> {
        self.settle_any();
        self.check_given_up()?;
        let patience = self.recipe.options.limits.of_frames(self.recipe.sets());
        let Some(index) = self.crew.cores.iter().position(Core::takes_frames) else {
            return Err(self.error(NpuFailure::NoWorker.at("the NPU")));
        };
        let answer = self.crew.cores[index].worker.inspect(patience).unwrap_or_else(|silence| {
            let failure = silence.failure(patience);
            self.replace(index, silence, failure);
            Err(failure.at("rknn_query"))
        });
        answer.map_err(|failing| self.error(failing))
    }

    fn error(&self, failing: Failing) -> Error {
        failing.error(&self.recipe.checked.versions)
    }
}

#[cfg(test)]
mod tests;
