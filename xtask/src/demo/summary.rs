//! The demo's closing table, read from the JSON documents that the steps wrote.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

/// What came out.
#[derive(Debug, Serialize)]
pub struct Summary {
    trained: Accuracy,
    fused: Accuracy,
    largest_fuse_error: f64,
    frame: Frame,
    pictures: PathBuf,
    report: PathBuf,
    bundle: PathBuf,
    steps: Vec<Step>,
}

/// Mean average precision as fractions: at IoU 0.50, and averaged over 0.50 to 0.95.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Accuracy {
    map50: f64,
    map: f64,
}

/// Median time of a frame.
#[derive(Debug, Serialize)]
struct Frame {
    backend: String,
    preprocess_ms: f64,
    inference_ms: f64,
    decode_ms: f64,
}

#[derive(Debug, Serialize)]
struct Step {
    name: String,
    seconds: f64,
}

/// The part of `train-host fuse --json` that is shown.
#[derive(Deserialize)]
struct FuseDocument {
    largest_error: f64,
}

/// The part of `detect-image --json` that is shown.
#[derive(Deserialize)]
struct DetectDocument {
    backend: String,
    times_us: StageTimes,
}

#[derive(Deserialize)]
struct StageTimes {
    preprocess: Spread,
    inference: Spread,
    decode: Spread,
}

#[derive(Deserialize)]
struct Spread {
    median: f64,
}

impl Summary {
    /// Reads the documents in the demo's folder.
    ///
    /// # Errors
    /// When one is missing or has other fields.
    pub fn read(out: &Path, times: &[(String, Duration)]) -> Result<Self> {
        let fuse: FuseDocument = read(&out.join("fuse.json"))?;
        let detect: DetectDocument = read(&out.join("detections.json"))?;
        let step =
            |(name, time): &(String, Duration)| Step { name: name.clone(), seconds: time.as_secs_f64() };
        Ok(Self {
            trained: read(&out.join("trained.json"))?,
            fused: read(&out.join("fused.json"))?,
            largest_fuse_error: fuse.largest_error,
            frame: Frame {
                backend: detect.backend,
                preprocess_ms: detect.times_us.preprocess.median / 1000.0,
                inference_ms: detect.times_us.inference.median / 1000.0,
                decode_ms: detect.times_us.decode.median / 1000.0,
            },
            pictures: out.join("pictures"),
            report: out.join("report.html"),
            bundle: out.join("demo.bundle"),
            steps: times.iter().map(step).collect(),
        })
    }

    /// Checks that the fused model is as good as the trained one.
    ///
    /// # Errors
    /// When mAP differs by more than `bar`.
    pub fn expect_same_map(&self, bar: f64) -> Result<()> {
        let (before, after) = (self.trained.map, self.fused.map);
        ensure!(
            (before - after).abs() <= bar,
            "fusing changed mAP from {before:.4} to {after:.4}, more than {bar}"
        );
        Ok(())
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Frame { backend, preprocess_ms, inference_ms, decode_ms } = &self.frame;
        let total = preprocess_ms + inference_ms + decode_ms;
        let seconds: f64 = self.steps.iter().map(|step| step.seconds).sum();
        writeln!(out, "{:24}{:>8}{:>8}", "", "mAP50", "mAP")?;
        for (name, Accuracy { map50, map }) in
            [("trained", self.trained), ("fused, from the bundle", self.fused)]
        {
            writeln!(out, "{name:24}{map50:>8.3}{map:>8.3}")?;
        }
        writeln!(out, "{:24}{:>8.1e}  of the largest output", "largest fuse error", self.largest_fuse_error)?;
        write!(out, "{:24}{total:>8.1}  ms on {backend} (preprocess {preprocess_ms:.1}, ", "time a frame")?;
        writeln!(out, "inference {inference_ms:.1}, decode {decode_ms:.1})")?;
        writeln!(out, "{:24}{:>8.1}  minutes", "whole demo", seconds / 60.0)?;
        writeln!(out, "{:24}{}", "bundle", self.bundle.display())?;
        writeln!(out, "{:24}{}", "pictures", self.pictures.display())?;
        write!(out, "{:24}{}", "report", self.report.display())
    }
}

fn read<T: for<'a> Deserialize<'a>>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(trained: f64, fused: f64) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let spread = |median: u32| format!(r#"{{"median": {median}, "mean": 0}}"#);
        let (a, b, c) = (spread(1500), spread(20000), spread(500));
        let documents = [
            ("trained.json", format!(r#"{{"map50": 0.9, "map": {trained}, "speed": {{}}}}"#)),
            ("fused.json", format!(r#"{{"map50": 0.9, "map": {fused}}}"#)),
            ("fuse.json", r#"{"largest_error": 2.5e-6}"#.to_owned()),
            (
                "detections.json",
                format!(
                    r#"{{"backend": "tract", "times_us": {{"preprocess": {a}, "inference": {b}, "decode": {c}}}}}"#
                ),
            ),
        ];
        for (name, text) in documents {
            fs::write(folder.path().join(name), text).unwrap();
        }
        folder
    }

    #[test]
    fn the_table_shows_what_was_asked_for() {
        let folder = folder(0.61, 0.6101);
        let summary = Summary::read(folder.path(), &[("train".into(), Duration::from_secs(90))]).unwrap();
        summary.expect_same_map(0.005).unwrap();
        let table = summary.to_string();
        for part in ["0.610", "2.5e-6", "22.0  ms on tract", "1.5  minutes", "report.html", "pictures"] {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
    }

    #[test]
    fn a_fused_model_that_lost_accuracy_fails_the_demo() {
        let folder = folder(0.61, 0.55);
        let summary = Summary::read(folder.path(), &[]).unwrap();
        assert!(summary.expect_same_map(0.005).is_err());
    }

    #[test]
    fn a_missing_document_is_named() {
        let folder = folder(0.6, 0.6);
        fs::remove_file(folder.path().join("fuse.json")).unwrap();
        let error = Summary::read(folder.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("fuse.json"), "{error}");
    }
}
