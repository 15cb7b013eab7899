//! Calls that fail: each frame is reported as what became of it, in its turn, and the next is fine.

use std::fs::File;
use std::time::Duration;

use repedge::backend::rknn::{DmaBuffer, IoPath, NpuFailure, Pool, PoolReport, RknnOptions, TimeLimits};
use stand_in::{Action, Kind};

use crate::frames::{assert_nothing_left, next_error, number, only_error, run};
use crate::{CODES, assert_typed, failure, npu};

fn copied() -> RknnOptions {
    RknnOptions { path: IoPath::Copied, ..npu::options() }
}

#[test]
fn every_error_code_fails_its_frame_and_no_other() {
    for kind in npu::KINDS {
        for call in ["rknn_run", "rknn_set_io_mem", "rknn_mem_sync"] {
            for (code, expected) in CODES {
                let scenario = npu::scenario_of(kind, &format!("{call} {code}"));
                let scenario = scenario.with_fault(call, 9, 1, Action::Error(code));
                let mut pool = npu::pool(&scenario, &npu::all_cores(kind)).unwrap();
                assert_typed(&only_error(&mut pool, 30), expected, call, code);
                assert_eq!(pool.report(), PoolReport { finished: 29, failed: 1, ..PoolReport::default() });
                drop(pool);
                assert_nothing_left(&scenario);
            }
        }
    }
}

#[test]
fn every_error_code_of_the_copying_path_is_typed() {
    // One that is not released is released with the next, or at the end.
    for call in ["rknn_inputs_set", "rknn_run", "rknn_outputs_get", "rknn_outputs_release"] {
        for (code, expected) in CODES {
            for nth in [2, 5] {
                let scenario = npu::scenario(&format!("copied {call} {code} {nth}"));
                let scenario = scenario.with_fault(call, nth, 1, Action::Error(code));
                let mut pool = npu::pool(&scenario, &copied()).unwrap();
                assert_typed(&only_error(&mut pool, 5), expected, call, code);
                drop(pool);
                assert_nothing_left(&scenario);
            }
        }
    }
}

#[test]
fn outputs_that_come_short_are_no_outputs() {
    for bytes in [1, 100, 1_000_000] {
        let scenario = npu::scenario(&format!("short by {bytes}"));
        let scenario = scenario.with_fault("rknn_outputs_get", 3, 1, Action::Short(bytes));
        let mut pool = npu::pool(&scenario, &copied()).unwrap();
        let error = only_error(&mut pool, 6);
        // 7 channels of 8x8 cells, of which some are missing.
        let given = 448_u32.saturating_sub(bytes);
        assert_eq!(failure(&error), NpuFailure::ShortOutput { given, needed: 448 }, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("{given} bytes of an output of 448")) && text.contains("again"),
            "{text}"
        );
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

/// The runtime is told how long a frame may take, and gives up by itself: nothing is set aside.
#[test]
fn a_frame_that_takes_too_long_fails_and_its_context_stays() {
    let limits = TimeLimits { grace: Duration::from_secs(100_000), ..npu::short_limits() };
    for kind in npu::KINDS {
        let scenario = npu::scenario_of(kind, "too long");
        let scenario = scenario.with_fault("rknn_run", 2, 1, Action::Slow(600_000));
        let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::options_of(kind) }).unwrap();
        assert_typed(&only_error(&mut pool, 6), NpuFailure::Timeout, "rknn_run", -2);
        assert_eq!(pool.report(), PoolReport { finished: 5, failed: 1, ..PoolReport::default() });
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn less_than_a_millisecond_is_not_taken_for_no_limit() {
    let model = npu::replay(npu::scenario("shortest"), &[100_000_000], &[number(0)]);
    let limits = TimeLimits {
        run: Duration::from_micros(500),
        grace: Duration::from_secs(100_000),
        ..TimeLimits::default()
    };
    let options = RknnOptions { limits, ..npu::options() };
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), &options).unwrap();
    assert_eq!(run(&mut pool, 1), [Some(NpuFailure::Timeout)]);
}

#[test]
fn queries_that_fail_are_told_and_cost_nothing() {
    for kind in npu::KINDS {
        for (code, expected) in CODES {
            // Ten queries while loading.
            let scenario = npu::scenario_of(kind, &format!("usage {code}"));
            let scenario = scenario.with_fault("rknn_query", 11, 1, Action::Error(code));
            let mut pool = npu::pool(&scenario, &npu::options_of(kind)).unwrap();
            assert_typed(&pool.usage().unwrap_err(), expected, "rknn_query", code);
            pool.usage().unwrap();
            assert_eq!(run(&mut pool, 6), [None; 6]);
            drop(pool);
            assert_nothing_left(&scenario);
        }
    }
}

#[test]
fn a_context_that_the_runtime_does_not_destroy_is_left_to_it() {
    let scenario = npu::scenario("undestroyed").with_fault("rknn_destroy", 1, 1, Action::Error(-1));
    let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
    assert_eq!(run(&mut pool, 6), [None; 6]);
    drop(pool);
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.memories, counters.faults), (1, 0, vec![1]));
    assert_eq!(counters.violations, [""; 0]);
}

