//! Calls that do not return: they cost their frames, are counted, and hold up nothing else.

use std::time::{Duration, Instant};

use repedge::backend::rknn::{Cores, IoPath, NpuFailure, RknnOptions, TimeLimits};
use stand_in::{Action, Kind};

use crate::frames::{assert_nothing_left, fill, impatient, next_error, number, run, wait_for_reopened};
use crate::{failure, npu};

#[test]
fn a_call_that_never_returns_costs_its_frames_and_nothing_else() {
    let scenario = npu::scenario("stall").with_fault("rknn_run", 5, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &impatient()).unwrap();
    let outcomes = run(&mut pool, 60);
    let stalled = outcomes.iter().flatten().filter(|f| matches!(f, NpuFailure::Stalled { .. })).count();
    let lost = outcomes.iter().flatten().filter(|f| **f == NpuFailure::LostBehindStall).count();
    assert_eq!(stalled, 1, "{outcomes:?}");
    assert!(lost <= 1 && outcomes.iter().flatten().count() == stalled + lost, "{outcomes:?}");
    wait_for_reopened(&mut pool, 1);
    let report = pool.report();
    assert_eq!((report.quarantined, report.reopened), (1, 1));
    // Neither context nor memory of the stalled call is touched under it.
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.contexts_made), (4, 4));
    assert!(run(&mut pool, 30).iter().all(Option::is_none));
    // Should it return after all, its worker frees its two sets of four memories, and its context too, unless the other
    // cores use the weights that it loaded.
    npu::control(&scenario).release();
    npu::wait_until("the late worker has freed its memory", || {
        npu::counters(&scenario).memories == 3 * 2 * 4
    });
    assert!(matches!(npu::counters(&scenario).contexts, 3 | 4));
    assert!(run(&mut pool, 30).iter().all(Option::is_none));
    drop(pool);
    assert_nothing_left(&scenario);
}

#[test]
fn a_stall_in_any_call_of_a_frame_is_survived() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::impatient() };
    let small = RknnOptions { limits: npu::short_limits(), ..npu::options_of(Kind::Rv) };
    for (kind, options, calls) in [
        (Kind::Rk, npu::impatient(), &["rknn_set_io_mem", "rknn_mem_sync"][..]),
        (Kind::Rk, copied, &["rknn_inputs_set", "rknn_outputs_get", "rknn_outputs_release"]),
        (Kind::Rv, small, &["rknn_run", "rknn_set_io_mem", "rknn_mem_sync"]),
    ] {
        for call in calls {
            let scenario = npu::scenario_of(kind, &format!("stall in {call}"));
            let scenario = scenario.with_fault(call, 6, 1, Action::Stall);
            let mut pool = npu::pool(&scenario, &options).unwrap();
            let failures: Vec<NpuFailure> = run(&mut pool, 20).into_iter().flatten().collect();
            assert!(matches!(failures[0], NpuFailure::Stalled { .. }), "{call}: {failures:?}");
            assert!(failures[1..].iter().all(|f| *f == NpuFailure::LostBehindStall), "{call}: {failures:?}");
            assert!(failures.len() <= 2, "{call}: {failures:?}");
            assert_eq!((pool.report().quarantined, pool.report().reopened), (1, 1), "{call}");
            npu::control(&scenario).release();
            drop(pool);
            assert_nothing_left(&scenario);
        }
    }
}

#[test]
fn a_slot_of_a_replaced_core_is_reported_as_lost() {
    let scenario = npu::scenario("stale slot").with_fault("rknn_run", 1, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &npu::impatient()).unwrap();
    let stale = pool.slot().unwrap().unwrap();
    fill(&mut pool, number(0)).unwrap();
    let error = pool.next().unwrap().result.map(drop).unwrap_err();
    assert!(matches!(failure(&error), NpuFailure::Stalled { .. }), "{error}");
    let frame = pool.submit(stale);
    let completed = pool.next().unwrap();
    assert_eq!(completed.frame, frame);
    assert_eq!(failure(&completed.result.map(drop).unwrap_err()), NpuFailure::LostBehindStall);
    assert!(run(&mut pool, 10).iter().all(Option::is_none));
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

#[test]
fn stalls_that_are_not_in_a_row_end_in_giving_up_too() {
    let mut scenario = npu::scenario("now and then");
    for nth in [2, 4, 6] {
        scenario = scenario.with_fault("rknn_run", nth, 1, Action::Stall);
    }
    let limits = TimeLimits { max_quarantined: 2, ..npu::impatient().limits };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::impatient() }).unwrap();
    for _ in 0..3 {
        assert_eq!(run(&mut pool, 1), [None]);
        assert!(matches!(run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]));
    }
    let error = pool.slot().map(drop).unwrap_err();
    assert_eq!(failure(&error), NpuFailure::Exhausted { quarantined: 3 });
    assert!(failure(&error).is_final() && error.to_string().contains("3 calls did not return"), "{error}");
    assert_eq!((pool.report().quarantined, pool.report().reopened), (3, 2));
    npu::control(&scenario).release();
    assert_nothing_left(&scenario);
}

