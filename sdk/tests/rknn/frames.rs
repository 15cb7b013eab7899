//! Frames of one color through a pool, which can be told apart by their outputs.

use std::time::{Duration, Instant};

use artifact::{Layout, TensorView, ViewData};
use repedge::Error;
use repedge::backend::rknn::{Cores, NpuFailure, Pool, RknnOptions};
use stand_in::{Kind, Scenario};

use crate::{failure, npu};

/// A frame of one color, so that outputs tell frames apart.
pub fn fill(pool: &mut Pool, number: u8) -> Option<u64> {
    let mut slot = pool.slot().unwrap()?;
    slot.pixels().unwrap().as_chunks_mut::<3>().0.fill([number, 0, 0]);
    Some(pool.submit(slot))
}

/// Which frame outputs belong to: the objectness of stride 32 is `40 r - 20`.
pub fn number_of<'v>(outputs: impl Iterator<Item = TensorView<'v>>) -> u8 {
    let last = outputs.last().unwrap();
    let ViewData::I8(stored) = last.data else { panic!("{last:?}") };
    let channel_step = if last.layout == Layout::Nchw { 4 } else { 1 };
    let objectness = f32::from(stored[4 * channel_step]) * npu::QUANT.scale;
    let red = (objectness + 20.0) / 40.0 * 255.0;
    (0..=u8::MAX).min_by(|a, b| (f32::from(*a) - red).abs().total_cmp(&(f32::from(*b) - red).abs())).unwrap()
}

/// Numbers that quantization keeps apart: whole steps of the scale.
pub fn number(frame: u64) -> u8 {
    u8::try_from(frame % 60).unwrap() * 4
}

pub fn is_of_frame(found: u8, frame: u64) -> bool {
    found.abs_diff(number(frame)) <= 1
}

/// Feeds `count` frames as fast as slots come free. Gives each frame's error, in order; asserts that finished frames are
/// in order and have their own outputs.
pub fn errors(pool: &mut Pool, count: u64) -> Vec<Option<Error>> {
    let (mut submitted, mut outcomes) = (0, Vec::new());
    let mut expected = None;
    while (outcomes.len() as u64) < count {
        while submitted < count {
            let Some(frame) = fill(pool, number(submitted)) else { break };
            expected.get_or_insert(frame);
            submitted += 1;
        }
        let completed = pool.next().expect("a frame under way");
        let nth = outcomes.len() as u64;
        assert_eq!(completed.frame, expected.unwrap() + nth, "out of order");
        outcomes.push(completed.result.map_err(Some).map_or_else(
            |error| error,
            |finished| {
                let found = number_of(finished.outputs());
                assert!(is_of_frame(found, nth), "frame {nth} has the outputs of {found}");
                None
            },
        ));
    }
    outcomes
}

/// As [`errors`], their failures only.
pub fn run(pool: &mut Pool, count: u64) -> Vec<Option<NpuFailure>> {
    errors(pool, count).iter().map(|error| error.as_ref().map(failure)).collect()
}

/// The only error among `count` frames.
#[track_caller]
pub fn only_error(pool: &mut Pool, count: u64) -> Error {
    let mut errors: Vec<Error> = errors(pool, count).into_iter().flatten().collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors.remove(0)
}

/// The error of the next frame.
#[track_caller]
pub fn next_error(pool: &mut Pool) -> Error {
    pool.next().expect("a frame under way").result.map(drop).expect_err("the frame came back with outputs")
}

/// Waits until so many contexts were opened in place of others.
pub fn wait_for_reopened(pool: &mut Pool, count: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    while pool.report().reopened < count {
        assert!(Instant::now() < end, "{:?}", pool.report());
        drop(pool.slot().unwrap());
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn three_cores() -> RknnOptions {
    npu::all_cores(Kind::Rk)
}

/// Three cores, and limits short enough to wait for a call that never returns.
pub fn impatient() -> RknnOptions {
    RknnOptions { cores: Cores::Each(3), ..npu::impatient() }
}

/// Asserts that in the end nothing is left in the stand-in, that nothing wrong was done on the way, and that every fault
/// of the scenario came.
#[track_caller]
pub fn assert_nothing_left(scenario: &Scenario) {
    npu::wait_until("everything is freed", || npu::counters(scenario).contexts == 0);
    assert_all_freed(scenario);
}

/// The same without waiting.
#[track_caller]
pub fn assert_all_freed(scenario: &Scenario) {
    let counters = npu::counters(scenario);
    assert_eq!(counters.violations, [""; 0], "{}", scenario.name);
    let left = (counters.contexts, counters.memories, counters.outputs);
    assert_eq!(left, (0, 0, 0), "{}", scenario.name);
    let unused = scenario.faults.iter().zip(&counters.faults).find(|(_, count)| **count == 0);
    assert_eq!(unused, None, "{}: a fault never came", scenario.name);
}
