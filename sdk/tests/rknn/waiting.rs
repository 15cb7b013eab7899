//! Where no core works: the first context that is there again is waited for, and whoever may not wait is told that there
//! is none.

use std::time::Duration;

use repedge::backend::Engine;
use repedge::backend::rknn::{NpuFailure, Pool, RknnOptions, TimeLimits};
use stand_in::{Action, Scenario};

use crate::bounded::bounded;
use crate::frames::{assert_nothing_left, fill, impatient, next_error, number, run};
use crate::left_out::Hand;
use crate::{failure, npu};

/// Longer than any test waits.
const FOR_EVER: Duration = Duration::from_secs(100_000);
/// What frames and an end take a busy machine, time limits included.
const A_WHILE: Duration = Duration::from_secs(60);

fn opening_may_take(open: Duration) -> TimeLimits {
    TimeLimits { open, ..npu::short_limits() }
}

/// The first `runs` frames stall, and so do `openings` contexts that are to replace others.
fn stalls(name: &str, runs: u64, openings: u64) -> Scenario {
    let scenario = npu::scenario(name).with_fault("rknn_run", 1, runs, Action::Stall);
    scenario.with_fault("rknn_init", 2, openings, Action::Stall)
}

/// Has the next frame to come back be one whose call did not return.
fn expect_stall(pool: &mut Pool) {
    assert!(matches!(failure(&next_error(pool)), NpuFailure::Stalled { .. }));
}

/// A pool of three cores whose calls have all stalled, as does opening a context for the first of them once more.
fn three_stalls(scenario: &Scenario) -> Pool {
    let options = RknnOptions { limits: opening_may_take(FOR_EVER), ..impatient() };
    let mut pool = npu::pool(scenario, &options).unwrap();
    for frame in 0..3 {
        fill(&mut pool, number(frame)).unwrap();
    }
    expect_stall(&mut pool);
    npu::wait_until("the first core's context is asked for", || npu::counters(scenario).faults[1] == 1);
    expect_stall(&mut pool);
    expect_stall(&mut pool);
    pool
}

/// The first core's, which is looked at first, may be the one that never comes.
fn assert_any_core_will_do(name: &'static str, ask: fn(&mut Pool)) {
    bounded(name, move |steps| {
        steps.next("stalls", A_WHILE);
        let scenario = stalls(name, 3, 1);
        let mut pool = three_stalls(&scenario);
        steps.next("what needs a core", Duration::ZERO);
        ask(&mut pool);
        steps.next("the rest", A_WHILE);
        assert_eq!(run(&mut pool, 12), [None; 12]);
        assert_eq!(pool.report().quarantined, 3);
        npu::control(&scenario).release();
        drop(pool);
        assert_nothing_left(&scenario);
    });
}

#[test]
fn frames_go_on_as_soon_as_any_core_has_a_context_again() {
    assert_any_core_will_do("any core for a slot", |pool| assert!(pool.slot().unwrap().is_some()));
}

#[test]
fn usage_is_told_as_soon_as_any_core_has_a_context_again() {
    assert_any_core_will_do("any core for usage", |pool| drop(pool.usage().unwrap()));
}

/// A pipeline's stage that waited here would not beat, and its service's watchdog would end it before the CPU took over.
#[test]
fn an_engine_whose_only_core_is_being_replaced_has_no_room_and_does_not_wait() {
    bounded("no room", |steps| {
        steps.next("a stall", A_WHILE);
        let scenario = stalls("no room", 1, 1);
        let options = RknnOptions { limits: opening_may_take(FOR_EVER), ..npu::options() };
        let mut pool = npu::pool(&scenario, &options).unwrap();
        fill(&mut pool, number(0)).unwrap();
        expect_stall(&mut pool);
        steps.next("asking for room", Duration::ZERO);
        for _ in 0..3 {
            assert!(Engine::room(&mut pool).unwrap().is_none());
        }
        steps.next("the rest", A_WHILE);
        npu::control(&scenario).release();
        while Engine::room(&mut pool).unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(run(&mut pool, 6), [None; 6]);
        drop(pool);
        assert_nothing_left(&scenario);
    });
}

#[test]
fn an_engine_that_stays_without_a_core_is_given_up_although_nobody_waits() {
    bounded("no room for long", |steps| {
        steps.next("a stall", A_WHILE);
        let scenario = stalls("no room for long", 1, 9);
        let limits = opening_may_take(Duration::from_secs(10));
        // By which no pause is ever over.
        let clock = Hand::new();
        let mut pool = npu::pool(&scenario, &RknnOptions { limits, clock, ..npu::options() }).unwrap();
        fill(&mut pool, number(0)).unwrap();
        expect_stall(&mut pool);
        steps.next("giving up", limits.open);
        let error = loop {
            match Engine::room(&mut pool) {
                Ok(None) => std::thread::sleep(Duration::from_millis(5)),
                Ok(Some(_)) => panic!("room without a core"),
                Err(error) => break error,
            }
        };
        assert_eq!(failure(&error), NpuFailure::Exhausted { quarantined: 2 }, "{error}");
        steps.next("the end", A_WHILE);
        npu::control(&scenario).release();
        drop(pool);
        assert_nothing_left(&scenario);
    });
}
