//! A hundred thousand frames through three cores, and fewer on the other ways that frames can take and through calls that
//! return too late: memory, file descriptors and the stand-in's allocations stay what they were. A process of its own, whose
//! memory is only its own.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use artifact::{Layout, ViewData};
use repedge::backend::rknn::{DmaBuffer, Finished, IoPath, Pool, RknnOptions, Slot, TimeLimits};
use stand_in::{Action, Kind, Model, Scenario};

const REDS: [u8; 5] = [20, 80, 140, 200, 250];
const FRAMES: u64 = 100_000;
/// Fewer, for a machine that is emulated.
const FRAMES_VARIABLE: &str = "REPEDGE_SOAK_FRAMES";
/// More than a context keeps imported, which are 16: with each frame one goes and one comes.
const BUFFERS: usize = 20;

fn frames() -> u64 {
    std::env::var(FRAMES_VARIABLE).map_or(FRAMES, |text| text.parse().unwrap())
}

/// What this process holds.
#[derive(Debug, PartialEq)]
struct Held {
    descriptors: usize,
    memories: u64,
    contexts: u64,
    outputs: u64,
}

fn held(scenario: &Scenario) -> Held {
    let counters = npu::counters(scenario);
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().count();
    Held { descriptors, memories: counters.memories, contexts: counters.contexts, outputs: counters.outputs }
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")).unwrap();
    kib.parse::<u64>().unwrap() * 1024
}

/// Warms up with a tenth of `count` and asserts that the rest grows nothing. `work` goes on until the number it is given.
fn assert_nothing_grows(scenario: &Scenario, count: u64, mut work: impl FnMut(u64)) {
    let warm_up = count / 10;
    work(warm_up);
    let (before, bytes_before) = (held(scenario), resident_bytes());
    work(count);
    let bytes_after = resident_bytes();
    assert_eq!(held(scenario), before, "{}", scenario.name);
    let grown = bytes_after.saturating_sub(bytes_before);
    // 32 bytes for each of 90,000 frames would be 2.9 MB; what the allocator keeps for threads is less.
    assert!(grown < 2 << 20, "{}: {grown} bytes more than after {warm_up}", scenario.name);
}

fn assert_all_freed(scenario: &Scenario) {
    let counters = npu::counters(scenario);
    assert_eq!((counters.contexts, counters.memories, counters.outputs), (0, 0, 0), "{}", scenario.name);
    assert_eq!(counters.violations, [""; 0], "{}", scenario.name);
}

/// How a frame gets to the NPU.
trait Way {
    fn submit(&self, pool: &mut Pool, slot: Slot, frame: u64) -> u64;
}

/// Written into the slot.
struct Written;

/// Lying in memory of another device.
struct Imported(Vec<(File, DmaBuffer)>);

fn red(frame: u64) -> u8 {
    REDS[usize::try_from(frame % 5).unwrap()]
}

fn fill(slot: &mut Slot, frame: u64) {
    slot.pixels().unwrap().as_chunks_mut::<3>().0.fill([red(frame), 0, 0]);
}

impl Way for Written {
    fn submit(&self, pool: &mut Pool, mut slot: Slot, frame: u64) -> u64 {
        fill(&mut slot, frame);
        pool.submit(slot)
    }
}

impl Imported {
    /// Buffers that show one frame each.
    fn new() -> Self {
        let buffer = |frame| {
            let file = tempfile::tempfile().unwrap();
            let pixels = [red(frame), 0, 0].repeat(common::SIDE_PX * common::SIDE_PX);
            file.write_all_at(&pixels, 0).unwrap();
            let buffer = DmaBuffer::new(&file, 0, pixels.len()).unwrap();
            (file, buffer)
        };
        Self((0..).map(buffer).take(BUFFERS).collect())
    }
}

impl Way for Imported {
    fn submit(&self, pool: &mut Pool, slot: Slot, frame: u64) -> u64 {
        let (_, buffer) = &self.0[usize::try_from(frame).unwrap() % BUFFERS];
        pool.submit_imported(slot, buffer)
    }
}

