//! `self-test`: runs a bundle on this device and judges whether it finds what it should, on the board's NPU and fast enough for
//! the board. Exit codes: 0 pass, 1 fail, 2 wrong usage.

#[path = "self-test/clocks.rs"]
mod clocks;
#[path = "self-test/files.rs"]
mod files;
#[path = "self-test/verify.rs"]
mod verify;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use artifact::trust::raise_minimum_security_version;
use boards::Board;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use examples::console;
use examples::device::DeviceArgs;
use examples::threads::pinning;
use indicatif::{ProgressBar, ProgressStyle};
use repedge::Detector;
use repedge::selftest::{self, Broken, Clocks, Event, Length, Live, Npu, Outcome, Plan, Report, Verdict};

use clocks::FixedClocks;
use files::Files;

/// What part of the time is for frames one by one: a quarter.
const ONE_BY_ONE: u32 = 4;

/// Check that a bundle runs on this device as it should.
#[derive(Debug, Parser)]
#[command(name = "self-test", version)]
struct Args {
    /// Bundle made by `train-host convert`
    bundle: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Load, check the accuracy and run a few frames one by one, without judging the speed
    #[arg(long, conflicts_with = "duration")]
    quick: bool,
    /// How long to run for the timings, such as 30s or 2m: a quarter of it one frame after the other, the rest in the pipeline
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    #[command(flatten)]
    files: Files,
    /// Say what changed since the run whose JSON report is in FILE
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Leave the clocks as they are, instead of fixing them for the run as the board's file says
    #[arg(long)]
    keep_clocks: bool,
    /// Folder in which the /sys and /run of the board's clocks stand
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// After a pass, accept no bundle of a lower security version any more: for the version that runs from now on
    #[arg(long, conflicts_with = "allow_unsigned")]
    commit: bool,
}

/// Where the program begins, also when it is called by its name in `board-programs`.
pub fn main() -> ExitCode {
    if verify::is_asked() {
        return verify::main();
    }
    match run(&Args::parse()) {
        Ok(Verdict::Pass) => ExitCode::SUCCESS,
        Ok(Verdict::Fail) => ExitCode::FAILURE,
        Err(error) => console::exit_code(&error),
    }
}

fn run(args: &Args) -> Result<Verdict> {
    let Some(board) = args.device.board.as_deref() else { missing_board() };
    // Before any is removed: it may be the one that is written anew.
    let old = args.compare.as_deref().map(read_report).transpose()?;
    let removed = args.files.remove_old();
    let tested = removed.and_then(|()| test(args)).inspect_err(|error| {
        let broken = Broken::new(board, error.to_string());
        if let Err(error) = args.files.write_broken(&broken) {
            console::note(format_args!("note: {error}"));
        }
    });
    let Tested { outcome, signed, restored } = tested?;
    let json = args.files.json.as_deref();
    files::all([restored, args.files.write(&outcome), console::say(json, &outcome.to_string())])?;
    if let Some(old) = old {
        console::say(json, selftest::compare(&old, &outcome.report).trim_end())?;
    }
    if args.commit {
        commit(args.device.state(), &signed, &outcome)?;
    }
    Ok(outcome.report.verdict)
}

/// What a whole self-test gives.
struct Tested {
    outcome: Outcome,
    signed: Signed,
    /// Whether the clocks are as they were.
    restored: Result<()>,
}

fn test(args: &Args) -> Result<Tested> {
    let board = args.device.find_board()?.unwrap_or_else(|| missing_board());
    let detector = args.device.open(&args.bundle)?;
    let plan = Plan {
        board: board.name.clone(),
        length: if args.quick { Length::Quick } else { Length::Lasting(args.duration / ONE_BY_ONE) },
        budget_fps: budget_fps(&board, &detector),
        npu: board.npu.as_ref().map(npu_of),
    };
    let fixed = FixedClocks::fix(args.clocks(&board), &args.root)?;
    let signed = Signed::of(&detector);
    let mut outcome = args.measure(detector, &plan, &board)?;
    note_fixed(&mut outcome.report, fixed.read_back());
    // A report of what was measured is due, whatever becomes of the clocks.
    Ok(Tested { outcome, signed, restored: fixed.restore() })
}

