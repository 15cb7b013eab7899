//! What is timed, under the names of the report, and how times are told.

use std::collections::BTreeMap;
use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Something that is timed for each frame, in the order in which a frame passes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Reading a frame from its source.
    Capture,
    /// Letterbox and conversion.
    Preprocess,
    /// The engine, with what it takes to hand it a frame and wait for it.
    Inference,
    /// The NPU alone, as its runtime tells of frames one by one.
    Npu,
    /// Decode and NMS.
    Decode,
    /// Following objects.
    Track,
    /// Drawing the overlay.
    Draw,
    /// One by one: all of the above from pixels to boxes.
    Total,
    /// In the pipeline: from when a frame had been read to the sinks, waiting included.
    EndToEnd,
}

impl Step {
    /// Its name in the report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Preprocess => "preprocess",
            Self::Inference => "inference",
            Self::Npu => "npu",
            Self::Decode => "decode",
            Self::Track => "track",
            Self::Draw => "draw",
            Self::Total => "total",
            Self::EndToEnd => "end_to_end",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Times of each step that was timed.
pub type Stages = BTreeMap<Step, Percentiles>;

/// Times of a step over all frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of the frames took no longer.
    pub p50_us: u64,
    /// 90 % took no longer.
    pub p90_us: u64,
    /// 95 % took no longer.
    pub p95_us: u64,
    /// 99 % took no longer.
    pub p99_us: u64,
    /// The slowest frame.
    pub max_us: u64,
}

impl Percentiles {
    /// Those of what was recorded.
    pub(super) fn of(times: &Histogram<u64>) -> Self {
        let at = |share: f64| times.value_at_quantile(share);
        Self { p50_us: at(0.5), p90_us: at(0.9), p95_us: at(0.95), p99_us: at(0.99), max_us: times.max() }
    }
}
