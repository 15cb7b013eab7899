//! Many frames on many cores: in order, none lost without a word, nothing left behind.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use artifact::Preprocess;
use repedge::backend::rknn::{Cores, NpuFailure, Pool, PoolReport, RknnOptions, TimeLimits};
use repedge::decode::Decoder;
use repedge::preprocess::Preprocessor;
use repedge::{Frame, Image, Limits};
use stand_in::Action;

use crate::frames::{
    assert_nothing_left, fill, is_of_frame, next_error, number, number_of, run, three_cores,
};
use crate::{common, failure, npu};

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
    drop(pool);
    assert_nothing_left(&scenario);
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

#[test]
fn outputs_outlive_the_pool_that_made_them() {
    let scenario = npu::scenario("outliving");
    // Whoever waited for a time limit here would wait too long.
    let limits = TimeLimits { run: Duration::from_secs(100_000), ..TimeLimits::default() };
    let options = RknnOptions { limits, cores: Cores::Each(2), ..npu::options() };
    let mut pool = npu::pool(&scenario, &options).unwrap();
    let first = pool.slot().unwrap().unwrap();
    fill(&mut pool, number(7)).unwrap();
    let finished = pool.next().unwrap().result.unwrap();
    drop(first);
    drop(pool);
    assert!(is_of_frame(number_of(finished.outputs()), 7));
    drop(finished);
    // Then everything is freed that waited for them.
    assert_nothing_left(&scenario);
}

#[test]
fn the_core_that_is_asked_for_runs_the_model() {
    for (cores, runs) in
        [(Cores::One(1), [0, 5, 0]), (Cores::One(2), [0, 0, 5]), (Cores::Together(3), [5, 5, 5])]
    {
        let scenario = npu::scenario(&format!("on {cores:?}"));
        let mut pool = npu::pool(&scenario, &RknnOptions { cores, ..npu::options() }).unwrap();
        assert_eq!(run(&mut pool, 5), [None; 5]);
        let counters = npu::counters(&scenario);
        // The stand-in counts what several cores do together for each.
        assert_eq!((counters.runs_by_core, counters.contexts), (runs.to_vec(), 1), "{cores:?}");
    }
}

#[test]
fn a_slot_of_another_pool_is_refused() {
    let scenarios = ["home pool", "other pool"].map(npu::scenario);
    let [mut home, mut other] =
        scenarios.each_ref().map(|scenario| npu::pool(scenario, &npu::options()).unwrap());
    fill(&mut home, number(3)).unwrap();
    let held = home.next().unwrap().result.unwrap();
    let foreign = other.slot().unwrap().unwrap();
    let frame = home.submit(foreign);
    let completed = home.next().unwrap();
    assert_eq!(completed.frame, frame);
    let error = completed.result.map(drop).expect_err("another pool's buffers came back as outputs");
    assert_eq!(failure(&error), NpuFailure::ForeignSlot, "{error}");
    assert!(error.to_string().contains("whose `slot()` gave it"), "{error}");
    // Neither what is held nor the other pool has noticed anything.
    assert!(is_of_frame(number_of(held.outputs()), 3));
    assert_eq!(npu::counters(&scenarios[0]).runs, 1);
    drop(held);
    for (pool, scenario) in [(home, &scenarios[0]), (other, &scenarios[1])] {
        let mut pool = pool;
        assert_eq!(run(&mut pool, 6), [None; 6]);
        drop(pool);
        assert_nothing_left(scenario);
    }
}

#[test]
fn a_slot_of_a_pool_that_is_gone_is_refused() {
    let gone = npu::pool(&npu::scenario("gone"), &npu::options()).unwrap().slot().unwrap().unwrap();
    let mut pool = npu::pool(&npu::scenario("there"), &npu::options()).unwrap();
    pool.submit(gone);
    assert_eq!(failure(&next_error(&mut pool)), NpuFailure::ForeignSlot);
    assert_eq!(run(&mut pool, 6), [None; 6]);
}

#[test]
fn limits_without_end_work() {
    let limits = TimeLimits {
        run: Duration::MAX,
        grace: Duration::MAX,
        open: Duration::MAX,
        max_failures: u32::MAX,
        max_quarantined: u32::MAX,
    };
    let scenario = npu::scenario("no limits");
    let mut pool = npu::pool(&scenario, &RknnOptions { limits, ..three_cores() }).unwrap();
    assert!(run(&mut pool, 12).iter().all(Option::is_none));
    pool.usage().unwrap();
    drop(pool);
    assert_nothing_left(&scenario);
}
