//! What is played: the test pattern as a camera gives it, and a stand-in NPU that replays a model of YOLOv5s' output shapes for
//! it at a set speed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use artifact::{Manifest, Preprocess};
use repedge::Error;
use repedge::backend::SharedEngine;
use repedge::backend::rknn::{Chip, Cores, Pool, RknnOptions};
use repedge::pipeline::Analyzer;
use repedge::preprocess::Preprocessor;
use repedge::source::{Arrival, Pattern, Rewound, Shot, Source};
use stand_in::{Kind, Model, Recording, control, digest};

use super::yolov5s::{
    CELLS, CLASSES, SIDE_PX, decode, input, low_scores, outputs, put_box, scenario, stored,
};

/// Score from which on an object is shown.
pub const CONFIDENCE: f32 = 0.25;
/// Objects on each frame.
pub const OBJECTS: usize = 3;
/// Width and height of the pattern.
const PATTERN_PX: (usize, usize) = (1280, 720);
/// Frames of the pattern that are played over and over.
const PATTERNS: u64 = 6;

/// The pattern at the rate of a camera, on a schedule that does not slip; as fast as it goes without an interval.
pub struct Camera {
    pattern: Pattern,
    next: u64,
    interval: Duration,
    due: Option<Instant>,
}

impl Camera {
    pub fn new(interval: Duration) -> Self {
        Self { pattern: Pattern::new(PATTERN_PX.0, PATTERN_PX.1), next: 0, interval, due: None }
    }
}

impl Source for Camera {
    fn next(&mut self, shot: &mut Shot, patience: Duration) -> Result<Arrival, Error> {
        let due = self.due.unwrap_or_else(Instant::now);
        let left = due.saturating_duration_since(Instant::now());
        std::thread::sleep(left.min(patience));
        if left > patience {
            return Ok(Arrival::Late);
        }
        // One that is given as fast as it is taken has no time of its own.
        (shot.taken_at, shot.read_from) =
            (Some(due).filter(|_| !self.interval.is_zero()), Some(Instant::now()));
        if self.next.is_multiple_of(PATTERNS) {
            self.pattern.rewind()?;
        }
        self.due = Some(due + self.interval);
        self.next += 1;
        self.pattern.next(shot, patience)
    }

    fn rewind(&mut self) -> Result<Rewound, Error> {
        Ok(Rewound::No)
    }

    fn describe(&self) -> String {
        self.pattern.describe()
    }
}

/// The stand-in with a model.
pub struct Npu {
    manifest: Manifest,
    engine: SharedEngine,
}

impl Npu {
    pub fn open(model: &Model, cores: u8) -> Result<Self> {
        let pool = pool(model, cores)?;
        Ok(Self { manifest: manifest(), engine: Arc::new(Mutex::new(pool)) })
    }
}

/// The stand-in's cores, without a pipeline.
pub fn pool(model: &Model, cores: u8) -> Result<Pool> {
    let options = RknnOptions {
        library: Some(control::library(Kind::Rk)),
        chip: Chip::Named("rk3588".into()),
        cores: Cores::Each(cores),
        frames_per_core: 4,
        ..RknnOptions::default()
    };
    Ok(Pool::open(model.pack(), input(), outputs(), &options)?)
}

/// What the stand-in saw done wrong while it played `model`.
pub fn violations(model: &Model) -> Vec<String> {
    control::Control::new(&control::library(Kind::Rk), &model.scenario.name).counters().violations
}

impl Analyzer for Npu {
    fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    fn engine(&self) -> SharedEngine {
        Arc::clone(&self.engine)
    }

    fn replace(&mut self, _error: &Error) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

pub fn manifest() -> Manifest {
    Manifest {
        model: "yolov5s".into(),
        classes: (0..CLASSES).map(|class| format!("class {class}")).collect(),
        preprocess: Preprocess::yolo(SIDE_PX, SIDE_PX),
        decode: decode(),
        confidence: CONFIDENCE,
        iou: 0.45,
        producer: "pipeline-bench".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads: Vec::new(),
    }
}

/// The model that replays outputs for the pattern's frames; its name is the one by which the stand-in keeps its counters.
pub fn model(name: &str, latency_us: u64) -> Result<Model> {
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), &input())?;
    let mut pattern = Pattern::new(PATTERN_PX.0, PATTERN_PX.1);
    let (mut shot, mut pixels) = (Shot::default(), vec![0; SIDE_PX * SIDE_PX * 3]);
    let mut recordings = Vec::new();
    for _ in 0..PATTERNS {
        pattern.next(&mut shot, Duration::ZERO)?;
        preprocessor.run_pixels(shot.picture()?, &mut pixels)?;
        recordings.push(Recording { input: digest(&pixels), outputs: recorded() });
    }
    Ok(Model { scenario: scenario(name, latency_us), onnx: Vec::new(), recordings })
}

/// Outputs that hold [`OBJECTS`] boxes far from each other; the rest are low scores of all sizes.
fn recorded() -> Vec<Vec<u8>> {
    let mut outputs = low_scores();
    for object in 0..OBJECTS {
        // In the middle row, which is no bar of the letterbox.
        put_box(&mut outputs, [CELLS / 2, object * 20 + 6], object, 100);
    }
    stored(outputs)
}
