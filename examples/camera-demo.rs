//! `camera-demo`: plays pictures or video through a bundle, frame after frame, and writes what it finds as JSON lines; as a
//! service it tells systemd that it is ready, alive and stopping. Exit codes: 0 done, 1 failed, 2 wrong usage.

#[path = "camera-demo/config.rs"]
mod config;
#[path = "camera-demo/lines.rs"]
mod lines;
#[path = "camera-demo/objects.rs"]
mod objects;
#[path = "camera-demo/playback.rs"]
mod playback;
#[path = "camera-demo/service.rs"]
mod service;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use examples::console;
use examples::device::DeviceArgs;
use repedge::source::Shot;
use repedge::{Detector, Limits};

use config::{Config, Settings};
use lines::{Line, Lines};
use objects::Objects;
use playback::{Next, Playback};
use service::Service;

/// Play pictures or video through a RepEdge bundle and write what is found as JSON lines.
#[derive(Debug, Parser)]
#[command(name = "camera-demo", version)]
struct Args {
    /// Settings, as TOML; what is also given here counts from here
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Bundle made by `train-host convert`
    #[arg(long, value_name = "X.bundle")]
    bundle: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Folder of images to play once [default: the bundle's own pictures, over and over]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// File of video to play once: .y4m, .mjpeg or .mjpg
    #[arg(long, value_name = "FILE", conflicts_with = "images")]
    video: Option<PathBuf>,
    /// Size of a test pattern to play, such as 1280x720
    #[arg(long, value_name = "WxH", conflicts_with_all = ["images", "video"], value_parser = config::parse_size)]
    pattern: Option<[usize; 2]>,
    /// Follow objects from frame to frame; as it is, for video and the pattern
    #[arg(long)]
    track: bool,
    /// Play the images or the video over and over
    #[arg(long)]
    repeat: bool,
    /// End after so many frames
    #[arg(long, value_name = "N")]
    frames: Option<u64>,
    /// Time from one frame to the next [default: as fast as it goes]
    #[arg(long, value_name = "MS")]
    interval_ms: Option<u64>,
    /// Show boxes with a score above this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "SCORE")]
    confidence: Option<f32>,
    /// Where the JSON lines go: a file, or `-` for stdout [default: -]
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
    let mut detector = settings.device.open(&settings.bundle)?;
    let confidence = settings.confidence.unwrap_or(detector.manifest().confidence);
    let objects = if settings.track {
        Objects::followed(&mut detector, confidence)?
    } else {
        let iou = detector.manifest().iou;
        detector.set_limits(Limits::device(confidence, iou))?;
        Objects::apart()
    };
    let playback = Playback::open(settings, &mut detector)?;
    let lines = Lines::create(&settings.json)?;
    let (model, backend) = (&detector.manifest().model, detector.backend());
    service.ready(&format!("{model} on {backend}: {}", playback.describe()))?;
    let outcome = Demo { detector, objects, lines }.play(settings, &mut service, playback);
    service.stopping()?;
    outcome
}

/// What frames go through.
struct Demo {
    detector: Detector,
    objects: Objects,
    lines: Lines,
}

impl Demo {
    /// Shows frame after frame until they end, enough were shown, or somebody says stop.
    fn play(mut self, settings: &Settings, service: &mut Service, mut playback: Playback) -> Result<()> {
        let mut frame = 0;
        while frame < settings.frames.unwrap_or(u64::MAX) && !service.is_stopped() {
            let begun = Instant::now();
            match playback.next()? {
                Next::Over => break,
                Next::Later => {}
                Next::Frame(shot) => {
                    self.show(frame, shot)?;
                    frame += 1;
                }
            }
            service.alive()?;
            service.wait_until(begun + settings.interval)?;
        }
        Ok(())
    }

    fn show(&mut self, frame: u64, shot: &Shot) -> Result<()> {
        match self.detector.detect(shot.picture()?) {
            Ok(found) => {
                let times = found.times;
                let objects = self.objects.of(found.boxes);
                self.lines.write(&Line::new(frame, shot, objects, self.detector.classes(), times))
            }
            // A camera's next frame comes soon; an NPU that is given up is another matter.
            Err(repedge::Error::Npu { failure, fault }) if failure.may_pass() => {
                eprintln!("note: a frame was lost: {}", fault.found);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}
