//! From labels and detections to mAP, precision, recall, curves and the confusion matrix, through `hotcoco` (which
//! equals pycocotools). Pure: reads no image, runs no model, prints nothing.

use std::sync::Arc;

use hotcoco::{AccumulatedEval, Annotation, COCO, COCOeval, Category, IouType, Params};
use repedge::decode::Detection;

use super::operating_point::{OperatingPoint, Scored, best_f1};
use super::result::{ClassMetrics, Confusion, Metrics, PrCurve, PrCurves};
use crate::dataset::Sample;
use crate::{Error, Result};

/// Detections kept for an image and class, as YOLOv5 evaluates (COCO's own limit is 100).
pub(super) const MAX_DETECTIONS: usize = 300;
/// IoU of the confusion matrix, the curves, precision and recall.
const MATCH_IOU: f64 = 0.5;

/// Measures `detections[i]`, in pixels of the source image, against the labels of `samples[i]`.
///
/// # Errors
/// [`Error::Data`] when the two lists differ in length or a label or detection has a class out of range;
/// [`Error::Backend`] when hotcoco refuses, as it does on a NaN score.
pub fn measure(classes: &[String], samples: &[&Sample], detections: &[Vec<Detection>]) -> Result<Metrics> {
    check(classes, samples, detections)?;
    let truth = Arc::new(COCO::from_dataset(coco_labels(classes, samples)));
    let found = Arc::new(truth.load_res_anns(coco_detections(detections)).map_err(refused)?);
    let mut eval = COCOeval::new(truth.clone(), found.clone(), IouType::Bbox);
    eval.params.max_dets = vec![1, 10, MAX_DETECTIONS];
    eval.evaluate().map_err(refused)?;
    eval.accumulate();
    let table = Table::of(&eval)?;

    let counts = label_counts(classes.len(), samples);
    let labels: Vec<usize> = counts.iter().map(|c| c.labels).collect();
    let point = best_f1(&labels, matched_at_half(&truth, &found)?);
    let every: Vec<usize> = (0..classes.len()).collect();
    Ok(Metrics {
        images: samples.len(),
        labels: labels.iter().sum(),
        map50: table.ap(&every, Some(MATCH_IOU), "all"),
        map75: table.ap(&every, Some(0.75), "all"),
        map: table.ap(&every, None, "all"),
        ap_small: table.ap(&every, None, "small"),
        ap_medium: table.ap(&every, None, "medium"),
        ap_large: table.ap(&every, None, "large"),
        precision: mean(point.precision.iter().flatten().copied()),
        recall: mean(point.recall.iter().flatten().copied()),
        best_confidence: point.confidence,
        per_class: per_class(classes, &counts, &point, &table),
        pr_curves: table.pr_curves(classes),
        confusion: confusion(&eval, classes, point.confidence),
    })
}

pub(super) fn check(classes: &[String], samples: &[&Sample], detections: &[Vec<Detection>]) -> Result<()> {
    if samples.len() != detections.len() {
        return Err(Error::data(
            format!("{} images but detections of {}", samples.len(), detections.len()),
            "one list of detections for each image",
            "this is a defect of the caller: report it",
        ));
    }
    let labeled = samples.iter().flat_map(|s| &s.boxes).map(|b| b.class);
    let detected = detections.iter().flatten().map(|d| d.class);
    match labeled.chain(detected).find(|&class| class >= classes.len()) {
        None => Ok(()),
        Some(class) => Err(Error::data(
            format!("class {class} among labels or detections"),
            format!("a class below {}", classes.len()),
            "the model and the dataset must have the same classes",
        )),
    }
}

pub(super) fn refused(error: hotcoco::Error) -> Error {
    Error::backend(
        format!("hotcoco refused to evaluate: {error}"),
        "finite boxes and scores",
        "a model that outputs NaN cannot be evaluated: check its weights",
    )
}

/// Ids are index + 1: pycocotools takes an id of 0 for "unmatched".
fn id(index: usize) -> u64 {
    index as u64 + 1
}

pub(super) fn coco_labels(classes: &[String], samples: &[&Sample]) -> hotcoco::Dataset {
    let mut annotations = Vec::new();
    for (image, sample) in samples.iter().enumerate() {
        let (width, height) = (f64::from(sample.width_px), f64::from(sample.height_px));
        for b in &sample.boxes {
            let (w, h) = (f64::from(b.w) * width, f64::from(b.h) * height);
            let corner = [f64::from(b.cx) * width - w / 2.0, f64::from(b.cy) * height - h / 2.0];
            annotations.push(Annotation {
                id: id(annotations.len()),
                image_id: id(image),
                category_id: id(b.class),
                bbox: Some([corner[0], corner[1], w, h]),
                area: Some(w * h),
                ..Annotation::default()
            });
        }
    }
    let images = samples.iter().enumerate().map(|(image, sample)| hotcoco::Image {
        id: id(image),
        width: sample.width_px,
        height: sample.height_px,
        ..hotcoco::Image::default()
    });
    let categories = classes.iter().enumerate().map(|(class, name)| Category {
        id: id(class),
        name: name.clone(),
        ..Category::default()
    });
    hotcoco::Dataset {
        images: images.collect(),
        annotations,
        categories: categories.collect(),
        ..hotcoco::Dataset::default()
    }
}

pub(super) fn coco_detections(detections: &[Vec<Detection>]) -> Vec<Annotation> {
    let of_image = |(image, found): (usize, &Vec<Detection>)| {
        found
            .iter()
            .map(move |d| Annotation {
                image_id: id(image),
                category_id: id(d.class),
                bbox: Some([d.x0, d.y0, d.x1 - d.x0, d.y1 - d.y0].map(f64::from)),
                score: Some(f64::from(d.score)),
                ..Annotation::default()
            })
            .collect::<Vec<_>>()
    };
    detections.iter().enumerate().flat_map(of_image).collect()
}

