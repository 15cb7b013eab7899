//! Cores on which no context can be opened any more: the others go on without them, and they come back when one can. By a clock
//! that the tests set forward, so that nobody waits for the pauses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use repedge::backend::rknn::{Clock, NpuFailure, Pool, PoolReport, RknnOptions, TimeLimits};
use stand_in::{Action, Scenario};

use crate::frames::{assert_nothing_left, fill, impatient, next_error, number, run};
use crate::{failure, npu};

/// Longer than any pause between two attempts.
const LONG: Duration = Duration::from_secs(601);

/// A clock that stands still until it is set forward.
#[derive(Debug)]
pub struct Hand(Mutex<Instant>);

impl Hand {
    pub fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Instant::now())))
    }

    fn forward(&self, by: Duration) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        *self.0.lock().unwrap()
    }
}

/// Three cores that go by `clock`.
fn by(clock: &Arc<Hand>) -> RknnOptions {
    let clock: Arc<dyn Clock> = Arc::<Hand>::clone(clock);
    RknnOptions { clock, ..impatient() }
}

/// Runs frames, none of which may fail, and sets the clock forward each time, until the report is as wanted.
fn until(pool: &mut Pool, clock: &Hand, by: Duration, is_wanted: impl Fn(PoolReport) -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_wanted(pool.report()) {
        assert!(Instant::now() < end, "{:?}", pool.report());
        clock.forward(by);
        assert_eq!(run(pool, 6), [None; 6]);
    }
}

/// Has the call of the next frame stall, which is one of the core whose turn it is.
fn stall(pool: &mut Pool) {
    fill(pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(pool)), NpuFailure::Stalled { .. }));
}

/// Runs frames, none of which may fail, a second by the clock after the other, until so many contexts were asked for in
/// place of the one that stalls.
fn until_asked_for(pool: &mut Pool, clock: &Hand, scenario: &Scenario, contexts: u64) {
    let end = Instant::now() + Duration::from_secs(60);
    while npu::counters(scenario).faults[1] < contexts {
        assert!(Instant::now() < end, "{:?}", pool.report());
        clock.forward(Duration::from_secs(1));
        assert_eq!(run(pool, 6), [None; 6]);
    }
}

/// Frames that each core finishes of the next `count`.
fn shares(pool: &mut Pool, scenario: &Scenario, count: u64) -> Vec<u64> {
    let before = npu::counters(scenario).runs_by_core;
    assert!(run(pool, count).iter().all(Option::is_none));
    let after = npu::counters(scenario).runs_by_core;
    after.iter().zip(&before).map(|(after, before)| after - before).collect()
}

/// The first frame of a core stalls, and three contexts in its place are refused.
fn refused_three_times(name: &str, first_run: u64) -> Scenario {
    npu::scenario(name).with_fault("rknn_run", first_run, 1, Action::Stall).with_fault(
        "rknn_init",
        2,
        3,
        Action::Error(-4),
    )
}

#[test]
fn a_core_that_was_left_out_comes_back_and_frames_go_round_all_cores_again() {
    let clock = Hand::new();
    let scenario = refused_three_times("comes back", 1);
    let mut pool = npu::pool(&scenario, &by(&clock)).unwrap();
    stall(&mut pool);
    until_asked_for(&mut pool, &clock, &scenario, 3);
    // As long as the clock stands, however many frames go by, the core is not tried.
    assert_eq!(shares(&mut pool, &scenario, 60), [0, 30, 30]);
    let report = pool.report();
    assert_eq!((report.quarantined, report.reopened), (1, 0));
    assert_eq!((report.left_out, report.retried), (1, 0));
    until(&mut pool, &clock, Duration::from_secs(30), |report| report.reopened == 1);
    let report = pool.report();
    assert_eq!((report.quarantined, report.left_out, report.retried), (1, 0, 1));
    assert_eq!(shares(&mut pool, &scenario, 30), [10; 3]);
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

/// The first core is not asked for its weights: it would make the context between its frames.
#[test]
fn a_core_that_comes_back_does_not_keep_the_first_one_from_its_frames() {
    let clock = Hand::new();
    let scenario = refused_three_times("by itself", 2)
        .with_fault("rknn_dup_context", 3, 3, Action::Error(-4))
        .with_fault("rknn_dup_context", 6, 9, Action::Stall);
    let mut pool = npu::pool(&scenario, &by(&clock)).unwrap();
    assert_eq!(run(&mut pool, 1), [None]);
    // Of the second core, whose turn it is.
    stall(&mut pool);
    until_asked_for(&mut pool, &clock, &scenario, 3);
    until(&mut pool, &clock, LONG, |report| report.reopened == 1);
    assert_eq!(shares(&mut pool, &scenario, 30), [10; 3]);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.duplicates, &counters.faults[..]), (2, &[1, 3, 3, 0][..]));
    npu::control(&scenario).release();
    drop(pool);
    npu::wait_until("everything is freed", || npu::counters(&scenario).contexts == 0);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.memories, counters.violations), (0, Vec::new()));
}

