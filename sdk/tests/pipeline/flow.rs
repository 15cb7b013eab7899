//! Which frames come through, and in which order.

use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::collection::hash_map;
use proptest::prelude::*;
use repedge::pipeline::{Duty, End, Note, Policy};
use repedge::source::Supply;

use crate::world::{Act, Acts, Frames, Gate, Record, World, wait_until};

/// Sleeps of up to two milliseconds at some of 40 frames.
fn delays() -> impl Strategy<Value = Acts> {
    hash_map(0_u64..40, (0_u64..2000).prop_map(Act::Sleep), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_frame_comes_through_in_order(source in delays(), engine in delays(), sink in delays()) {
        let record = Record::with(sink);
        let mut world = World::new(Frames { acts: source, ..Frames::new(40) }, Policy::EveryFrame);
        world.engines = vec![engine];
        world.sinks = vec![(record.clone(), Duty::Optional)];
        let (run, _) = world.run();
        prop_assert_eq!(run.end.unwrap(), End::Over);
        prop_assert_eq!(record.numbers(), (0..40).collect::<Vec<_>>());
        prop_assert_eq!((run.report.shown, run.report.dropped, run.report.lost), (40, 0, 0));
    }

    #[test]
    fn the_newest_come_in_order_and_the_others_are_counted(source in delays(), engine in delays(), sink in delays()) {
        let record = Record::with(sink);
        let mut world = World::new(Frames { acts: source, ..Frames::new(40) }, Policy::NewestFrame);
        world.engines = vec![engine];
        world.sinks = vec![(record.clone(), Duty::Optional)];
        let (run, _) = world.run();
        let numbers = record.numbers();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        prop_assert_eq!(numbers.last(), Some(&39), "the last one is replaced by none");
        prop_assert_eq!(run.report.shown + run.report.dropped, 40);
        prop_assert_eq!(run.report.shown, numbers.len() as u64);
    }
}

#[test]
fn while_the_engine_is_held_up_the_newest_frame_replaces_those_that_wait() {
    let (gate, record) = (Gate::default(), Record::default());
    let source = Frames::new(1000);
    let given = source.given.clone();
    let mut world = World::new(source, Policy::NewestFrame);
    world.engines = vec![Acts::from([(0, Act::Wait(gate.clone()))])];
    world.sinks = vec![(record.clone(), Duty::Optional)];
    let running = std::thread::spawn(move || world.run().0);
    wait_until("all frames were given", || given.load(Ordering::SeqCst) == 1000);
    gate.open();
    let report = running.join().unwrap().report;
    let numbers = record.numbers();
    assert!(numbers.len() < 10, "few can be under way: {numbers:?}");
    assert_eq!(numbers.last(), Some(&999));
    assert_eq!(report.dropped + report.shown, 1000);
}

#[test]
fn a_slow_sink_holds_the_source_back_and_the_queues_tell() {
    let (gate, record) = (Gate::default(), Record::with(Acts::new()));
    let held = Record { acts: Acts::from([(0, Act::Wait(gate.clone()))]), ..record.clone() };
    let source = Frames::new(1000);
    let given = source.given.clone();
    let mut world = World::new(source, Policy::EveryFrame);
    world.sinks = vec![(held, Duty::Optional)];
    let running = std::thread::spawn(move || world.run().0);
    let mut before = u64::MAX;
    wait_until("the source is held back", || {
        std::thread::sleep(Duration::from_millis(50));
        let now = given.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now && now > 0
    });
    assert!(before < 20, "{before} frames are under way");
    gate.open();
    let report = running.join().unwrap().report;
    assert_eq!(record.numbers(), (0..1000).collect::<Vec<_>>());
    assert!(report.queues.iter().filter(|queue| queue.deepest == queue.capacity).count() >= 3, "{report:?}");
    let sinks = &report.stages[4].work;
    assert_eq!((sinks.frames, report.latency.frames), (1000, 1000));
    assert!(sinks.max_us >= 50_000, "{sinks:?}");
}

#[test]
fn what_cannot_be_used_is_said_and_passed_over() {
    let record = Record::default();
    let mut world = World::new(Frames { broken: vec![0, 2, 3, 9], ..Frames::new(10) }, Policy::EveryFrame);
    world.sinks = vec![(record.clone(), Duty::Optional)];
    let (run, ear) = world.run();
    assert_eq!(record.numbers(), [1, 4, 5, 6, 7, 8]);
    assert_eq!((run.report.broken, run.report.lost), (4, 0));
    assert_eq!(ear.notes[0], Note::Skipped("frame 0 is broken".into()));
    assert_eq!(ear.notes.len(), 4);
}

#[test]
fn what_happens_to_the_source_is_said_and_costs_no_frame() {
    let source = Frames { event: Some("the camera was unplugged"), ..Frames::new(3) };
    let (run, ear) = World::new(source, Policy::EveryFrame).run();
    assert_eq!((run.report.shown, run.report.broken, run.report.lost), (3, 0, 0));
    assert_eq!(ear.notes, [Note::Source("the camera was unplugged".into())]);
}

#[test]
fn a_hundred_broken_frames_do_not_flood() {
    let (gate, broken) = (Gate::default(), (0..500).collect());
    let source = Frames { broken, acts: Acts::from([(500, Act::Wait(gate.clone()))]), ..Frames::new(501) };
    gate.open();
    let (run, ear) = World::new(source, Policy::EveryFrame).run();
    assert_eq!(run.report.broken, 500);
    let told: u64 = ear.notes.iter().map(|note| if let Note::More(count) = note { *count } else { 1 }).sum();
    assert_eq!(told, 500, "each is said or counted");
    assert!(ear.notes.len() < 200, "{} notes", ear.notes.len());
}

#[test]
fn enough_is_enough() {
    for policy in [Policy::EveryFrame, Policy::NewestFrame] {
        let record = Record::default();
        let mut world = World::new(Frames::new(u64::MAX), policy);
        world.sinks = vec![(record.clone(), Duty::Optional)];
        world.settings.frames = Some(3);
        let (run, _) = world.run();
        assert_eq!((run.end.unwrap(), record.numbers().len(), run.report.shown), (End::Enough, 3, 3));
    }
    let mut world = World::new(Frames::new(5), Policy::EveryFrame);
    world.settings.frames = Some(0);
    assert_eq!(world.run().0.report.shown, 0);
}

#[test]
fn a_pause_holds_files_and_passes_over_what_a_camera_gives() {
    for (policy, given_while_paused) in [(Policy::EveryFrame, 0), (Policy::NewestFrame, 200)] {
        let source = Frames::new(200);
        let given = source.given.clone();
        let world = World::new(source, policy);
        let (controls, record) = (world.controls.clone(), world.sinks[0].0.clone());
        controls.pause();
        let (stop, mut ear) = (world.stop.clone(), crate::world::Ear::default());
        let alive = ear.alive.clone();
        let running = std::thread::spawn(move || world.run_heard(&mut ear));
        if policy == Policy::EveryFrame {
            wait_until("a pause is no hang", || alive.load(Ordering::SeqCst) >= 3);
            assert_eq!((given.load(Ordering::SeqCst), record.numbers().len()), (0, 0));
            controls.resume();
        }
        let run = running.join().unwrap();
        let shown = 200 - given_while_paused;
        assert_eq!((given.load(Ordering::SeqCst), run.report.shown), (200, shown), "{policy:?}");
        assert_eq!(run.report.unwanted, given_while_paused, "{policy:?}");
        assert!(!stop.is_stopped());
    }
}

#[test]
fn between_the_frames_that_are_wanted_a_camera_is_read_on() {
    let source = Frames { supply: Supply::Live, ..Frames::new(500) };
    let given = source.given.clone();
    let mut world = World::new(source, Policy::NewestFrame);
    world.settings.interval = Duration::from_secs(3600);
    let record = world.sinks[0].0.clone();
    let running = std::thread::spawn(move || world.run().0);
    wait_until("no frame waits for an hour", || given.load(Ordering::SeqCst) == 500);
    let run = running.join().unwrap();
    assert_eq!((run.end.unwrap(), record.numbers()), (End::Over, vec![0]));
    assert_eq!((run.report.shown, run.report.unwanted, run.report.dropped), (1, 499, 0));
}

#[test]
fn latency_begins_when_a_frame_was_taken_where_that_is_known() {
    let source = Frames { age: Some(Duration::from_secs(1)), ..Frames::new(5) };
    let report = World::new(source, Policy::EveryFrame).run().0.report;
    assert_eq!(report.latency.frames, 5);
    // Kept to three digits.
    assert!(report.latency.p50_us >= 999_000 && report.waiting.p50_us >= 900_000, "{report:?}");
}
