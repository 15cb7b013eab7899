//! The verdict of a self-test, as JSON for machines; what is judged, and how.

use artifact::BackendKind;
use serde::{Deserialize, Serialize};

use super::engine::{self, Engine};
use super::laps::{self, LAPS, Speed};
use super::live::Played;
use super::timing::Timing;
use super::{Accuracy, Clocks, Length, Plan, Readings, Stages, Step};
use crate::pipeline::PipelineReport;

/// The JSON schema of [`Report`].
pub const REPORT_SCHEMA: &str = include_str!("report.schema.json");

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
    /// Whether it finds what it should, one by one and on every frame of the pipeline; none where the bundle has no check images.
    pub accuracy: Option<Accuracy>,
    /// Times by step: in the pipeline, or, where none ran, one by one.
    pub stages: Stages,
    /// Frames a second: through the pipeline, or, where none ran, one by one. No budget is about them, see [`OneByOne`].
    pub fps: f64,
    /// Frames that the engine lost, and those that the pipeline passed over, could not use or lost.
    pub dropped: u64,
    /// Frames one after the other; none in reports of versions that ran no pipeline.
    #[serde(default)]
    pub one_by_one: Option<OneByOne>,
    /// The pipeline; none where none ran, as in quick runs, or where it failed, which the verdict then says too.
    #[serde(default)]
    pub pipeline: Option<PipelineRun>,
    /// Clocks at the end of the run.
    pub clocks: Option<Clocks>,
    /// Hottest zone of the run.
    pub temperature_c: Option<f64>,
    /// Whether the last tenth was slower than the first, in the pipeline where one ran, by more than a tenth of it and by more
    /// than chance: three standard errors by the spread of the tenths. None for quick runs and for too few frames.
    pub throttled: Option<bool>,
    /// Highest load of each NPU core in percent.
    pub npu_load: Option<Vec<f64>>,
    /// Largest resident memory of this process.
    pub rss_bytes: Option<u64>,
    /// Highest power that any one sensor told of.
    pub power_w: Option<f64>,
}

/// Frames one after the other: on one core of an NPU, as boards' budgets are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneByOne {
    /// Frames that were timed.
    pub frames: u64,
    /// Frames a second, from pixels to boxes.
    pub fps: f64,
    /// Inferences a second, the engine's time alone: what the budget is about.
    pub inference_fps: f64,
    /// How far chance may have moved that.
    pub noise_fps: f64,
    /// What the board's file asks of it; none where it has no figure for the model.
    pub budget_fps: Option<f64>,
    /// Times by step.
    pub stages: Stages,
}

/// A run of the pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineRun {
    /// Frames that were timed.
    pub frames: u64,
    /// Frames that the engine computes at the same time: cores of an NPU.
    pub lanes: usize,
}

/// A report, and what in it speaks against the device.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// What was measured.
    pub report: Report,
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

/// The name of the judgement about the engine, to which the pipeline may add.
const ENGINE: &str = "engine";
/// The name of the judgement about what the model finds, to which the pipeline may add.
const ACCURACY: &str = "accuracy";
/// The name of the judgement about the pipeline, where one was to run.
const PIPELINE: &str = "pipeline";
/// How many frames the pipeline may lose at least, however short the run: one that a core was given up with, and one behind it.
const LOST_AT_LEAST: u64 = 2;
/// How many of so many frames it may lose.
const ONE_LOST_OF: u64 = 100;

impl Outcome {
    /// Of frames one by one.
    pub(super) fn judge(
        plan: &Plan,
        engine: Engine,
        runtime: Option<&str>,
        accuracy: Option<Accuracy>,
        timing: Timing,
    ) -> Self {
        let speed = Speed::of(timing.laps.map(|lap| lap.fps));
        let inference = Speed::of(timing.inference_fps);
        let judgements = vec![
            Judgement { name: ENGINE, result: engine::judge(plan, &engine, runtime) },
            Judgement { name: ACCURACY, result: judge_accuracy(accuracy.as_ref()) },
            Judgement { name: "speed", result: judge_speed(plan, &inference) },
        ];
        let readings = timing.readings;
        let (backend, fallback) = engine.told();
        let one_by_one = OneByOne {
            frames: frames(&timing.laps),
            fps: speed.fps,
            inference_fps: inference.fps,
            noise_fps: inference.noise_fps,
            budget_fps: plan.budget_fps,
            stages: timing.stages.clone(),
        };
        let report = Report {
            board: plan.board.clone(),
            backend,
            fallback,
            verdict: verdict(&judgements),
            accuracy,
            stages: timing.stages,
            fps: speed.fps,
            dropped: timing.dropped,
            one_by_one: Some(one_by_one),
            pipeline: None,
            clocks: readings.clocks,
            temperature_c: readings.temperature_c,
            throttled: match plan.length {
                Length::Quick => None,
                Length::Lasting(_) => laps::is_throttled(&timing.laps),
            },
            npu_load: readings.npu_load,
            rss_bytes: readings.rss_bytes,
            power_w: readings.power_w,
        };
        Self { report, judgements }
    }

