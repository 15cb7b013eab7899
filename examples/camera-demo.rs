//! `camera-demo`: plays a camera, pictures or video through a bundle and shows what is found; as a service it tells systemd
//! that it is ready, alive and stopping. Exit codes: 0 done, 1 failed, 2 wrong usage.

#[cfg(feature = "camera")]
#[path = "camera-demo/cameras.rs"]
mod cameras;
#[path = "camera-demo/config.rs"]
mod config;
#[path = "camera-demo/outputs.rs"]
mod outputs;
#[path = "camera-demo/playback.rs"]
mod playback;
#[path = "camera-demo/report.rs"]
mod report;
#[path = "camera-demo/service.rs"]
mod service;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use examples::console;
use examples::device::{DeviceArgs, PipelineModel};
use examples::fraction;
use examples::threads::pinning;
use repedge::Error;
use repedge::pipeline::{Duty, End, Pinning, Pipeline, Run, Settings as Stages};
use repedge::preprocess::rga::RgaChoice;
use repedge::sink::Controls;

use config::{Config, Formats, PolicyArg, Settings};
use outputs::Outputs;
use playback::Playback;
use report::{Part, Report};
use service::Service;

/// Play a camera, pictures or video through a RepEdge bundle and write what is found as JSON lines.
#[derive(Debug, Parser)]
#[command(name = "camera-demo", version)]
struct Args {
    /// Settings, as TOML; what is also given here counts from here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bundle made by `train-host convert` [default: the device's current one, else model.bundle beside the program; with the
    /// board.json and keys that lie beside it]
    #[arg(long, value_name = "X.bundle")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Folder of images to play once [default: the first camera, else the bundle's own pictures, over and over]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// File of video to play once: .y4m, .mjpeg or .mjpg
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    video: Option<PathBuf>,
    /// Camera to play, such as /dev/video0 [default: the first]
    #[arg(long, value_name = "DEVICE", conflicts_with_all = ["images", "video"])]
    camera: Option<PathBuf>,
    /// Size that is wished of the camera, which gives what comes nearest [default: 640x480]
    #[arg(long, value_name = "WxH", conflicts_with_all = ["images", "video", "pattern"], value_parser = config::parse_size)]
    camera_size: Option<[u16; 2]>,
    /// Frames a second that are wished of the camera [default: 30]
    #[arg(long, value_name = "N", conflicts_with_all = ["images", "video", "pattern"], value_parser = config::parse_fps)]
    camera_fps: Option<u32>,
    /// Pixel formats that are taken of the camera, of nv12, yuyv and mjpeg, the preferred one first [default: all, the board's
    /// first]
    #[arg(long, value_name = "FORMATS", conflicts_with_all = ["images", "video", "pattern"], value_parser = config::parse_formats)]
    camera_format: Option<Formats>,
    /// Size of a test pattern to play, such as 1280x720
    #[arg(long, value_name = "WxH", conflicts_with_all = ["images", "video", "camera"], value_parser = config::parse_size)]
    pattern: Option<[u16; 2]>,
    /// Follow objects from frame to frame; as it is, for cameras, video and the pattern
    #[arg(long)]
    track: bool,
    /// Play the images or the video over and over
    #[arg(long)]
    repeat: bool,
    /// What becomes of frames that come too fast [default: newest for cameras, and patterns with an interval; else every]
    #[arg(long, value_enum)]
    policy: Option<PolicyArg>,
    /// End after so many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Time from one frame to the next [default: 200 for the bundle's own pictures, else as fast as it goes]
    #[arg(long, value_name = "MS")]
    interval_ms: Option<u64>,
    /// Whether Rockchip's RGA prepares a camera's frames for the NPU: auto, off, or the file of a librga [default: auto]
    #[arg(long, value_name = "auto|off|FILE", value_parser = config::parse_rga)]
    rga: Option<RgaChoice>,
    /// Show boxes with a score above this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "SCORE", value_parser = fraction::parse)]
    confidence: Option<f32>,
    /// Serve a page with the live picture; other addresses than this machine's take a token, see `[web]` of --config
    #[arg(long, value_name = "ADDR:PORT", num_args = 0..=1, require_equals = true, default_missing_value = "127.0.0.1:8080")]
    web: Option<SocketAddr>,
    /// Record video into this folder, a gigabyte at most; `[record]` of --config says more
    #[arg(long, value_name = "DIR")]
    record: Option<PathBuf>,
    /// Where the JSON lines go: a file, after what it holds already, or `-` for stdout [default: -]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a report of all stages, queues and sinks goes at the end, as JSON; a summary goes to stderr. What was played before a
    /// camera came has figures of its own there
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Where the program begins, also when it is called by its name in `board-programs`.
pub fn main() -> ExitCode {
    let done = Config::read(Args::parse()).and_then(|settings| run(&settings));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads the lines any more: as good as being told to stop.
        Err(error) if console::is_closed_stdout(&error) => ExitCode::SUCCESS,
        Err(error) => console::exit_code(&error),
    }
}

