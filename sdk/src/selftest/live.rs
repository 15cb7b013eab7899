//! Times the pipeline as `camera-demo` runs it: each stage on its thread, every core of an NPU at work, objects followed and the
//! overlay drawn. The bundle's pictures are played, or a test pattern, as fast as they go through; frames that go in before
//! memory and clocks are ready do not count, but what is found on them is looked at, too. Doing so and timing a frame allocate nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::laps::{LAPS, Lap, LapClock};
use super::recorder::Recorder;
use super::witness::{Seen, Witness};
use super::{Accuracy, Event, Live, PipelineModel, Plan, Readings, Stages, Step};
use crate::detector::micros;
use crate::pipeline::{
    Analyzer as _, Bound, Duty, Following, Note, Overlay, Pipeline, PipelineReport, Policy, Settings, Stop,
    Watch, parcels,
};
use crate::sink::{Controls, FrameTimes, Object, Shown, Sink, Vitals};
use crate::source::{Arrival, Pattern, Rewound, Shot, Source, Still, Stills, Supply};
use crate::{Error, draw};

/// The longest that it takes until the pipeline is warm, in frames: on slow processors, each of them is a wait.
const MOST_WARM_UP_FRAMES: usize = 16;
/// What is played without pictures: of the size that is wished of cameras.
const PATTERN_PX: [usize; 2] = [640, 480];
/// What is timed.
const STEPS: [Step; 7] =
    [Step::Capture, Step::Preprocess, Step::Inference, Step::Decode, Step::Track, Step::Draw, Step::EndToEnd];

/// A run.
pub(super) struct Played {
    pub stages: Stages,
    pub laps: [Lap; LAPS],
    /// How the frames of each picture did; none where nothing is known of them.
    pub seen: Vec<Seen>,
    /// What the pipeline says of itself.
    pub report: PipelineReport,
    /// As read between the laps, the highest of each.
    pub readings: Readings,
}

