//! What the pipeline costs beyond its slowest stage: the test pattern through the stand-in NPU, which replays a model of
//! YOLOv5s' output shapes at a set speed, with the overlay drawn, to all sinks: JSON lines, the page with somebody who looks at
//! it and somebody who fetches its metrics every second, a broker, and recorded video. Prints throughput as a part of what the slowest stage does alone, and what waiting adds to a
//! frame's latency, in frame times. Who stands at the other end of the sinks runs at the lowest priority, as its output says: on a
//! board these are other machines. Asserts that no frame is lost and that every sink gets its own, never times.

mod alone;
#[path = "../../../sdk/tests/sinks/broker.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "shared with the tests of the sinks")]
mod broker;
mod places;
mod scene;
mod soak;
mod visitors;
#[path = "../yolov5s/mod.rs"]
#[allow(dead_code, reason = "shared with the other benches")]
mod yolov5s;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use repedge::pipeline::{
    Duty, Following, Note, Pipeline, PipelineReport, Policy, Run, Settings, Spread, Stop, Watch,
};
use repedge::sink::Controls;
use serde_json::{Value, json};
use stand_in::Model;

use alone::Alone;
use places::{Arrived, Drawn};
use scene::{CONFIDENCE, Camera, Npu};

/// How fast frames come where latency is measured, as a part of what the slowest stage can do.
const LOAD: f64 = 0.95;
const USAGE: &str = "expected --frames N, --cores N, --latency-us N, --json or --soak MINUTES";

/// What is measured.
struct Options {
    frames: u64,
    cores: u8,
    latency_us: u64,
    is_json: bool,
    soak_minutes: Option<f64>,
}

/// `cargo run -p tests --example pipeline-bench -- [--frames N] [--cores N] [--latency-us N] [--json] [--soak MINUTES]`: by
/// default 1000 frames over 3 cores of 15128 µs a frame, which is yolov5s with ReLU on RK3588 (rknn_model_zoo 2.3.2). With
/// `--soak`, nothing is measured but whether the process grows.
fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    if let Some(minutes) = options.soak_minutes {
        return soak::run(&options, minutes);
    }
    let alone = Alone::measure(options.latency_us, options.cores)?;
    let model = scene::model("pipeline throughput", options.latency_us)?;
    let full = options.play(&model, Duration::ZERO, Policy::EveryFrame).run(Stop::new())?;
    let (shown, missing) = (full.0.shown, full.0.lost + full.0.dropped);
    ensure!(shown == options.frames && missing == 0, "frames are missing: {:?}", full.0);
    let interval = Duration::from_secs_f64(alone.slowest().1 / 1e6 / LOAD);
    let model = scene::model("pipeline latency", options.latency_us)?;
    let live = options.play(&model, interval, Policy::NewestFrame).run(Stop::new())?;
    let report = summary(&options, &alone, &full, &live, interval);
    if options.is_json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print_table(&full.0, &live.0, &report);
    }
    Ok(())
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self> {
        let mut options =
            Self { frames: 1000, cores: 3, latency_us: 15_128, is_json: false, soak_minutes: None };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().with_context(|| format!("{argument} without a number"));
            match argument.as_str() {
                "--frames" => options.frames = value()?.parse()?,
                "--cores" => options.cores = value()?.parse()?,
                "--latency-us" => options.latency_us = value()?.parse()?,
                "--soak" => options.soak_minutes = Some(value()?.parse()?),
                "--json" => options.is_json = true,
                _ => bail!("{argument}: {USAGE}"),
            }
        }
        ensure!((1..=3).contains(&options.cores), "{} cores, where 1 to 3 can be played", options.cores);
        ensure!(options.frames > 1, "{} frames, where at least 2 say how fast they come", options.frames);
        let is_time = |minutes: f64| minutes > 0.0 && minutes <= 10_000.0;
        ensure!(options.soak_minutes.is_none_or(is_time), "--soak: expected up to 10000 minutes");
        Ok(options)
    }

    fn play<'m>(&self, model: &'m Model, interval: Duration, policy: Policy) -> Play<'m> {
        Play { model, cores: self.cores, interval, policy, frames: Some(self.frames) }
    }
}

