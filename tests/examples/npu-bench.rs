//! What queueing over several NPU cores gives: one core and several, measured in one run over the stand-in library, which
//! replays a model of YOLOv5s' output shapes at the speed that was published for RK3588. The host does its real work:
//! letterbox of a camera's frames, decode and NMS. Prints both sides and the ratio; asserts order and objects, and times only
//! where it is told to.

#[path = "yolov5s/mod.rs"]
#[allow(dead_code, reason = "shared with the other benches")]
mod yolov5s;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use artifact::Preprocess;
use repedge::backend::rknn::{Chip, Completed, Cores, Pool, RknnOptions};
use repedge::decode::Decoder;
use repedge::preprocess::{LetterboxMap, Preprocessor};
use repedge::{Image, Limits};
use serde_json::{Value, json};
use stand_in::{Kind, Mode, Model, Recording, control, digest};
use yolov5s::{
    CELLS, CLASSES, SIDE_PX, decode, input, low_scores, noise, outputs, put_box, scenario, stored,
};

/// Width and height of a camera's frames.
const PICTURE_PX: [usize; 2] = [1280, 720];
/// Different frames; the n-th shows n + 1 objects.
const PICTURES: usize = 6;

/// Least times of one core's frames that three must give.
const LEAST_RATIO: f64 = 2.85;

/// What is done with the figures.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Judging {
    /// They are printed.
    Off,
    /// They must reach what the product promises, too.
    On,
}

/// `cargo run -p tests --example npu-bench -- [--check] [FRAMES] [CORES] [MICROSECONDS]`: by default 2000 frames, 3 cores, and
/// 15128 µs a frame, which is 66.1 frames a second: yolov5s with ReLU on one core of RK3588 (rknn_model_zoo 2.3.2). With
/// `--check` it fails where three cores give less than 2.85 times the frames of one, or where more than one of a hundred frames
/// waits for a core that is never idle, or of a camera's is later, by as much as a core takes for a frame: for long runs on a
/// machine that does nothing else.
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).peekable();
    let judging = if arguments.next_if_eq("--check").is_some() { Judging::On } else { Judging::Off };
    let mut next = |default: u64| arguments.next().map_or(Ok(default), |text| text.parse());
    let (frames, cores, latency_us) = (next(2000)?, u8::try_from(next(3)?)?, next(15_128)?);
    ensure!(judging == Judging::Off || cores == 3, "{cores} cores, where --check is for 3");
    ensure!((1..=3).contains(&cores), "{cores} cores, where 1 to 3 can be played");
    ensure!(frames >= u64::from(cores), "{frames} frames, which leaves a core without one");
    let pictures: Vec<Image> = (0..PICTURES).map(picture).collect();
    let mut model = model(&pictures, latency_us)?;
    let one = measure(named(&mut model, "one core"), &pictures, 1, frames / u64::from(cores))?;
    let all = measure(named(&mut model, "all cores"), &pictures, cores, frames)?;
    let camera = measure_camera(named(&mut model, "camera"), &pictures, cores, frames)?;
    let fps = |side: &Value| side["frames_per_second"].as_f64().unwrap_or(f64::NAN);
    let report = json!({
        "frame_us": latency_us,
        "one_core": one,
        "all_cores": all,
        "ratio": fps(&all) / fps(&one),
        "camera": camera,
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    match judging {
        Judging::Off => Ok(()),
        Judging::On => judge(&report),
    }
}

/// Fails where figures are not those that are promised, and names them all.
fn judge(report: &Value) -> Result<()> {
    let figure =
        |pointer: &str| report.pointer(pointer).and_then(Value::as_f64).context("a figure is missing");
    let (ratio, frame_us) = (figure("/ratio")?, figure("/frame_us")?);
    let mut missed = Vec::new();
    if ratio < LEAST_RATIO {
        missed.push(format!("{ratio:.3} times one core, where {LEAST_RATIO} is the least"));
    }
    for (what, pointer) in
        [("of waiting for a busy core", "/all_cores/queued_us/p99"), ("added", "/camera/added_us/p99")]
    {
        let us = figure(pointer)?;
        if us >= frame_us {
            missed.push(format!("{us} µs {what} (99 %), where a core takes {frame_us} µs for a frame"));
        }
    }
    ensure!(missed.is_empty(), "{}", missed.join("; "));
    Ok(())
}

/// The same model under another name, by which the stand-in keeps its counters.
fn named<'m>(model: &'m mut Model, name: &str) -> &'m Model {
    name.clone_into(&mut model.scenario.name);
    model
}

