//! What can fail while a model is loaded: each error typed, and nothing left behind.

use std::sync::mpsc::channel;
use std::time::Duration;

use repedge::backend::rknn::{Cores, IoPath, NpuFailure, RknnOptions, TimeLimits};
use stand_in::{Action, Kind};

use crate::frames::{assert_all_freed, assert_nothing_left, run, three_cores};
use crate::tensors::refusal;
use crate::{CODES, assert_typed, failure, npu};

#[test]
fn every_error_of_loading_is_typed() {
    let calls_of = |kind| match kind {
        Kind::Rk => (Cores::One(0), &["rknn_init", "rknn_query", "rknn_set_core_mask"][..]),
        Kind::Rv => (Cores::Driver, &["rknn_init", "rknn_query"][..]),
    };
    for (kind, (cores, calls)) in npu::KINDS.map(|kind| (kind, calls_of(kind))) {
        for (call, (code, expected)) in calls.iter().flat_map(|&call| CODES.map(|code| (call, code))) {
            // The first query, for versions, may fail.
            let nth = if call == "rknn_query" { 2 } else { 1 };
            let scenario = npu::scenario_of(kind, &format!("loading {call} {code}"));
            let scenario = scenario.with_fault(call, nth, 1, Action::Error(code));
            let options = RknnOptions { cores, ..npu::options_of(kind) };
            assert_typed(&refusal(&scenario, &options), expected, call, code);
            assert_all_freed(&scenario);
            // The next attempt finds nothing broken.
            npu::session(&scenario, &options).unwrap();
        }
    }
}

/// But where the code says that there is no such query.
#[test]
fn every_error_of_asking_for_the_npus_own_order_is_typed() {
    for kind in npu::KINDS {
        for (code, expected) in CODES.into_iter().filter(|(code, _)| *code != -5) {
            for query in 7..=10 {
                let scenario = npu::scenario_of(kind, &format!("own order {code} {query}"));
                let scenario = scenario.with_fault("rknn_query", query, 1, Action::Error(code));
                assert_typed(&refusal(&scenario, &npu::options_of(kind)), expected, "rknn_query", code);
                assert_all_freed(&scenario);
            }
        }
    }
}

/// Who has the runtime copy does not depend on how the NPU keeps tensors, and does not ask.
#[test]
fn copies_do_not_need_the_npus_own_order() {
    let scenario = npu::scenario("not asked").with_fault("rknn_query", 7, 9, Action::Error(-1));
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    let mut pool = npu::pool(&scenario, &copied).unwrap();
    assert_eq!(run(&mut pool, 6), [None; 6]);
    assert_eq!(npu::counters(&scenario).faults, [0]);
}

#[test]
fn memory_that_is_not_given_is_told_without_a_code() {
    let actions = [("none", Action::Error(-4)), ("short", Action::Short(1))];
    for (kind, (name, action)) in npu::KINDS.into_iter().flat_map(|kind| actions.map(|action| (kind, action)))
    {
        let scenario = npu::scenario_of(kind, &format!("{name} memory"));
        let scenario = scenario.with_fault("rknn_create_mem", 3, 1, action);
        let error = refusal(&scenario, &npu::options_of(kind));
        assert_eq!(failure(&error), NpuFailure::OutOfMemory);
        let text = error.to_string();
        assert!(text.contains("it gave none, or too little") && text.contains("fewer cores"), "{text}");
        assert_all_freed(&scenario);
    }
}

#[test]
fn memory_that_runs_out_while_loading_leaves_nothing_behind() {
    // Two sets of an input and three outputs.
    for (kind, nth) in npu::KINDS.into_iter().flat_map(|kind| (1..=8).map(move |nth| (kind, nth))) {
        let scenario = npu::scenario_of(kind, &format!("memory {nth}"));
        let scenario = scenario.with_fault("rknn_create_mem", nth, 1, Action::Error(-4));
        let error = npu::pool(&scenario, &npu::options_of(kind)).map(drop).unwrap_err();
        assert_eq!(failure(&error), NpuFailure::OutOfMemory, "{error}");
        assert_nothing_left(&scenario);
        assert_eq!(npu::counters(&scenario).memories_made, nth - 1);
    }
}

/// Each worker has two sets of four memories; when `open` returns, everything is freed, of the workers before as well.
#[test]
fn a_second_or_third_worker_that_fails_ends_the_first() {
    for nth in [9, 12, 16, 17, 20, 24] {
        let scenario = npu::scenario(&format!("later memory {nth}"));
        let scenario = scenario.with_fault("rknn_create_mem", nth, 1, Action::Error(-4));
        let error = npu::pool(&scenario, &three_cores()).map(drop).unwrap_err();
        assert_eq!(failure(&error), NpuFailure::OutOfMemory, "{error}");
        assert_all_freed(&scenario);
        let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
        assert_eq!(run(&mut pool, 6), [None; 6]);
    }
}

#[test]
fn contexts_that_no_worker_takes_do_not_hold_up_the_program() {
    let scenario = npu::scenario("left over")
        .with_fault("rknn_create_mem", 9, 1, Action::Error(-4))
        .with_fault("rknn_destroy", 2, 9, Action::Stall);
    let limits = TimeLimits {
        run: Duration::from_millis(100),
        grace: Duration::from_millis(100),
        ..TimeLimits::default()
    };
    let options = RknnOptions { limits, ..three_cores() };
    let (tell, outcome) = channel();
    let theirs = scenario.clone();
    std::thread::spawn(move || tell.send(npu::pool(&theirs, &options).map(drop)));
    let error = outcome.recv_timeout(Duration::from_secs(60)).expect("opening never returns").unwrap_err();
    assert_eq!(failure(&error), NpuFailure::OutOfMemory, "{error}");
    npu::control(&scenario).release();
    assert_nothing_left(&scenario);
}

#[test]
fn loading_that_never_ends_is_an_error() {
    let calls_of = |kind| match kind {
        Kind::Rk => {
            &["rknn_init", "rknn_query", "rknn_create_mem", "rknn_dup_context", "rknn_set_core_mask"][..]
        }
        Kind::Rv => &["rknn_init", "rknn_query", "rknn_create_mem"][..],
    };
    for (kind, call) in
        npu::KINDS.into_iter().flat_map(|kind| calls_of(kind).iter().map(move |&call| (kind, call)))
    {
        let scenario = npu::scenario_of(kind, &format!("loading stalls in {call}"));
        let scenario = scenario.with_fault(call, 1, 1, Action::Stall);
        let limits = TimeLimits { open: Duration::from_millis(500), ..TimeLimits::default() };
        let options = RknnOptions { limits, ..npu::all_cores(kind) };
        let error = npu::pool(&scenario, &options).map(drop).unwrap_err();
        assert!(matches!(failure(&error), NpuFailure::Stalled { .. }), "{call}: {error}");
        npu::control(&scenario).release();
        npu::wait_until("the late call has returned", || npu::counters(&scenario).contexts_made > 0);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn contexts_load_the_model_themselves_where_weights_cannot_be_shared() {
    let scenario = npu::scenario("not shared").with_fault("rknn_dup_context", 2, 9, Action::Error(-1));
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    assert!(run(&mut pool, 30).iter().all(Option::is_none));
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.duplicates), (3, 1));
    drop(pool);
    assert_nothing_left(&scenario);
}
