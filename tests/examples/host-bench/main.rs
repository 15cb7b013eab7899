//! What the host does to a frame, beside the same work written plainly in C and beside OpenCV: a camera's 1080p into the model's
//! input, and int8 outputs into boxes; and Motion JPEG beside zune-jpeg. All sides in one process, turn about; prints medians and their ratios, and fails when
//! the sides do not agree on the result. Asserts no times.

mod ffi;
mod motion;
#[path = "../yolov5s/mod.rs"]
#[allow(dead_code, reason = "shared with the other benches")]
mod yolov5s;

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use artifact::{Preprocess, Tensor, TensorData, TensorSpec};
use ffi::{Heads, Plain, PlainBox};
use jpeg_encoder::SamplingFactor;
use repedge::decode::Decoder;
use repedge::frame::YuvColor;
use repedge::preprocess::{LetterboxMap, Preprocessor};
use repedge::{Limits, YuvFrame};
use serde_json::{Value, json};
use yolov5s::{ANCHORS, CLASSES, QUANT, SIDE_PX, input, low_scores, noise, outputs, put_box};

const CAMERA_PX: [usize; 2] = [1920, 1080];
const OBJECTS: usize = 100;
/// Neighboring cells that find an object, as in a real model's outputs.
const FOUND_AT: usize = 3;
/// Cells of all heads, for each anchor.
const CELLS: usize = 3 * (80 * 80 + 40 * 40 + 20 * 20);
const CONFIDENCE: f32 = 0.25;
const IOU: f32 = 0.45;

/// `cargo run -p tests --example host-bench -- [ROUNDS]`: 200 unless given. With `REPEDGE_PYTHON` naming a Python that has
/// OpenCV, it is timed too.
fn main() -> Result<()> {
    let rounds = std::env::args().nth(1).map_or(Ok(200), |text| text.parse())?;
    ensure!(rounds > 0, "0 rounds, where at least 1 is needed");
    let folder = tempfile::tempdir()?;
    let plain = Plain::compile(folder.path())?;
    let report = json!({
        "copy_gb_per_s": copy_speed(rounds),
        "nv12": preprocess(&plain, Camera::Nv12, rounds)?,
        "yuyv": preprocess(&plain, Camera::Yuyv, rounds)?,
        "decode": decode(&plain, rounds)?,
        "mjpeg_422": motion::motion(SamplingFactor::F_2_1, rounds)?,
        "mjpeg_420": motion::motion(SamplingFactor::F_2_2, rounds)?,
        "mjpeg_444": motion::motion(SamplingFactor::F_1_1, rounds)?,
        "opencv": opencv(rounds)?,
    });
    println!("{}", serde_json::to_string_pretty(&report)?);
    Ok(())
}

/// How a camera's samples lie.
#[derive(Debug, Clone, Copy)]
enum Camera {
    Nv12,
    Yuyv,
}

