//! What people change while frames are shown counts from then on.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use repedge::backend::SharedEngine;
use repedge::pipeline::{Duty, Pipeline, Policy, Settings, Stop};
use repedge::sink::{Controls, Shown, Sink};
use repedge::source::{Arrival, Format, Rewound, Shot, Source};
use repedge::{BackendChoice, Error, Model, Options, Trust};

use crate::common::{self, SIDE_PX};
use crate::world::Ear;

/// Of these objects the squares model is half sure.
const DARK_RED: [u8; 3] = [128, 0, 0];
/// A frame has as many cells as the model looks at.
const OBJECTS: usize = 4;
const FRAMES: u64 = 100;
const LOW: f32 = 0.25;
const HIGH: f32 = 0.9;
/// Frames at which the threshold is raised and lowered; fewer are under way than lie between them.
const RAISED_AT: u64 = 20;
const LOWERED_AT: u64 = 60;

/// Frames that are dark red all over.
struct DarkReds {
    next: u64,
}

impl Source for DarkReds {
    fn next(&mut self, shot: &mut Shot, _patience: Duration) -> Result<Arrival, Error> {
        if self.next == FRAMES {
            return Ok(Arrival::Ended);
        }
        (shot.number, shot.width_px, shot.height_px, shot.format) =
            (self.next, SIDE_PX, SIDE_PX, Format::Rgb);
        shot.bytes.resize(SIDE_PX * SIDE_PX * 3, 0);
        shot.bytes.as_chunks_mut::<3>().0.fill(DARK_RED);
        self.next += 1;
        Ok(Arrival::Frame)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        "dark red".into()
    }
}

/// Turns the control when it is shown certain frames, and counts objects.
#[derive(Clone)]
struct Hand {
    controls: Controls,
    objects: Arc<Mutex<Vec<usize>>>,
}

impl Sink for Hand {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        self.objects.lock().unwrap().push(shown.objects.len());
        match shown.number {
            RAISED_AT => self.controls.set_confidence(HIGH),
            LOWERED_AT => self.controls.set_confidence(LOW),
            _ => {}
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "hand".into()
    }
}

#[test]
fn a_threshold_that_is_raised_and_lowered_hides_objects_and_shows_them_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("squares.bundle");
    common::write_bundle(&path);
    let options = Options { trust: Trust::anyone(), backend: BackendChoice::Tract, ..Options::default() };
    let mut model = Model::<SharedEngine>::open(&path, options).unwrap();
    let hand = Hand { controls: Controls::new(LOW), objects: Arc::default() };
    let settings = Settings { policy: Policy::EveryFrame, ..Settings::default() };
    let source = Box::new(DarkReds { next: 0 });
    let mut pipeline = Pipeline::new(source, settings, hand.controls.clone(), Stop::new());
    pipeline.add_sink(Box::new(hand.clone()), Duty::Essential);
    pipeline.run(&mut model, &mut Ear::default()).end.unwrap();
    let objects = hand.objects.lock().unwrap().clone();
    let mut phases = objects.clone();
    phases.dedup();
    assert_eq!(phases, [OBJECTS, 0, OBJECTS], "{objects:?}");
    // Those that were under way may have been decoded before; none is hidden before somebody said so.
    let hidden = objects.iter().position(|count| *count == 0).unwrap();
    assert!(hidden > usize::try_from(RAISED_AT).unwrap(), "{objects:?}");
}
