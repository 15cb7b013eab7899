//! Many frames on many cores over the stand-in library: in order, none lost without a word, nothing left behind, whatever
//! goes wrong on the way.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use std::time::{Duration, Instant};

use allocation_counter::measure;
use artifact::{Layout, Preprocess, TensorView, ViewData};
use repedge::backend::rknn::{Cores, IoPath, NpuFailure, Pool, PoolReport, RknnOptions, TimeLimits};
use repedge::decode::Decoder;
use repedge::preprocess::Preprocessor;
use repedge::{Error, Frame, Image, Limits};
use stand_in::{Action, Scenario};

/// A frame of one color, so that outputs tell frames apart.
fn fill(pool: &mut Pool, number: u8) -> Option<u64> {
    let mut slot = pool.slot().unwrap()?;
    slot.pixels().unwrap().as_chunks_mut::<3>().0.fill([number, 0, 0]);
    Some(pool.submit(slot))
}

/// Which frame outputs belong to: the objectness of stride 32 is `40 r - 20`.
fn number_of<'v>(outputs: impl Iterator<Item = TensorView<'v>>) -> u8 {
    let last = outputs.last().unwrap();
    let ViewData::I8(stored) = last.data else { panic!("{last:?}") };
    let channel_step = if last.layout == Layout::Nchw { 4 } else { 1 };
    let objectness = f32::from(stored[4 * channel_step]) * npu::QUANT.scale;
    let red = (objectness + 20.0) / 40.0 * 255.0;
    (0..=u8::MAX).min_by(|a, b| (f32::from(*a) - red).abs().total_cmp(&(f32::from(*b) - red).abs())).unwrap()
}

/// Numbers that quantization keeps apart: whole steps of the scale.
fn number(frame: u64) -> u8 {
    u8::try_from(frame % 60).unwrap() * 4
}

fn is_of_frame(found: u8, frame: u64) -> bool {
    found.abs_diff(number(frame)) <= 1
}

fn failure(error: &Error) -> NpuFailure {
    match error {
        Error::Npu { failure, .. } => *failure,
        other => panic!("another kind of error: {other}"),
    }
}

/// Feeds `count` frames as fast as slots come free. Gives each frame's failure, in order; asserts that finished frames
/// are in order and have their own outputs.
fn run(pool: &mut Pool, count: u64) -> Vec<Option<NpuFailure>> {
    let (mut submitted, mut outcomes) = (0, Vec::new());
    let first = outcomes.len() as u64;
    let mut expected = None;
    while (outcomes.len() as u64) < count {
        while submitted < count {
            let Some(frame) = fill(pool, number(submitted)) else { break };
            expected.get_or_insert(frame);
            submitted += 1;
        }
        let completed = pool.next().expect("a frame under way");
        let nth = outcomes.len() as u64;
        assert_eq!(completed.frame, expected.unwrap() + nth - first, "out of order");
        outcomes.push(match completed.result {
            Ok(finished) => {
                let found = number_of(finished.outputs());
                assert!(is_of_frame(found, nth), "frame {nth} has the outputs of {found}");
                None
            }
            Err(error) => Some(failure(&error)),
        });
    }
    outcomes
}

fn three_cores() -> RknnOptions {
    RknnOptions { cores: Cores::Each(3), ..npu::options() }
}

/// Three cores, and limits short enough to wait for a call that never returns.
fn impatient() -> RknnOptions {
    RknnOptions { cores: Cores::Each(3), ..npu::impatient() }
}

fn assert_nothing_left(scenario: &Scenario) {
    npu::wait_until("everything is freed", || npu::counters(scenario).contexts == 0);
    let counters = npu::counters(scenario);
    assert_eq!(counters.violations, [""; 0], "{}", scenario.name);
    assert_eq!((counters.memories, counters.outputs), (0, 0), "{}", scenario.name);
}

#[test]
fn frames_come_out_in_order_from_every_core() {
    let scenario = npu::scenario("in order");
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    assert!(run(&mut pool, 300).iter().all(Option::is_none));
    assert!(pool.next().is_none());
    assert_eq!(pool.report(), PoolReport { finished: 300, ..PoolReport::default() });
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.duplicates), (3, 2), "weights are not shared");
    assert!(counters.runs_by_core.iter().all(|runs| *runs > 50), "{counters:?}");
    drop(pool);
    assert_nothing_left(&scenario);
}

#[test]
fn a_slow_core_keeps_the_order() {
    let mut scenario = npu::scenario("slow frames");
    for nth in [2, 3, 11, 30] {
        scenario = scenario.with_fault("rknn_run", nth, 1, Action::Delay(60));
    }
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    assert!(run(&mut pool, 60).iter().all(Option::is_none));
}

