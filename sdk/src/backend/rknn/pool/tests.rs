//! What nothing outside of the backend can make happen. Workers that panic: it costs the frame and what others may still
//! write to, is told, and costs nobody's time. Frames that the pool would not hand over, and time that nobody looked.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use artifact::{DType, Layout, Quant, TensorSpec};
use stand_in::control::{Control, library};
use stand_in::{Action, Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, digest};

use crate::Error;
use crate::backend::rknn::worker::Source;
use crate::backend::rknn::{
    Chip, Clock, Cores, DmaBuffer, IoPath, NpuFailure, Pool, RknnOptions, Slot, TimeLimits,
};

const QUANT: Quant = Quant { scale: 0.5, zero_point: 1 };
/// Beyond what a busy machine takes.
const LONG: Duration = Duration::from_secs(60);

/// A model that takes two pixels, gives one cell, and replays it for black ones.
fn model(name: &str) -> Model {
    let element = Element::I8(QUANT);
    let input = Input { name: "i".into(), shape: [1, 3, 1, 2], element, row_stride: 0 };
    let output = Output { name: "o".into(), shape: [1, 5, 1, 1], element, order: Order::Nchw };
    let mode = Mode::Replay { latencies_us: vec![0] };
    let scenario = Scenario { mode, ..Scenario::new(name, input, vec![output]) };
    let recordings = vec![Recording { input: digest(&[0; 6]), outputs: vec![vec![7; 5]] }];
    Model { scenario, onnx: Vec::new(), recordings }
}

/// Two cores, with limits so long that waiting for them would be seen.
fn options() -> RknnOptions {
    RknnOptions {
        library: Some(library(Kind::Rk)),
        chip: Chip::Named("rk3588".into()),
        cores: Cores::Each(2),
        limits: TimeLimits { run: Duration::from_secs(100_000), ..TimeLimits::default() },
        ..RknnOptions::default()
    }
}

fn pool(model: &Model, options: &RknnOptions) -> Pool {
    let (layout, shape) = (Layout::Nhwc, [1, 1, 2, 3]);
    let input = TensorSpec { name: "i".into(), dtype: DType::U8, layout, shape, quant: None };
    let (layout, shape) = (Layout::Nchw, [1, 5, 1, 1]);
    let output = TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape, quant: Some(QUANT) };
    Pool::open(model.pack(), input, vec![output], options).unwrap()
}

/// Has the worker of `slot` panic over it: it has no such set.
fn spoil(slot: &mut Slot) {
    slot.buffers().unwrap().index = usize::MAX;
}

/// Runs a frame of black pixels, which is what new memory holds.
fn run(pool: &mut Pool) {
    let slot = pool.slot().unwrap().unwrap();
    pool.submit(slot);
    pool.next().unwrap().result.unwrap();
}

fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "{what}: waited for a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Of the first core, which loaded the weights, and of the second, which uses them, so that they must stay too.
#[test]
fn what_a_panic_leaves_is_told_and_nobody_waits_for_it() {
    for (core, contexts) in [(0, 1), (1, 2)] {
        let name = format!("panic of core {core}");
        let mut pool = pool(&model(&name), &options());
        let mut slots: Vec<Slot> = (0..2).map(|_| pool.slot().unwrap().unwrap()).collect();
        let mut slot = slots.swap_remove(core);
        spoil(&mut slot);
        drop(slots);
        pool.submit(slot);
        let error = pool.next().unwrap().result.map(drop).unwrap_err();
        assert!(matches!(error, Error::Npu { failure: NpuFailure::WorkerEnded, .. }), "{error}");
        // Two sets of an input and an output, and the context that they are of.
        assert_eq!(pool.report().unfreed, 2 * 2 + 1);
        wait_until("another worker has taken its place", || {
            run(&mut pool);
            pool.report().reopened == 1
        });
        assert_eq!((pool.report().failed, pool.report().quarantined), (1, 0));

        let (end, ended) = channel::<()>();
        std::thread::spawn(move || {
            drop(pool);
            drop(end);
        });
        assert_eq!(ended.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected), "an end that waits");
        let control = Control::new(&library(Kind::Rk), &name);
        wait_until("the others are freed", || control.counters().contexts == contexts);
        let counters = control.counters();
        assert_eq!((counters.memories, counters.violations), (2 * 2, Vec::new()));
    }
}

/// Which the pool refuses, as long as its workers copy inputs when it does.
#[test]
fn a_worker_that_copies_inputs_runs_no_imported_frame() {
    let mut pool = pool(&model("imported copies"), &RknnOptions { path: IoPath::Copied, ..options() });
    let file = tempfile::tempfile().unwrap();
    file.set_len(6).unwrap();
    let pixels = DmaBuffer::new(&file, 0, 6).unwrap();
    let slot = pool.slot().unwrap().unwrap();
    let worker = &mut pool.crew.cores[0].worker;
    worker.submit(slot, Source::Imported(pixels.inner)).unwrap();
    let done = worker.receive(Instant::now() + LONG).unwrap();
    assert_eq!(done.outcome.map_err(|failing| failing.failure), Err(NpuFailure::NotZeroCopy));
}

/// A clock that stands still until it is set forward.
#[derive(Debug)]
struct Hand(Mutex<Instant>);

impl Clock for Hand {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

/// However long nobody asked for a slot in between.
#[test]
fn a_context_that_is_begun_to_be_opened_has_its_time() {
    let clock = Arc::new(Hand(Mutex::new(Instant::now())));
    let by_hand: Arc<dyn Clock> = Arc::<Hand>::clone(&clock);
    let open = Duration::from_secs(60);
    let limits = TimeLimits { open, ..options().limits };
    let mut model = model("begun");
    model.scenario = model.scenario.with_fault("rknn_init", 2, 1, Action::Error(-4));
    let options = RknnOptions { cores: Cores::One(0), limits, clock: by_hand, ..options() };
    let mut pool = pool(&model, &options);
    let mut slot = pool.slot().unwrap().unwrap();
    spoil(&mut slot);
    pool.submit(slot);
    assert!(pool.next().unwrap().result.is_err());
    wait_until("the next context is refused", || {
        assert!(pool.slot_now().unwrap().is_none());
        pool.report().left_out == 1
    });
    // As if a minute had gone by, and the pause with it, in which nobody asked.
    pool.health.idle_since = Some(Instant::now().checked_sub(open).unwrap());
    *clock.0.lock().unwrap() += Duration::from_secs(1);
    wait_until("the core takes frames again", || pool.slot_now().unwrap().is_some());
    assert_eq!(pool.report().reopened, 1);
    run(&mut pool);
}
