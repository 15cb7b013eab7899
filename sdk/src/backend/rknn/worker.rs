//! A thread with a context of its own, from its owner's side: frames go to it and come back. A call that never returns
//! costs the thread, never its owner, who waits for it only within limits.

mod spare;
mod thread;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use artifact::TensorSpec;

use super::bench::Usage;
use super::buffers::Home;
use super::context::Unbound;
use super::failure::{Failing, NpuFailure};
use super::options::{LayerTiming, TimeLimits, after};
use super::plan::{Plan, Wanted};
use super::slot::{Imported, Slot};
use super::symbols::Vendor;
use super::versions::Versions;
use super::waker::Waker;
use crate::Error;
pub(super) use spare::Spare;

/// Jobs of others than frames that may wait at a worker: a query, and a context for each other core.
const OTHER_JOBS: usize = 4;

/// What a worker is started with.
pub(super) struct Start {
    pub(super) vendor: Arc<Vendor>,
    pub(super) versions: Versions,
    pub(super) origin: Origin,
    pub(super) flags: u32,
    pub(super) core_mask: Option<u32>,
    /// Contexts to make for other workers, sharing this one's weights.
    pub(super) duplicates: usize,
    pub(super) sets: usize,
    pub(super) request: Arc<Request>,
    pub(super) wanted: Wanted,
    pub(super) limits: TimeLimits,
    /// Whom every finished frame wakes.
    pub(super) waker: Waker,
}

/// What the bundle says of the model, and what is wanted of its runs.
pub(super) struct Request {
    pub(super) model: Vec<u8>,
    pub(super) input: TensorSpec,
    pub(super) outputs: Vec<TensorSpec>,
    pub(super) timing: LayerTiming,
}

/// Where a worker's context comes from.
pub(super) enum Origin {
    /// The model, loaded anew.
    Model,
    /// Another worker's context, whose weights it shares.
    Duplicate(Unbound),
    /// Another worker, once it gives one; else the model.
    Asked(Receiver<Option<Unbound>>),
}

/// What a worker that has started tells.
pub(super) struct Ready {
    pub(super) plan: Plan,
    pub(super) versions: Versions,
    pub(super) duplicates: Spare,
}

/// Something to do.
enum Job {
    Run { slot: Slot, source: Source, submitted: Instant },
    Inspect(SyncSender<Result<Usage, Failing>>),
    Duplicate(SyncSender<Option<Unbound>>),
}

/// Where a frame's pixels lie.
pub(super) enum Source {
    /// In the slot.
    Slot,
    /// In memory of another device.
    Imported(Arc<Imported>),
}

/// How long each side waits for the other once before there is anything to wait for. A channel allocates when somebody first waits at
/// it: else that could be for any frame.
const FIRST_WAIT: Duration = Duration::from_millis(1);

/// A frame that came back.
pub(super) struct Done {
    pub(super) slot: Slot,
    pub(super) outcome: Result<(), Failing>,
    pub(super) submitted: Instant,
    pub(super) started: Instant,
    pub(super) finished: Instant,
}

/// The owner's side of a worker. Dropped, it is closed.
pub(super) struct Worker {
    jobs: Option<SyncSender<Job>>,
    done: Receiver<Done>,
    /// Where it has not told yet how its start went.
    opening: Option<Opening>,
    thread: Option<JoinHandle<()>>,
    /// Nothing comes; its end says that the thread has freed everything.
    ended: Receiver<()>,
    calls: Weak<()>,
    limits: TimeLimits,
    sets: usize,
    pub(super) home: Arc<Home>,
    /// When it last gave a frame back.
    pub(super) progressed: Instant,
}

struct Opening {
    ready: Receiver<Result<Ready, Error>>,
    deadline: Instant,
    versions: Versions,
}

/// What a worker needs to free everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing but itself.
    Own,
    /// That others, which are not freed yet, let go of the weights that it owns.
    SharedElsewhere,
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// The call did not return in time.
    Stalled,
    /// The thread ended.
    Ended,
}

impl Silence {
    /// The failure that it is, after a wait of `waited`.
    pub(super) fn failure(self, waited: Duration) -> NpuFailure {
        match self {
            Self::Stalled => NpuFailure::Stalled { waited },
            Self::Ended => NpuFailure::WorkerEnded,
        }
    }
}

impl From<RecvTimeoutError> for Silence {
    fn from(error: RecvTimeoutError) -> Self {
        match error {
            RecvTimeoutError::Timeout => Self::Stalled,
            RecvTimeoutError::Disconnected => Self::Ended,
        }
    }
}

impl Worker {
    /// Starts a worker; [`Worker::opened`] tells how that went.
    pub(super) fn start(start: Start) -> Result<Self, Error> {
        let (limits, sets, versions) = (start.limits, start.sets, start.versions.clone());
        let home = Home::with_room(sets);
        // Room for all there can be at a time, so that nobody ever waits to hand something over.
        let (jobs, inbox) = sync_channel(sets + OTHER_JOBS);
        let (outbox, done) = sync_channel(sets);
        let (tell, ready) = sync_channel(1);
        let (end, ended) = sync_channel(0);
        let alive = Arc::new(());
        let calls = Arc::downgrade(&alive);
        let waker = start.waker.clone();
        let links = thread::Links { tell, inbox, outbox, home: Arc::clone(&home), alive, waker };
        let run = move || {
            thread::work(start, links);
            drop(end);
        };
        let thread = std::thread::Builder::new().name("npu".into()).spawn(run);
        let thread = Some(thread.map_err(|_| NpuFailure::NoWorker.during("a thread", &versions))?);
        let progressed = Instant::now();
        let opening = Some(Opening { ready, deadline: after(progressed, limits.open), versions });
        let jobs = Some(jobs);
        Ok(Self { jobs, done, opening, thread, ended, calls, limits, sets, home, progressed })
    }