#[test]
fn an_npu_that_fails_again_and_again_is_given_up() {
    let codes = [
        (-2, NpuFailure::Timeout),
        (-5, NpuFailure::InvalidParameter),
        (-4, NpuFailure::OutOfMemory),
        (-99, NpuFailure::UnknownCode(-99)),
    ];
    for (kind, (code, expected)) in npu::KINDS.into_iter().flat_map(|kind| codes.map(|code| (kind, code))) {
        let scenario = npu::scenario_of(kind, &format!("given up {code}"));
        let scenario = scenario.with_fault("rknn_run", 4, u64::MAX - 4, Action::Error(code));
        let mut pool = npu::pool(&scenario, &npu::options_of(kind)).unwrap();
        let outcomes: Vec<_> = (0..6).map(|_| run(&mut pool, 1)[0]).collect();
        assert_eq!(outcomes[..3], [None; 3]);
        assert_eq!(outcomes[3..], [Some(expected); 3]);
        let error = pool.slot().map(drop).unwrap_err();
        assert_eq!(failure(&error), NpuFailure::GivenUp { failures: 3 });
        assert!(error.to_string().contains("3 frames in a row"), "{error}");
        let error = pool.usage().map(drop).unwrap_err();
        assert_eq!(failure(&error), NpuFailure::GivenUp { failures: 3 });
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

/// What the runtime says is wrong with an input may be the NPU's own fault, and goes on for ever then.
#[test]
fn an_npu_that_refuses_every_input_is_given_up() {
    for (kind, call, options) in [
        (Kind::Rk, "rknn_run", npu::options()),
        (Kind::Rk, "rknn_inputs_set", copied()),
        (Kind::Rv, "rknn_run", npu::options_of(Kind::Rv)),
    ] {
        let scenario = npu::scenario_of(kind, &format!("refuses inputs in {call} {kind:?}"));
        let scenario = scenario.with_fault(call, 1, u64::MAX - 1, Action::Error(-8));
        let mut pool = npu::pool(&scenario, &options).unwrap();
        for _ in 0..3 {
            let outcome = run(&mut pool, 1)[0].unwrap();
            assert_eq!(outcome, NpuFailure::InvalidInput);
            // Until then a pipeline loses the frame and goes on.
            assert!(outcome.loses_frames_only());
        }
        assert_eq!(failure(&pool.slot().map(drop).unwrap_err()), NpuFailure::GivenUp { failures: 3 });
        drop(pool);
        assert_nothing_left(&scenario);
    }
}

#[test]
fn an_npu_is_not_given_up_for_what_was_wrong_with_a_frame() {
    let scenario = npu::scenario("at once").with_fault("rknn_run", 3, 1, Action::Error(-1));
    let limits = TimeLimits { max_failures: 0, ..TimeLimits::default() };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::options() }).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(1 << 20).unwrap();
    let reading = File::open(file.path()).unwrap();
    for (buffer, expected) in [
        (DmaBuffer::new(file.as_file(), 0, 1).unwrap(), NpuFailure::ShortImport { given: 1, needed: 12288 }),
        (DmaBuffer::new(&reading, 0, 1 << 20).unwrap(), NpuFailure::Unmappable { errno: 13 }),
    ] {
        let slot = pool.slot().unwrap().unwrap();
        pool.submit_imported(slot, &buffer);
        let found = failure(&next_error(&mut pool));
        assert_eq!(found, expected);
        assert!(found.loses_frames_only());
        assert_eq!(run(&mut pool, 1), [None]);
    }
    assert_eq!(run(&mut pool, 1), [Some(NpuFailure::Failed)]);
    assert_eq!(failure(&pool.slot().map(drop).unwrap_err()), NpuFailure::GivenUp { failures: 1 });
}

/// Frames with faults strewn over every function that a frame calls: each is reported once, in its turn, as what it is.
#[test]
fn whatever_goes_wrong_every_frame_is_reported_in_its_turn() {
    for kind in npu::KINDS {
        assert_strewn_faults_are_reported(kind);
    }
}

fn assert_strewn_faults_are_reported(kind: Kind) {
    let calls = ["rknn_run", "rknn_set_io_mem", "rknn_mem_sync"];
    let mut scenario = npu::scenario_of(kind, "strewn");
    let mut faults = 0;
    for nth in 0..60_u64 {
        // Far enough apart that no core fails three times in a row.
        let call = calls[usize::try_from(nth % 3).unwrap()];
        let action = match nth % 5 {
            0 => Action::Delay(15),
            code => Action::Error(-i32::try_from(code).unwrap()),
        };
        faults += u64::from(nth % 5 != 0);
        scenario = scenario.with_fault(call, 40 + nth * 90, 1, action);
    }
    let mut pool = npu::pool(&scenario, &npu::all_cores(kind)).unwrap();
    let outcomes = run(&mut pool, 6000);
    let failed = outcomes.iter().flatten().count() as u64;
    assert_eq!(failed, faults);
    assert_eq!(pool.report(), PoolReport { finished: 6000 - failed, failed, ..PoolReport::default() });
    drop(pool);
    assert_nothing_left(&scenario);
}