#[test]
fn an_npu_that_cannot_be_opened_again_is_given_up() {
    for (name, action, quarantined, reason) in [
        ("refuses", Action::Error(-3), 1, "rknn_init: no NPU device (code -3)"),
        ("stalls", Action::Stall, 2, "loading the model: the NPU runtime did not return within 10000 ms"),
    ] {
        let scenario = npu::scenario(&format!("reopening {name}"))
            .with_fault("rknn_run", 1, 1, Action::Stall)
            .with_fault("rknn_init", 2, 9, action);
        let limits =
            TimeLimits { open: Duration::from_secs(10), max_quarantined: 1, ..npu::impatient().limits };
        let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::impatient() }).unwrap();
        assert!(matches!(run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]), "{name}");
        let error = pool.slot().map(drop).unwrap_err();
        assert_eq!(failure(&error), NpuFailure::Exhausted { quarantined }, "{error}");
        assert!(error.to_string().contains(reason), "no {reason:?} in {error}");
        let report = pool.report();
        assert_eq!((report.quarantined, report.reopened, report.left_out), (quarantined.into(), 0, 1));
        npu::control(&scenario).release();
        // What stalled gives a context, what was refused does not.
        npu::wait_until("the late calls have returned", || {
            npu::counters(&scenario).contexts_made == u64::from(quarantined)
        });
        assert_nothing_left(&scenario);
    }
}

/// Memory may be short for a moment only.
#[test]
fn a_context_that_is_refused_once_is_asked_for_again() {
    for options in [impatient(), npu::impatient()] {
        let scenario = npu::scenario(&format!("refused once {:?}", options.cores))
            .with_fault("rknn_run", 1, 1, Action::Stall)
            .with_fault("rknn_init", 2, 1, Action::Error(-4));
        let mut pool = npu::pool(&scenario, &options).unwrap();
        fill(&mut pool, number(0)).unwrap();
        assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
        wait_for_reopened(&mut pool, 1);
        assert_eq!(run(&mut pool, 12), [None; 12]);
        let report = pool.report();
        assert_eq!((report.quarantined, report.reopened, report.left_out), (1, 1, 0));
        npu::control(&scenario).release();
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn an_npu_is_given_up_once_no_core_is_left() {
    let scenario = npu::scenario("none left").with_fault("rknn_run", 1, 2, Action::Stall).with_fault(
        "rknn_init",
        2,
        99,
        Action::Error(-4),
    );
    let mut pool = npu::pool(&scenario, &two_cores()).unwrap();
    for frame in 0..2 {
        fill(&mut pool, number(frame)).unwrap();
    }
    for _ in 0..2 {
        assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    }
    let error = pool.slot().map(drop).unwrap_err();
    assert_eq!(failure(&error), NpuFailure::Exhausted { quarantined: 2 }, "{error}");
    assert!(error.to_string().contains("code -4"), "{error}");
    assert_eq!(pool.report().left_out, 2);
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

/// The weights stay for the one that is stuck, and nobody waits for it.
#[test]
fn an_end_does_not_wait_for_a_worker_that_is_set_aside() {
    let scenario = npu::scenario("end beside a stall").with_fault("rknn_run", 1, 1, Action::Stall);
    // So many frames a core that waiting for their time would be seen.
    let options = RknnOptions { frames_per_core: 20, ..two_cores() };
    let mut pool = npu::pool(&scenario, &options).unwrap();
    let first = pool.slot().unwrap();
    // Of the second core, while a slot of the first is taken.
    fill(&mut pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    drop(first);
    wait_for_reopened(&mut pool, 1);
    let began = Instant::now();
    drop(pool);
    assert!(began.elapsed() < Duration::from_secs(20), "waited for {:?}", began.elapsed());
    // The stuck one's, and the one whose weights it shares.
    npu::wait_until("the others are freed", || npu::counters(&scenario).contexts == 2);
    npu::control(&scenario).release();
    assert_nothing_left(&scenario);
}

#[test]
fn stalls_in_a_row_end_in_giving_up() {
    let scenario = npu::scenario("stalls").with_fault("rknn_run", 2, 9, Action::Stall);
    let limits = TimeLimits { max_failures: 2, ..npu::impatient().limits };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::impatient() }).unwrap();
    assert_eq!(run(&mut pool, 1), [None]);
    for _ in 0..2 {
        assert!(matches!(run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]));
    }
    assert_eq!(failure(&pool.slot().map(drop).unwrap_err()), NpuFailure::GivenUp { failures: 2 });
    assert_eq!((pool.report().quarantined, pool.report().reopened), (2, 1));
    // What returns after all is freed, also while the pool that gave up is still there.
    npu::control(&scenario).release();
    assert_nothing_left(&scenario);
}

#[test]
fn an_end_that_never_comes_does_not_hold_up_the_program() {
    for call in ["rknn_destroy", "rknn_destroy_mem"] {
        let scenario = npu::scenario(&format!("end stalls in {call}")).with_fault(call, 1, 1, Action::Stall);
        let mut pool = npu::pool(&scenario, &npu::impatient()).unwrap();
        assert_eq!(run(&mut pool, 1), [None]);
        drop(pool);
        assert_eq!(npu::counters(&scenario).contexts, 1);
        npu::control(&scenario).release();
        assert_nothing_left(&scenario);
    }
}

fn two_cores() -> RknnOptions {
    RknnOptions { cores: Cores::Each(2), ..npu::impatient() }
}

/// A query that does not return is one of a worker that does not, and costs the frames behind it.
#[test]
fn a_stall_while_usage_is_asked_for_is_one_like_any_other() {
    let scenario = npu::scenario("usage stalls").with_fault("rknn_query", 11, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &npu::impatient()).unwrap();
    fill(&mut pool, number(0)).unwrap();
    let error = pool.usage().unwrap_err();
    assert!(matches!(failure(&error), NpuFailure::Stalled { .. }), "{error}");
    assert!(error.to_string().starts_with("rknn_query: "), "{error}");
    assert_eq!(pool.report().quarantined, 1);
    // Its frame was finished before, and is gone with the worker.
    assert_eq!(failure(&next_error(&mut pool)), NpuFailure::LostBehindStall);
    assert_eq!(run(&mut pool, 6), [None; 6]);
    pool.usage().unwrap();
    assert_eq!((pool.report().quarantined, pool.report().reopened), (1, 1));
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

#[test]
fn frames_go_on_while_a_context_is_opened() {
    // The first core stalls, and so does loading the model once more.
    let scenario = npu::scenario("meanwhile").with_fault("rknn_run", 1, 1, Action::Stall).with_fault(
        "rknn_init",
        2,
        1,
        Action::Stall,
    );
    let limits = TimeLimits { open: Duration::from_secs(100_000), ..npu::impatient().limits };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..two_cores() }).unwrap();
    fill(&mut pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    assert_eq!(run(&mut pool, 20), [None; 20]);
    assert_eq!((pool.report().quarantined, pool.report().reopened), (1, 0));
    npu::control(&scenario).release();
    wait_for_reopened(&mut pool, 1);
    assert_eq!(run(&mut pool, 20), [None; 20]);
    assert!(npu::counters(&scenario).runs_by_core[0] > 1, "the first core works again");
    drop(pool);
    assert_nothing_left(&scenario);
}

#[test]
fn a_context_that_replaces_another_shares_its_weights_too() {
    let scenario = npu::scenario("shared again").with_fault("rknn_run", 1, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &two_cores()).unwrap();
    let first = pool.slot().unwrap();
    // Of the second core, while a slot of the first is taken.
    fill(&mut pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    drop(first);
    wait_for_reopened(&mut pool, 1);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts_made, counters.duplicates), (3, 2), "the weights were loaded once more");
    assert_eq!(run(&mut pool, 20), [None; 20]);
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}

