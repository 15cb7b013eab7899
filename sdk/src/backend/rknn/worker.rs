//! A thread with a context of its own: it alone calls the runtime, one frame after another, and frees what it allocated
//! once everything lent out is home. A call that never returns costs this thread, never its owner.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use artifact::TensorSpec;
use rknn_sys::{Library, rknn_query_cmd, rknn_sdk_version};

use super::bench::{Bench, Usage};
use super::buffers::Home;
use super::failure::{NpuFailure, Versions};
use super::ffi::{Context, Unbound};
use super::options::{LayerTiming, TimeLimits};
use super::plan::{Path, Plan};
use super::slot::{Imported, Slot};
use crate::Error;

/// What failed: the runtime's function, and how.
pub(super) type Failing = (&'static str, NpuFailure);

/// What a worker is started with.
pub(super) struct Start {
    pub(super) library: Arc<Library>,
    pub(super) versions: Versions,
    pub(super) origin: Origin,
    pub(super) flags: u32,
    pub(super) core_mask: Option<u32>,
    /// Contexts to make for other workers, sharing this one's weights.
    pub(super) duplicates: usize,
    pub(super) sets: usize,
    pub(super) request: Arc<Request>,
    pub(super) limits: TimeLimits,
}

/// What the bundle says of the model, and how it may be run.
pub(super) struct Request {
    pub(super) model: Vec<u8>,
    pub(super) input: TensorSpec,
    pub(super) outputs: Vec<TensorSpec>,
    pub(super) paths: Vec<Path>,
    pub(super) timing: LayerTiming,
}

/// Where a worker's context comes from.
pub(super) enum Origin {
    /// The model, loaded anew.
    Model,
    /// Another worker's context, whose weights it shares.
    Duplicate(Unbound),
}

/// What a worker that has started tells.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) versions: Versions,
    pub(super) duplicates: Vec<Unbound>,
}

/// Something to do.
enum Job {
    Run { slot: Slot, source: Source, submitted: Instant },
    Inspect(SyncSender<Result<Usage, Failing>>),
}

/// Where a frame's pixels lie.
pub(super) enum Source {
    /// In the slot.
    Slot,
    /// In memory of another device.
    Imported(Arc<Imported>),
}

/// A frame that came back.
pub(super) struct Done {
    pub(super) slot: Slot,
    pub(super) outcome: Result<(), Failing>,
    pub(super) submitted: Instant,
    pub(super) started: Instant,
    pub(super) finished: Instant,
}

/// The owner's side of a worker.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    thread: Option<JoinHandle<()>>,
    pub(super) home: Arc<Home>,
    /// When it last gave a frame back.
    pub(super) progressed: Instant,
    pub(super) in_flight: usize,
}

/// Why no frame came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The call did not return in time.
    Stalled,
    /// The thread ended.
    Ended,
}

impl Worker {
    /// Starts a worker and waits until its model is loaded, or cannot be.
    pub(super) fn start(start: Start) -> Result<(Self, Ready), Error> {
        let (limits, versions) = (start.limits, start.versions.clone());
        let home = Home::with_room(start.sets);
        let (jobs, inbox) = sync_channel(start.sets + 1);
        let (outbox, done) = sync_channel(start.sets);
        let (tell, ready) = sync_channel(1);
        let theirs = Arc::clone(&home);
        let thread = std::thread::Builder::new()
            .name("npu".into())
            .spawn(move || work(start, &tell, &inbox, &outbox, &theirs))
            .map_err(|_| NpuFailure::NoWorker.during("a thread", &versions))?;
        let mut worker = Self {
            jobs: Some(jobs),
            done,
            thread: Some(thread),
            home,
            progressed: Instant::now(),
            in_flight: 0,
        };
        match ready.recv_timeout(limits.open) {
            Ok(Ok(ready)) => Ok((worker, ready)),
            Ok(Err(error)) => {
                worker.close(limits.grace);
                Err(error)
            }
            Err(RecvTimeoutError::Timeout) => {
                worker.abandon();
                Err(NpuFailure::Stalled { waited: limits.open }.during("loading the model", &versions))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(NpuFailure::Failed.during("loading the model", &versions))
            }
        }
    }

    /// Hands a frame over. The room of its slot is the room of the queue, so this never waits.
    pub(super) fn submit(&mut self, slot: Slot, source: Source) -> Instant {
        let submitted = Instant::now();
        self.in_flight += 1;
        self.send(Job::Run { slot, source, submitted });
        submitted
    }

