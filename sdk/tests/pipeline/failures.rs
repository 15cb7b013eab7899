//! A stage that fails or panics ends the whole with that error; a sink that fails only itself, unless it is essential.

use repedge::Error;
use repedge::pipeline::{Duty, End, Note, Policy};

use crate::world::{Act, Acts, Frames, Record, World};

fn at(frame: u64, act: Act) -> Acts {
    Acts::from([(frame, act)])
}

fn said(world: World) -> String {
    let run = world.run().0;
    assert_eq!(run.report.stuck, []);
    run.end.unwrap_err().to_string()
}

#[test]
fn a_stage_that_panics_or_fails_ends_the_whole() {
    let world = |acts: Acts| World::new(Frames { acts, ..Frames::new(u64::MAX) }, Policy::NewestFrame);
    assert!(said(world(at(3, Act::Panic))).starts_with("capture panicked: frame 3 panics"));
    assert!(said(world(at(3, Act::Fail))).starts_with("frame 3 fails"));
    let with_engine = |act| World { engines: vec![at(3, act)], ..world(Acts::new()) };
    assert!(said(with_engine(Act::Panic)).starts_with("inference panicked: frame 3 panics"));
    assert!(said(with_engine(Act::Fail)).starts_with("frame 3 fails"));
    let with_sink =
        |act| World { sinks: vec![(Record::with(at(3, act)), Duty::Optional)], ..world(Acts::new()) };
    assert!(said(with_sink(Act::Panic)).starts_with("sinks panicked: frame 3 panics"));
}

#[test]
fn a_sink_that_fails_is_left_out_and_the_others_go_on() {
    let (failing, sound) = (Record::with(at(3, Act::Fail)), Record::default());
    let mut world = World::new(Frames::new(20), Policy::EveryFrame);
    world.sinks = vec![(failing.clone(), Duty::Optional), (sound.clone(), Duty::Essential)];
    let (run, ear) = world.run();
    assert_eq!(run.end.unwrap(), End::Over);
    assert_eq!((failing.numbers(), sound.numbers().len()), (vec![0, 1, 2], 20));
    assert!(matches!(&ear.notes[..], [Note::SinkFailed(said)] if said.contains("record: frame 3 fails")));
    assert_eq!((run.report.sinks[0].failures, run.report.sinks[1].failures), (1, 0));
}

#[test]
fn without_an_essential_sink_it_ends() {
    let mut world = World::new(Frames::new(20), Policy::EveryFrame);
    world.sinks = vec![(Record::with(at(3, Act::Fail)), Duty::Essential)];
    assert!(said(world).starts_with("frame 3 fails"));
}

#[test]
fn another_engine_goes_on_where_there_is_one() {
    let record = Record::default();
    let mut world = World::new(Frames::new(30), Policy::EveryFrame);
    world.engines = vec![at(5, Act::Fail), at(9, Act::Fail), Acts::new()];
    world.sinks = vec![(record.clone(), Duty::Optional)];
    let (run, ear) = world.run();
    assert_eq!(run.end.unwrap(), End::Over);
    let numbers = record.numbers();
    assert!(numbers.is_sorted_by(|a, b| a < b) && numbers.last() == Some(&29), "{numbers:?}");
    assert_eq!(run.report.shown, numbers.len() as u64);
    assert!(run.report.lost >= 2, "{:?}", run.report);
    assert_eq!(ear.notes.iter().filter(|note| matches!(note, Note::FellBack(_))).count(), 2);
}

#[test]
fn thresholds_out_of_range_are_refused() {
    let mut world = World::new(Frames::new(5), Policy::EveryFrame);
    world.controls = repedge::sink::Controls::new(f32::NAN);
    assert!(matches!(world.run().0.end, Err(Error::Input(_))));
}
