//! `detect-image`: runs a bundle over image files, draws what it found and reports it. Exit codes: 0 done, 1 failed,
//! 2 wrong usage.

#[path = "detect-image/inputs.rs"]
mod inputs;
#[path = "detect-image/report.rs"]
mod report;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use repedge::{BackendChoice, Detector, Limits, Options, draw, frame};

use report::{ImageReport, Report};

/// Stands for standard output where an error names a file.
const STDOUT: &str = "standard output";

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
    /// Engine that runs the model
    #[arg(long, value_enum, default_value_t = Backend::Auto)]
    backend: Backend,
    /// Show boxes with a score above this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "SCORE", value_parser = parse_fraction)]
    confidence: Option<f32>,
    /// Drop the weaker of two boxes of a class that overlap more than this, 0 to 1 [default: the bundle's]
    #[arg(long, value_name = "OVERLAP", value_parser = parse_fraction)]
    iou: Option<f32>,
    /// Count images that cannot be read instead of stopping at the first
    #[arg(long)]
    skip_broken: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Backend {
    /// The NPU where bundle and build have it, else the CPU
    Auto,
    /// The CPU
    Tract,
    /// The Rockchip NPU
    Rknn,
}

impl From<Backend> for BackendChoice {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Auto => Self::Auto,
            Backend::Tract => Self::Tract,
            Backend::Rknn => Self::Rknn,
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_stdout(&error) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
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
                bar.suspend(|| say(args, &image.to_string()))?;
                report.images.push(image);
            }
            Err(error) if args.skip_broken && is_broken_input(&error) => {
                bar.suspend(|| eprintln!("skipped: {error}"));
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
    say(args, &report.summary())?;
    emit_json(args, &report)
}

fn open(args: &Args) -> Result<Detector> {
    let options = Options { backend: args.backend.into(), ..Options::default() };
    let mut detector = Detector::open(&args.bundle, options)?;
    let manifest = detector.manifest();
    let limits =
        Limits::device(args.confidence.unwrap_or(manifest.confidence), args.iou.unwrap_or(manifest.iou));
    detector.set_limits(limits)?;
    if let Some(reason) = detector.fallback() {
        eprintln!("note: running on {} because {reason}", detector.backend());
    }
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
                eprintln!("note: once more, because {}", fault.found);
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

/// Prints for people: to stdout, unless the JSON document owns it.
fn say(args: &Args, text: &str) -> Result<()> {
    if args.json.as_deref().is_some_and(is_stdout) {
        eprintln!("{text}");
        return Ok(());
    }
    print(&format!("{text}\n"))
}

fn emit_json(args: &Args, report: &Report) -> Result<()> {
    let Some(path) = &args.json else { return Ok(()) };
    let json = serde_json::to_string_pretty(report).context("the report cannot be written as JSON")? + "\n";
    if is_stdout(path) { print(&json) } else { Ok(artifact::atomic::write(path, json.as_bytes())?) }
}

fn is_stdout(path: &Path) -> bool {
    path == Path::new("-") || path == Path::new("/dev/stdout")
}

fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(written.map_err(|e| artifact::Error::io(STDOUT, e))?)
}

/// Whether whoever read standard output has gone, as `head` does when it has seen enough: no fault of anybody.
fn is_closed_stdout(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(artifact::Error::Io { path, source })
        if path == Path::new(STDOUT) && source.kind() == ErrorKind::BrokenPipe)
}

fn progress_bar(images: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} images, {eta} left");
    let bar = ProgressBar::new(images as u64);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn parse_fraction(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}
