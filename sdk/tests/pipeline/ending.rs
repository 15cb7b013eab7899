//! However it is asked to end, and whatever hangs, it does.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use repedge::pipeline::{Duty, End, Policy, Stage};

use crate::world::{Act, Acts, Ear, Frames, Gate, Record, Silent, World, wait_until};

#[test]
fn asked_before_it_begins_it_shows_little_and_ends() {
    let world = World::new(Frames::new(u64::MAX), Policy::EveryFrame);
    world.stop.stop();
    assert_eq!(world.run().0.end.unwrap(), End::Stopped);
}

#[test]
fn asked_in_the_middle_it_leaves_what_is_under_way() {
    for policy in [Policy::EveryFrame, Policy::NewestFrame] {
        let mut world = World::new(Frames::new(u64::MAX), policy);
        let record = Record::with(Acts::from([(5, Act::Stop(world.stop.clone()))]));
        world.sinks = vec![(record.clone(), Duty::Optional)];
        let run = world.run().0;
        assert_eq!((run.end.unwrap(), run.report.stuck), (End::Stopped, vec![]));
        assert_eq!(record.numbers().len(), 6, "the frame at hand is the last");
    }
}

#[test]
fn asked_while_a_frame_is_shown_it_shows_at_most_one_more() {
    for policy in [Policy::EveryFrame, Policy::NewestFrame] {
        let (gate, mut world) = (Gate::default(), World::new(Frames::new(u64::MAX), policy));
        let record = Record::with(Acts::from([(5, Act::Wait(gate.clone()))]));
        world.sinks = vec![(record.clone(), Duty::Optional)];
        let stop = world.stop.clone();
        let running = std::thread::spawn(move || world.run().0);
        wait_until("five frames were shown", || record.numbers().len() == 5);
        stop.stop();
        gate.open();
        assert_eq!(running.join().unwrap().end.unwrap(), End::Stopped);
        let shown = record.numbers().len();
        assert!(shown <= 6, "{policy:?}: {shown} frames");
    }
}

#[test]
fn a_camera_that_gives_nothing_is_alive_and_ends_when_asked() {
    let (world, mut ear) = (World::new(Silent, Policy::NewestFrame), Ear::default());
    let (stop, alive) = (world.stop.clone(), ear.alive.clone());
    let running = std::thread::spawn(move || world.run_heard(&mut ear));
    wait_until("every stage is well", || alive.load(Ordering::SeqCst) >= 3);
    stop.stop();
    let run = running.join().unwrap();
    assert_eq!((run.end.unwrap(), run.report.shown, run.report.stuck), (End::Stopped, 0, vec![]));
}

#[test]
fn an_hour_between_frames_is_cut_short() {
    let mut world = World::new(Frames::new(10), Policy::EveryFrame);
    world.settings.interval = Duration::from_secs(3600);
    let (stop, record, mut ear) = (world.stop.clone(), world.sinks[0].0.clone(), Ear::default());
    let alive = ear.alive.clone();
    let running = std::thread::spawn(move || world.run_heard(&mut ear));
    wait_until("the first frame", || record.numbers().len() == 1);
    wait_until("waiting is no hang", || alive.load(Ordering::SeqCst) >= 3);
    stop.stop();
    assert_eq!(running.join().unwrap().end.unwrap(), End::Stopped);
}

/// Runs a world in which `stage` hangs at its third frame: the watchdog hears no more, and the end comes when asked for.
fn hang(stage: Stage) {
    let gate = Gate::default();
    let acts = || Acts::from([(2, Act::Wait(gate.clone()))]);
    let mut frames = Frames::new(u64::MAX);
    if stage == Stage::Capture {
        frames.acts = acts();
    }
    let mut world = World::new(frames, Policy::NewestFrame);
    world.settings.interval = Duration::from_millis(1);
    match stage {
        Stage::Inference => world.engines = vec![acts()],
        Stage::Sinks => world.sinks = vec![(Record::with(acts()), Duty::Optional)],
        _ => {}
    }
    let (stop, mut ear) = (world.stop.clone(), Ear::default());
    let alive = ear.alive.clone();
    let running = std::thread::spawn(move || world.run_heard(&mut ear));
    let mut before = u64::MAX;
    wait_until("the watchdog hears no more", || {
        std::thread::sleep(Duration::from_millis(500));
        let now = alive.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now
    });
    stop.stop();
    let asked = Instant::now();
    let run = running.join().unwrap();
    assert!(asked.elapsed() < Duration::from_secs(60), "it does not wait for what hangs");
    assert_eq!((run.end.unwrap(), run.report.stuck), (End::Stopped, vec![stage]));
    gate.open();
}

#[test]
fn a_source_that_hangs_is_told_by_silence_and_left() {
    hang(Stage::Capture);
}

#[test]
fn an_engine_that_hangs_is_told_by_silence_and_left() {
    hang(Stage::Inference);
}

#[test]
fn a_sink_that_hangs_is_told_by_silence_and_left() {
    hang(Stage::Sinks);
}
