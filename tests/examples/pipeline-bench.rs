//! What the pipeline costs beyond its slowest stage: the test pattern through the stand-in NPU, which replays a model of
//! YOLOv5s' output shapes at a set speed, to sinks. Prints throughput as a part of what the slowest stage alone could do, and
//! what waiting adds to a frame's latency, in frame times. Asserts that no frame is lost, never times.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use artifact::{DType, Decode, Layout, Manifest, Preprocess, Quant, TensorSpec};
use repedge::Error;
use repedge::backend::SharedEngine;
use repedge::backend::rknn::{Chip, Cores, Pool, RknnOptions};
use repedge::pipeline::{
    Analyzer, Duty, Following, Note, Pipeline, PipelineReport, Policy, Run, Settings, Spread, Stage, Stop,
    Watch,
};
use repedge::preprocess::Preprocessor;
use repedge::sink::{Controls, Lines};
use repedge::source::{Arrival, Pattern, Rewound, Shot, Source};
use serde_json::{Value, json};
use stand_in::{Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, control, digest};

const SIDE_PX: usize = 640;
/// Width and height of the pattern.
const PATTERN_PX: (usize, usize) = (1280, 720);
/// Frames of the pattern that are played over and over.
const PATTERNS: u64 = 6;
const CLASSES: usize = 80;
const STRIDES: [usize; 3] = [8, 16, 32];
const QUANT: Quant = Quant { scale: 0.1, zero_point: 20 };
/// How fast frames come where latency is measured, as a part of what the slowest stage can do.
const LOAD: f64 = 0.95;

/// What is measured.
struct Options {
    frames: u64,
    cores: u8,
    latency_us: u64,
    is_json: bool,
}

/// `cargo run -p tests --example pipeline-bench -- [--frames N] [--cores N] [--latency-us N] [--json]`: by default 1000 frames
/// over 3 cores of 15128 µs a frame, which is yolov5s with ReLU on RK3588 (rknn_model_zoo 2.3.2).
fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    let mut model = model(options.latency_us)?;
    model.scenario.name = "pipeline throughput".into();
    let full = measure(&model, &options, Duration::ZERO, Policy::EveryFrame)?;
    ensure!(full.shown == options.frames && full.lost + full.dropped == 0, "frames are missing: {full:?}");
    let slowest_us = slowest(&full).1;
    model.scenario.name = "pipeline latency".into();
    let interval = Duration::from_secs_f64(slowest_us / 1e6 / LOAD);
    let live = measure(&model, &options, interval, Policy::NewestFrame)?;
    let report = summary(&options, &full, &live, interval);
    if options.is_json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_table(&full, &live, &report);
    }
    Ok(())
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options = Self { frames: 1000, cores: 3, latency_us: 15_128, is_json: false };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} without a number"));
            match argument.as_str() {
                "--frames" => options.frames = value()?.parse()?,
                "--cores" => options.cores = value()?.parse()?,
                "--latency-us" => options.latency_us = value()?.parse()?,
                "--json" => options.is_json = true,
                _ => bail!("{argument}: expected --frames N, --cores N, --latency-us N or --json"),
            }
        }
        ensure!((1..=3).contains(&options.cores), "{} cores, where 1 to 3 can be played", options.cores);
        Ok(options)
    }
}

/// The stage that takes longest for a frame, and how long, in microseconds; the engine's lanes share its frames.
fn slowest(report: &PipelineReport) -> (Stage, f64) {
    let lanes = f64::from(u32::try_from(report.lanes).unwrap_or(1));
    let time = |stage: &repedge::pipeline::StageReport| {
        let shared = if stage.stage == Stage::Inference { lanes } else { 1.0 };
        (stage.stage, stage.work.mean_us / shared)
    };
    let all = report.stages.iter().map(time);
    all.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or((Stage::Inference, f64::NAN))
}

fn summary(options: &Options, full: &PipelineReport, live: &PipelineReport, interval: Duration) -> Value {
    let (stage, slowest_us) = slowest(full);
    let fps = full.fps.unwrap_or(f64::NAN);
    let frame_us = interval.as_secs_f64() * 1e6;
    json!({
        "cores": options.cores,
        "inference_us": options.latency_us,
        "slowest_stage": stage,
        "slowest_us": slowest_us,
        "frames_per_second": fps,
        "throughput_ratio": fps * slowest_us / 1e6,
        "frame_time_us": frame_us,
        "added_p50_frame_times": to_f64(live.waiting.p50_us) / frame_us,
        "added_p99_frame_times": to_f64(live.waiting.p99_us) / frame_us,
        "live_dropped": live.dropped,
        "full_load": full,
        "live": live,
    })
}