#[derive(Debug, Clone, Copy, Default)]
struct ClassCount {
    images: usize,
    labels: usize,
}

fn label_counts(classes: usize, samples: &[&Sample]) -> Vec<ClassCount> {
    let mut counts = vec![ClassCount::default(); classes];
    for sample in samples {
        let mut seen = vec![false; classes];
        for b in &sample.boxes {
            counts[b.class].labels += 1;
            counts[b.class].images += usize::from(!std::mem::replace(&mut seen[b.class], true));
        }
    }
    counts
}

/// Every detection with whether it claimed a label at IoU 0.5. A second, single-threshold evaluation, because the
/// full records of the ten-threshold one take about 2 kB a detection.
fn matched_at_half(truth: &Arc<COCO>, found: &Arc<COCO>) -> Result<Vec<Scored>> {
    let mut eval = COCOeval::new(truth.clone(), found.clone(), IouType::Bbox);
    eval.params.iou_thrs = vec![MATCH_IOU];
    eval.params.max_dets = vec![MAX_DETECTIONS];
    eval.params.area_ranges.retain(|range| range.label == "all");
    eval.evaluate().map_err(refused)?;
    let mut scored = Vec::new();
    for cell in eval.eval_imgs().iter().flatten() {
        let Ok(class) = usize::try_from(cell.category_id - 1) else { continue };
        for (d, &score) in cell.dt_scores.iter().enumerate() {
            scored.push(Scored { class, score, correct: cell.dt_matched[(0, d)] });
        }
    }
    Ok(scored)
}

fn per_class(
    classes: &[String],
    counts: &[ClassCount],
    point: &OperatingPoint,
    table: &Table<'_>,
) -> Vec<ClassMetrics> {
    let of_class = |(class, name): (usize, &String)| ClassMetrics {
        name: name.clone(),
        images: counts[class].images,
        labels: counts[class].labels,
        precision: point.precision[class],
        recall: point.recall[class],
        map50: table.ap(&[class], Some(MATCH_IOU), "all"),
        map: table.ap(&[class], None, "all"),
    };
    classes.iter().enumerate().map(of_class).collect()
}

fn confusion(eval: &COCOeval, classes: &[String], confidence: f64) -> Confusion {
    let matrix = eval.confusion_matrix(MATCH_IOU, Some(MAX_DETECTIONS), Some(confidence));
    let row = |i: usize| (0..=classes.len()).map(|j| matrix.get(i, j)).collect();
    Confusion { classes: classes.to_vec(), counts: (0..=classes.len()).map(row).collect() }
}

/// hotcoco's five-dimensional precision table, read at the largest detection limit.
struct Table<'a> {
    params: &'a Params,
    data: &'a AccumulatedEval,
}

impl<'a> Table<'a> {
    fn of(eval: &'a COCOeval) -> Result<Self> {
        let data = eval.accumulated().ok_or_else(|| {
            Error::backend("hotcoco accumulated nothing", "a precision table", "this is a defect: report it")
        })?;
        Ok(Self { params: &eval.params, data })
    }

    /// Interpolated precision of one cell; absent where nothing was labeled.
    fn precision(&self, iou: usize, recall: usize, class: usize, area: usize) -> Option<f64> {
        let cell = self.data.precision_idx(iou, recall, class, area, self.params.max_det_idx());
        Some(self.data.precision[cell]).filter(|&p| p >= 0.0)
    }

    /// Mean precision over recalls, the given classes, and one or all IoU thresholds.
    fn ap(&self, classes: &[usize], iou: Option<f64>, area: &str) -> Option<f64> {
        let area = self.params.area_range_idx(area)?;
        let thresholds = match iou {
            Some(threshold) => {
                let index = self.params.iou_thr_idx(threshold)?;
                index..index + 1
            }
            None => 0..self.data.shape.t,
        };
        let recalls = 0..self.data.shape.r;
        mean(thresholds.flat_map(|t| {
            recalls
                .clone()
                .flat_map(move |r| classes.iter().filter_map(move |&k| self.precision(t, r, k, area)))
        }))
    }

    fn pr_curves(&self, classes: &[String]) -> PrCurves {
        let area = self.params.all_area_idx();
        let iou = self.params.iou_thr_idx(MATCH_IOU).unwrap_or(0);
        let of_class = |(class, name): (usize, &String)| {
            let precision: Option<Vec<f64>> =
                (0..self.data.shape.r).map(|r| self.precision(iou, r, class, area)).collect();
            precision
                .map(|p| PrCurve { name: name.clone(), precision: p.into_iter().map(five_digits).collect() })
        };
        let curves: Vec<PrCurve> = classes.iter().enumerate().filter_map(of_class).collect();
        let mean_at = |r: usize| mean(curves.iter().map(|c| c.precision[r])).map(five_digits);
        PrCurves {
            recall: self.params.rec_thrs.iter().copied().map(five_digits).collect(),
            mean: (0..self.data.shape.r).filter_map(mean_at).collect(),
            classes: curves,
        }
    }
}

/// Curves are for drawing: five digits keep their JSON small.
fn five_digits(value: f64) -> f64 {
    (value * 1e5).round() / 1e5
}

#[expect(clippy::cast_precision_loss, reason = "counts of cells are far below 2^53")]
fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

#[cfg(test)]
mod tests;