    /// Whether how its start went is not told yet.
    pub(super) fn is_opening(&self) -> bool {
        self.opening.is_some()
    }

    /// How the start went, waited for until `end`; none when that is not known by then, or was told before. A worker that
    /// could not start, or did not in time, is let go.
    pub(super) fn opened(&mut self, end: Instant) -> Option<Result<Ready, Error>> {
        let Opening { ready, deadline, versions } = self.opening.as_ref()?;
        let left = end.min(*deadline).saturating_duration_since(Instant::now());
        let outcome = match ready.recv_timeout(left).map_err(Silence::from) {
            Ok(outcome) => outcome,
            Err(Silence::Stalled) if Instant::now() < *deadline => return None,
            Err(silence) => Err(silence.failure(self.limits.open).during("loading the model", versions)),
        };
        self.opening = None;
        match &outcome {
            Ok(_) => {}
            Err(Error::Npu { failure: NpuFailure::Stalled { .. }, .. }) => self.abandon(),
            Err(_) => {
                self.close(Rest::Own);
            }
        }
        Some(outcome)
    }

    /// Waits for a frame where there is none yet, for [`FIRST_WAIT`].
    pub(super) fn wait_first(&self) {
        drop(self.done.recv_timeout(FIRST_WAIT));
    }

    /// Whether the thread has ended: then it has freed everything that the runtime lets go of, or, by a panic, left what
    /// others may still write to, and waits for nobody, nor does anybody for it.
    pub(super) fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Held by the thread for as long as one of its calls has not returned.
    pub(super) fn calls(&self) -> Weak<()> {
        Weak::clone(&self.calls)
    }

    /// Hands a frame over; the room of its slot is the room of the queue, so this never waits. The slot goes home where the
    /// thread has ended.
    pub(super) fn submit(&mut self, slot: Slot, source: Source) -> Result<Instant, Silence> {
        let submitted = Instant::now();
        self.send(Job::Run { slot, source, submitted })?;
        Ok(submitted)
    }

    /// The next frame that comes back, waited for until `deadline`.
    pub(super) fn receive(&mut self, deadline: Instant) -> Result<Done, Silence> {
        let left = deadline.saturating_duration_since(Instant::now());
        let done = self.done.recv_timeout(left)?;
        self.progressed = done.finished;
        Ok(done)
    }

    /// What the runtime says about memory and time, once the frames before are done, waited for up to `patience`.
    pub(super) fn inspect(&mut self, patience: Duration) -> Result<Result<Usage, Failing>, Silence> {
        let (tell, answer) = sync_channel(1);
        self.send(Job::Inspect(tell))?;
        Ok(answer.recv_timeout(patience)?)
    }

    /// A context that shares this one's weights, once the frames before are done.
    pub(super) fn ask_for_duplicate(&self) -> Origin {
        let (tell, answer) = sync_channel(1);
        // Unsent, the answer ends, and the model is loaded.
        let _ = self.send(Job::Duplicate(tell));
        Origin::Asked(answer)
    }

    fn send(&self, job: Job) -> Result<(), Silence> {
        let jobs = self.jobs.as_ref().ok_or(Silence::Ended)?;
        jobs.try_send(job).map_err(|_| Silence::Ended)
    }

    /// Lets go of a worker whose call does not return. Its thread, context and buffers stay as they are; should the call
    /// return after all, the thread frees them and ends.
    pub(super) fn abandon(&mut self) {
        self.home.abandon();
        (self.jobs, self.opening, self.thread) = (None, None, None);
        // A frame that comes back after all goes home at once.
        self.done = sync_channel(0).1;
    }

    /// Ends the worker and waits until everything is freed, or all that is left waits for somebody else, as `rest` says, or
    /// for callers who hold outputs: its thread frees that when it can. A worker whose call does not return in the time of
    /// its frames is let go. Says whether everything is freed.
    pub(super) fn close(&mut self, rest: Rest) -> bool {
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return false };
        let deadline = after(Instant::now(), self.limits.of_frames(self.sets));
        let left = || deadline.saturating_duration_since(Instant::now());
        loop {
            match self.done.recv_timeout(left()).map_err(Silence::from) {
                Ok(_late) => {}
                Err(Silence::Stalled) => {
                    self.abandon();
                    return false;
                }
                Err(Silence::Ended) => break,
            }
        }
        if self.home.has_lent() || rest == Rest::SharedElsewhere {
            return false;
        }
        let ended = self.ended.recv_timeout(left()).map_err(Silence::from);
        // Dropping its end is the last thing that the thread does.
        ended != Err(Silence::Stalled) && thread.join().is_ok()
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.close(Rest::Own);
    }
}
