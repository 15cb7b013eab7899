//! Which cores the stage that feeds the engine runs on.

use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Instant;

use artifact::TensorSpec;
use repedge::Error;
use repedge::backend::{Engine, InTurn, Outcome, Room};
use repedge::pipeline::{Pinning, Policy};
use rustix::thread::{CpuSet, sched_getaffinity};

use crate::world::{Acts, Ear, Frames, Model, World, engine};

/// Whose threads compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Threads {
    Own,
    Callers,
}

/// An engine that remembers which cores it was called on.
struct Watched {
    engine: InTurn,
    threads: Threads,
    cores: Arc<Mutex<Option<CpuSet>>>,
}

impl Engine for Watched {
    fn input(&self) -> &TensorSpec {
        self.engine.input()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.engine.outputs()
    }

    fn lanes(&self) -> usize {
        self.engine.lanes()
    }

    fn room(&mut self) -> Result<Option<Room>, Error> {
        self.engine.room()
    }

    fn submit(&mut self, room: Room) {
        self.engine.submit(room);
    }

    fn next_until(&mut self, end: Instant) -> Option<Result<Outcome, Error>> {
        *self.cores.lock().unwrap() = Some(sched_getaffinity(None).unwrap());
        self.engine.next_until(end)
    }

    fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }

    fn wake(&mut self, thread: Thread) {
        self.engine.wake(thread);
    }

    fn computes_on_caller(&self) -> bool {
        match self.threads {
            Threads::Own => false,
            // As the CPU's engine says of itself.
            Threads::Callers => self.engine.computes_on_caller(),
        }
    }
}

/// How many cores the stage that feeds such an engine runs on, pinned to one.
fn cores(threads: Threads) -> u32 {
    let allowed = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|&core| allowed.is_set(core)).unwrap();
    let cores = Arc::new(Mutex::new(None));
    let watched = Watched { engine: engine(Acts::new()), threads, cores: Arc::clone(&cores) };
    let mut world = World::new(Frames::new(5), Policy::EveryFrame);
    world.settings.pinning = Pinning { inference: vec![first], ..Pinning::default() };
    let run = world.run_model(&mut Model::of(vec![Arc::new(Mutex::new(watched))]), &mut Ear::default());
    assert_eq!(run.report.shown, 5);
    let seen: CpuSet = cores.lock().unwrap().unwrap();
    seen.count()
}

#[test]
fn it_is_pinned_unless_the_engine_computes_on_it() {
    assert_eq!(cores(Threads::Own), 1);
    assert_eq!(cores(Threads::Callers), sched_getaffinity(None).unwrap().count());
}
