//! The verdict of a self-test, as JSON for machines and as text for people.

use std::fmt;

use artifact::BackendKind;
use serde::{Deserialize, Serialize};

use super::engine::{self, Engine};
use super::timing::{LAPS, Lap, Timing};
use super::{Accuracy, Clocks, Length, Percentiles, Plan, Stages};

/// The JSON schema of [`Report`].
pub const REPORT_SCHEMA: &str = include_str!("report.schema.json");
/// A device that gets slower by more than this share from the first lap to the last is throttled.
const THROTTLED: f64 = 0.1;

/// Whether something is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is.
    Pass,
    /// It is not.
    Fail,
}

impl Verdict {
    /// [`Verdict::Pass`] when `holds`.
    pub(super) fn of(holds: bool) -> Self {
        if holds { Self::Pass } else { Self::Fail }
    }
}

/// What was measured and what is to be thought of it. What could not be read or judged is `null` in JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the board.
    pub board: String,
    /// The engine that ran.
    pub backend: BackendKind,
    /// Why the board's NPU did not, where that engine ran in its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// Passes when nothing that was judged failed.
    pub verdict: Verdict,
    /// Whether it finds what it should; none where the bundle has no check images.
    pub accuracy: Option<Accuracy>,
    /// Times by stage.
    pub stages: Stages,
    /// Frames a second, one after the other.
    pub fps: f64,
    /// Frames that the engine lost.
    pub dropped: u64,
    /// Clocks at the end of the run.
    pub clocks: Option<Clocks>,
    /// Hottest zone of the run.
    pub temperature_c: Option<f64>,
    /// Whether the last tenth of the run was slower than the first; none for quick runs.
    pub throttled: Option<bool>,
    /// Highest load of each NPU core in percent.
    pub npu_load: Option<Vec<f64>>,
    /// Largest resident memory of this process.
    pub rss_bytes: Option<u64>,
    /// Highest power that hwmon told of.
    pub power_w: Option<f64>,
}

/// A report, and what in it speaks against the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
    /// Frames that were timed.
    pub frames: u64,
    /// What was asked of the device, one by one.
    pub judgements: Vec<Judgement>,
}

/// What came of one thing asked of the device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What was asked.
    pub name: &'static str,
    /// What came of it.
    pub result: Judged,
}

/// How a judgement went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// As it should.
    Passed,
    /// Otherwise; a sentence that says how.
    Failed(String),
    /// Nobody can tell; a sentence that says why.
    NotJudged(String),
}

impl Outcome {
    pub(super) fn judge(
        plan: &Plan,
        engine: Engine,
        runtime: Option<&str>,
        accuracy: Option<Accuracy>,
        timing: &Timing,
    ) -> Self {
        let speed = Speed::of(&timing.laps, |lap| lap.fps);
        let inference = Speed::of(&timing.laps, |lap| lap.inference_fps);
        let judgements = vec![
            Judgement { name: "engine", result: engine::judge(plan, &engine, runtime) },
            Judgement { name: "accuracy", result: judge_accuracy(accuracy.as_ref()) },
            Judgement { name: "speed", result: judge_speed(plan, &inference) },
        ];
        let has_failed = judgements.iter().any(|it| matches!(it.result, Judged::Failed(_)));
        let readings = &timing.readings;
        let (backend, fallback) = engine.told();
        let report = Report {
            board: plan.board.clone(),
            backend,
            fallback,
            verdict: Verdict::of(!has_failed),
            accuracy,
            stages: timing.stages,
            fps: speed.fps,
            dropped: timing.dropped,
            clocks: readings.clocks.clone(),
            temperature_c: readings.temperature_c,
            throttled: (plan.length != Length::Quick).then(|| is_throttled(&timing.laps)),
            npu_load: readings.npu_load.clone(),
            rss_bytes: readings.rss_bytes,
            power_w: readings.power_w,
        };
        Self { report, frames: timing.frames, judgements }
    }
}

