//! A stage that fails or panics ends the whole with that error; a sink that fails only itself, unless it is essential.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Instant;

use artifact::{BackendKind, Fault, TensorSpec};
use proptest::collection::hash_map;
use proptest::prelude::*;
use repedge::Error;
use repedge::backend::rknn::PoolReport;
use repedge::backend::{Engine, InTurn, Outcome, Room};
use repedge::pipeline::{Duty, End, Note, Policy, Stage};

use crate::world::{Act, Acts, Ear, Frames, Gate, Model, Record, World, engine};

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
    let counts: Vec<_> = run.report.sinks.iter().map(|sink| (sink.failures, sink.left_out)).collect();
    assert_eq!(counts, [(1, 16), (0, 0)]);
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
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    assert!(numbers.starts_with(&[0, 1, 2, 3, 4]), "what was finished is shown: {numbers:?}");
    let report = run.report;
    assert_eq!((report.shown, report.shown + report.lost, report.dropped), (numbers.len() as u64, 30, 0));
    assert!(report.lost >= 2, "{report:?}");
    assert_eq!(ear.notes.iter().filter(|note| matches!(note, Note::FellBack(_))).count(), 2);
    assert_eq!(report.backend, Some(BackendKind::Tract));
    assert!(report.fallback.is_some_and(|reason| reason.starts_with("frame 9 fails")));
}

/// An engine that gives its first frames only once three are under way, and no room any more once the first one came out.
struct GivenUp {
    engine: InTurn,
    submitted: u64,
    has_given: bool,
}

impl Engine for GivenUp {
    fn input(&self) -> &TensorSpec {
        self.engine.input()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.engine.outputs()
    }

    fn lanes(&self) -> usize {
        1
    }

    fn room(&mut self) -> Result<Option<Room>, Error> {
        if self.has_given {
            return Err(Error::Backend(Fault::new("an engine that is given up", "one that goes on", "")));
        }
        self.engine.room()
    }

    fn submit(&mut self, room: Room) {
        self.submitted += 1;
        self.engine.submit(room);
    }

    fn next_until(&mut self, end: Instant) -> Option<Result<Outcome, Error>> {
        if self.submitted < 3 {
            return None;
        }
        self.has_given = true;
        self.engine.next_until(end)
    }

    fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }

    fn wake(&mut self, thread: Thread) {
        self.engine.wake(thread);
    }

    fn npu_report(&self) -> Option<PoolReport> {
        Some(PoolReport { finished: 3, left_out: u64::from(self.has_given), ..PoolReport::default() })
    }
}

fn given_up() -> Model {
    let engine = GivenUp { engine: engine(Acts::new()), submitted: 0, has_given: false };
    Model::of(vec![Arc::new(Mutex::new(engine))])
}

#[test]
fn what_an_engine_has_finished_is_shown_although_it_gives_no_room_any_more() {
    let (source, record, mut ear) = (Frames::new(30), Record::default(), Ear::default());
    let given = source.given.clone();
    let mut world = World::new(source, Policy::EveryFrame);
    world.sinks = vec![(record.clone(), Duty::Optional)];
    let run = world.run_model(&mut given_up(), &mut ear);
    assert!(run.end.unwrap_err().to_string().starts_with("an engine that is given up"));
    assert_eq!(record.numbers(), [0, 1, 2]);
    assert_eq!((run.report.shown, run.report.shown + run.report.lost), (3, given.load(Ordering::SeqCst)));
    assert_eq!(run.report.stuck, []);
}

#[test]
fn how_the_npu_did_is_in_the_report_and_a_core_that_is_left_out_is_told() {
    let (world, mut ear) = (World::new(Frames::new(30), Policy::EveryFrame), Ear::default());
    let report = world.run_model(&mut given_up(), &mut ear).report;
    let expected = PoolReport { finished: 3, left_out: 1, ..PoolReport::default() };
    assert_eq!(report.npu, Some(expected));
    assert_eq!(ear.notes, [Note::Cores { in_service: 0, all: 1 }]);
}

#[test]
fn a_sink_that_shows_nothing_more_does_not_hold_up_an_engine_that_is_given_up() {
    let (gate, mut ear) = (Gate::default(), Ear::default());
    let mut world = World::new(Frames::new(30), Policy::EveryFrame);
    world.sinks = vec![(Record::with(at(0, Act::Wait(gate.clone()))), Duty::Optional)];
    let run = world.run_model(&mut given_up(), &mut ear);
    assert!(run.end.is_err());
    assert!(run.report.stuck.contains(&Stage::Sinks), "{:?}", run.report.stuck);
    gate.open();
}

#[test]
fn enough_is_enough_also_where_the_engine_is_given_up() {
    let mut world = World::new(Frames::new(30), Policy::EveryFrame);
    world.settings.frames = Some(3);
    let run = world.run_model(&mut given_up(), &mut Ear::default());
    assert_eq!((run.end.unwrap(), run.report.shown, run.report.lost), (End::Enough, 3, 0));
}

/// Sleeps of up to two milliseconds at some of 40 frames.
fn delays() -> impl Strategy<Value = Acts> {
    hash_map(0_u64..40, (0_u64..2000).prop_map(Act::Sleep), 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whenever_engines_fail_each_frame_is_shown_or_counted(
        source in delays(),
        engines in proptest::collection::vec((delays(), 0_u64..12), 1..4),
        sink in delays(),
        policy in prop_oneof![Just(Policy::EveryFrame), Just(Policy::NewestFrame)],
    ) {
        let record = Record::with(sink);
        let first_failure = engines[0].1;
        let mut world = World::new(Frames { acts: source, ..Frames::new(40) }, policy);
        let failing = |(mut acts, frame): (Acts, u64)| {
            acts.insert(frame, Act::Fail);
            acts
        };
        world.engines = engines.into_iter().map(failing).chain([Acts::new()]).collect();
        world.sinks = vec![(record.clone(), Duty::Optional)];
        let (run, _) = world.run();
        let (report, numbers) = (run.report, record.numbers());
        prop_assert_eq!(run.end.unwrap(), End::Over);
        prop_assert!(numbers.is_sorted_by(|a, b| a < b), "{:?}", numbers);
        prop_assert_eq!(report.shown, numbers.len() as u64);
        prop_assert_eq!(report.shown + report.lost + report.dropped, 40, "{:?}", report);
        if policy == Policy::EveryFrame {
            let finished: Vec<u64> = (0..first_failure).collect();
            prop_assert!(numbers.starts_with(&finished), "{:?} without {:?}", numbers, finished);
        }
    }
}

#[test]
fn thresholds_out_of_range_are_refused() {
    let mut world = World::new(Frames::new(5), Policy::EveryFrame);
    world.controls = repedge::sink::Controls::new(f32::NAN);
    assert!(matches!(world.run().0.end, Err(Error::Input(_))));
}