    /// The next frame that comes back, waited for until `deadline`.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Done, Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        let done = self.done.recv_timeout(left).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::Stalled,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })?;
        self.progressed = done.finished;
        self.in_flight = self.in_flight.saturating_sub(1);
        Ok(done)
    }

    /// What the runtime says about memory and time, once the frames before are done.
    pub(super) fn inspect(&mut self, patience: Duration) -> Result<Usage, Failing> {
        let (tell, answer) = sync_channel(1);
        self.send(Job::Inspect(tell));
        let stalled = ("rknn_query", NpuFailure::Stalled { waited: patience });
        answer.recv_timeout(patience).map_err(|_| stalled)?
    }

    fn send(&self, job: Job) {
        // What cannot be sent is dropped, which brings its slot home; the silence that follows is noticed.
        if let Some(Err(TrySendError::Full(job) | TrySendError::Disconnected(job))) =
            self.jobs.as_ref().map(|jobs| jobs.try_send(job))
        {
            drop(job);
        }
    }

    /// Lets go of a worker whose call does not return. Its thread, context and buffers stay as they are; should the call
    /// return after all, the thread frees them and ends.
    pub(super) fn abandon(&mut self) {
        self.home.abandon();
        self.jobs = None;
        self.thread = None;
        // A frame that comes back after all goes home at once.
        self.done = sync_channel(0).1;
    }

    /// Ends the worker and waits for it up to `patience`; says whether it ended.
    pub(super) fn close(&mut self, patience: Duration) -> bool {
        self.jobs = None;
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.done.recv_timeout(left) {
                Ok(_late) => {}
                Err(RecvTimeoutError::Timeout) => {
                    self.abandon();
                    return false;
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        // The thread has dropped its end, which is the last thing it does.
        self.thread.take().is_none_or(|thread| thread.join().is_ok())
    }
}

/// The thread.
fn work(
    start: Start,
    tell: &SyncSender<Result<Ready, Error>>,
    inbox: &Receiver<Job>,
    outbox: &SyncSender<Done>,
    home: &Arc<Home>,
) {
    let (limits, sets) = (start.limits, start.sets);
    let mut bench = match open(start, home) {
        Ok((bench, ready)) => {
            if tell.send(Ok(ready)).is_err() {
                return bench.close(home, sets, limits.grace);
            }
            bench
        }
        Err(error) => {
            let _ = tell.send(Err(error));
            return;
        }
    };
    while let Ok(job) = inbox.recv() {
        if home.is_abandoned() {
            continue;
        }
        match job {
            Job::Inspect(answer) => {
                let _ = answer.send(bench.usage());
            }
            Job::Run { mut slot, source, submitted } => {
                let started = Instant::now();
                let outcome = bench.run(&mut slot, &source, limits.run);
                drop(source);
                let _ = outbox.send(Done { slot, outcome, submitted, started, finished: Instant::now() });
            }
        }
    }
    bench.close(home, sets, limits.grace);
}

fn open(start: Start, home: &Arc<Home>) -> Result<(Bench, Ready), Error> {
    let Start { library, mut versions, origin, flags, core_mask, duplicates, sets, request, .. } = start;
    let context = match origin {
        Origin::Duplicate(unbound) => unbound.bind(),
        Origin::Model => Context::init(&library, &request.model, flags)
            .map_err(|failure| failure.during("rknn_init", &versions))?,
    };
    learn_versions(&context, &mut versions)?;
    let failed = |(call, failure): Failing, versions: &Versions| failure.during(call, versions);
    if let Some(mask) = core_mask {
        context.set_core_mask(mask).map_err(|failure| failed(("rknn_set_core_mask", failure), &versions))?;
    }
    let mut bench = Bench::new(context, &library, &request, &versions)?;
    let plan = bench.plan().clone();
    if let Err(failing) = bench.allocate(home, sets) {
        // What is allocated so far is all at home.
        bench.close(home, 0, Duration::ZERO);
        return Err(failed(failing, &versions));
    }
    // Last, so that no context that owns weights is given up while another shares them.
    let duplicates = bench.duplicates(duplicates);
    Ok((bench, Ready { plan, versions, duplicates }))
}

/// Asks the runtime for its versions, and refuses it if it is too old for the model.
fn learn_versions(context: &Context, versions: &mut Versions) -> Result<(), Error> {
    let answer = context.query(rknn_query_cmd::RKNN_QUERY_SDK_VERSION, rknn_sdk_version::default());
    if let Ok(answer) = answer {
        let stated = |field| Some(super::ffi::text(field)).filter(|text| !text.is_empty());
        versions.runtime = stated(&answer.api_version).or(versions.runtime.take());
        versions.driver = stated(&answer.drv_version).or(versions.driver.take());
    }
    super::runtime::check_runtime(versions)
}
