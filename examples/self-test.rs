//! `self-test`: runs a bundle on this device and judges whether it finds what it should, fast enough for the board. Exit
//! codes: 0 pass, 1 fail, 2 wrong usage.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use artifact::trust::raise_minimum_security_version;
use boards::Board;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use examples::console;
use examples::device::DeviceArgs;
use indicatif::{ProgressBar, ProgressStyle};
use repedge::Detector;
use repedge::selftest::{self, Length, Outcome, Plan, Verdict};

/// Check that a bundle runs on this device as it should.
#[derive(Debug, Parser)]
#[command(name = "self-test", version)]
struct Args {
    /// Bundle made by `train-host convert`
    bundle: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Load, check the accuracy and run a few frames, without judging the speed
    #[arg(long, conflicts_with = "duration")]
    quick: bool,
    /// How long to run for the timings, such as 30s or 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// Report as JSON in FILE, or on stdout as `-`
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
    /// After a pass, accept no bundle of a lower security version any more: for the version that runs from now on
    #[arg(long, conflicts_with = "allow_unsigned")]
    commit: bool,
}

/// Where the program begins, also when it is called by its name in `board-programs`.
pub fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(Verdict::Pass) => ExitCode::SUCCESS,
        Ok(Verdict::Fail) => ExitCode::FAILURE,
        Err(error) => console::exit_code(&error),
    }
}

fn run(args: &Args) -> Result<Verdict> {
    let board = args.device.find_board()?.unwrap_or_else(|| missing_board());
    let mut detector = args.device.open(&args.bundle)?;
    let length = if args.quick { Length::Quick } else { Length::Lasting(args.duration) };
    let plan = Plan { board: board.name.clone(), length, budget_fps: budget_fps(&board, &detector) };
    let bar = progress_bar();
    let outcome = selftest::run(&mut detector, &plan, |tenths| bar.set_position(tenths))?;
    bar.finish_and_clear();
    let json = args.json.as_deref();
    console::emit_json(json, &outcome.report)?;
    console::say(json, &outcome.to_string())?;
    if args.commit {
        commit(args.device.state(), &detector, &outcome)?;
    }
    Ok(outcome.report.verdict)
}

/// Ends as clap does when an argument is missing: others can do without a board, this program cannot.
fn missing_board() -> ! {
    let names = boards::names().collect::<Vec<_>>().join(", ");
    let text = format!("--board is required: one of {names}, or a resolved board file (.json)");
    Args::command().error(ErrorKind::MissingRequiredArgument, text).exit()
}

/// Raises the lowest security version that this device accepts to that of the bundle which has just passed.
fn commit(state: &Path, detector: &Detector, outcome: &Outcome) -> Result<()> {
    if outcome.report.verdict == Verdict::Fail {
        eprintln!("note: security versions are accepted as before");
        return Ok(());
    }
    ensure!(detector.signer().is_some(), "an unsigned bundle cannot raise the security version");
    let minimum = raise_minimum_security_version(state, detector.manifest().security_version)?;
    eprintln!("note: security versions from {minimum} on are accepted");
    Ok(())
}

/// Inferences a second that the board's file asks of what runs.
fn budget_fps(board: &Board, detector: &Detector) -> Option<f64> {
    let manifest = detector.manifest();
    let payload = manifest.payloads.iter().find(|payload| payload.name == detector.payload())?;
    let backend = match payload.backend {
        artifact::BackendKind::Tract => boards::Backend::Tract,
        artifact::BackendKind::Rknn => boards::Backend::Rknn,
    };
    let precision = match payload.precision {
        artifact::Precision::Fp32 => boards::Precision::Fp32,
        artifact::Precision::Fp16 => boards::Precision::Fp16,
        artifact::Precision::Int8 => boards::Precision::Int8,
    };
    let side_px = u32::try_from(manifest.preprocess.width_px).ok()?;
    Some(board.budget(&manifest.model, side_px, precision, backend)?.inference_fps)
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {eta} left");
    ProgressBar::new(10).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Reads `500ms`, `30s` or `2m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit_ms = match &text[digits.len()..] {
        "ms" => 1,
        "s" | "" => 1000,
        "m" | "min" => 60_000,
        _ => 0,
    };
    match digits.parse::<u64>() {
        Ok(count) if count > 0 && unit_ms > 0 => Ok(Duration::from_millis(count.saturating_mul(unit_ms))),
        _ => Err("expected a time such as 30s, 500ms or 2m".into()),
    }
}
