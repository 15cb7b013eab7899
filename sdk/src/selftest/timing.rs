//! Shows a detector frame after frame and times each. Warm-up frames do not count.

use std::time::{Duration, Instant};

use super::laps::{LAPS, Lap, per_second};
use super::recorder::Recorder;
use super::{Length, Plan, Readings, Stages, Step};
use crate::detector::micros;
use crate::{Detection, Detector, Error, Image, StageTimes};

/// Frames that fill caches and let clocks rise.
const WARM_UP_FRAMES: usize = 3;
const QUICK_FRAMES_A_LAP: u64 = 2;
/// Times that an NPU may lose a frame before it counts as broken.
const MAX_LOST: u64 = 10;
/// What is timed.
const STEPS: [Step; 5] = [Step::Preprocess, Step::Inference, Step::Npu, Step::Decode, Step::Total];

/// A run.
pub(super) struct Timing {
    pub stages: Stages,
    /// Frames that the engine lost and that were shown again.
    pub dropped: u64,
    /// Frames from pixels to boxes.
    pub laps: [Lap; LAPS],
    /// Inferences a second in each lap, the engine's time alone.
    pub inference_fps: [f64; LAPS],
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
    let mut recorder = Recorder::of(&STEPS)?;
    let (mut laps, mut inference_fps) = ([Lap::default(); LAPS], [0.0; LAPS]);
    let (mut readings, mut dropped) = (plan.read(), 0);
    for (index, lap) in laps.iter_mut().enumerate() {
        let begun = Instant::now();
        let (mut frames, mut inference_us) = (0, 0);
        while !is_over(plan.length, frames, begun.elapsed()) {
            let shown = show(detector, next(), |_| ())?;
            record(&mut recorder, shown.times, detector.npu_time());
            dropped += shown.lost;
            inference_us += shown.times.inference_us;
            frames += 1;
        }
        *lap = Lap::of(frames, begun.elapsed());
        inference_fps[index] = per_second(frames, Duration::from_micros(inference_us));
        readings = readings.highest(&plan.read());
        progress(index as u64 + 1);
    }
    Ok(Timing { stages: recorder.stages(), dropped, laps, inference_fps, readings })
}

fn record(recorder: &mut Recorder, times: StageTimes, npu: Option<Duration>) {
    let StageTimes { preprocess_us, inference_us, decode_us } = times;
    recorder.record(Step::Preprocess, preprocess_us);
    recorder.record(Step::Inference, inference_us);
    recorder.record(Step::Decode, decode_us);
    recorder.record(Step::Total, preprocess_us + inference_us + decode_us);
    if let Some(took) = npu {
        recorder.record(Step::Npu, micros(took));
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn total_is_the_sum_and_the_npu_is_there_where_it_tells() {
        let mut recorder = Recorder::of(&STEPS).unwrap();
        for us in 1..=100 {
            record(
                &mut recorder,
                StageTimes { preprocess_us: us, inference_us: 10 * us, decode_us: 0 },
                None,
            );
        }
        let stages = recorder.stages();
        assert_eq!((stages[&Step::Total].p50_us, stages[&Step::Decode].max_us), (550, 0));
        assert!(!stages.contains_key(&Step::Npu));
        record(&mut recorder, StageTimes::default(), Some(Duration::from_micros(70)));
        let stages = recorder.stages();
        assert_eq!(stages[&Step::Npu].p50_us, 70);
        let names: Vec<_> = stages.keys().map(|step| step.name()).collect();
        assert_eq!(names, ["preprocess", "inference", "npu", "decode", "total"]);
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
