//! The HTML report of a run: one file without external resources, made from what training, evaluation, fusing and
//! detection left on disk. Every part is optional; what is absent is named at the end. Measures nothing itself.

mod article;
mod bar_chart;
mod canvas;
mod charts;
mod detect_record;
mod dot_chart;
mod fuse_record;
mod graph_svg;
mod heat_map;
mod line_chart;
mod model_sheet;
mod numbers;
mod page;
mod pictures;
mod plots;
pub mod quantization;
mod run_log;
mod table;
mod template;

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::evaluate::Evaluation;
use crate::{Error, Result};

pub use article::{Article, Section};
pub use canvas::Surface;
pub use charts::{Bar, Curve, Samples, bars, curves, dots};
pub use detect_record::DetectRecord;
pub use fuse_record::FuseRecord;
pub use model_sheet::{ModelSheet, Row};
pub use pictures::Picture;
pub use plots::{confusion, pr_curves};
pub use run_log::Epoch;
pub use table::Table;

/// What a report is made from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Parts {
    /// Name of the run.
    pub name: String,
    /// `args.json` of the run.
    pub args: Option<Value>,
    /// `results.csv` of the run.
    pub epochs: Vec<Epoch>,
    /// Evaluation of the model as trained.
    pub trained: Option<Evaluation>,
    /// Evaluation of the fused model.
    pub fused: Option<Evaluation>,
    /// What `train-host fuse --json` printed.
    pub fuse: Option<FuseRecord>,
    /// What `detect-image --json` printed.
    pub detections: Option<DetectRecord>,
    /// Pictures with drawn detections.
    pub pictures: Vec<Picture>,
}

/// Files a report is made from, all but the run optional.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// Folder that `train-host train` wrote.
    pub run: PathBuf,
    /// [`Evaluation`] of the model as trained.
    pub trained: Option<PathBuf>,
    /// [`Evaluation`] of the fused model.
    pub fused: Option<PathBuf>,
    /// JSON of `train-host fuse`.
    pub fuse: Option<PathBuf>,
    /// JSON of `detect-image`.
    pub detections: Option<PathBuf>,
    /// Folder with drawn pictures; where absent, those that `detections` names are shown.
    pub pictures: Option<PathBuf>,
}

impl Parts {
    /// Reads all sources. `args.json` and `results.csv` may be absent from the run; a file that was named may not.
    ///
    /// # Errors
    /// [`Error::Artifact`] for a file that cannot be read; [`Error::Input`] for one that holds something else.
    pub fn read(sources: &Sources) -> Result<Self> {
        if !sources.run.is_dir() {
            return Err(Error::input(
                format!("{} is not a folder", sources.run.display()),
                "the folder of a run, as train-host train --out made it",
                "check the path",
            ));
        }
        let inside = |name: &str| Some(sources.run.join(name)).filter(|path| path.is_file());
        let name = std::path::absolute(&sources.run)
            .ok()
            .and_then(|p| Some(p.file_name()?.to_string_lossy().into()));
        let detections: Option<DetectRecord> = read_json(sources.detections.as_deref())?;
        let pictures = match (&sources.pictures, &detections) {
            (Some(folder), _) => pictures::read_folder(folder)?,
            (None, Some(record)) => {
                pictures::read(record.images.iter().filter_map(|image| image.picture.clone()))?
            }
            (None, None) => Vec::new(),
        };
        Ok(Self {
            name: name.unwrap_or_else(|| String::from("run")),
            args: read_json(inside("args.json").as_deref())?,
            epochs: epochs(&sources.run)?,
            trained: read_json(sources.trained.as_deref())?,
            fused: read_json(sources.fused.as_deref())?,
            fuse: read_json(sources.fuse.as_deref())?,
            detections,
            pictures,
        })
    }
}

/// The epochs that the run in `folder` has recorded; none before its first is done.
///
/// # Errors
/// [`Error::Artifact`] when its `results.csv` cannot be read, [`Error::Input`] when that holds something else.
pub fn epochs(folder: &Path) -> Result<Vec<Epoch>> {
    let path = folder.join("results.csv");
    if path.is_file() { run_log::read(&path) } else { Ok(Vec::new()) }
}

/// The report as one HTML document.
///
/// # Errors
/// [`Error::Backend`] when a plot or the page cannot be drawn, which takes a value that is not finite.
pub fn html(parts: &Parts) -> Result<String> {
    page::render(parts)
}

