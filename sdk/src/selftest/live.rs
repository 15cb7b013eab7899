//! Times the pipeline as `camera-demo` runs it: each stage on its thread, every core of an NPU at work, objects followed and the
//! overlay drawn. The bundle's pictures are played, or a test pattern, as fast as they go through; frames that go in before
//! memory and clocks are ready do not count. Timing a frame allocates nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::laps::{LAPS, Lap, LapClock};
use super::recorder::Recorder;
use super::{Event, Live, PipelineModel, Plan, Readings, Stages, Step};
use crate::detector::micros;
use crate::pipeline::{
    Analyzer as _, Duty, Following, Note, Overlay, Pipeline, PipelineReport, Policy, Settings, Stop, Watch,
    parcels,
};
use crate::sink::{Controls, FrameTimes, Object, Shown, Sink, Vitals};
use crate::source::{Arrival, Pattern, Rewound, Shot, Source, Still, Stills};
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
    /// What the pipeline says of itself.
    pub report: PipelineReport,
    /// As read between the laps, the highest of each.
    pub readings: Readings,
}

/// Runs the pipeline over `model`.
pub(super) fn measure(
    model: &mut PipelineModel,
    plan: &Plan,
    live: Live,
    watch: &mut dyn FnMut(Event<'_>),
) -> Result<Played, Error> {
    let lanes = model.engine().lock().unwrap_or_else(PoisonError::into_inner).lanes();
    let meter = SharedMeter(Arc::new(Mutex::new(Meter::new(live.lasting, warm_up(lanes))?)));
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
    Ok(Played { stages: meter.recorder.stages(), laps: meter.clock.laps(), report: run.report, readings })
}

/// So many frames are let through before any counts: each that goes round with so many lanes once, so that it has its memory.
fn warm_up(lanes: usize) -> usize {
    parcels(lanes).min(MOST_WARM_UP_FRAMES)
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

/// What is measured.
struct Meter {
    warm_up_left: usize,
    recorder: Recorder,
    clock: LapClock,
}

impl Meter {
    /// For so long, behind so many frames that do not count.
    fn new(lasting: Duration, warm_up_left: usize) -> Result<Self, Error> {
        let (recorder, clock) = (Recorder::of(&STEPS)?, LapClock::new(lasting));
        Ok(Self { warm_up_left, recorder, clock })
    }

    /// A frame was read.
    fn captured(&mut self, took: Duration) {
        if self.clock.is_running() {
            self.recorder.record(Step::Capture, micros(took));
        }
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
}

/// Where frames end, and with the last one the run.
struct Gauge {
    meter: SharedMeter,
    stop: Stop,
}

impl Sink for Gauge {
    fn show(&mut self, shown: &Shown<'_>) -> Result<(), Error> {
        if self.meter.lock().shown(&shown.times, Instant::now()) {
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
    use super::*;

    const WARM_UP: usize = 11;

    fn meter(seconds: u64) -> Meter {
        Meter::new(Duration::from_secs(seconds), WARM_UP).unwrap()
    }

    #[test]
    fn the_warm_up_is_as_long_as_frames_go_round_but_never_longer_than_before() {
        assert_eq!([1, 3, 6, 7, 100].map(warm_up), [11, 13, 16, 16, 16]);
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
