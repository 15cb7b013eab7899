//! Whether a bundle runs on this device as it should: on the NPU where it is made for one, what it finds on pictures where that
//! is known, how long each stage takes, frame by frame and in the pipeline, and whether that is fast enough. A fast wrong answer
//! fails. Never changes the device's state.

mod accuracy;
mod broken;
mod compare;
mod csv;
mod engine;
mod junit;
mod laps;
mod live;
mod power;
mod readings;
mod recorder;
mod report;
mod stages;
mod text;
mod timing;
mod witness;

use std::time::Duration;

use crate::backend::SharedEngine;
use crate::pipeline::{Note, Pinning};
use crate::{Detector, Error, Image, Model};

pub use accuracy::{Accuracy, PictureAccuracy};
pub use broken::Broken;
pub use compare::compare;
pub use csv::csv;
use engine::Engine;
pub use engine::Npu;
pub use junit::{junit, junit_of_broken};
pub use readings::{Clocks, FixedClock, Readings};
pub use report::{Judged, Judgement, OneByOne, Outcome, PipelineRun, REPORT_SCHEMA, Report, Verdict};
pub use stages::{Percentiles, Stages, Step};

/// A model that frames go through side by side.
type PipelineModel = Model<SharedEngine>;

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the board, for the report.
    pub board: String,
    /// How long to show frames one by one.
    pub length: Length,
    /// Inferences a second that the board must reach with this model; none where that is not known.
    pub budget_fps: Option<f64>,
    /// The board's NPU: models for it must run there; none where the board has none.
    pub npu: Option<Npu>,
}

impl Plan {
    /// What the kernel tells of the device now.
    fn read(&self) -> Readings {
        Readings::now(self.npu.as_ref().and_then(|npu| npu.load_file.as_deref()))
    }
}

/// How long to show frames one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A few frames: enough to see that it runs, too few to judge its speed.
    Quick,
    /// So long.
    Lasting(Duration),
}

/// How the pipeline is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// So long, once it is warm.
    pub lasting: Duration,
    /// Which processor cores stages run on.
    pub pinning: Pinning,
}

/// What is told while the pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// So many tenths of the run are done.
    Tenths(u64),
    /// Something happened that it goes on after.
    Note(&'a Note),
}

/// Checks what `detector` finds, times it frame by frame, and judges both, and which engine ran. `progress` is told the tenths
/// of the run that are done.
///
/// # Errors
/// [`Error::Backend`], [`Error::Npu`] or [`Error::Artifact`] when the model cannot run at all.
pub fn run(detector: &mut Detector, plan: &Plan, mut progress: impl FnMut(u64)) -> Result<Outcome, Error> {
    let images = check_images(detector)?;
    let accuracy = accuracy::check(detector, &images)?;
    let timing = timing::measure(detector, &images, plan, &mut progress)?;
    // Only now: the CPU may have taken over on the way.
    let engine = Engine::of(detector.backend(), detector.fallback(), plan);
    let runtime = detector.npu_runtime();
    Ok(Outcome::judge(plan, engine, runtime.as_deref(), accuracy, timing))
}

/// Runs `model`, that of the same bundle, in a pipeline, and puts what that does in the place of what `outcome` says of frames one
/// by one; these stay the ones that the budget is about. Frames on which it finds less than one by one, and too little, fail the
/// accuracy. `watch` is told how it gets on.
///
/// # Errors
/// As [`run`], and [`Error::Input`] when a picture of the bundle cannot be read: see [`Outcome::without_pipeline`] for what is then
/// to be thought of the device.
pub fn run_pipeline(
    outcome: Outcome,
    model: &mut Model<SharedEngine>,
    plan: &Plan,
    live: Live,
    mut watch: impl FnMut(Event<'_>),
) -> Result<Outcome, Error> {
    let played = live::measure(model, plan, live, outcome.report.accuracy.as_ref(), &mut watch)?;
    let engine = Engine::of(model.backend(), model.fallback(), plan);
    Ok(outcome.with_pipeline(plan, engine, played))
}

/// The bundle's own pictures, decoded, in order.
fn check_images(detector: &mut Detector) -> Result<Vec<Image>, Error> {
    let count = detector.manifest().check_images.len();
    (0..count).map(|index| detector.check_image(index)).collect()
}