/// A run of the whole pipeline.
struct Play<'m> {
    model: &'m Model,
    cores: u8,
    /// Time between the frames of the source; none where it gives them as fast as they are taken.
    interval: Duration,
    policy: Policy,
    /// Frames after which it ends; else when it is stopped.
    frames: Option<u64>,
}

impl Play<'_> {
    /// What the pipeline says of it, and what arrived.
    fn run(&self, stop: Stop) -> Result<(PipelineReport, Arrived)> {
        let mut npu = Npu::open(self.model, self.cores)?;
        let folder = tempfile::tempdir()?;
        let (sinks, places) = places::open(folder.path())?;
        let settings = Settings {
            policy: self.policy,
            following: Following::On,
            frames: self.frames,
            ..Settings::default()
        };
        let source = Box::new(Camera::new(self.interval));
        let mut pipeline = Pipeline::new(source, settings, Controls::new(CONFIDENCE), stop);
        for sink in sinks {
            // One that fails would be measured as one that does nothing.
            pipeline.add_sink(sink, Duty::Essential);
        }
        pipeline.set_overlay(Box::new(Drawn::new()));
        let Run { report, end } = pipeline.run(&mut npu, &mut Told);
        end?;
        let arrived = places.count()?;
        arrived.check(report.shown)?;
        let violations = scene::violations(self.model);
        ensure!(violations.is_empty(), "{violations:?}");
        Ok((report, arrived))
    }
}

fn summary(
    options: &Options,
    alone: &Alone,
    (full, full_arrived): &(PipelineReport, Arrived),
    (live, live_arrived): &(PipelineReport, Arrived),
    interval: Duration,
) -> Value {
    let (stage, slowest_us) = alone.slowest();
    let fps = full.fps.unwrap_or(f64::NAN);
    let frame_us = interval.as_secs_f64() * 1e6;
    json!({
        "cores": options.cores,
        "inference_us": options.latency_us,
        "alone_us": alone.report(),
        "slowest_stage": stage,
        "slowest_per_second": 1e6 / slowest_us,
        "frames_per_second": fps,
        "throughput_ratio": fps * slowest_us / 1e6,
        "frame_time_us": frame_us,
        "added_p50_frame_times": to_f64(live.waiting.p50_us) / frame_us,
        "added_p99_frame_times": to_f64(live.waiting.p99_us) / frame_us,
        "live_dropped": live.dropped,
        "lowest_priority": places::ELSEWHERE,
        "full_load": full,
        "full_load_arrived": full_arrived.report(),
        "live": live,
        "live_arrived": live_arrived.report(),
    })
}

fn print_table(full: &PipelineReport, live: &PipelineReport, report: &Value) {
    let line = |name: &str, full: &Spread, live: &Spread| {
        let alone = report["alone_us"][name].as_f64().map_or_else(String::new, |us| format!("{us:.0}"));
        let Spread { mean_us, p50_us, p99_us, .. } = full;
        let (live_p50_us, live_p99_us) = (live.p50_us, live.p99_us);
        println!(
            "{name:<12}{alone:>10}{mean_us:>10.0}{p50_us:>10}{p99_us:>10}{live_p50_us:>12}{live_p99_us:>12}"
        );
    };
    println!(
        "{:<12}{:>10}{:>10}{:>10}{:>10}{:>12}{:>12}",
        "µs", "alone", "mean", "p50", "p99", "live p50", "live p99"
    );
    for (full, live) in full.stages.iter().zip(&live.stages) {
        line(full.stage.name(), &full.work, &live.work);
    }
    line("latency", &full.latency, &live.latency);
    line("waiting", &full.waiting, &live.waiting);
    for key in [
        "slowest_stage",
        "slowest_per_second",
        "frames_per_second",
        "throughput_ratio",
        "added_p50_frame_times",
        "added_p99_frame_times",
        "full_load_arrived",
        "lowest_priority",
    ] {
        println!("{key}: {}", report[key]);
    }
}

/// Says what the pipeline says.
struct Told;

impl Watch for Told {
    fn note(&mut self, note: &Note) {
        eprintln!("{note}");
    }

    fn alive(&mut self) {}
}

#[expect(clippy::cast_precision_loss, reason = "microseconds of a frame are far below 2^53")]
fn to_f64(count: u64) -> f64 {
    count as f64
}
