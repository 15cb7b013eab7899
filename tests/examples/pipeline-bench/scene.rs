//! What is played: the test pattern as a camera gives it, and a stand-in NPU that replays a model of YOLOv5s' output shapes for
//! it at a set speed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::Result;
use artifact::{DType, Decode, Layout, Manifest, Preprocess, Quant, TensorSpec};
use repedge::Error;
use repedge::backend::SharedEngine;
use repedge::backend::rknn::{Chip, Cores, Pool, RknnOptions};
use repedge::pipeline::Analyzer;
use repedge::preprocess::Preprocessor;
use repedge::source::{Arrival, Pattern, Rewound, Shot, Source};
use stand_in::{Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, control, digest};

pub const SIDE_PX: usize = 640;
/// Score from which on an object is shown.
pub const CONFIDENCE: f32 = 0.25;
/// Objects on each frame.
pub const OBJECTS: usize = 3;
/// Width and height of the pattern.
const PATTERN_PX: (usize, usize) = (1280, 720);
/// Frames of the pattern that are played over and over.
const PATTERNS: u64 = 6;
const CLASSES: usize = 80;
const STRIDES: [usize; 3] = [8, 16, 32];
const QUANT: Quant = Quant { scale: 0.1, zero_point: 20 };

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
    let anchors_px = vec![
        vec![[10.0, 13.0], [16.0, 30.0], [33.0, 23.0]],
        vec![[30.0, 61.0], [62.0, 45.0], [59.0, 119.0]],
        vec![[116.0, 90.0], [156.0, 198.0], [373.0, 326.0]],
    ];
    Manifest {
        model: "yolov5s".into(),
        classes: (0..CLASSES).map(|class| format!("class {class}")).collect(),
        preprocess: Preprocess::yolo(SIDE_PX, SIDE_PX),
        decode: Decode::Yolov5 { strides: STRIDES.to_vec(), anchors_px },
        confidence: CONFIDENCE,
        iou: 0.45,
        producer: "pipeline-bench".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads: Vec::new(),
    }
}

pub fn input() -> TensorSpec {
    let shape = [1, SIDE_PX, SIDE_PX, 3];
    TensorSpec { name: "images".into(), dtype: DType::U8, layout: Layout::Nhwc, shape, quant: None }
}

fn outputs() -> Vec<TensorSpec> {
    let output = |stride: usize| TensorSpec {
        name: format!("output{stride}"),
        dtype: DType::I8,
        layout: Layout::Nchw,
        shape: [1, 3 * (5 + CLASSES), SIDE_PX / stride, SIDE_PX / stride],
        quant: Some(QUANT),
    };
    STRIDES.map(output).to_vec()
}

/// The model that replays outputs for the pattern's frames; its name is the one by which the stand-in keeps its counters.
pub fn model(name: &str, latency_us: u64) -> Result<Model> {
    let element = Element::I8(QUANT);
    let order = Order::Nc1hwc2 { c2: 16, align: 1 };
    let described =
        outputs().into_iter().map(|spec| Output { name: spec.name, shape: spec.shape, element, order });
    let input = Input { name: "images".into(), shape: [1, 3, SIDE_PX, SIDE_PX], element, row_stride: 0 };
    let scenario = Scenario {
        mode: Mode::Replay { latencies_us: vec![latency_us] },
        ..Scenario::new(name, input, described.collect())
    };
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), &self::input())?;
    let mut pattern = Pattern::new(PATTERN_PX.0, PATTERN_PX.1);
    let (mut shot, mut pixels) = (Shot::default(), vec![0; SIDE_PX * SIDE_PX * 3]);
    let mut recordings = Vec::new();
    for _ in 0..PATTERNS {
        pattern.next(&mut shot, Duration::ZERO)?;
        preprocessor.run_pixels(shot.picture()?, &mut pixels)?;
        recordings.push(Recording { input: digest(&pixels), outputs: stored_outputs() });
    }
    Ok(Model { scenario, onnx: Vec::new(), recordings })
}

/// Outputs that hold [`OBJECTS`] boxes far from each other; the rest are low scores of all sizes.
fn stored_outputs() -> Vec<Vec<u8>> {
    let mut outputs: Vec<Vec<i8>> = outputs().iter().map(|spec| noise(spec.len())).collect();
    let (cells, width) = ((SIDE_PX / 8) * (SIDE_PX / 8), SIDE_PX / 8);
    for object in 0..OBJECTS {
        // In the middle row, which is no bar of the letterbox.
        let cell = width / 2 * width + object * 20 + 6;
        for (channel, value) in [(0, 20), (1, 20), (2, 40), (3, 40), (4, 100), (5 + object, 100)] {
            outputs[0][(85 + channel) * cells + cell] = value;
        }
    }
    outputs.into_iter().map(|output| output.into_iter().map(i8::cast_unsigned).collect()).collect()
}

/// Logits from -14.8 to -2: nothing that passes a threshold of a quarter.
fn noise(count: usize) -> Vec<i8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state.to_be_bytes()[0] | 0x80).cast_signed()
    };
    (0..count).map(|_| next()).collect()
}
