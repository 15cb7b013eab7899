//! What can fail while a model is loaded: each error typed, and nothing left behind.

use std::sync::mpsc::channel;
use std::time::Duration;

use repedge::backend::rknn::{Cores, NpuFailure, RknnOptions, TimeLimits};
use stand_in::Action;

use crate::frames::{assert_all_freed, assert_nothing_left, run, three_cores};
use crate::tensors::refusal;
use crate::{CODES, assert_typed, failure, npu};

#[test]
fn every_error_of_loading_is_typed() {
    for call in ["rknn_init", "rknn_query", "rknn_set_core_mask"] {
        for (code, expected) in CODES {
            // The first query, for versions, may fail.
            let nth = if call == "rknn_query" { 2 } else { 1 };
            let scenario = npu::scenario(&format!("loading {call} {code}"));
            let scenario = scenario.with_fault(call, nth, 1, Action::Error(code));
            let options = RknnOptions { cores: Cores::One(0), ..npu::options() };
            assert_typed(&refusal(&scenario, &options), expected, call, code);
            assert_all_freed(&scenario);
            // The next attempt finds nothing broken.
            npu::session(&scenario, &options).unwrap();
        }
    }
}

#[test]
fn memory_that_is_not_given_is_told_without_a_code() {
    for (name, action) in [("none", Action::Error(-4)), ("short", Action::Short(1))] {
        let scenario = npu::scenario(&format!("{name} memory")).with_fault("rknn_create_mem", 3, 1, action);
        let error = refusal(&scenario, &npu::options());
        assert_eq!(failure(&error), NpuFailure::OutOfMemory);
        let text = error.to_string();
        assert!(text.contains("it gave none, or too little") && text.contains("fewer cores"), "{text}");
        assert_all_freed(&scenario);
    }
}

#[test]
fn memory_that_runs_out_while_loading_leaves_nothing_behind() {
    // Two sets of an input and three outputs.
    for nth in 1..=8 {
        let scenario = npu::scenario(&format!("memory {nth}"));
        let scenario = scenario.with_fault("rknn_create_mem", nth, 1, Action::Error(-4));
        let error = npu::pool(&scenario, &npu::options()).map(drop).unwrap_err();
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
    for call in ["rknn_init", "rknn_query", "rknn_create_mem", "rknn_dup_context", "rknn_set_core_mask"] {
        let scenario =
            npu::scenario(&format!("loading stalls in {call}")).with_fault(call, 1, 1, Action::Stall);
        let limits = TimeLimits { open: Duration::from_millis(500), ..TimeLimits::default() };
        let options = RknnOptions { limits, ..three_cores() };
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
