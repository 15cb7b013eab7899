//! What a run was: what became of its frames, how long each stage took, how full the queues were. Plain data.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use artifact::BackendKind;
use hdrhistogram::Histogram;
use serde::Serialize;

use super::Stage;
use super::queue::QueueReport;
use crate::backend::rknn::PoolReport;
use crate::detector::micros;
use crate::sink::NpuVitals;

/// Longer than any frame that is still one.
const MAX_US: u64 = 60_000_000;
/// Digits that times are kept to.
const DIGITS: u8 = 3;

/// What a run was.
#[derive(Debug, Clone, Default, Serialize)]
pub struct PipelineReport {
    /// The engine that ran last; none where the analyzer does not say, or nothing ran.
    pub backend: Option<BackendKind>,
    /// Why it ran in place of a better one, if it did.
    pub fallback: Option<String>,
    /// What happened on the NPU, also where another engine has taken over from it; none where it never ran.
    pub npu: Option<PoolReport>,
    /// Frames that reached the sinks.
    pub shown: u64,
    /// Frames passed over because newer ones had come.
    pub dropped: u64,
    /// Frames of a camera passed over because nobody wanted them yet: before the interval had passed, or in a pause.
    pub unwanted: u64,
    /// Frames of the source that could not be used.
    pub broken: u64,
    /// Frames lost on their way, because an engine failed or a stage could not go on.
    pub lost: u64,
    /// Frames that RGA prepared; the CPU did the others.
    pub by_rga: u64,
    /// From the first frame at the sinks to the last.
    pub seconds: f64,
    /// Frames shown a second in that time; none for less than two.
    pub fps: Option<f64>,
    /// Frames that the engine computes at the same time.
    pub lanes: usize,
    /// How long each stage worked on a frame; waiting for a camera is no work.
    pub stages: Vec<StageReport>,
    /// How full the queues were, in the order in which a frame passes them.
    pub queues: Vec<QueueReport>,
    /// To the sinks: from when a frame was taken, where its source knows that, else from when it had been read.
    pub latency: Spread,
    /// What of that was no stage's work.
    pub waiting: Spread,
    /// Sinks that failed, and how often.
    pub sinks: Vec<SinkReport>,
    /// Stages that did not end when they were told to.
    pub stuck: Vec<Stage>,
}

/// How long a stage worked on a frame.
#[derive(Debug, Clone, Serialize)]
pub struct StageReport {
    /// Which.
    pub stage: Stage,
    /// Its times.
    #[serde(flatten)]
    pub work: Spread,
}

/// What became of a sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkReport {
    /// What it is, for people.
    pub name: String,
    /// Frames that it failed at.
    pub failures: u64,
    /// Frames that it was not shown, because it had failed just before.
    pub left_out: u64,
}

/// Times of many frames, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Spread {
    /// Frames.
    pub frames: u64,
    /// The average.
    pub mean_us: f64,
    /// Half of the frames took no longer.
    pub p50_us: u64,
    /// 99 % took no longer.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// Times that are being gathered; adding one allocates nothing.
#[derive(Debug)]
pub(super) struct Times(Mutex<Histogram<u64>>);

impl Times {
    pub(super) fn new() -> Self {
        // Bounds and digits that the library accepts.
        let histogram = Histogram::new_with_bounds(1, MAX_US, DIGITS);
        Self(Mutex::new(histogram.unwrap_or_else(|_| unreachable!("a histogram of fixed bounds"))))
    }

    fn lock(&self) -> MutexGuard<'_, Histogram<u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, time: Duration) {
        self.add_us(micros(time));
    }

    pub(super) fn add_us(&self, time_us: u64) {
        self.lock().saturating_record(time_us);
    }

    pub(super) fn spread(&self) -> Spread {
        let times = self.lock();
        Spread {
            frames: times.len(),
            mean_us: times.mean(),
            p50_us: times.value_at_quantile(0.5),
            p99_us: times.value_at_quantile(0.99),
            max_us: times.max(),
        }
    }
}

/// What is counted while a pipeline runs, whatever becomes of its threads.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) shown: AtomicU64,
    pub(super) dropped: AtomicU64,
    /// Frames taken in from the source, whatever became of them.
    pub(super) taken: AtomicU64,
    pub(super) unwanted: AtomicU64,
    pub(super) broken: AtomicU64,
    pub(super) lost: AtomicU64,
    pub(super) by_rga: AtomicU64,
    work: [Times; Stage::ALL.len()],
    pub(super) latency: Times,
    pub(super) waiting: Times,
    npu: Mutex<Option<(PoolReport, NpuVitals)>>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            shown: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            taken: AtomicU64::new(0),
            unwanted: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            by_rga: AtomicU64::new(0),
            work: std::array::from_fn(|_| Times::new()),
            latency: Times::new(),
            waiting: Times::new(),
            npu: Mutex::default(),
        }
    }

    /// Counts as lost what was taken in and has not come out, once nothing is under way any more: wherever it was.
    pub(super) fn lose_rest(&self) {
        let known = [&self.shown, &self.dropped, &self.lost].map(count).iter().sum();
        self.lost.fetch_add(count(&self.taken).saturating_sub(known), Ordering::Relaxed);
    }

    /// Keeps how the NPU does, also for when another engine has taken over; gives what was kept.
    pub(super) fn note_npu(&self, report: PoolReport, vitals: NpuVitals) -> Option<NpuVitals> {
        self.lock_npu().replace((report, vitals)).map(|(_, before)| before)
    }

    /// Says that no core of the NPU takes frames any more: another engine goes on, if one does.
    pub(super) fn retire_npu(&self) {
        if let Some((_, vitals)) = self.lock_npu().as_mut() {
            vitals.cores_in_service = 0;
        }
    }

    /// How the NPU does, or did last.
    pub(super) fn npu(&self) -> Option<NpuVitals> {
        self.lock_npu().map(|(_, vitals)| vitals)
    }

    fn lock_npu(&self) -> MutexGuard<'_, Option<(PoolReport, NpuVitals)>> {
        self.npu.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Times of a stage.
    pub(super) fn work(&self, stage: Stage) -> &Times {
        &self.work[stage.index()]
    }

    /// What holds so far; engine, queues, sinks and how it ended are for others to say.
    pub(super) fn report(&self) -> PipelineReport {
        PipelineReport {
            npu: self.lock_npu().map(|(report, _)| report),
            shown: count(&self.shown),
            dropped: count(&self.dropped),
            unwanted: count(&self.unwanted),
            broken: count(&self.broken),
            lost: count(&self.lost),
            by_rga: count(&self.by_rga),
            stages: Stage::ALL.map(|stage| StageReport { stage, work: self.work(stage).spread() }).to_vec(),
            latency: self.latency.spread(),
            waiting: self.waiting.spread(),
            ..PipelineReport::default()
        }
    }
}

fn count(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_npu_that_is_given_up_has_no_core_in_service_and_is_still_told_of() {
        let tally = Tally::new();
        tally.retire_npu();
        assert_eq!(tally.npu(), None);
        let report = PoolReport { finished: 7, ..PoolReport::default() };
        tally.note_npu(report, NpuVitals { cores: 3, cores_in_service: 3, quarantined: 0 });
        tally.retire_npu();
        assert_eq!(tally.npu().map(|npu| (npu.cores, npu.cores_in_service)), Some((3, 0)));
        assert_eq!(tally.report().npu, Some(report));
    }
}