/// Runs the pipeline over `model`, which found what `accuracy` says one by one.
pub(super) fn measure(
    model: &mut PipelineModel,
    plan: &Plan,
    live: Live,
    accuracy: Option<&Accuracy>,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Played, Error> {
    let lanes = model.engine().lock().unwrap_or_else(PoisonError::into_inner).lanes();
    let manifest = model.manifest();
    let witness = Witness::new(&manifest.check_images, manifest.confidence, accuracy);
    let meter = SharedMeter(Arc::new(Mutex::new(Meter::new(live.lasting, warm_up(lanes), witness)?)));
    let source = Timed { source: source(model)?, meter: meter.clone() };
    // Every frame: the source waits, so that a frame that is missing at the end was lost.
    let settings = Settings {
        policy: Policy::EveryFrame,
        following: Following::On,
        pinning: live.pinning,
        ..Settings::default()
    };
    let (controls, stop) = (Controls::new(model.manifest().confidence), Stop::new());
    let mut pipeline = Pipeline::new(Box::new(source), settings, controls, stop.clone());
    pipeline.set_overlay(Box::new(Drawn(draw::Overlay::new())));
    pipeline.add_sink(Box::new(Gauge { meter: meter.clone(), stop }), Duty::Essential);
    let mut looks = Looks { meter: meter.clone(), plan, watch, done: 0, readings: plan.read() };
    let run = pipeline.run(model, &mut looks);
    run.end?;
    looks.look();
    let (readings, meter) = (looks.readings, meter.lock());
    let (stages, laps, seen) = (meter.recorder.stages(), meter.clock.laps(), meter.witness.seen());
    Ok(Played { stages, laps, seen, report: run.report, readings })
}

/// So many frames are let through before any counts: each that goes round with so many lanes once, so that it has its memory.
fn warm_up(lanes: usize) -> usize {
    parcels(Bound::Pace { lanes }, lanes).min(MOST_WARM_UP_FRAMES)
}

/// The bundle's pictures, as they are in memory; a pattern where it has none.
fn source(model: &mut PipelineModel) -> Result<Box<dyn Source>, Error> {
    let names: Vec<String> = model.manifest().check_images.iter().map(|image| image.name.clone()).collect();
    if names.is_empty() {
        let [width_px, height_px] = PATTERN_PX;
        return Ok(Box::new(Pattern::new(width_px, height_px)));
    }
    let still = |(index, name)| Ok(Still::Image(name, model.check_image(index)?));
    let pictures: Result<_, Error> = names.into_iter().enumerate().map(still).collect();
    Ok(Box::new(Stills::new(pictures?)))
}

/// What is measured, and what was found.
struct Meter {
    warm_up_left: usize,
    recorder: Recorder,
    clock: LapClock,
    witness: Witness,
}

impl Meter {
    /// For so long, behind so many frames that do not count.
    fn new(lasting: Duration, warm_up_left: usize, witness: Witness) -> Result<Self, Error> {
        let (recorder, clock) = (Recorder::of(&STEPS)?, LapClock::new(lasting));
        Ok(Self { warm_up_left, recorder, clock, witness })
    }

    /// A frame was read.
    fn captured(&mut self, took: Duration) {
        if self.clock.is_running() {
            self.recorder.record(Step::Capture, micros(took));
        }
    }

    /// Looks at a frame that has come through, and times it; says whether it was the last.
    fn take(&mut self, shown: &Shown<'_>, now: Instant) -> bool {
        // Not at the objects that are followed: each picture is a scene of its own, in which a tracker waits for a second sight.
        self.witness.look(shown.shot.number, shown.found);
        self.shown(&shown.times, now)
    }

    /// A frame has come through; says whether it was the last.
    fn shown(&mut self, times: &FrameTimes, now: Instant) -> bool {
        if self.warm_up_left > 0 {
            self.warm_up_left -= 1;
            if self.warm_up_left == 0 {
                self.clock.begin(now);
            }
            return false;
        }
        if self.clock.is_running() {
            self.record(times);
            self.clock.count(now);
        }
        !self.clock.is_running()
    }

    fn record(&mut self, times: &FrameTimes) {
        let FrameTimes { preprocess_us, inference_us, decode_us, track_us, draw_us, latency_us, .. } = *times;
        self.recorder.record(Step::Preprocess, preprocess_us);
        self.recorder.record(Step::Inference, inference_us);
        self.recorder.record(Step::Decode, decode_us);
        self.recorder.record(Step::Track, track_us);
        self.recorder.record(Step::Draw, draw_us);
        self.recorder.record(Step::EndToEnd, latency_us);
    }
}

/// A meter for the source's thread, the sinks' and the one that watches.
#[derive(Clone)]
struct SharedMeter(Arc<Mutex<Meter>>);

impl SharedMeter {
    fn lock(&self) -> MutexGuard<'_, Meter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source that is played over and over, and timed.
struct Timed {
    source: Box<dyn Source>,
    meter: SharedMeter,
}

impl Source for Timed {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        let began = Instant::now();
        let mut arrival = self.source.next(shot, patience)?;
        if arrival == Arrival::Ended && self.source.rewind()? == Rewound::Yes {
            arrival = self.source.next(shot, patience)?;
        }
        if arrival == Arrival::Frame {
            self.meter.lock().captured(began.elapsed());
        }
        Ok(arrival)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        self.source.rewind()
    }

    fn describe(&self) -> String {
        self.source.describe()
    }

    /// Measured as of a camera, no more frames under way than keep the slowest stage busy: the time from end to end would
    /// else be that of waiting.
    fn supply(&self) -> Supply {
        Supply::Live
    }
}

/// Where frames end, and with the last one the run.
struct Gauge {
    meter: SharedMeter,
    stop: Stop,
}

impl Sink for Gauge {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        let now = Instant::now();
        if self.meter.lock().take(shown, now) {
            self.stop.stop();
        }
        Ok(())
    }

    fn describe(&self) -> String {
        "self-test".into()
    }
}

/// The overlay of the demo.
struct Drawn(draw::Overlay);

impl Overlay for Drawn {
    fn draw(&mut self, shot: &mut Shot, objects: &[Object], classes: &[String], vitals: &Vitals) {
        // Fails where sides and bytes do not fit together, and then the stages before have lost the frame.
        let _ = self.0.draw(shot, objects, classes, vitals);
    }
}

/// Reads what the kernel tells after each lap, beside the stages.
struct Looks<'w> {
    meter: SharedMeter,
    plan: &'w Plan,
    watch: &'w mut dyn FnMut(Event<'_>),
    done: usize,
    readings: Readings,
}

impl Looks<'_> {
    fn look(&mut self) {
        let done = self.meter.lock().clock.done();
        if done > self.done {
            self.done = done;
            self.readings = std::mem::take(&mut self.readings).highest(&self.plan.read());
            (self.watch)(Event::Tenths(done as u64));
        }
    }
}

impl Watch for Looks<'_> {
    fn note(&mut self, note: &Note) {
        (self.watch)(Event::Note(note));
    }

    fn alive(&mut self) {
        self.look();
    }
}

#[cfg(test)]
mod tests {
    use artifact::{CheckImage, ExpectedBox};

    use super::*;
    use crate::Detection;
    use crate::selftest::PictureAccuracy;

    const WARM_UP: usize = 11;

    fn meter(seconds: u64) -> Meter {
        Meter::new(Duration::from_secs(seconds), WARM_UP, Witness::new(&[], 0.25, None)).unwrap()
    }