fn preprocess(plain: &Plain, camera: Camera, rounds: usize) -> Result<Value> {
    let [width, height] = CAMERA_PX;
    let bytes = noise(
        1,
        width
            * height
            * match camera {
                Camera::Nv12 => 3,
                Camera::Yuyv => 4,
            }
            / 2,
    );
    let color = YuvColor::default();
    let frame = match camera {
        Camera::Nv12 => YuvFrame::nv12(width, height, &bytes, color)?,
        Camera::Yuyv => YuvFrame::yuyv(width, height, &bytes, color)?,
    };
    let recipe = Preprocess::yolo(SIDE_PX, SIDE_PX);
    let mut preprocessor = Preprocessor::new(&recipe, &input())?;
    let map = LetterboxMap::fit(width, height, &recipe);
    let (mut ours, mut theirs) = (vec![0; SIDE_PX * SIDE_PX * 3], vec![0; SIDE_PX * SIDE_PX * 3]);
    let [our_time, plain_time] = turn_about(
        rounds,
        [&mut || Ok(preprocessor.run_pixels(frame, &mut ours).map(|_| ())?), &mut || {
            match camera {
                Camera::Nv12 => plain.nv12(&map, SIDE_PX, &bytes, &mut theirs),
                Camera::Yuyv => plain.yuyv(&map, SIDE_PX, &bytes, &mut theirs),
            }
            Ok(())
        }],
    )?;
    let distance = ours.iter().zip(&theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
    // Half a level of Y, U and V each, as far as the matrix carries it.
    ensure!(distance <= 3, "the pixels differ by {distance} levels");
    let touched = bytes.len() + ours.len();
    Ok(json!({
        "ours_us": our_time.as_micros(),
        "plain_c_us": plain_time.as_micros(),
        "plain_c_over_ours": ratio(plain_time, our_time),
        "bytes": touched,
        "gb_per_s": gigabytes_per_second(touched, our_time),
        "largest_difference": distance,
    }))
}

fn decode(plain: &Plain, rounds: usize) -> Result<Value> {
    let specs = outputs();
    let tensors: Vec<Tensor> = specs.iter().zip(recorded()).map(tensor).collect::<Result<_>>()?;
    let recipe = yolov5s::decode();
    let mut decoder = Decoder::new(&recipe, CLASSES, &specs, Limits::device(CONFIDENCE, IOU))?;
    let map = LetterboxMap::fit(SIDE_PX, SIDE_PX, &Preprocess::yolo(SIDE_PX, SIDE_PX));
    let stored: Vec<&[i8]> = tensors.iter().filter_map(int8).collect();
    let heads = Heads {
        stored: stored.try_into().ok().context("three heads of int8")?,
        side_px: SIDE_PX,
        classes: CLASSES,
        scale: QUANT.scale,
        zero_point: QUANT.zero_point,
        anchors: &ANCHORS,
        least_objectness: i8::MIN,
        confidence: CONFIDENCE,
        iou: IOU,
    };
    let quick = Heads { least_objectness: least_objectness(), ..heads };
    let [mut found, mut found_quickly] = [(); 2].map(|()| vec![PlainBox::default(); CELLS]);
    let [mut kept, mut kept_quickly] = [[PlainBox::default(); 300]; 2];
    let [mut our_count, mut their_count, mut quick_count] = [0; 3];
    let [our_time, plain_time, quick_time] = turn_about(
        rounds,
        [
            &mut || {
                our_count = decoder.detect(&tensors, &map)?.len();
                Ok(())
            },
            &mut || {
                their_count = plain.decode(&heads, &mut found, &mut kept);
                Ok(())
            },
            &mut || {
                quick_count = plain.decode(&quick, &mut found_quickly, &mut kept_quickly);
                Ok(())
            },
        ],
    )?;
    let counts = [our_count, their_count, quick_count];
    ensure!(counts == [OBJECTS; 3], "{counts:?} objects, where each should find {OBJECTS}");
    for (ours, theirs) in decoder.detect(&tensors, &map)?.iter().zip(&kept) {
        let distance = (ours.score - theirs.score).abs();
        let is_same = distance < 1e-3 && usize::try_from(theirs.class).is_ok_and(|class| class == ours.class);
        ensure!(is_same, "other classes, or scores that differ by {distance}: {ours:?}, {theirs:?}");
    }
    // Every objectness, and the other values of cells above the threshold.
    let touched = CELLS + OBJECTS * FOUND_AT * (4 + CLASSES);
    Ok(json!({
        "ours_us": our_time.as_micros(),
        "plain_c_us": plain_time.as_micros(),
        "plain_c_over_ours": ratio(plain_time, our_time),
        "plain_c_with_stored_threshold_us": quick_time.as_micros(),
        "plain_c_with_stored_threshold_over_ours": ratio(quick_time, our_time),
        "bytes": touched,
        "gb_per_s": gigabytes_per_second(touched, our_time),
        "objects": our_count,
    }))
}

/// What OpenCV needs for the pre-processing, where there is one.
fn opencv(rounds: usize) -> Result<Value> {
    let Some(python) = std::env::var_os("REPEDGE_PYTHON") else { return Ok(Value::Null) };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("python/time_opencv.py");
    let output = Command::new(&python).arg(script).arg(rounds.to_string()).output().context("no Python")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The median of each side, all run in turn.
fn turn_about<const SIDES: usize>(
    rounds: usize,
    mut sides: [&mut dyn FnMut() -> Result<()>; SIDES],
) -> Result<[Duration; SIDES]> {
    let mut times = [const { Vec::new() }; SIDES];
    for _ in 0..rounds {
        for (side, times) in sides.iter_mut().zip(&mut times) {
            times.push(timed(side)?);
        }
    }
    Ok(times.map(median))
}

fn timed(run: &mut dyn FnMut() -> Result<()>) -> Result<Duration> {
    let begun = Instant::now();
    run()?;
    Ok(begun.elapsed())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-9)
}

#[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
fn gigabytes_per_second(bytes: usize, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64().max(1e-9) / 1e9
}

/// What this machine copies from memory to memory, in bytes read and written.
fn copy_speed(rounds: usize) -> f64 {
    let from = vec![1_u8; 64 << 20];
    let mut to = vec![0_u8; from.len()];
    let times = (0..rounds.min(20)).map(|_| {
        let begun = Instant::now();
        to.copy_from_slice(std::hint::black_box(&from));
        std::hint::black_box(&mut to);
        begun.elapsed()
    });
    gigabytes_per_second(2 * from.len(), median(times.collect()))
}

fn tensor((spec, values): (&TensorSpec, Vec<i8>)) -> Result<Tensor> {
    let mut tensor = Tensor::zeroed(spec);
    let TensorData::I8(stored) = &mut tensor.data else { anyhow::bail!("an output that is not int8") };
    stored.copy_from_slice(&values);
    Ok(tensor)
}

fn int8(tensor: &Tensor) -> Option<&[i8]> {
    match &tensor.data {
        TensorData::I8(stored) => Some(stored),
        _ => None,
    }
}

/// The lowest stored value that stands for a score above the threshold.
fn least_objectness() -> i8 {
    let logit = (CONFIDENCE / (1.0 - CONFIDENCE)).ln();
    let is_above = |&stored: &i8| {
        (f64::from(stored) - f64::from(QUANT.zero_point)) * f64::from(QUANT.scale) > f64::from(logit)
    };
    (i8::MIN..=i8::MAX).find(is_above).unwrap_or(i8::MAX)
}

/// Outputs that hold [`OBJECTS`] boxes far from each other, each found at [`FOUND_AT`] neighboring cells;
/// the rest are low scores of all sizes.
fn recorded() -> Vec<Vec<i8>> {
    let mut outputs = low_scores();
    for (object, neighbor) in
        (0..OBJECTS).flat_map(|object| (0..FOUND_AT).map(move |neighbor| (object, neighbor)))
    {
        let (row, column) = (4 + object / 10 * 7, 3 + object % 10 * 7);
        let score = 100 - i8::try_from(neighbor).unwrap_or(0);
        put_box(&mut outputs, [row, column + neighbor], object % CLASSES, score);
    }
    outputs
}
