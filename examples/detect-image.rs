//! `detect-image`: runs a bundle over image files, draws what it found and reports it. Exit codes: 0 done, 1 failed,
//! 2 wrong usage.

#[path = "detect-image/inputs.rs"]
mod inputs;
#[path = "detect-image/report.rs"]
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Parser;
use examples::console;
use examples::device::DeviceArgs;
use examples::fraction;
use indicatif::{ProgressBar, ProgressStyle};
use repedge::{Detector, Limits, draw, frame};

use report::{ImageReport, Report};

/// Find objects in images with a RepEdge bundle.
#[derive(Debug, Parser)]
#[command(name = "detect-image", version)]
struct Args {
    /// Bundle made by `train-host convert`
    bundle: PathBuf,
    /// Image files, or folders of them
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder for the images with boxes drawn, as PNG
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Report as one JSON document on stdout, or in FILE
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    json: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Show boxes with a score above this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "SCORE", value_parser = fraction::parse)]
    confidence: Option<f32>,
    /// Drop the weaker of two boxes of a class that overlap more than this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "OVERLAP", value_parser = fraction::parse)]
    iou: Option<f32>,
    /// Count images that cannot be read instead of stopping at the first
    #[arg(long)]
    skip_broken: bool,
}

/// Where the program begins, also when it is called by its name in `board-programs`.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => console::exit_code(&error),
    }
}

fn run(args: &Args) -> Result<()> {
    let inputs = inputs::expand(&args.images)?;
    let pictures = inputs::picture_paths(&inputs, args.out.as_deref())?;
    let mut detector = open(args)?;
    let mut report = Report::new(&args.bundle, &detector);
    let bar = progress_bar(inputs.len());
    for (input, picture) in inputs.iter().zip(&pictures) {
        match detect(&mut detector, input, picture.as_deref()) {
            Ok(image) => {
                bar.suspend(|| console::say(args.json.as_deref(), &image.to_string()))?;
                report.images.push(image);
            }
            Err(error) if args.skip_broken && is_broken_input(&error) => {
                bar.suspend(|| console::note(format_args!("skipped: {error}")));
                report.skip(input, &error);
            }
            Err(error) => return Err(error),
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    if report.images.is_empty() {
        bail!(
            "none of the {} images could be read\n  expected: at least one whole image\n  help: see the messages above",
            inputs.len()
        );
    }
    report.finish(&detector);
    console::say(args.json.as_deref(), &report.summary())?;
    console::emit_json(args.json.as_deref(), &report)
}

fn open(args: &Args) -> Result<Detector> {
    let mut detector = args.device.open(&args.bundle)?;
    let manifest = detector.manifest();
    let limits =
        Limits::device(args.confidence.unwrap_or(manifest.confidence), args.iou.unwrap_or(manifest.iou));
    detector.set_limits(limits)?;
    Ok(detector)
}

fn detect(detector: &mut Detector, input: &Path, picture: Option<&Path>) -> Result<ImageReport> {
    let started = Instant::now();
    let mut image = frame::read_image(input)?;
    let read_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let (boxes, times) = loop {
        match detector.detect(image.frame()) {
            Ok(found) => break (found.boxes.to_vec(), found.times),
            // An image can wait, unlike a camera's frame. The NPU is given up when it fails too often in a row.
            Err(repedge::Error::Npu { failure, fault }) if failure.may_pass() => {
                console::note(format_args!("note: once more, because {}", fault.found));
            }
            Err(error) => return Err(error.into()),
        }
    };
    if let Some(path) = picture {
        draw::draw_detections(&mut image, &boxes, detector.classes());
        frame::write_png(path, &image)?;
    }
    Ok(ImageReport::new(input, &image, picture, &boxes, detector.classes(), read_us, times))
}

/// Whether the image is at fault, rather than the bundle, the engine or the disk.
fn is_broken_input(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(repedge::Error::Input(_)))
}

fn progress_bar(images: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images, {eta} left");
    let bar = ProgressBar::new(images as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