fn judge_accuracy(accuracy: Option<&Accuracy>) -> Judged {
    match accuracy {
        None => Judged::NotJudged("accuracy is not judged: the bundle has no check images".into()),
        Some(it) if it.verdict == Verdict::Fail => Judged::Failed(wrong(it)),
        Some(_) => Judged::Passed,
    }
}

fn judge_speed(plan: &Plan, inference: &Speed) -> Judged {
    match (plan.budget_fps, plan.length) {
        (None, _) => {
            Judged::NotJudged(format!("speed is not judged: {} has no budget for this model", plan.board))
        }
        (Some(_), Length::Quick) => Judged::NotJudged("speed is not judged: the run was a quick one".into()),
        (Some(budget), Length::Lasting(_)) => {
            inference.too_slow_for(budget).map_or(Judged::Passed, Judged::Failed)
        }
    }
}

fn wrong(it: &Accuracy) -> String {
    format!(
        "the model finds {} of {} known boxes and {} where none are known: agreement {:.2}, the bar is {:.2}",
        it.found, it.expected, it.unexpected, it.agreement, it.bar
    )
}

fn is_throttled(laps: &[Lap; LAPS]) -> bool {
    laps[LAPS - 1].fps < (1.0 - THROTTLED) * laps[0].fps
}

/// Speed over all laps, and how far chance may have moved it.
struct Speed {
    fps: f64,
    noise_fps: f64,
}

impl Speed {
    /// Mean of the laps, and twice its standard error.
    fn of(laps: &[Lap; LAPS], fps_of: fn(&Lap) -> f64) -> Self {
        let count = LAPS as f64;
        let fps = laps.iter().map(fps_of).sum::<f64>() / count;
        let variance = laps.iter().map(|lap| (fps_of(lap) - fps).powi(2)).sum::<f64>() / (count - 1.0);
        Self { fps, noise_fps: 2.0 * (variance / count).sqrt() }
    }