    /// With what the pipeline did, on the same device, by `engine`.
    pub(super) fn with_pipeline(mut self, plan: &Plan, engine: Engine, played: Played) -> Self {
        let Played { stages, laps, seen, report: pipeline, readings } = played;
        let report = &mut self.report;
        // It is timed one by one only.
        let npu = report.stages.get(&Step::Npu).copied();
        report.stages = npu.map(|times| (Step::Npu, times)).into_iter().chain(stages).collect();
        report.fps = Speed::of(laps.map(|lap| lap.fps)).fps;
        report.dropped += pipeline.dropped + pipeline.broken + pipeline.lost;
        report.pipeline = Some(PipelineRun { frames: frames(&laps), lanes: pipeline.lanes });
        report.throttled = laps::is_throttled(&laps);
        report.note(&readings);
        if let Some(accuracy) = &mut report.accuracy {
            accuracy.take_in(&seen);
        }
        let wrong_frames = report.accuracy.as_ref().and_then(wrong_frames);
        let engine_failed = engine::failed_in_pipeline(plan, &engine, &pipeline);
        if report.fallback.is_none() {
            (report.backend, report.fallback) = engine.told();
        }
        self.fail(ENGINE, engine_failed);
        self.fail(ACCURACY, wrong_frames);
        self.judged(Judgement { name: PIPELINE, result: judge_pipeline(&pipeline) })
    }

    /// With the `reason` why the pipeline did not start or did not run to its end, which speaks against the device.
    #[must_use]
    pub fn without_pipeline(self, reason: &str) -> Self {
        let result = Judged::Failed(format!("the pipeline did not run: {reason}"));
        self.judged(Judgement { name: PIPELINE, result })
    }

    /// Has the judgement of this name fail for `how`, if there is anything; what is wrong already is the cause.
    fn fail(&mut self, name: &str, how: Option<String>) {
        let judgement = self.judgements.iter_mut().find(|it| it.name == name);
        let judgement = judgement.filter(|it| !matches!(it.result, Judged::Failed(_)));
        if let (Some(judgement), Some(how)) = (judgement, how) {
            judgement.result = Judged::Failed(how);
        }
    }

    /// With one judgement more.
    fn judged(mut self, judgement: Judgement) -> Self {
        self.judgements.push(judgement);
        self.report.verdict = verdict(&self.judgements);
        self
    }
}

impl Report {
    /// Takes in what was read later.
    fn note(&mut self, later: &Readings) {
        let before = Readings {
            clocks: self.clocks.take(),
            temperature_c: self.temperature_c,
            npu_load: self.npu_load.take(),
            rss_bytes: self.rss_bytes,
            power_w: self.power_w,
        };
        let Readings { clocks, temperature_c, npu_load, rss_bytes, power_w } = before.highest(later);
        (self.clocks, self.npu_load) = (clocks, npu_load);
        (self.temperature_c, self.rss_bytes, self.power_w) = (temperature_c, rss_bytes, power_w);
    }
}

fn frames(laps: &[laps::Lap; LAPS]) -> u64 {
    laps.iter().map(|lap| lap.frames).sum()
}

fn verdict(judgements: &[Judgement]) -> Verdict {
    Verdict::of(!judgements.iter().any(|it| matches!(it.result, Judged::Failed(_))))
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
            too_slow_for(budget, inference).map_or(Judged::Passed, Judged::Failed)
        }
    }
}

fn too_slow_for(budget: f64, inference: &Speed) -> Option<String> {
    let Speed { fps, noise_fps } = inference;
    (fps + noise_fps < budget).then(|| {
        format!(
            "{fps:.1} ± {noise_fps:.1} inferences a second, the board's budget for this model is {budget:.1}"
        )
    })
}

/// Every frame is taken, so that none is missing but by the device's fault.
fn judge_pipeline(report: &PipelineReport) -> Judged {
    let missing = report.broken + report.lost;
    let frames = report.shown + missing;
    let most = LOST_AT_LEAST.max(frames / ONE_LOST_OF);
    if missing <= most {
        return Judged::Passed;
    }
    Judged::Failed(format!(
        "{missing} of {frames} frames were broken or lost in the pipeline, at most {most} may be: see the notes above, and the \
         kernel's log"
    ))
}

fn wrong(it: &Accuracy) -> String {
    format!(
        "the model finds {} of {} known boxes and {} where none are known: agreement {:.2}, the bar is {:.2}",
        it.found, it.expected, it.unexpected, it.agreement, it.bar
    )
}

/// What the pipeline found otherwise than known, if it did.
fn wrong_frames(it: &Accuracy) -> Option<String> {
    let wrong = it.pictures.iter().filter(|picture| picture.wrong > 0);
    let told = wrong.map(|it| format!("{} of {} frames of {}", it.wrong, it.frames, it.name));
    let told = told.collect::<Vec<_>>().join(", ");
    (!told.is_empty()).then(|| {
        format!(
            "in the pipeline the model finds something else than is known on {told}, which it does not one by one: look for a \
             core that computes wrongly"
        )
    })
}

#[cfg(test)]
mod tests;
