//! Objects in a recording are followed by the time at which it was filmed, not by the time at which it is played.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use repedge::backend::SharedEngine;
use repedge::pipeline::{Duty, Following, Pipeline, Policy, Settings, Stop};
use repedge::sink::{Controls, Shown, Sink};
use repedge::source::{Arrival, Rewound, Shot, Source, open_video};
use repedge::{BackendChoice, Error, Model, Options, Trust};

use crate::common::{self, SIDE_PX};
use crate::world::{self, Ear};

/// A frame has as many cells as the model looks at, each of them an object.
const FIRST: [u32; 4] = [1, 2, 3, 4];
const SECOND: [u32; 4] = [5, 6, 7, 8];

/// What a sink was told of one frame.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    filmed_at: Option<Duration>,
    tracks: Vec<u32>,
}

/// Remembers it of all.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<Told>>>);

impl Sink for Memory {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let tracks = shown.objects.iter().filter_map(|object| object.track).collect();
        self.0.lock().unwrap().push(Told { filmed_at: shown.shot.filmed_at, tracks });
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".into()
    }
}

/// What is told of every frame of `source`, which the squares model looks at.
fn told(source: Box<dyn Source>) -> Vec<Told> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squares.bundle");
    common::write_bundle(&path);
    let options = Options { trust: Trust::anyone(), backend: BackendChoice::Tract, ..Options::default() };
    let mut model = Model::<SharedEngine>::open(&path, options).unwrap();
    let settings = Settings { policy: Policy::EveryFrame, following: Following::On, ..Settings::default() };
    let memory = Memory::default();
    let mut pipeline = Pipeline::new(source, settings, Controls::new(0.25), Stop::new());
    pipeline.add_sink(Box::new(memory.clone()), Duty::Essential);
    pipeline.run(&mut model, &mut Ear::default()).end.unwrap();
    std::mem::take(&mut *memory.0.lock().unwrap())
}

/// A video of that rate: red frames, but for a black one in the middle.
fn video(rate: &str) -> Vec<u8> {
    let pixels = SIDE_PX * SIDE_PX;
    let mut bytes = format!("YUV4MPEG2 W{SIDE_PX} H{SIDE_PX} F{rate} C420jpeg\n").into_bytes();
    for frame in 0..7 {
        let [y, u, v] = if frame == 3 { [16, 128, 128] } else { [81, 90, 240] };
        bytes.extend_from_slice(b"FRAME\n");
        bytes.extend([y].repeat(pixels));
        bytes.extend([u].repeat(pixels / 4));
        bytes.extend([v].repeat(pixels / 4));
    }
    bytes
}

/// What is hidden for four seconds is forgotten, although both files are played in no time; no slow machine forgets what was
/// hidden for an instant.
#[test]
fn the_rate_of_a_video_says_how_long_an_object_was_hidden() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("red.y4m");
    for (rate, interval_ms, behind) in
        [("100:1", 10, [&FIRST[..], &FIRST, &FIRST]), ("1:2", 2000, [&[], &SECOND, &SECOND])]
    {
        std::fs::write(&path, video(rate)).unwrap();
        let [one, two, three] = behind;
        let expected = [&FIRST[..], &FIRST, &FIRST, &[], one, two, three];
        let expected = (0..).zip(expected).map(|(frame, tracks)| Told {
            filmed_at: Some(Duration::from_millis(interval_ms) * frame),
            tracks: tracks.to_vec(),
        });
        assert_eq!(told(open_video(&path).unwrap()), expected.collect::<Vec<_>>(), "{rate}");
    }
}

/// Frames of which only the first says when it was filmed.
struct SaysOnce(world::Frames);

impl Source for SaysOnce {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        if self.0.next == 0 {
            shot.filmed_at = Some(Duration::from_secs(1000));
        }
        self.0.next(shot, patience)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.0.rewind()
    }

    fn describe(&self) -> String {
        self.0.describe()
    }
}

#[test]
fn when_one_frame_was_filmed_is_not_taken_for_when_others_were_that_use_its_memory() {
    let told = told(Box::new(SaysOnce(world::Frames::new(60))));
    assert_eq!(told.len(), 60);
    assert_eq!(told[0].filmed_at, Some(Duration::from_secs(1000)));
    assert!(told[1..].iter().all(|it| it.filmed_at.is_none()), "{told:?}");
}