#[test]
fn cores_of_different_speed_keep_the_order() {
    let reds: Vec<u8> = (0..60).map(number).collect();
    let model = npu::replay(npu::scenario("speeds"), &[1000, 9000, 4000], &reds);
    let mut pool = Pool::open(model.pack(), npu::input(), npu::outputs(), &three_cores()).unwrap();
    assert!(run(&mut pool, 120).iter().all(Option::is_none));
    assert_eq!(npu::counters(&model.scenario).runs, 120);
    drop(pool);
    assert_nothing_left(&model.scenario);
}

#[test]
fn there_are_as_many_slots_as_asked_for_and_they_come_back() {
    let scenario = npu::scenario("slots");
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    let slots: Vec<_> = std::iter::from_fn(|| pool.slot().unwrap()).collect();
    assert_eq!(slots.len(), 6);
    drop(slots);
    let ahead: Vec<_> = (0..3).filter_map(|_| pool.slot().unwrap()).collect();
    for mut slot in ahead {
        slot.pixels().unwrap().fill(0);
        pool.submit(slot);
    }
    assert!((0..3).all(|_| pool.next().unwrap().result.is_ok()));
    assert_eq!(npu::counters(&scenario).runs_by_core, [1; 3], "slots taken ahead are of all cores");
    assert!(run(&mut pool, 12).iter().all(Option::is_none));
    let mut one =
        npu::pool(&npu::scenario("one slot"), &RknnOptions { frames_per_core: 0, ..npu::options() }).unwrap();
    let slot = one.slot().unwrap();
    assert!(slot.is_some() && one.slot().unwrap().is_none());
}

#[test]
fn a_frame_may_be_asked_for_without_waiting() {
    let scenario = npu::scenario("no waiting").with_fault("rknn_run", 1, 1, Action::Stall);
    let limits = TimeLimits { run: Duration::from_secs(100), ..TimeLimits::default() };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::options() }).unwrap();
    assert!(pool.next_until(Instant::now()).is_none(), "nothing is under way");
    fill(&mut pool, number(1)).unwrap();
    assert!(pool.next_until(Instant::now()).is_none());
    assert!(pool.next_until(Instant::now() + Duration::from_millis(20)).is_none());
    assert_eq!(pool.in_flight(), 1);
    npu::control(&scenario).release();
    let finished = pool.next_until(Instant::now() + Duration::from_secs(60)).unwrap().result.unwrap();
    assert!(is_of_frame(number_of(finished.outputs()), 1));
    assert_eq!((pool.in_flight(), pool.report().finished), (0, 1));
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

#[test]
fn every_error_code_fails_its_frame_and_no_other() {
    for call in ["rknn_run", "rknn_set_io_mem", "rknn_mem_sync"] {
        for code in 1..=14 {
            let scenario =
                npu::scenario(&format!("{call} {code}")).with_fault(call, 9, 1, Action::Error(-code));
            let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
            let outcomes = run(&mut pool, 30);
            let failures: Vec<NpuFailure> = outcomes.into_iter().flatten().collect();
            assert_eq!(failures.len(), 1, "{call} {code}");
            assert_eq!(pool.report().failed, 1);
            drop(pool);
            assert_nothing_left(&scenario);
        }
    }
}

#[test]
fn every_error_code_of_the_copying_path_is_typed() {
    let copied = RknnOptions { path: IoPath::Copied, ..npu::options() };
    for call in ["rknn_inputs_set", "rknn_run", "rknn_outputs_get"] {
        for code in 1..=14 {
            let scenario = npu::scenario(&format!("copied {call} {code}"));
            let scenario = scenario.with_fault(call, 2, 1, Action::Error(-code));
            let mut pool = npu::pool(&scenario, &copied).unwrap();
            let failures: Vec<NpuFailure> = run(&mut pool, 5).into_iter().flatten().collect();
            assert_eq!(failures.len(), 1, "{call} {code}");
            drop(pool);
            assert_nothing_left(&scenario);
        }
    }
}