fn print_table(full: &PipelineReport, live: &PipelineReport, report: &Value) {
    let line = |name: &str, full: &Spread, live: &Spread| {
        let Spread { mean_us, p50_us, p99_us, .. } = full;
        let (live_p50_us, live_p99_us) = (live.p50_us, live.p99_us);
        println!("{name:<12}{mean_us:>10.0}{p50_us:>10}{p99_us:>10}{live_p50_us:>12}{live_p99_us:>12}");
    };
    println!("{:<12}{:>10}{:>10}{:>10}{:>12}{:>12}", "µs", "mean", "p50", "p99", "live p50", "live p99");
    for (full, live) in full.stages.iter().zip(&live.stages) {
        line(full.stage.name(), &full.work, &live.work);
    }
    line("latency", &full.latency, &live.latency);
    line("waiting", &full.waiting, &live.waiting);
    for key in [
        "slowest_stage",
        "frames_per_second",
        "throughput_ratio",
        "added_p50_frame_times",
        "added_p99_frame_times",
    ] {
        println!("{key}: {}", report[key]);
    }
}

/// Frames through the whole pipeline, at least `interval` apart.
fn measure(model: &Model, options: &Options, interval: Duration, policy: Policy) -> Result<PipelineReport> {
    let mut npu = Npu::open(model, options.cores)?;
    let settings =
        Settings { policy, following: Following::On, frames: Some(options.frames), ..Settings::default() };
    let source = Camera { pattern: Pattern::new(PATTERN_PX.0, PATTERN_PX.1), next: 0, interval, due: None };
    let mut pipeline = Pipeline::new(Box::new(source), settings, Controls::new(0.25), Stop::new());
    let folder = tempfile::tempdir()?;
    pipeline.add_sink(Box::new(Lines::create(&folder.path().join("lines.jsonl"))?), Duty::Essential);
    let Run { report, end } = pipeline.run(&mut npu, &mut Silent);
    end?;
    let violations =
        control::Control::new(&control::library(Kind::Rk), &model.scenario.name).counters().violations;
    ensure!(violations.is_empty(), "{violations:?}");
    Ok(report)
}

/// The pattern at the rate of a camera, on a schedule that does not slip.
struct Camera {
    pattern: Pattern,
    next: u64,
    interval: Duration,
    due: Option<Instant>,
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

/// Says nothing.
struct Silent;

impl Watch for Silent {
    fn note(&mut self, note: &Note) {
        eprintln!("{note}");
    }

    fn alive(&mut self) {}
}

/// The stand-in with a model.
struct Npu {
    manifest: Manifest,
    engine: SharedEngine,
}

impl Npu {
    fn open(model: &Model, cores: u8) -> Result<Self> {
        let options = RknnOptions {
            library: Some(control::library(Kind::Rk)),
            chip: Chip::Named("rk3588".into()),
            cores: Cores::Each(cores),
            frames_per_core: 4,
            ..RknnOptions::default()
        };
        let pool = Pool::open(model.pack(), input(), outputs(), &options)?;
        Ok(Self { manifest: manifest(), engine: Arc::new(Mutex::new(pool)) })
    }
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

fn manifest() -> Manifest {
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
        confidence: 0.25,
        iou: 0.45,
        producer: "pipeline-bench".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads: Vec::new(),
    }
}

fn input() -> TensorSpec {
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

/// The model that replays outputs for the pattern's frames.
fn model(latency_us: u64) -> Result<Model> {
    let element = Element::I8(QUANT);
    let order = Order::Nc1hwc2 { c2: 16, align: 1 };
    let described =
        outputs().into_iter().map(|spec| Output { name: spec.name, shape: spec.shape, element, order });
    let input = Input { name: "images".into(), shape: [1, 3, SIDE_PX, SIDE_PX], element, row_stride: 0 };
    let scenario = Scenario {
        mode: Mode::Replay { latencies_us: vec![latency_us] },
        ..Scenario::new("bench", input, described.collect())
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

/// Outputs that hold three boxes far from each other; the rest are low scores of all sizes.
fn stored_outputs() -> Vec<Vec<u8>> {
    let mut outputs: Vec<Vec<i8>> = outputs().iter().map(|spec| noise(spec.len())).collect();
    let (cells, width) = ((SIDE_PX / 8) * (SIDE_PX / 8), SIDE_PX / 8);
    for object in 0..3 {
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

#[expect(clippy::cast_precision_loss, reason = "microseconds of a frame are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
