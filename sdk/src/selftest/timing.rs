//! Times frame after frame, stage by stage, in ten laps, so that noise and slowing down can be told. Warm-up frames do
//! not count, and recording a frame allocates nothing.

use std::time::{Duration, Instant};

use artifact::Fault;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::{Length, Plan, Readings};
use crate::{Detection, Detector, Error, Image, StageTimes};

/// Parts of a run.
pub(super) const LAPS: usize = 10;
/// Frames that fill caches and let clocks rise.
const WARM_UP_FRAMES: usize = 3;
const QUICK_FRAMES_A_LAP: u64 = 2;
/// Longer than any frame that is still one.
const MAX_US: u64 = 600_000_000;
/// Times that an NPU may lose a frame before it counts as broken.
const MAX_LOST: u64 = 10;

/// Times of a stage over all frames.
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

/// Times of each stage, and of a frame from pixels to boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stages {
    /// Letterbox and conversion.
    pub preprocess: Percentiles,
    /// The engine, with what it takes to hand it a frame and wait for it.
    pub inference: Percentiles,
    /// The NPU alone, as its runtime tells; none where another engine ran, or where it does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub npu: Option<Percentiles>,
    /// Decode and NMS.
    pub decode: Percentiles,
    /// All of them.
    pub total: Percentiles,
}

impl Stages {
    /// Each stage under its name in the report, in the order in which a frame passes them.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, Percentiles)> {
        let npu = self.npu.map(|npu| ("npu", npu));
        let before = [("preprocess", self.preprocess), ("inference", self.inference)];
        before.into_iter().chain(npu).chain([("decode", self.decode), ("total", self.total)])
    }
}

/// Speed of a tenth of a run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Lap {
    /// Frames a second, from pixels to boxes.
    pub fps: f64,
    /// Inferences a second, the engine's time alone.
    pub inference_fps: f64,
}

/// A run.
pub(super) struct Timing {
    pub stages: Stages,
    pub frames: u64,
    /// Frames that the engine lost and that were shown again.
    pub dropped: u64,
    pub laps: [Lap; LAPS],
    /// As read between the laps, the highest of each.
    pub readings: Readings,
}

/// Shows `images` in turn for as long as `plan` says; a gray one where there are none.
pub(super) fn measure(
    detector: &mut Detector,
    images: &[Image],
    plan: &Plan,
    progress: &mut impl FnMut(u64),
) -> Result<Timing, Error> {
    let gray = gray(detector);
    let images = if images.is_empty() { std::slice::from_ref(&gray) } else { images };
    let mut next = images.iter().cycle();
    let mut next = || next.next().unwrap_or(&gray);
    for _ in 0..WARM_UP_FRAMES {
        show(detector, next(), |_| ())?;
    }
    let mut recorder = Recorder::new()?;
    let mut laps = [Lap::default(); LAPS];
    let mut readings = plan.read();
    let mut frames = 0;
    for (index, lap) in laps.iter_mut().enumerate() {
        let begun = Instant::now();
        let (mut lap_frames, mut inference_us) = (0, 0);
        while !is_over(plan.length, lap_frames, begun.elapsed()) {
            let shown = show(detector, next(), |_| ())?;
            recorder.record(shown.times, shown.lost);
            recorder.record_npu(detector.npu_time());
            inference_us += shown.times.inference_us;
            lap_frames += 1;
        }
        let per_second = |spent: Duration| lap_frames as f64 / spent.as_secs_f64().max(1e-9);
        *lap = Lap {
            fps: per_second(begun.elapsed()),
            inference_fps: per_second(Duration::from_micros(inference_us)),
        };
        frames += lap_frames;
        readings = readings.highest(&plan.read());
        progress(index as u64 + 1);
    }
    Ok(Timing { stages: recorder.stages(), frames, dropped: recorder.lost, laps, readings })
}

/// What it took to have a frame answered.
pub(super) struct Shown {
    pub times: StageTimes,
    /// How often the engine lost it.
    pub lost: u64,
}

/// Shows `image` until the engine answers, because an NPU may lose single frames, and gives the boxes to `take`.
pub(super) fn show(
    detector: &mut Detector,
    image: &Image,
    take: impl FnOnce(&[Detection]),
) -> Result<Shown, Error> {
    let mut lost = 0;
    loop {
        match detector.detect(image.frame()) {
            Ok(found) => {
                take(found.boxes);
                return Ok(Shown { times: found.times, lost });
            }
            Err(Error::Npu { failure, .. }) if failure.may_pass() && lost < MAX_LOST => lost += 1,
            Err(error) => return Err(error),
        }
    }
}