/// Frames that each core finished.
fn frames_by_core(model: &Model) -> Result<Vec<u64>> {
    let counters = control::Control::new(&control::library(Kind::Rk), &model.scenario.name).counters();
    ensure!(counters.violations.is_empty(), "{:?}", counters.violations);
    Ok(counters.runs_by_core)
}

/// Frames through `cores` cores as fast as they are taken, from pixels to boxes.
fn measure(model: &Model, pictures: &[Image], cores: u8, frames: u64) -> Result<Value> {
    let mut pool = open(model, cores)?;
    let mut bench = Bench::new(&pool)?;
    let mut maps = VecDeque::new();
    let (mut submitted, mut finished) = (0, 0);
    let began = Instant::now();
    while finished < frames {
        while submitted < frames {
            let Some(mut slot) = pool.slot()? else { break };
            let pixels = slot.pixels().context("a model without pixels")?;
            maps.push_back(bench.preprocess(&pictures[which(submitted)], pixels)?);
            pool.submit(slot);
            submitted += 1;
        }
        let completed = pool.next().context("no frame under way")?;
        ensure!(completed.frame == finished, "frame {} instead of {finished}", completed.frame);
        let outputs = completed.result?;
        let map = maps.pop_front().context("more frames than maps")?;
        let objects = bench.decode(outputs.outputs(), &map)?;
        ensure!(objects == which(finished) + 1, "{objects} objects in frame {finished}");
        bench.queued.push(outputs.queued);
        bench.run.push(outputs.run);
        finished += 1;
    }
    let seconds = began.elapsed().as_secs_f64();
    Ok(json!({
        "cores": cores,
        "frames": frames,
        "frames_by_core": frames_by_core(model)?,
        "frames_per_second": to_f64(frames) / seconds,
        "preprocess_us": spread(&mut bench.preprocess),
        "decode_us": spread(&mut bench.decode),
        "queued_us": spread(&mut bench.queued),
        "run_us": spread(&mut bench.run),
    }))
}

/// Frames that come at 95 % of what all cores can do, as from a camera: what waiting, letterbox and decode add to the
/// NPU's own time, from a frame's arrival to its boxes.
fn measure_camera(model: &Model, pictures: &[Image], cores: u8, frames: u64) -> Result<Value> {
    let mut pool = open(model, cores)?;
    let mut bench = Bench::new(&pool)?;
    let Mode::Replay { latencies_us } = &model.scenario.mode else { bail!("a model that replays nothing") };
    let interval = Duration::from_micros(latencies_us[0]).div_f64(f64::from(cores) * 0.95);
    let mut under_way: VecDeque<(Instant, LetterboxMap)> = VecDeque::new();
    let mut added = Vec::new();
    let mut finish = |bench: &mut Bench, completed: Completed, under_way: &mut VecDeque<_>| -> Result<()> {
        let outputs = completed.result?;
        let (arrived, map): (Instant, LetterboxMap) =
            under_way.pop_front().context("more frames than maps")?;
        let objects = bench.decode(outputs.outputs(), &map)?;
        ensure!(objects == which(completed.frame) + 1, "{objects} objects in frame {}", completed.frame);
        added.push(arrived.elapsed().saturating_sub(outputs.run));
        Ok(())
    };
    let mut arrival = Instant::now();
    for frame in 0..frames {
        arrival += interval;
        while let Some(completed) = pool.next_until(arrival) {
            finish(&mut bench, completed, &mut under_way)?;
        }
        std::thread::sleep(arrival.saturating_duration_since(Instant::now()));
        let mut slot = loop {
            if let Some(slot) = pool.slot()? {
                break slot;
            }
            let completed = pool.next().context("no slot and no frame under way")?;
            finish(&mut bench, completed, &mut under_way)?;
        };
        let pixels = slot.pixels().context("a model without pixels")?;
        under_way.push_back((arrival, bench.preprocess(&pictures[which(frame)], pixels)?));
        pool.submit(slot);
    }
    while let Some(completed) = pool.next() {
        finish(&mut bench, completed, &mut under_way)?;
    }
    Ok(json!({
        "frames": frames,
        "frames_by_core": frames_by_core(model)?,
        "frames_per_second": 1.0 / interval.as_secs_f64(),
        "added_us": spread(&mut added),
    }))
}

