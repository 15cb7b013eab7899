//! Whether a bundle runs on this device as it should: on the NPU where it is made for one, what it finds on pictures where that
//! is known, how long each stage takes, and whether that is fast enough. A fast wrong answer fails. Never changes the device's
//! state.

mod accuracy;
mod compare;
mod csv;
mod engine;
mod junit;
mod readings;
mod report;
mod timing;

use std::time::Duration;

use crate::{Detector, Error, Image};

pub use accuracy::Accuracy;
pub use compare::compare;
pub use csv::csv;
use engine::Engine;
pub use engine::Npu;
pub use junit::junit;
pub use readings::{Clocks, FixedClock, Readings};
pub use report::{Judged, Judgement, Outcome, REPORT_SCHEMA, Report, Verdict};
pub use timing::{Percentiles, Stages};

/// What to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Name of the board, for the report.
    pub board: String,
    /// How long to run for the timings.
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

/// How long to run for the timings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Length {
    /// A few frames: enough to see that it runs, too few to judge its speed.
    Quick,
    /// So long.
    Lasting(Duration),
}

/// Checks what `detector` finds, times it, and judges both, and which engine ran. `progress` is told the tenths of the run
/// that are done.
///
/// # Errors
/// [`Error::Backend`], [`Error::Npu`] or [`Error::Artifact`] when the model cannot run at all.
pub fn run(detector: &mut Detector, plan: &Plan, mut progress: impl FnMut(u64)) -> Result<Outcome, Error> {
    let images = check_images(detector)?;
    let accuracy = accuracy::check(detector, &images)?;
    let timing = timing::measure(detector, &images, plan, &mut progress)?;
    // Only now: the CPU may have taken over on the way.
    let (engine, runtime) = (Engine::of(detector, plan), detector.npu_runtime());
    Ok(Outcome::judge(plan, engine, runtime.as_deref(), accuracy, &timing))
}

/// The bundle's own pictures, decoded, in order.
fn check_images(detector: &mut Detector) -> Result<Vec<Image>, Error> {
    let count = detector.manifest().check_images.len();
    (0..count).map(|index| detector.check_image(index)).collect()
}