fn read_json<T: DeserializeOwned>(path: Option<&Path>) -> Result<Option<T>> {
    let Some(path) = path else { return Ok(None) };
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    serde_json::from_str(&text).map(Some).map_err(|error| {
        Error::input(
            format!("{}: {error}", path.display()),
            "the JSON document its command prints with --json",
            "make it anew; train-host report --help names the command for each file",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// An evaluation of two classes, one with a hostile name, as its JSON.
    fn evaluation(map50: f64) -> Value {
        json!({
            "model": "m", "dataset": "d (test)", "backend": "tract", "input_px": [320, 320],
            "confidence": 0.001, "iou": 0.6, "skipped": 0,
            "speed": {"preprocess_ms": 0.5, "inference_ms": 12.0, "decode_ms": 0.25},
            "images": 4, "labels": 9, "map50": map50, "map75": null, "map": 0.5,
            "ap_small": null, "ap_medium": 0.4, "ap_large": 0.6,
            "precision": 0.9, "recall": 0.8, "best_confidence": 0.33,
            "per_class": [
                {"name": "<script>alert(1)</script>", "images": 3, "labels": 5, "precision": 0.9, "recall": 0.8,
                 "map50": 0.8, "map": 0.5},
                {"name": "b", "images": 0, "labels": 0, "precision": null, "recall": null, "map50": null, "map": null},
            ],
            "pr_curves": {
                "recall": [0.0, 0.5, 1.0], "mean": [1.0, 0.9, 0.1],
                "classes": [{"name": "<script>alert(1)</script>", "precision": [1.0, 0.9, 0.1]}],
            },
            "confusion": {"classes": ["<script>alert(1)</script>", "b"], "counts": [[4, 0, 1], [0, 0, 0], [2, 0, 0]]},
        })
    }

    fn whole() -> Parts {
        Parts {
            name: "run <1>".into(),
            args: Some(json!({"model": "repyolov5n", "data": "d.yaml", "hyp": {"lr0": 0.01}})),
            epochs: vec![Epoch { epoch: 0.0, box_loss: Some(0.1), map50: Some(0.2), ..Epoch::default() }],
            trained: serde_json::from_value(evaluation(0.75)).unwrap(),
            fused: serde_json::from_value(evaluation(0.7512)).unwrap(),
            fuse: serde_json::from_value(json!({
                "before": {"nodes": 200, "parameters": 3000}, "after": {"nodes": 90, "parameters": 2000},
                "groups": [{"output": "output0", "group": "box", "max_abs_difference": 1e-6, "max_abs": 4.0, "relative": 2.5e-7}],
                "largest_error": 2.5e-7, "error_bar": 1e-4,
            }))
            .unwrap(),
            detections: None,
            pictures: vec![Picture::new("a.png", b"\x89PNG1234").unwrap()],
        }
    }

    #[test]
    fn a_whole_report_has_every_section_and_needs_no_other_file() {
        let page = html(&whole()).unwrap();
        for text in [
            "run &lt;1&gt;",
            "75.12 %",
            "+0.12",
            "2.5e-7",
            "data:image/png;base64,",
            "hyp.lr0",
            "12.0 ms",
            "repyolov5n on d.yaml",
        ] {
            assert!(page.contains(text), "{text} is missing");
        }
        assert!(!page.contains("Not in this report") && !page.contains("{{"));
        assert_eq!(page.matches("<svg").count(), 4);
        let addresses = page.matches("http").count();
        assert_eq!(addresses, page.matches("http://www.w3.org/2000/svg").count());
    }

    #[test]
    fn names_from_outside_are_escaped_everywhere() {
        let page = html(&whole()).unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script"));
    }

    #[test]
    fn an_empty_report_says_what_is_absent() {
        let page = html(&Parts { name: "r".into(), ..Parts::default() }).unwrap();
        assert!(!page.contains("<svg") && !page.contains("<table"));
        let absent = page.split("Not in this report").nth(1).unwrap();
        assert_eq!(absent.matches("<li>").count(), 6);
    }

    #[test]
    fn sources_are_read_from_the_run_and_a_wrong_file_is_named() {
        let run = tempfile::tempdir().unwrap();
        std::fs::write(run.path().join("results.csv"), "epoch,map50\n0,0.5\n").unwrap();
        let mut sources = Sources { run: run.path().into(), ..Sources::default() };
        let parts = Parts::read(&sources).unwrap();
        assert_eq!((parts.epochs.len(), parts.args), (1, None));

        let wrong = run.path().join("eval.json");
        std::fs::write(&wrong, "{\"map50\": 1}").unwrap();
        sources.trained = Some(wrong);
        assert!(Parts::read(&sources).unwrap_err().to_string().contains("eval.json"));
        sources.trained = Some(run.path().join("absent.json"));
        assert!(Parts::read(&sources).unwrap_err().to_string().contains("absent.json"));
        sources.run = run.path().join("absent");
        assert!(Parts::read(&sources).unwrap_err().to_string().contains("not a folder"));
    }
}