/// The model on so many cores.
fn open(model: &Model, cores: u8) -> Result<Pool> {
    let options = RknnOptions {
        library: Some(control::library(Kind::Rk)),
        chip: Chip::Named("rk3588".into()),
        cores: Cores::Each(cores),
        ..RknnOptions::default()
    };
    Ok(Pool::open(model.pack(), input(), outputs(), &options)?)
}

/// The host's side of the work, and how long it took.
struct Bench {
    preprocessor: Preprocessor,
    decoder: Decoder,
    preprocess: Vec<Duration>,
    decode: Vec<Duration>,
    queued: Vec<Duration>,
    run: Vec<Duration>,
}

impl Bench {
    fn new(pool: &Pool) -> Result<Self> {
        Ok(Self {
            preprocessor: Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), pool.input())?,
            decoder: Decoder::new(&decode(), CLASSES, pool.outputs(), Limits::device(0.25, 0.45))?,
            preprocess: Vec::new(),
            decode: Vec::new(),
            queued: Vec::new(),
            run: Vec::new(),
        })
    }

    fn preprocess(&mut self, picture: &Image, pixels: &mut [u8]) -> Result<LetterboxMap> {
        let began = Instant::now();
        let map = self.preprocessor.run_pixels(picture.frame(), pixels)?;
        self.preprocess.push(began.elapsed());
        Ok(map)
    }

    fn decode<'v>(
        &mut self,
        outputs: impl ExactSizeIterator<Item = artifact::TensorView<'v>> + Clone,
        map: &LetterboxMap,
    ) -> Result<usize> {
        let began = Instant::now();
        let objects = self.decoder.detect_views(outputs, map)?.len();
        self.decode.push(began.elapsed());
        Ok(objects)
    }
}

/// Pixels like no other picture's.
fn picture(number: usize) -> Image {
    let [width_px, height_px] = PICTURE_PX;
    let seed = u32::try_from(number).unwrap_or(0);
    Image { width_px, height_px, rgb: noise(seed, width_px * height_px * 3) }
}

/// The model that replays the pictures' outputs.
fn model(pictures: &[Image], latency_us: u64) -> Result<Model> {
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), &input())?;
    let mut pixels = vec![0; SIDE_PX * SIDE_PX * 3];
    let mut recordings = Vec::new();
    for (number, picture) in pictures.iter().enumerate() {
        preprocessor.run_pixels(picture.frame(), &mut pixels)?;
        recordings.push(Recording { input: digest(&pixels), outputs: recorded(number + 1) });
    }
    Ok(Model { scenario: scenario("bench", latency_us), onnx: Vec::new(), recordings })
}

/// Outputs that hold `objects` boxes far from each other, each found at three neighboring cells, as a real model finds it;
/// the rest are low scores of all sizes.
fn recorded(objects: usize) -> Vec<Vec<u8>> {
    let mut outputs = low_scores();
    for (object, neighbor) in (0..objects).flat_map(|object| (0..3).map(move |neighbor| (object, neighbor))) {
        // In the middle row, which is no bar of the letterbox.
        put_box(&mut outputs, [CELLS / 2, object * 12 + 6 + neighbor], object, 100);
    }
    stored(outputs)
}

fn which(frame: u64) -> usize {
    usize::try_from(frame).unwrap_or(0) % PICTURES
}

/// Median, 99th percentile and highest, in microseconds.
fn spread(times: &mut [Duration]) -> Value {
    times.sort_unstable();
    let at = |share: usize| times.get((times.len() * share / 100).min(times.len().saturating_sub(1)));
    let us = |share: usize| at(share).map_or(0, Duration::as_micros);
    json!({"p50": us(50), "p99": us(99), "max": us(100)})
}

#[expect(clippy::cast_precision_loss, reason = "frame counts are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