fn is_over(length: Length, frames: u64, elapsed: Duration) -> bool {
    match length {
        Length::Quick => frames >= QUICK_FRAMES_A_LAP,
        Length::Lasting(whole) => frames > 0 && elapsed * 10 >= whole,
    }
}

fn gray(detector: &Detector) -> Image {
    let preprocess = &detector.manifest().preprocess;
    Image::filled(preprocess.width_px, preprocess.height_px, [preprocess.pad_value; 3])
}

/// A histogram a stage.
struct Recorder {
    preprocess: Histogram<u64>,
    inference: Histogram<u64>,
    npu: Histogram<u64>,
    decode: Histogram<u64>,
    total: Histogram<u64>,
    lost: u64,
}

impl Recorder {
    fn new() -> Result<Self, Error> {
        let histogram = || {
            Histogram::new_with_bounds(1, MAX_US, 3).map_err(|e| {
                Error::Input(Fault::new(
                    e.to_string(),
                    "bounds of a histogram",
                    "report this: they are constants",
                ))
            })
        };
        let (preprocess, inference, npu) = (histogram()?, histogram()?, histogram()?);
        let (decode, total) = (histogram()?, histogram()?);
        Ok(Self { preprocess, inference, npu, decode, total, lost: 0 })
    }

    fn record(&mut self, times: StageTimes, lost: u64) {
        let StageTimes { preprocess_us, inference_us, decode_us } = times;
        self.preprocess.saturating_record(preprocess_us);
        self.inference.saturating_record(inference_us);
        self.decode.saturating_record(decode_us);
        self.total.saturating_record(preprocess_us + inference_us + decode_us);
        self.lost += lost;
    }

    fn record_npu(&mut self, took: Option<Duration>) {
        if let Some(took) = took {
            self.npu.saturating_record(u64::try_from(took.as_micros()).unwrap_or(MAX_US));
        }
    }

    fn stages(&self) -> Stages {
        Stages {
            preprocess: percentiles(&self.preprocess),
            inference: percentiles(&self.inference),
            npu: (!self.npu.is_empty()).then(|| percentiles(&self.npu)),
            decode: percentiles(&self.decode),
            total: percentiles(&self.total),
        }
    }
}

fn percentiles(times: &Histogram<u64>) -> Percentiles {
    let at = |share: f64| times.value_at_quantile(share);
    Percentiles { p50_us: at(0.5), p90_us: at(0.9), p95_us: at(0.95), p99_us: at(0.99), max_us: times.max() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_recorded() {
        let mut recorder = Recorder::new().unwrap();
        for us in 1..=100 {
            let times = StageTimes { preprocess_us: us, inference_us: 10 * us, decode_us: 0 };
            recorder.record(times, u64::from(us == 7));
        }
        assert_eq!(recorder.stages().npu, None);
        recorder.record_npu(None);
        recorder.record_npu(Some(Duration::from_micros(70)));
        let stages = recorder.stages();
        assert_eq!(stages.npu.map(|npu| npu.p50_us), Some(70));
        let names: Vec<_> = stages.named().map(|(name, _)| name).collect();
        assert_eq!(names, ["preprocess", "inference", "npu", "decode", "total"]);
        let Percentiles { p50_us, p90_us, p95_us, p99_us, max_us } = stages.preprocess;
        assert_eq!([p50_us, p90_us, p95_us, p99_us, max_us], [50, 90, 95, 99, 100]);
        assert_eq!((stages.total.p50_us, stages.decode.max_us, recorder.lost), (550, 0, 1));
    }

    #[test]
    fn a_run_ends_by_frames_or_by_time_and_never_before_its_first_frame() {
        let lasting = Length::Lasting(Duration::from_secs(10));
        assert!(
            !is_over(lasting, 5, Duration::from_millis(999)) && is_over(lasting, 5, Duration::from_secs(1))
        );
        assert!(!is_over(lasting, 0, Duration::from_secs(9)));
        assert!(
            !is_over(Length::Quick, 1, Duration::from_secs(9)) && is_over(Length::Quick, 2, Duration::ZERO)
        );
    }
}