impl Args {
    /// The clocks to fix; a quick run does not measure speed.
    fn clocks<'a>(&self, board: &'a Board) -> &'a BTreeMap<String, boards::Clock> {
        static NONE: BTreeMap<String, boards::Clock> = BTreeMap::new();
        if self.quick || self.keep_clocks { &NONE } else { &board.clocks }
    }

    /// Shows frames one by one, and, but for a quick run, runs the pipeline for the rest of the time. Where that fails, the device
    /// does, and what was measured before is still reported.
    fn measure(&self, mut detector: Detector, plan: &Plan, board: &Board) -> Result<Outcome> {
        let bar = progress_bar(plan);
        let mut outcome = selftest::run(&mut detector, plan, |tenths| bar.set_position(tenths))?;
        // From here on the NPU, with its memory, is the pipeline's.
        drop(detector);
        if let Length::Lasting(one_by_one) = plan.length {
            let lasting = self.duration.saturating_sub(one_by_one);
            let live = Live { lasting, pinning: pinning(Some(board)) };
            outcome = match self.run_pipeline(outcome.clone(), plan, live, &bar) {
                Ok(whole) => whole,
                Err(error) => outcome.without_pipeline(&format!("{error:#}")),
            };
        }
        bar.finish_and_clear();
        Ok(outcome)
    }

    fn run_pipeline(&self, outcome: Outcome, plan: &Plan, live: Live, bar: &ProgressBar) -> Result<Outcome> {
        let mut model = self.device.open_model(&self.bundle)?;
        let watch = |event: Event<'_>| match event {
            Event::Tenths(tenths) => bar.set_position(10 + 3 * tenths),
            Event::Note(note) => bar.suspend(|| console::note(note)),
        };
        Ok(selftest::run_pipeline(outcome, &mut model, plan, live, watch)?)
    }
}

fn read_report(path: &Path) -> Result<Report> {
    let json = std::fs::read(path).map_err(|e| artifact::Error::io(path, e))?;
    if let Ok(broken) = serde_json::from_slice::<Broken>(&json) {
        bail!(
            "{}: of a self-test that could not run: {}\n  expected: the report of one that ran\n  help: name another",
            path.display(),
            broken.error()
        );
    }
    serde_json::from_slice(&json).map_err(|e| {
        anyhow!(
            "{}: not a report of self-test: {e}\n  expected: what `self-test --json FILE` writes\n  \
             help: make it again with this version",
            path.display()
        )
    })
}

fn note_fixed(report: &mut Report, fixed: BTreeMap<String, selftest::FixedClock>) {
    if !fixed.is_empty() {
        report.clocks.get_or_insert_with(Clocks::default).fixed = fixed;
    }
}

/// Ends as clap does when an argument is missing: others can do without a board, this program cannot.
fn missing_board() -> ! {
    let names = boards::names().collect::<Vec<_>>().join(", ");
    let text = format!("--board is required: one of {names}, or a resolved board file (.json)");
    Args::command().error(ErrorKind::MissingRequiredArgument, text).exit()
}

/// Whether the bundle is signed.
enum Signed {
    /// With this security version.
    At(u32),
    /// Nobody vouches for what it says.
    No,
}

impl Signed {
    fn of(detector: &Detector) -> Self {
        detector.signer().map_or(Self::No, |_| Self::At(detector.manifest().security_version))
    }
}

/// Raises the lowest security version that this device accepts to that of the bundle which has just passed.
fn commit(state: &Path, signed: &Signed, outcome: &Outcome) -> Result<()> {
    if outcome.report.verdict == Verdict::Fail {
        console::note("note: security versions are accepted as before");
        return Ok(());
    }
    let Signed::At(security_version) = signed else {
        bail!("an unsigned bundle cannot raise the security version");
    };
    let minimum = raise_minimum_security_version(state, *security_version)?;
    console::note(format_args!("note: security versions from {minimum} on are accepted"));
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

/// What the self-test asks of the board's NPU.
fn npu_of(npu: &boards::Npu) -> Npu {
    Npu {
        runtime_library: npu.runtime_library.to_string(),
        minimum_runtime: npu.minimum_runtime.to_string(),
        load_file: npu.load_file.clone(),
    }
}

/// Ten steps a quarter of the run, of which a quick one has the first only.
fn progress_bar(plan: &Plan) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {eta} left");
    let steps = if plan.length == Length::Quick { 10 } else { 40 };
    ProgressBar::new(steps).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
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