/// The stand-in notes a context that goes before those that share its weights.
#[test]
fn weights_stay_as_long_as_somebody_shares_them() {
    let scenario = npu::scenario("weights").with_fault("rknn_run", 1, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &impatient()).unwrap();
    fill(&mut pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    wait_for_reopened(&mut pool, 1);
    // The first one's call returns. It frees its memory, and its context waits for the two that share its weights.
    npu::control(&scenario).release();
    npu::wait_until("the late worker has freed its memory", || {
        npu::counters(&scenario).memories == 3 * 2 * 4
    });
    assert_eq!(run(&mut pool, 30), [None; 30]);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.violations), (4, Vec::new()));
    drop(pool);
    assert_nothing_left(&scenario);
}

/// A worker whose call has returned is no longer one of a call that has not, whatever it waits for then.
#[test]
fn calls_that_have_returned_are_not_counted_as_stuck() {
    let scenario = npu::scenario("returned").with_fault("rknn_run", 1, 1, Action::Delay(4000)).with_fault(
        "rknn_run",
        3,
        1,
        Action::Stall,
    );
    let limits = TimeLimits { max_quarantined: 1, ..npu::impatient().limits };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::impatient() }).unwrap();
    // Keeps the first worker from ending.
    let held = pool.slot().unwrap();
    fill(&mut pool, number(0)).unwrap();
    assert!(matches!(failure(&next_error(&mut pool)), NpuFailure::Stalled { .. }));
    assert_eq!(run(&mut pool, 1), [None]);
    npu::wait_until("the late call has returned", || npu::counters(&scenario).runs == 2);
    assert!(matches!(run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]));
    assert_eq!(run(&mut pool, 3), [None; 3]);
    assert_eq!((pool.report().quarantined, pool.report().reopened), (2, 2));
    drop(held);
    npu::control(&scenario).release();
    drop(pool);
    assert_nothing_left(&scenario);
}