    /// A gauge for pictures on which one box of class 0 is known, which was found one by one.
    fn gauge(pictures: usize) -> Gauge {
        let expected = vec![ExpectedBox { class: 0, score: 0.9, box_px: [0.0, 0.0, 10.0, 10.0] }];
        let check = |index: usize| CheckImage::new(format!("{index}.png"), expected.clone(), b"picture");
        let checks: Vec<_> = (0..pictures).map(check).collect();
        let picture = |check: &CheckImage| PictureAccuracy {
            name: check.name.clone(),
            expected: 1,
            found: 1,
            unexpected: 0,
            frames: 0,
            wrong: 0,
        };
        let accuracy = Accuracy::of(checks.iter().map(picture).collect());
        let witness = Witness::new(&checks, 0.25, accuracy.as_ref());
        let meter = Meter::new(Duration::from_secs(3600), WARM_UP, witness).unwrap();
        Gauge { meter: SharedMeter(Arc::new(Mutex::new(meter))), stop: Stop::new() }
    }

    /// A frame of the picture `number` comes through, on which one box of `class` was found, and which nothing is followed on yet.
    fn show(gauge: &mut Gauge, number: u64, class: usize) {
        let shot = Shot { number, ..Shot::default() };
        let found = [Detection { class, score: 0.9, x0: 0.0, y0: 0.0, x1: 10.0, y1: 10.0 }];
        let (times, vitals) = (FrameTimes::default(), Vitals::default());
        let shown =
            Shown { number: 7, shot: &shot, objects: &[], found: &found, classes: &[], times, vitals };
        gauge.show(&shown).unwrap();
    }

    #[test]
    fn a_wrong_picture_is_counted_from_the_first_frame_on() {
        let mut gauge = gauge(2);
        for (number, class) in [(0, 0), (1, 1), (0, 0), (1, 0), (0, 0)] {
            show(&mut gauge, number, class);
        }
        let seen = gauge.meter.lock().witness.seen();
        assert_eq!(seen, [Seen { frames: 3, wrong: 0 }, Seen { frames: 2, wrong: 1 }]);
    }

    #[test]
    fn looking_at_a_frame_allocates_nothing() {
        let mut gauge = gauge(2);
        let frames = |gauge: &mut Gauge| (0..40).for_each(|number| show(gauge, number % 2, 0));
        assert_eq!(allocation_counter::measure(|| frames(&mut gauge)).count_total, 0);
        assert!(gauge.meter.lock().clock.is_running(), "frames that are timed are among them");
    }

    #[test]
    fn the_warm_up_is_as_long_as_frames_go_round_but_never_longer_than_before() {
        assert_eq!([1, 3, 4, 100].map(warm_up), [11, 15, 16, 16]);
    }

    #[test]
    fn nothing_counts_before_the_pipeline_is_warm() {
        let (mut meter, begin) = (meter(10), Instant::now());
        let times = |us| FrameTimes { inference_us: us, ..FrameTimes::default() };
        for _ in 0..WARM_UP {
            meter.captured(Duration::from_millis(9));
            assert!(!meter.shown(&times(9000), begin));
        }
        assert!(meter.recorder.stages().is_empty());
        meter.captured(Duration::from_millis(2));
        assert!(!meter.shown(&times(7), begin + Duration::from_millis(1)));
        let stages = meter.recorder.stages();
        assert_eq!((stages[&Step::Capture].max_us, stages[&Step::Inference].max_us), (2000, 7));
        let names: Vec<_> = stages.keys().map(|step| step.name()).collect();
        assert_eq!(names, ["capture", "preprocess", "inference", "decode", "track", "draw", "end_to_end"]);
    }

    #[test]
    fn the_run_is_over_with_its_last_lap() {
        let (mut meter, begin) = (meter(10), Instant::now());
        let mut show = |second| meter.shown(&FrameTimes::default(), begin + Duration::from_secs(second));
        (0..WARM_UP).for_each(|_| assert!(!show(0)));
        assert!((1..10).all(|second| !show(second)));
        assert!(show(10) && show(11), "also for a frame that was under way");
    }

    #[test]
    fn pictures_are_played_over_and_over() {
        let image = crate::Image::filled(16, 16, [0; 3]);
        let picture = |name: &str| Still::Image(name.into(), image.clone());
        let meter = SharedMeter(Arc::new(Mutex::new(meter(1))));
        let stills = Stills::new(vec![picture("a"), picture("b")]);
        let (mut source, mut shot) = (Timed { source: Box::new(stills), meter }, Shot::default());
        for name in ["a", "b", "a", "b", "a"] {
            assert_eq!(source.next(&mut shot, Duration::ZERO).unwrap(), Arrival::Frame);
            assert_eq!(shot.name, name);
        }
    }
}
