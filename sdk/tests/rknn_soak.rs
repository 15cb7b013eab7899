//! A hundred thousand frames through three cores, and fewer through the small runtime: memory, file descriptors and the
//! stand-in's allocations stay what they were. A process of its own, whose memory is only its own.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use artifact::ViewData;
use repedge::backend::rknn::Pool;
use stand_in::{Kind, Model};

const REDS: [u8; 5] = [20, 80, 140, 200, 250];
const FRAMES: u64 = 100_000;
/// Fewer, for a machine that is emulated.
const FRAMES_VARIABLE: &str = "REPEDGE_SOAK_FRAMES";

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

fn held(scenario: &stand_in::Scenario) -> Held {
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

/// Runs frames up to number `until` and checks that each is its own.
fn run(pool: &mut Pool, submitted: &mut u64, finished: &mut u64, until: u64, objectness: &[i8]) {
    while *finished < until {
        while *submitted < until {
            let Some(mut slot) = pool.slot().unwrap() else { break };
            let red = REDS[usize::try_from(*submitted % 5).unwrap()];
            slot.pixels().unwrap().as_chunks_mut::<3>().0.fill([red, 0, 0]);
            assert_eq!(pool.submit(slot), *submitted);
            *submitted += 1;
        }
        let completed = pool.next().unwrap();
        assert_eq!(completed.frame, *finished);
        let outputs = completed.result.unwrap();
        let ViewData::I8(stored) = outputs.outputs().last().unwrap().data else { unreachable!() };
        assert_eq!(stored[4], objectness[usize::try_from(*finished % 5).unwrap()], "frame {finished}");
        *finished += 1;
    }
}

/// One after the other: the second would grow the process of the first.
#[test]
fn a_hundred_thousand_frames_leave_nothing_behind() {
    for (kind, frames) in [(Kind::Rk, frames()), (Kind::Rv, frames() / 10)] {
        let model = npu::replay(npu::scenario_of(kind, "soak"), &[0], &REDS);
        assert_frames_leave_nothing_behind(kind, &model, frames);
    }
}

fn assert_frames_leave_nothing_behind(kind: Kind, model: &Model, frames: u64) {
    let objectness: Vec<i8> = model.recordings.iter().map(|r| r.outputs[2][4 * 4].cast_signed()).collect();
    assert_eq!(objectness.iter().collect::<std::collections::BTreeSet<_>>().len(), 5);
    let options = npu::all_cores(kind);
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), &options).unwrap();
    let (mut submitted, mut finished) = (0, 0);
    let warm_up = frames / 10;
    run(&mut pool, &mut submitted, &mut finished, warm_up, &objectness);
    let (before, bytes_before) = (held(&model.scenario), resident_bytes());
    run(&mut pool, &mut submitted, &mut finished, frames, &objectness);
    let bytes_after = resident_bytes();
    assert_eq!(held(&model.scenario), before);
    let grown = bytes_after.saturating_sub(bytes_before);
    // 32 bytes a frame would be 2.9 MB; what the allocator keeps for threads is less.
    assert!(grown < 2 << 20, "{grown} bytes more than after {warm_up} frames");
    assert_eq!(pool.report().finished, frames);
    drop(pool);
    let counters = npu::counters(&model.scenario);
    assert_eq!((counters.contexts, counters.memories, counters.violations.len()), (0, 0, 0));
}
