//! Workers that panic, which nothing outside of the backend can make them do: it costs the frame and what others may still
//! write to, is told, and costs nobody's time.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use artifact::{DType, Layout, Quant, TensorSpec};
use stand_in::control::{Control, library};
use stand_in::{Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, digest};

use crate::Error;
use crate::backend::rknn::{Chip, Cores, NpuFailure, Pool, RknnOptions, Slot, TimeLimits};

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

/// A pool of two cores, with limits so long that waiting for them would be seen.
fn pool(name: &str) -> Pool {
    let (layout, shape) = (Layout::Nhwc, [1, 1, 2, 3]);
    let input = TensorSpec { name: "i".into(), dtype: DType::U8, layout, shape, quant: None };
    let (layout, shape) = (Layout::Nchw, [1, 5, 1, 1]);
    let output = TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape, quant: Some(QUANT) };
    let options = RknnOptions {
        library: Some(library(Kind::Rk)),
        chip: Chip::Named("rk3588".into()),
        cores: Cores::Each(2),
        limits: TimeLimits { run: Duration::from_secs(100_000), ..TimeLimits::default() },
        ..RknnOptions::default()
    };
    Pool::open(model(name).pack(), input, vec![output], &options).unwrap()
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
        let mut pool = pool(&name);
        let mut slots: Vec<Slot> = (0..2).map(|_| pool.slot().unwrap().unwrap()).collect();
        let mut slot = slots.swap_remove(core);
        // The worker panics over it: it has no such set.
        slot.buffers().unwrap().index = usize::MAX;
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
