//! Totals since the start, in Prometheus' text format (version 0.0.4).

use std::fmt::Write;
use std::time::Duration;

use crate::detector::micros;
use crate::sink::snapshot::Snapshot;
use crate::sink::{Controls, FrameTimes, NpuVitals, Waiting};

/// Upper bounds of the histograms' buckets, in µs.
const BOUNDS_US: [u64; 12] =
    [500, 1_000, 2_500, 5_000, 10_000, 20_000, 33_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// Stages by name.
const STAGES: [&str; 6] = ["preprocess", "inference", "decode", "track", "draw", "latency"];

/// What is counted.
#[derive(Debug, Default, Clone)]
pub(super) struct Totals {
    frames: u64,
    stages: [Histogram; STAGES.len()],
    /// Objects by class.
    objects: Vec<u64>,
    /// Objects of classes without a name.
    unnamed: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Histogram {
    /// Those within each bound and above the one before.
    counts: [u64; BOUNDS_US.len()],
    sum_us: u64,
}

impl Totals {
    /// Counts a frame.
    pub(super) fn count(&mut self, frame: &Snapshot) {
        self.frames += 1;
        let FrameTimes { preprocess_us, inference_us, decode_us, track_us, draw_us, latency_us } =
            frame.times;
        let times = [preprocess_us, inference_us, decode_us, track_us, draw_us, latency_us];
        for (stage, time_us) in self.stages.iter_mut().zip(times) {
            stage.sum_us = stage.sum_us.saturating_add(time_us);
            if let Some(at) = BOUNDS_US.iter().position(|bound| time_us <= *bound) {
                stage.counts[at] += 1;
            }
        }
        self.objects.resize(frame.classes.len(), 0);
        for object in &frame.objects {
            *self.objects.get_mut(object.detection.class).unwrap_or(&mut self.unnamed) += 1;
        }
    }

    /// The text, where the last frame was shown so long ago.
    pub(super) fn text(&self, frame: &Snapshot, age: Option<Duration>, controls: &Controls) -> String {
        let mut out = String::with_capacity(8 << 10);
        // Writing to a string does not fail.
        let _ = self.write(&mut out, frame, age, controls);
        out
    }

    fn write(
        &self,
        out: &mut String,
        frame: &Snapshot,
        age: Option<Duration>,
        controls: &Controls,
    ) -> std::fmt::Result {
        let vitals = frame.vitals;
        single(out, "frames_total", "counter", "Frames shown.", self.frames)?;
        single(out, "dropped_total", "counter", "Frames passed over for newer ones.", vitals.dropped)?;
        single(out, "lost_total", "counter", "Frames broken or lost by a failure.", vitals.lost)?;
        single(out, "fps", "gauge", "Frames shown in a second, when the last one was drawn.", vitals.fps)?;
        if let Some(age) = age {
            let help = "Since the last frame was shown; fps and all else that is said of it is as old.";
            single(out, "frame_age_seconds", "gauge", help, Seconds(micros(age)))?;
        }
        if let Some(temperature_c) = vitals.temperature_c {
            single(out, "temperature_celsius", "gauge", "The hottest place of the device.", temperature_c)?;
        }
        head(out, "waiting_frames", "gauge", "Frames that wait for a stage, when the last frame was drawn.")?;
        let Waiting { preprocess, inference, decode, sinks } = vitals.waiting;
        for (stage, frames) in
            [("preprocess", preprocess), ("inference", inference), ("decode", decode), ("sinks", sinks)]
        {
            writeln!(out, "repedge_waiting_frames{{stage=\"{stage}\"}} {frames}")?;
        }
        if let Some(NpuVitals { cores, cores_in_service, quarantined }) = vitals.npu {
            single(out, "npu_cores", "gauge", "Cores of the NPU that the model was opened on.", cores)?;
            single(out, "npu_cores_in_service", "gauge", "Those that are not left out.", cores_in_service)?;
            let help = "Calls to the NPU that did not return and were set aside.";
            single(out, "npu_quarantined_total", "counter", help, quarantined)?;
        }
        single(out, "paused", "gauge", "Whether frames are not looked at.", u8::from(controls.is_paused()))?;
        single(out, "confidence", "gauge", "Least score of what is shown.", controls.confidence())?;
        head(out, "detections_total", "counter", "Objects found, by class.")?;
        for (name, count) in frame.classes.iter().zip(&self.objects) {
            writeln!(out, "repedge_detections_total{{class=\"{}\"}} {count}", Label(name))?;
        }
        if self.unnamed > 0 {
            writeln!(out, "repedge_detections_total{{class=\"\"}} {}", self.unnamed)?;
        }
        head(
            out,
            "stage_seconds",
            "histogram",
            "Time of each stage of a frame; latency is all of them and waiting.",
        )?;
        STAGES.iter().zip(&self.stages).try_for_each(|(name, stage)| stage.write(out, name, self.frames))
    }
}

impl Histogram {
    fn write(&self, out: &mut String, stage: &str, frames: u64) -> std::fmt::Result {
        let mut within = 0;
        for (bound_us, count) in BOUNDS_US.iter().zip(self.counts) {
            within += count;
            let seconds = Seconds(*bound_us);
            writeln!(out, "repedge_stage_seconds_bucket{{stage=\"{stage}\",le=\"{seconds}\"}} {within}")?;
        }
        writeln!(out, "repedge_stage_seconds_bucket{{stage=\"{stage}\",le=\"+Inf\"}} {frames}")?;
        writeln!(out, "repedge_stage_seconds_sum{{stage=\"{stage}\"}} {}", Seconds(self.sum_us))?;
        writeln!(out, "repedge_stage_seconds_count{{stage=\"{stage}\"}} {frames}")
    }
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> std::fmt::Result {
    write!(out, "# HELP repedge_{name} {help}\n# TYPE repedge_{name} {kind}\n")
}

fn single(
    out: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    value: impl std::fmt::Display,
) -> std::fmt::Result {
    head(out, name, kind, help)?;
    writeln!(out, "repedge_{name} {value}")
}

/// Microseconds, shown as seconds.
struct Seconds(u64);

impl std::fmt::Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A label's value with what the format wants escaped.
struct Label<'a>(&'a str);

impl std::fmt::Display for Label<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' | '"' => write!(f, "\\{letter}"),
            '\n' => f.write_str("\\n"),
            _ => f.write_char(letter),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Detection;
    use crate::sink::{Object, Vitals};

    #[test]
    fn totals_add_up() {
        let object = |class| Object {
            track: None,
            detection: Detection { class, score: 0.5, x0: 0.0, y0: 0.0, x1: 1.0, y1: 1.0 },
        };
        let mut frame = Snapshot {
            objects: vec![object(1), object(1), object(9)],
            classes: ["a\"\\\n".into(), "b".into()].into(),
            vitals: Vitals {
                fps: 12.5,
                dropped: 3,
                lost: 1,
                temperature_c: Some(48.5),
                waiting: Waiting { inference: 2, ..Waiting::default() },
                npu: Some(NpuVitals { cores: 3, cores_in_service: 2, quarantined: 5 }),
            },
            ..Snapshot::default()
        };
        let mut totals = Totals::default();
        for latency_us in [400, 12_000, 2_000_000] {
            frame.times.latency_us = latency_us;
            totals.count(&frame);
        }
        let controls = Controls::new(0.25);
        assert!(!totals.text(&frame, None, &controls).contains("frame_age"), "no frame has no age");
        let text = totals.text(&frame, Some(Duration::from_millis(4200)), &controls);
        for line in [
            "repedge_frames_total 3",
            "repedge_dropped_total 3",
            "repedge_fps 12.5",
            "repedge_frame_age_seconds 4.200000",
            "repedge_temperature_celsius 48.5",
            "repedge_waiting_frames{stage=\"preprocess\"} 0",
            "repedge_waiting_frames{stage=\"inference\"} 2",
            "repedge_npu_cores 3",
            "repedge_npu_cores_in_service 2",
            "repedge_npu_quarantined_total 5",
            "repedge_paused 0",
            "repedge_confidence 0.25",
            "repedge_detections_total{class=\"a\\\"\\\\\\n\"} 0",
            "repedge_detections_total{class=\"b\"} 6",
            "repedge_detections_total{class=\"\"} 3",
            "repedge_stage_seconds_bucket{stage=\"latency\",le=\"0.000500\"} 1",
            "repedge_stage_seconds_bucket{stage=\"latency\",le=\"0.020000\"} 2",
            "repedge_stage_seconds_bucket{stage=\"latency\",le=\"1.000000\"} 2",
            "repedge_stage_seconds_bucket{stage=\"latency\",le=\"+Inf\"} 3",
            "repedge_stage_seconds_sum{stage=\"latency\"} 2.012400",
            "repedge_stage_seconds_count{stage=\"latency\"} 3",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is not in\n{text}");
        }
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("repedge_") && value.parse::<f64>().is_ok(), "{line}");
        }
    }
}
