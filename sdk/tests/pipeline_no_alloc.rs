//! Once it runs, the pipeline allocates nothing for a frame, on any of its threads. Alone in its file, because the allocator
//! counts for the whole process.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "pipeline/world.rs"]
#[allow(dead_code, reason = "the other suite uses it all")]
mod world;

#[path = "counting/ffi.rs"]
mod ffi;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use repedge::Error;
use repedge::pipeline::{Following, Pipeline, Policy, Settings, Stop};
use repedge::sink::{Controls, Lines, Shown, Sink};
use repedge::source::Pattern;

/// Frames after which everything has its size.
const WARM_UP: u64 = 50;
const FRAMES: u64 = 500;

/// Notes how much was allocated when the first frame that counts came, and the last.
struct Count {
    allocations: Arc<[AtomicU64; 2]>,
}

impl Sink for Count {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        for (index, number) in [WARM_UP, FRAMES - 1].into_iter().enumerate() {
            if shown.number == number {
                self.allocations[index].store(ffi::allocations(), Ordering::SeqCst);
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "count".into()
    }
}

#[test]
fn nothing_is_allocated_for_a_frame() {
    for policy in [Policy::NewestFrame, Policy::EveryFrame] {
        let allocations = Arc::new([AtomicU64::new(u64::MAX), AtomicU64::new(0)]);
        let settings =
            Settings { policy, following: Following::On, frames: Some(FRAMES), ..Settings::default() };
        let source = Box::new(Pattern::new(320, 240));
        let mut pipeline = Pipeline::new(source, settings, Controls::new(0.25), Stop::new());
        pipeline.add_sink(Box::new(Count { allocations: Arc::clone(&allocations) }), Default::default());
        pipeline.add_sink(Box::new(Lines::new("nowhere", Box::new(std::io::sink()))), Default::default());
        let run = pipeline.run(&mut world::Model::new([world::Acts::new()]), &mut world::Ear::default());
        assert_eq!(run.report.shown, FRAMES);
        let [first, last] = [0, 1].map(|index| allocations[index].load(Ordering::SeqCst));
        assert!(first > 0, "the counter does not count");
        assert_eq!(last - first, 0, "{policy:?}");
    }
}