/// Slots are filled and outputs read as the first context of the pool has them in memory, which this one would not.
#[test]
fn a_context_that_would_lie_otherwise_in_memory_is_refused_and_asked_for_again() {
    // Each context makes ten queries: one of the fourth's.
    for query in [34, 37, 38, 40] {
        let clock = Hand::new();
        let scenario = npu::scenario(&format!("another layout {query}"))
            .with_fault("rknn_run", 1, 1, Action::Stall)
            .with_fault("rknn_query", query, 1, Action::Error(-5));
        let mut pool = npu::pool(&scenario, &by(&clock)).unwrap();
        stall(&mut pool);
        until_asked_for(&mut pool, &clock, &scenario, 1);
        until(&mut pool, &clock, Duration::from_secs(1), |report| report.reopened == 1);
        // The one that was refused is among them.
        assert_eq!(npu::counters(&scenario).contexts_made, 5);
        assert_eq!(shares(&mut pool, &scenario, 30), [10; 3]);
        let report = pool.report();
        assert_eq!((report.failed, report.quarantined, report.left_out), (1, 1, 0));
        npu::control(&scenario).release();
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn a_core_that_stays_broken_costs_no_frame() {
    let clock = Hand::new();
    let scenario = npu::scenario("stays broken").with_fault("rknn_run", 1, 1, Action::Stall).with_fault(
        "rknn_init",
        2,
        99,
        Action::Error(-4),
    );
    let mut pool = npu::pool(&scenario, &by(&clock)).unwrap();
    stall(&mut pool);
    until_asked_for(&mut pool, &clock, &scenario, 3);
    until(&mut pool, &clock, LONG, |report| report.retried == 5);
    npu::wait_until("the last attempt was refused", || npu::counters(&scenario).faults[1] == 3 + 5);
    // While the clock stands, nothing more is tried.
    assert_eq!(shares(&mut pool, &scenario, 60), [0, 30, 30]);
    pool.usage().unwrap();
    assert_eq!(npu::counters(&scenario).faults, [1, 3 + 5]);
    let report = pool.report();
    assert_eq!((report.failed, report.quarantined, report.reopened), (1, 1, 0));
    assert_eq!((report.left_out, report.retried), (1, 5));
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

/// Calls that do not return may be so many only, and the frames of the other cores are not to pay for attempts.
#[test]
fn attempts_that_stall_leave_room_for_a_frame_that_does() {
    let clock = Hand::new();
    let scenario = refused_three_times("attempts stall", 1).with_fault("rknn_init", 5, 99, Action::Stall);
    let limits = TimeLimits { open: Duration::from_secs(10), max_quarantined: 3, ..npu::short_limits() };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..by(&clock) }).unwrap();
    stall(&mut pool);
    until_asked_for(&mut pool, &clock, &scenario, 3);
    // The attempt stalls, and is set aside like the frame's call.
    until(&mut pool, &clock, LONG, |report| report.quarantined == 2);
    for _ in 0..20 {
        clock.forward(LONG);
        assert_eq!(run(&mut pool, 6), [None; 6]);
    }
    let report = pool.report();
    assert_eq!((report.failed, report.quarantined), (1, 2));
    assert_eq!((report.left_out, report.retried), (1, 1));
    // Once calls have returned, there is room for another attempt.
    npu::control(&scenario).release();
    until(&mut pool, &clock, LONG, |report| report.reopened == 1);
    assert_eq!((pool.report().left_out, pool.report().retried), (0, 2));
    assert_eq!(shares(&mut pool, &scenario, 30), [10; 3]);
    drop(pool);
    assert_nothing_left(&scenario);
}
