//! A model with several frames under way: rooms are filled, submitted, and come back in the order they went in. What
//! [`Session`](super::Session) is for one frame at a time, [`Engine`] is for stages that work side by side.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::{Duration, Instant};

use artifact::{Tensor, TensorSpec};

use super::Session;
use super::rknn::{self, Pool, PoolReport, Slot};
use crate::Error;

/// An engine that the stage which feeds it and whoever asks for its report share.
pub type SharedEngine = Arc<Mutex<dyn Engine>>;

/// A model loaded into an engine that takes frames ahead.
pub trait Engine: Send {
    /// What a room is filled with.
    fn input(&self) -> &TensorSpec;

    /// What comes back, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Frames that it computes at the same time.
    fn lanes(&self) -> usize;

    /// Room for a frame more; none while all of it is in use, or what broke down is being started anew. Never waits for
    /// either: whoever asks has a watchdog to tell that all is well.
    ///
    /// # Errors
    /// [`Error::Npu`] once the NPU is given up.
    fn room(&mut self) -> Result<Option<Room>, Error>;

    /// Starts a filled room.
    fn submit(&mut self, room: Room);

    /// The oldest frame under way, if it is finished by `end`; an engine without threads of its own computes it here, however
    /// long that takes.
    fn next_until(&mut self, end: Instant) -> Option<Result<Outcome, Error>>;

    /// Frames submitted that did not come back yet.
    fn in_flight(&self) -> usize;

    /// Has `thread` unparked whenever a frame is finished by a thread of the engine.
    fn wake(&mut self, thread: Thread);

    /// Whether frames are computed by the thread that calls [`Engine::next_until`], and by those that it starts for that:
    /// these run where it does.
    fn computes_on_caller(&self) -> bool {
        false
    }

    /// What happened on the NPU so far; none where another engine runs.
    fn npu_report(&self) -> Option<PoolReport> {
        None
    }
}

/// Room for one frame. Dropped, it goes back to its engine.
pub enum Room {
    /// A tensor.
    Memory(Seat),
    /// Memory of the NPU.
    Npu(Slot),
}

/// A frame that came back. Dropped, its memory goes back to its engine.
pub enum Outcome {
    /// Tensors.
    Memory(Seat),
    /// Memory of the NPU.
    Npu(rknn::Finished),
}

impl Outcome {
    /// How long the engine took for it.
    pub fn run(&self) -> Duration {
        match self {
            Self::Memory(seat) => seat.run,
            Self::Npu(finished) => finished.run,
        }
    }
}

/// Input and outputs of one frame.
struct Tensors {
    input: Tensor,
    outputs: Vec<Tensor>,
}

type Home = Arc<Mutex<Vec<Tensors>>>;

/// Input and outputs of one frame, on loan.
pub struct Seat {
    tensors: Option<Tensors>,
    home: Home,
    run: Duration,
}

impl Seat {
    /// What is to be filled.
    pub fn input(&mut self) -> Option<&mut Tensor> {
        self.tensors.as_mut().map(|tensors| &mut tensors.input)
    }

    /// What came out.
    pub fn outputs(&self) -> &[Tensor] {
        self.tensors.as_ref().map_or(&[], |tensors| &tensors.outputs)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(tensors) = self.tensors.take() {
            self.home.lock().unwrap_or_else(PoisonError::into_inner).push(tensors);
        }
    }
}

/// A session that takes frames ahead and runs one after another.
pub struct InTurn {
    session: Box<dyn Session>,
    home: Home,
    waiting: VecDeque<Seat>,
}

impl InTurn {
    /// `session` with room for so many frames, those whose outputs are still read counted too.
    pub fn new(session: Box<dyn Session>, frames: usize) -> Self {
        let make = || Tensors {
            input: Tensor::zeroed(session.input()),
            outputs: session.outputs().iter().map(Tensor::zeroed).collect(),
        };
        let home = Arc::new(Mutex::new(std::iter::repeat_with(make).take(frames).collect()));
        Self { session, home, waiting: VecDeque::with_capacity(frames) }
    }
}

impl Engine for InTurn {
    fn input(&self) -> &TensorSpec {
        self.session.input()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.session.outputs()
    }

    fn lanes(&self) -> usize {
        1
    }

    fn room(&mut self) -> Result<Option<Room>, Error> {
        let tensors = self.home.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let seat =
            |tensors| Seat { tensors: Some(tensors), home: Arc::clone(&self.home), run: Duration::ZERO };
        Ok(tensors.map(seat).map(Room::Memory))
    }

    fn submit(&mut self, room: Room) {
        // A room of the NPU is nothing that this engine gave: it goes home.
        if let Room::Memory(seat) = room {
            self.waiting.push_back(seat);
        }
    }

    fn next_until(&mut self, _end: Instant) -> Option<Result<Outcome, Error>> {
        let mut seat = self.waiting.pop_front()?;
        let began = Instant::now();
        let Tensors { input, outputs } = seat.tensors.as_mut()?;
        let outcome = self.session.run(input, outputs);
        seat.run = began.elapsed();
        Some(outcome.map(|()| Outcome::Memory(seat)))
    }

    fn in_flight(&self) -> usize {
        self.waiting.len()
    }

    fn wake(&mut self, _thread: Thread) {}

    fn computes_on_caller(&self) -> bool {
        true
    }
}

impl Engine for Pool {
    fn input(&self) -> &TensorSpec {
        self.input()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.outputs()
    }

    fn lanes(&self) -> usize {
        self.cores()
    }

    fn room(&mut self) -> Result<Option<Room>, Error> {
        Ok(self.slot_now()?.map(Room::Npu))
    }

    fn submit(&mut self, room: Room) {
        if let Room::Npu(slot) = room {
            self.submit(slot);
        }
    }

    fn next_until(&mut self, end: Instant) -> Option<Result<Outcome, Error>> {
        Some(self.next_until(end)?.result.map(Outcome::Npu))
    }

    fn in_flight(&self) -> usize {
        self.in_flight()
    }

    fn wake(&mut self, thread: Thread) {
        Pool::wake(self, thread);
    }

    fn npu_report(&self) -> Option<PoolReport> {
        Some(self.report())
    }
}