#[test]
fn a_call_that_never_returns_costs_its_frames_and_nothing_else() {
    let scenario = npu::scenario("stall").with_fault("rknn_run", 5, 1, Action::Stall);
    let mut pool = npu::pool(&scenario, &impatient()).unwrap();
    let outcomes = run(&mut pool, 60);
    let stalled = outcomes.iter().flatten().filter(|f| matches!(f, NpuFailure::Stalled { .. })).count();
    let lost = outcomes.iter().flatten().filter(|f| **f == NpuFailure::LostBehindStall).count();
    assert_eq!(stalled, 1, "{outcomes:?}");
    assert!(lost <= 1 && outcomes.iter().flatten().count() == stalled + lost, "{outcomes:?}");
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
    for (options, calls) in [
        (npu::impatient(), &["rknn_set_io_mem", "rknn_mem_sync"][..]),
        (copied, &["rknn_inputs_set", "rknn_outputs_get", "rknn_outputs_release"]),
    ] {
        for call in calls {
            let scenario = npu::scenario(&format!("stall in {call}")).with_fault(call, 6, 1, Action::Stall);
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
fn an_npu_that_fails_again_and_again_is_given_up() {
    for (code, expected) in [
        (-2, NpuFailure::Timeout),
        (-5, NpuFailure::InvalidParameter),
        (-4, NpuFailure::OutOfMemory),
        (-99, NpuFailure::UnknownCode(-99)),
    ] {
        let scenario = npu::scenario(&format!("given up {code}"));
        let scenario = scenario.with_fault("rknn_run", 4, u64::MAX - 4, Action::Error(code));
        let mut pool = npu::pool(&scenario, &npu::options()).unwrap();
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
    for (name, action) in [("refuses", Action::Error(-3)), ("stalls", Action::Stall)] {
        let scenario = npu::scenario(&format!("reopening {name}"))
            .with_fault("rknn_run", 1, 1, Action::Stall)
            .with_fault("rknn_init", 2, 1, action);
        let limits = TimeLimits { open: Duration::from_secs(2), ..npu::impatient().limits };
        let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::impatient() }).unwrap();
        assert!(matches!(run(&mut pool, 1)[..], [Some(NpuFailure::Stalled { .. })]), "{name}");
        assert_eq!(failure(&pool.slot().map(drop).unwrap_err()), NpuFailure::Exhausted { quarantined: 1 });
        npu::control(&scenario).release();
        assert_nothing_left(&scenario);
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
fn loading_that_never_ends_is_an_error() {
    for call in ["rknn_init", "rknn_query", "rknn_create_mem", "rknn_dup_context", "rknn_set_core_mask"] {
        let scenario =
            npu::scenario(&format!("loading stalls in {call}")).with_fault(call, 1, 1, Action::Stall);
        let limits = TimeLimits { open: Duration::from_millis(500), ..TimeLimits::default() };
        let options = RknnOptions { limits, ..three_cores() };
        let error = npu::pool(&scenario, &options).map(drop).unwrap_err();
        assert!(matches!(failure(&error), NpuFailure::Stalled { .. }), "{call}: {error}");
        npu::control(&scenario).release();
        assert_nothing_left(&scenario);
    }
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

#[test]
fn outputs_outlive_the_pool_that_made_them() {
    let scenario = npu::scenario("outliving");
    let limits = TimeLimits { grace: Duration::from_millis(50), ..TimeLimits::default() };
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..npu::options() }).unwrap();
    fill(&mut pool, number(7)).unwrap();
    let finished = pool.next().unwrap().result.unwrap();
    drop(pool);
    assert!(is_of_frame(number_of(finished.outputs()), 7));
    drop(finished);
    // What was lent out when the pool went is kept rather than risked: the set of four memories, and its context.
    let counters = npu::counters(&scenario);
    assert_eq!((counters.contexts, counters.memories), (1, 4));
    assert_eq!(counters.violations, [""; 0]);
}

#[test]
fn nothing_is_allocated_for_a_frame_once_warm() {
    let mut pool = npu::pool(&npu::scenario("no allocation"), &three_cores()).unwrap();
    let manifest = common::manifest(Vec::new());
    let limits = Limits::device(0.25, 0.45);
    let mut decoder = Decoder::new(&manifest.decode, 2, pool.outputs(), limits).unwrap();
    let recipe = Preprocess::yolo(common::SIDE_PX, common::SIDE_PX);
    let mut preprocessor = Preprocessor::new(&recipe, pool.input()).unwrap();
    let image = Image::filled(100, 80, [255, 0, 0]);
    let mut found = 0;
    let mut frame = |pool: &mut Pool, frame: Frame<'_>| {
        let mut slot = pool.slot().unwrap().unwrap();
        let map = preprocessor.run_pixels(frame, slot.pixels().unwrap()).unwrap();
        pool.submit(slot);
        let finished = pool.next().unwrap().result.unwrap();
        found += decoder.detect_views(finished.outputs(), &map).unwrap().len();
    };
    for _ in 0..6 {
        frame(&mut pool, image.frame());
    }
    let info = measure(|| (0..20).for_each(|_| frame(&mut pool, image.frame())));
    assert_eq!(info.count_total, 0, "on the calling thread");
    assert!(found > 0);
}

/// Frames with faults strewn over every function that a frame calls: each is reported once, in its turn, as what it is.
#[test]
fn whatever_goes_wrong_every_frame_is_reported_in_its_turn() {
    let calls = ["rknn_run", "rknn_set_io_mem", "rknn_mem_sync"];
    let mut scenario = npu::scenario("strewn");
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
    let mut pool = npu::pool(&scenario, &three_cores()).unwrap();
    let outcomes = run(&mut pool, 6000);
    let failed = outcomes.iter().flatten().count() as u64;
    assert_eq!(failed, faults);
    assert_eq!(pool.report(), PoolReport { finished: 6000 - failed, failed, ..PoolReport::default() });
    drop(pool);
    assert_nothing_left(&scenario);
}
