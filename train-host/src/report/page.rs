//! Puts the page together: chooses tables and plots, and fills the template, which escapes everything but plots.

use serde::Serialize;

use super::canvas::Surface;
use super::fuse_record::FuseRecord;
use super::numbers::{duration, milliseconds, percent};
use super::pictures::Picture;
use super::table::{self, Table};
use super::{Epoch, Parts, plots, template};
use crate::Result;
use crate::evaluate::Evaluation;

/// Everything the template shows; empty or absent members leave their section out.
#[derive(Debug, Serialize)]
struct Page<'a> {
    name: &'a str,
    lead: String,
    version: &'static str,
    tiles: Vec<Tile>,
    training: Vec<String>,
    accuracy: Option<Table>,
    measured: Option<String>,
    classes: Option<Table>,
    pr_curves: Option<String>,
    confusion: Option<String>,
    fuse_errors: Option<Table>,
    fuse_sizes: Option<Table>,
    fuse_summary: Option<String>,
    speed: Option<Table>,
    pictures: Vec<Captioned<'a>>,
    args: Option<Table>,
    absent: Vec<&'static str>,
}

/// A picture and what was found in it.
#[derive(Debug, Serialize)]
struct Captioned<'a> {
    #[serde(flatten)]
    picture: &'a Picture,
    found: Option<String>,
}

/// One figure at the top of the page.
#[derive(Debug, Serialize)]
struct Tile {
    label: &'static str,
    value: String,
}

pub(super) fn render(parts: &Parts) -> Result<String> {
    // The fused model is what ships; its figures come first where there are both.
    let shown = parts.fused.as_ref().or(parts.trained.as_ref());
    let page = Page {
        name: &parts.name,
        lead: lead(parts, shown),
        version: env!("CARGO_PKG_VERSION"),
        tiles: tiles(parts, shown),
        training: plots::training(&parts.epochs)?,
        accuracy: table::accuracy(parts.trained.as_ref(), parts.fused.as_ref()),
        measured: shown.map(measured),
        classes: shown.map(table::classes),
        pr_curves: shown
            .map(|e| plots::pr_curves(&e.metrics.pr_curves, Surface::Page))
            .transpose()?
            .flatten(),
        confusion: shown.map(|e| plots::confusion(&e.metrics.confusion, Surface::Page)).transpose()?,
        fuse_errors: parts.fuse.as_ref().map(FuseRecord::errors),
        fuse_sizes: parts.fuse.as_ref().map(FuseRecord::sizes),
        fuse_summary: parts.fuse.as_ref().map(fuse_summary),
        speed: table::speed(parts.trained.as_ref(), parts.fused.as_ref(), parts.detections.as_ref()),
        pictures: parts.pictures.iter().map(|picture| captioned(picture, parts)).collect(),
        args: parts.args.as_ref().and_then(table::members),
        absent: absent(parts),
    };
    template::fill("report.html", &page)
}

/// The sentence under the title.
fn lead(parts: &Parts, shown: Option<&Evaluation>) -> String {
    let argument = |name: &str| parts.args.as_ref()?.get(name)?.as_str().map(str::to_owned);
    let model = argument("model").or_else(|| shown.map(|e| e.model.clone()));
    match (model, argument("data")) {
        (Some(model), Some(data)) => format!("{model} on {data}"),
        (Some(model), None) => model,
        _ => String::from("Report of a training run"),
    }
}

fn captioned<'a>(picture: &'a Picture, parts: &Parts) -> Captioned<'a> {
    Captioned { picture, found: parts.detections.as_ref().and_then(|record| record.caption(&picture.name)) }
}

fn fuse_summary(fuse: &FuseRecord) -> String {
    format!(
        "Largest difference between the raw outputs of the trained (a) and the fused model (b), on the worst of \
         several images. Relative to the range of its group it is at most {:.2e}; {:.0e} is allowed.",
        fuse.largest_error, fuse.error_bar
    )
}

fn measured(e: &Evaluation) -> String {
    let skipped = if e.skipped == 0 { String::new() } else { format!(", {} broken and left out", e.skipped) };
    format!(
        "{} images with {} labels{skipped}; confidence from {}, NMS at IoU {}; precision, recall and the confusion \
         matrix at confidence {:.3}, where F1 is best.",
        e.metrics.images, e.metrics.labels, e.confidence, e.iou, e.metrics.best_confidence
    )
}

fn tiles(parts: &Parts, shown: Option<&Evaluation>) -> Vec<Tile> {
    let tile = |label: &'static str, value: Option<String>| value.map(|value| Tile { label, value });
    let last = parts.epochs.last();
    let seconds: f64 = parts
        .epochs
        .iter()
        .filter_map(|e: &Epoch| Some(e.train_seconds? + e.val_seconds.unwrap_or(0.0)))
        .sum();
    [
        tile("mAP50", shown.map(|e| percent(e.metrics.map50))),
        tile("mAP50-95", shown.map(|e| percent(e.metrics.map))),
        tile("fuse error", parts.fuse.as_ref().map(|f| format!("{:.1e}", f.largest_error))),
        tile("inference", shown.map(|e| milliseconds(e.speed.inference_ms))),
        tile("epochs", last.map(|_| parts.epochs.len().to_string())),
        tile("training time", (seconds > 0.0).then(|| duration(seconds))),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn absent(parts: &Parts) -> Vec<&'static str> {
    let missing = [
        (parts.args.is_none(), "Arguments: the run has no args.json."),
        (parts.epochs.is_empty(), "Training curves: the run has no results.csv, or no epoch in it."),
        (
            parts.trained.is_none(),
            "Accuracy as trained: pass --trained with the JSON of train-host eval RUN.",
        ),
        (
            parts.fused.is_none(),
            "Accuracy when fused: pass --fused with the JSON of train-host eval on the fused model.",
        ),
        (parts.fuse.is_none(), "Fuse error: pass --fuse with the JSON of train-host fuse."),
        (parts.pictures.is_empty(), "Sample pictures: pass --pictures with the folder detect-image wrote."),
    ];
    missing.into_iter().filter_map(|(absent, what)| absent.then_some(what)).collect()
}
