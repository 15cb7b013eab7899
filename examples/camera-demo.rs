//! `camera-demo`: plays pictures through a bundle, frame after frame, and writes what it finds as JSON lines; as a
//! service it tells systemd that it is ready, alive and stopping. Exit codes: 0 done, 1 failed, 2 wrong usage.

#[path = "camera-demo/config.rs"]
mod config;
#[path = "camera-demo/lines.rs"]
mod lines;
#[path = "camera-demo/pictures.rs"]
mod pictures;
#[path = "camera-demo/service.rs"]
mod service;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use examples::console;
use examples::device::DeviceArgs;
use repedge::{Detector, Limits};

use config::{Config, Settings};
use lines::{Line, Lines};
use pictures::Pictures;
use service::Service;

/// Play pictures through a RepEdge bundle and write what is found as JSON lines.
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
    /// Play the images over and over
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
    if let Some(confidence) = settings.confidence {
        let iou = detector.manifest().iou;
        detector.set_limits(Limits::device(confidence, iou))?;
    }
    let mut pictures = Pictures::open(settings, &mut detector)?;
    let mut lines = Lines::create(&settings.json)?;
    service.ready(&format!("{} on {}", detector.manifest().model, detector.backend()))?;
    let outcome = play(settings, &mut service, &mut detector, &mut pictures, &mut lines);
    service.stopping()?;
    outcome
}

/// Shows picture after picture until they end, enough were shown, or somebody says stop.
fn play(
    settings: &Settings,
    service: &mut Service,
    detector: &mut Detector,
    pictures: &mut Pictures,
    lines: &mut Lines,
) -> Result<()> {
    for frame in 0..settings.frames.unwrap_or(u64::MAX) {
        let begun = Instant::now();
        if service.is_stopped() {
            break;
        }
        let Some((name, image)) = pictures.next()? else { break };
        let found = detector.detect(image.frame()).map(|found| (found.boxes.to_vec(), found.times));
        match found {
            Ok((boxes, times)) => {
                lines.write(&Line::new(frame, name, image, &boxes, detector.classes(), times))?;
            }
            // A camera's next frame comes soon; an NPU that is given up is another matter.
            Err(repedge::Error::Npu { failure, fault }) if failure.may_pass() => {
                eprintln!("note: a frame was lost: {}", fault.found);
            }
            Err(error) => return Err(error.into()),
        }
        service.alive()?;
        service.wait_until(begun + settings.interval)?;
    }
    Ok(())
}