fn run(settings: &Settings) -> Result<()> {
    let mut service = Service::start()?;
    let mut model = settings.device.open_model(&settings.bundle)?;
    let playback = playback::open(settings, &mut model)?;
    let controls = Controls::new(settings.confidence.unwrap_or(model.manifest().confidence));
    let pinning = pinning(settings.device.find_board()?.as_ref());
    let outputs = pinning.open_sinks(|| Outputs::open(settings, &controls, service.stop()))?;
    outputs.describe().skip(1).for_each(console::note);
    service.ready(&status(&model, &playback))?;
    let stage = Stage { settings, outputs, controls, pinning };
    let (report, end) = stage.play_all(playback, &mut model, &mut service)?;
    service.stopping()?;
    let written = console::emit_json(settings.report.as_deref(), &report);
    if let (Err(_), Err(error)) = (&end, &written) {
        console::note(format_args!("note: {error}"));
    }
    end?;
    written?;
    report.tell();
    Ok(())
}

/// What is the same whatever is played.
struct Stage<'s> {
    settings: &'s Settings,
    outputs: Outputs,
    controls: Controls,
    pinning: Pinning,
}

impl Stage<'_> {
    /// Plays to the end, and after that the camera that came meanwhile, if one did; gives what came of all, and how it ended.
    fn play_all(
        &self,
        mut playback: Playback,
        model: &mut PipelineModel,
        service: &mut Service,
    ) -> Result<(Report, Result<End, Error>)> {
        let mut earlier: Vec<Part> = Vec::new();
        loop {
            let (handover, source) = (playback.camera.clone(), playback.source.describe());
            let shown = earlier.iter().map(Part::shown).sum();
            let Run { report, end } = self.play(playback, shown, model, service);
            let part = Part::new(source, report);
            let camera = handover.take().filter(|_| matches!(end, Ok(End::Over)));
            let Some(camera) = camera else { return Ok((Report::new(earlier, part), end)) };
            part.tell();
            earlier.push(part);
            playback = playback::of_camera(self.settings, camera);
            console::note(format_args!("note: going on with a camera: {}", playback.source.describe()));
            service.goes_on(&status(model, &playback))?;
        }
    }

    /// Plays to the end, after `shown` frames of what was played before.
    fn play(&self, playback: Playback, shown: u64, model: &mut PipelineModel, service: &mut Service) -> Run {
        let Self { settings, outputs, controls, pinning } = self;
        let stages = Stages {
            policy: playback.policy,
            following: playback.following,
            interval: playback.interval,
            frames: settings.frames.map(|frames| frames.saturating_sub(shown)),
            pinning: pinning.clone(),
            rga: settings.rga.clone(),
        };
        let mut pipeline = Pipeline::new(playback.source, stages, controls.clone(), service.stop().clone());
        outputs.after(shown).for_each(|sink| pipeline.add_sink(sink, Duty::Optional));
        if let Some(overlay) = outputs::overlay(settings) {
            pipeline.set_overlay(overlay);
        }
        pipeline.run(model, service)
    }
}

/// What is done, for systemd.
fn status(model: &PipelineModel, playback: &Playback) -> String {
    format!("{} on {}: {}", model.manifest().model, model.backend(), playback.source.describe())
}
