//! Each stage's work by itself, on a machine that does nothing else: what the pipeline is measured by.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use repedge::Limits;
use repedge::backend::rknn::{Finished, Pool};
use repedge::decode::Decoder;
use repedge::pipeline::{Overlay, Stage};
use repedge::preprocess::{LetterboxMap, Preprocessor};
use repedge::sink::{FrameTimes, Object, Shown, Vitals};
use repedge::source::{Shot, Source};
use repedge::track::{TrackSettings, Tracker};
use serde_json::{Value, json};

use super::places::{self, Drawn};
use super::scene::{self, CONFIDENCE, Camera, OBJECTS};
use super::yolov5s::{SIDE_PX, input};

/// Frames for each stage.
const FRAMES: u32 = 200;
/// What a frame's decoder must give where objects are followed: the pipeline believes lower scores of those.
const LEAST_SCORE: f32 = 0.4 * CONFIDENCE;

/// How long each stage takes for a frame, in microseconds, in the order of [`Stage::ALL`].
pub struct Alone([f64; Stage::ALL.len()]);

impl Alone {
    /// Runs each stage by itself.
    pub fn measure(latency_us: u64, cores: u8) -> Result<Self> {
        let mut shot = Shot::default();
        let capture = capture(&mut shot)?;
        let (preprocess, map) = preprocess(&shot)?;
        let inference = inference(&shot, latency_us, cores)?;
        let (decode, objects) = decode(&mut shot, &map)?;
        let sinks = sinks(&shot, &objects)?;
        Ok(Self([capture, preprocess, inference, decode, sinks].map(|time| time.as_secs_f64() * 1e6)))
    }

    /// The stage that takes longest for a frame, and how long.
    pub fn slowest(&self) -> (Stage, f64) {
        let all = Stage::ALL.into_iter().zip(self.0);
        all.fold((Stage::Capture, 0.0), |slowest, next| if next.1 > slowest.1 { next } else { slowest })
    }

    pub fn report(&self) -> Value {
        let named =
            Stage::ALL.into_iter().zip(self.0).map(|(stage, us)| (stage.name().to_owned(), json!(us)));
        Value::Object(named.collect())
    }
}

/// The average time of `work`.
fn timed(mut work: impl FnMut(u32) -> Result<()>) -> Result<Duration> {
    let began = Instant::now();
    (0..FRAMES).try_for_each(&mut work)?;
    Ok(began.elapsed() / FRAMES)
}

fn capture(shot: &mut Shot) -> Result<Duration> {
    let mut camera = Camera::new(Duration::ZERO);
    timed(|_| {
        camera.next(shot, Duration::ZERO)?;
        Ok(())
    })
}

fn preprocess(shot: &Shot) -> Result<(Duration, LetterboxMap)> {
    let mut preprocessor = Preprocessor::new(&scene::manifest().preprocess, &input())?;
    let mut pixels = vec![0; SIDE_PX * SIDE_PX * 3];
    let map = preprocessor.run_pixels(shot.picture()?, &mut pixels)?;
    let time = timed(|_| {
        preprocessor.run_pixels(shot.picture()?, &mut pixels)?;
        Ok(())
    })?;
    black_box(&pixels);
    Ok((time, map))
}

/// A frame that the stand-in has finished, whose outputs lie as the pipeline's do, and the cores whose memory they are in.
fn finished() -> Result<(Pool, Finished)> {
    let mut pool = scene::pool(&scene::model("pipeline decode", 0)?, 1)?;
    let mut shot = Shot::default();
    Camera::new(Duration::ZERO).next(&mut shot, Duration::ZERO)?;
    let mut preprocessor = Preprocessor::new(&scene::manifest().preprocess, &input())?;
    let mut slot = pool.slot()?.context("a pool without a slot")?;
    preprocessor.run_pixels(shot.picture()?, slot.pixels().context("a model without pixels")?)?;
    pool.submit(slot);
    let finished = pool.next().context("no frame under way")?.result?;
    Ok((pool, finished))
}

/// All cores, with a frame ready for each as soon as it has finished one.
fn inference(shot: &Shot, latency_us: u64, cores: u8) -> Result<Duration> {
    let mut pool = scene::pool(&scene::model("pipeline inference", latency_us)?, cores)?;
    let mut preprocessor = Preprocessor::new(&scene::manifest().preprocess, &input())?;
    let mut pixels = vec![0; SIDE_PX * SIDE_PX * 3];
    preprocessor.run_pixels(shot.picture()?, &mut pixels)?;
    let feed = |pool: &mut Pool| -> Result<()> {
        while let Some(mut slot) = pool.slot()? {
            slot.pixels().context("a model without pixels")?.copy_from_slice(&pixels);
            pool.submit(slot);
        }
        Ok(())
    };
    // The first frames find cores with nothing to do.
    feed(&mut pool)?;
    drop(pool.next().context("no frame under way")?.result?);
    timed(|_| {
        feed(&mut pool)?;
        drop(pool.next().context("no frame under way")?.result?);
        Ok(())
    })
}

/// Decode, NMS, tracking and the overlay.
fn decode(shot: &mut Shot, map: &LetterboxMap) -> Result<(Duration, Vec<Object>)> {
    let ((pool, finished), manifest) = (finished()?, scene::manifest());
    let classes = manifest.classes.len();
    let limits = Limits::device(LEAST_SCORE, manifest.iou);
    let mut decoder = Decoder::new(&manifest.decode, classes, pool.outputs(), limits)?;
    let settings = TrackSettings {
        high_score: CONFIDENCE,
        new_score: CONFIDENCE,
        low_score: LEAST_SCORE,
        ..TrackSettings::default()
    };
    let (mut tracker, mut overlay, mut objects) = (Tracker::new(settings)?, Drawn::new(), Vec::new());
    let time = timed(|frame| {
        let found = decoder.detect_views(finished.outputs(), map)?;
        let at = Duration::from_millis(u64::from(frame) * 5);
        objects.clear();
        let tracked = tracker.update(at, found).iter();
        objects.extend(tracked.map(|it| Object { track: Some(it.id), detection: it.detection }));
        overlay.draw(shot, &objects, &manifest.classes, &Vitals::default());
        Ok(())
    })?;
    ensure!(objects.len() == OBJECTS, "{} of {OBJECTS} objects", objects.len());
    Ok((time, objects))
}

fn sinks(shot: &Shot, objects: &[Object]) -> Result<Duration> {
    let folder = tempfile::tempdir()?;
    let (mut sinks, places) = places::open(folder.path())?;
    let classes = scene::manifest().classes;
    let time = timed(|frame| {
        let (times, vitals) = (FrameTimes::default(), Vitals::default());
        let shown =
            Shown { number: frame.into(), shot, objects, found: &[], classes: &classes, times, vitals };
        sinks.iter_mut().try_for_each(|sink| sink.show(&shown))?;
        Ok(())
    })?;
    drop(sinks);
    // So few frames may have gone before the first picture of them came.
    let arrived = places.count()?;
    ensure!(u32::try_from(arrived.lines)? == FRAMES, "{arrived:?}");
    Ok(time)
}