/// The objectness of the last output's first cell, which tells frames apart.
fn objectness(finished: &Finished) -> i8 {
    let output = finished.outputs().last().unwrap();
    let ViewData::I8(stored) = output.data else { panic!("{output:?}") };
    let channel_step = if output.layout == Layout::Nchw { 4 } else { 1 };
    stored[4 * channel_step]
}

/// One after the other: the second would grow the process of the first.
#[test]
fn a_hundred_thousand_frames_leave_nothing_behind() {
    let all = frames();
    // Enough for all that is kept to be there after a tenth of it.
    let (few, cycles) = ((all / 20).max(1000), (all / 500).max(20));
    let zero_copy = |kind| RknnOptions { path: IoPath::ZeroCopy, ..npu::all_cores(kind) };
    let copied = RknnOptions { path: IoPath::Copied, ..npu::all_cores(Kind::Rk) };
    assert_frames_leave_nothing_behind("in place", Kind::Rk, &zero_copy(Kind::Rk), &Written, all);
    assert_frames_leave_nothing_behind("in place", Kind::Rv, &zero_copy(Kind::Rv), &Written, all / 10);
    assert_frames_leave_nothing_behind("copied", Kind::Rk, &copied, &Written, few);
    assert_frames_leave_nothing_behind("imported", Kind::Rk, &zero_copy(Kind::Rk), &Imported::new(), few);
    assert_late_calls_leave_nothing_behind(cycles);
}

fn assert_frames_leave_nothing_behind(
    name: &str,
    kind: Kind,
    options: &RknnOptions,
    way: &dyn Way,
    frames: u64,
) {
    let model = npu::replay(npu::scenario_of(kind, name), &[0], &REDS);
    let known: Vec<i8> = model.recordings.iter().map(|r| r.outputs[2][4 * 4].cast_signed()).collect();
    assert_eq!(known.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), options).unwrap();
    let (mut submitted, mut finished) = (0, 0);
    assert_nothing_grows(&model.scenario, frames, |until| {
        while finished < until {
            while submitted < until {
                let Some(slot) = pool.slot().unwrap() else { break };
                assert_eq!(way.submit(&mut pool, slot, submitted), submitted);
                submitted += 1;
            }
            let completed = pool.next().unwrap();
            assert_eq!(completed.frame, finished);
            let found = objectness(&completed.result.unwrap());
            assert_eq!(found, known[usize::try_from(finished % 5).unwrap()], "frame {finished}");
            finished += 1;
        }
    });
    assert_eq!(pool.report().finished, frames);
    drop(pool);
    assert_all_freed(&model.scenario);
}

/// Each frame's call returns, but so late that it is set aside and another context is opened. Which frames a busy machine has
/// come back in time does not matter.
fn assert_late_calls_leave_nothing_behind(cycles: u64) {
    let limits = TimeLimits {
        run: Duration::from_millis(30),
        grace: Duration::from_millis(20),
        max_failures: u32::MAX,
        max_quarantined: u32::MAX,
        ..TimeLimits::default()
    };
    let mut model: Model = npu::replay(npu::scenario("late"), &[0], &REDS);
    model.scenario = model.scenario.with_fault("rknn_run", 1, u64::MAX - 1, Action::Delay(100));
    let options = RknnOptions { limits, ..npu::options() };
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), &options).unwrap();
    assert_nothing_grows(&model.scenario, cycles, |until| {
        while pool.report().quarantined < until {
            let mut slot = pool.slot().unwrap().unwrap();
            fill(&mut slot, 0);
            pool.submit(slot);
            drop(pool.next().unwrap());
            assert_core_is_replaced(&mut pool, &model.scenario);
        }
    });
    let report = pool.report();
    assert!(report.reopened >= report.quarantined && report.unfreed == 0, "{report:?}");
    drop(pool);
    npu::wait_until("everything is freed", || npu::counters(&model.scenario).contexts == 0);
    assert_all_freed(&model.scenario);
}

/// Waits until the core has its one context again, and what was set aside is freed.
fn assert_core_is_replaced(pool: &mut Pool, scenario: &Scenario) {
    drop(pool.slot().unwrap().unwrap());
    npu::wait_until("the late call has returned", || {
        let counters = npu::counters(scenario);
        // Two sets of an input and three outputs.
        (counters.contexts, counters.memories) == (1, 2 * 4)
    });
}