    fn too_slow_for(&self, budget: f64) -> Option<String> {
        let Self { fps, noise_fps } = self;
        (fps + noise_fps < budget).then(|| {
            format!(
                "{fps:.1} ± {noise_fps:.1} inferences a second, the board's budget for this model is {budget:.1}"
            )
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { board, backend, accuracy, stages, fps, .. } = &self.report;
        writeln!(f, "{board}, {backend}: {fps:.1} frames/s over {} frames", self.frames)?;
        writeln!(f, "  {:<12}{:>9}{:>9}{:>9}{:>9}{:>9}  µs", "stage", "p50", "p90", "p95", "p99", "max")?;
        for (name, Percentiles { p50_us, p90_us, p95_us, p99_us, max_us }) in stages.named() {
            writeln!(f, "  {name:<12}{p50_us:>9}{p90_us:>9}{p95_us:>9}{p99_us:>9}{max_us:>9}")?;
        }
        if let Some(it) = accuracy {
            let Accuracy { images, expected, found, unexpected, agreement, bar, .. } = it;
            writeln!(
                f,
                "  accuracy: {found} of {expected} known boxes on {images} images, {unexpected} unknown; \
                 agreement {agreement:.2}, bar {bar:.2}"
            )?;
        }
        for judgement in &self.judgements {
            match &judgement.result {
                Judged::Passed => {}
                Judged::NotJudged(why) => writeln!(f, "  note: {why}")?,
                Judged::Failed(how) => writeln!(f, "  failed: {how}")?,
            }
        }
        f.write_str(match self.report.verdict {
            Verdict::Pass => "verdict: pass",
            Verdict::Fail => "verdict: fail",
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::selftest::{Npu, Readings};

    fn timing(laps_fps: [f64; LAPS]) -> Timing {
        let none = Percentiles { p50_us: 1, p90_us: 2, p95_us: 3, p99_us: 4, max_us: 5 };
        let stages = Stages { preprocess: none, inference: none, npu: None, decode: none, total: none };
        let laps = laps_fps.map(|fps| Lap { fps, inference_fps: 2.0 * fps });
        Timing { stages, frames: 20, dropped: 0, laps, readings: Readings::default() }
    }

    fn plan(length: Length, budget_fps: Option<f64>) -> Plan {
        Plan { board: "rk3588".into(), length, budget_fps, npu: None }
    }

    const LONG: Length = Length::Lasting(Duration::from_secs(30));
    const NOISY: [f64; LAPS] = [28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0, 28.0, 32.0];

    fn judge(plan: &Plan, accuracy: Option<Accuracy>, laps_fps: [f64; LAPS]) -> Outcome {
        Outcome::judge(plan, Engine::Due(BackendKind::Rknn), None, accuracy, &timing(laps_fps))
    }

    fn accuracy(verdict: Verdict) -> Option<Accuracy> {
        Some(Accuracy { images: 1, expected: 9, found: 2, unexpected: 1, agreement: 0.2, bar: 0.8, verdict })
    }

    #[test]
    fn a_board_below_its_budget_fails_only_beyond_noise() {
        let verdict = |length, budget| {
            judge(&plan(length, Some(budget)), accuracy(Verdict::Pass), NOISY).report.verdict
        };
        // 60 inferences a second; the standard error of these laps is 4.22 / √10 = 1.33.
        assert_eq!(verdict(LONG, 60.0), Verdict::Pass);
        assert_eq!(verdict(LONG, 62.6), Verdict::Pass);
        assert_eq!(verdict(LONG, 62.7), Verdict::Fail);
        assert_eq!(verdict(Length::Quick, 900.0), Verdict::Pass);
    }

    #[test]
    fn a_fast_wrong_answer_fails_and_says_so() {
        let outcome = judge(&plan(LONG, Some(10.0)), accuracy(Verdict::Fail), [100.0; LAPS]);
        assert_eq!(outcome.report.verdict, Verdict::Fail);
        let text = outcome.to_string();
        assert!(text.contains("2 of 9 known boxes") && text.ends_with("verdict: fail"), "{text}");
    }

    #[test]
    fn what_is_not_judged_is_told() {
        let outcome = judge(&plan(Length::Quick, None), None, NOISY);
        assert_eq!((outcome.report.verdict, outcome.report.throttled), (Verdict::Pass, None));
        let results: Vec<_> = outcome.judgements.iter().map(|it| (it.name, &it.result)).collect();
        assert!(
            matches!(
                results[..],
                [
                    ("engine", Judged::Passed),
                    ("accuracy", Judged::NotJudged(_)),
                    ("speed", Judged::NotJudged(_))
                ]
            ),
            "{results:?}"
        );
        let text = outcome.to_string();
        assert!(text.contains("no check images") && text.contains("no budget"), "{text}");
    }

    #[test]
    fn a_right_answer_of_the_cpu_in_place_of_the_npu_fails() {
        let npu =
            Npu { runtime_library: "librknnrt.so".into(), minimum_runtime: "2.5".into(), load_file: None };
        let plan = Plan { npu: Some(npu), ..plan(LONG, Some(10.0)) };
        let engine = Engine::InPlaceOfNpu { ran: BackendKind::Tract, fallback: "of its age".into() };
        let outcome = Outcome::judge(&plan, engine, None, accuracy(Verdict::Pass), &timing([100.0; LAPS]));
        assert_eq!(outcome.report.verdict, Verdict::Fail);
        let text = outcome.to_string();
        assert!(text.starts_with("rk3588, tract: ") && text.contains("because of its age"), "{text}");
    }

    #[test]
    fn a_device_that_slows_down_is_throttled() {
        let mut laps = [100.0; LAPS];
        laps[LAPS - 1] = 89.0;
        assert_eq!(judge(&plan(LONG, None), None, laps).report.throttled, Some(true));
        laps[LAPS - 1] = 91.0;
        assert_eq!(judge(&plan(LONG, None), None, laps).report.throttled, Some(false));
    }
}
