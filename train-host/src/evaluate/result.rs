//! What a measurement gives, as plain data that goes to JSON and back. Computes nothing.

use serde::{Deserialize, Serialize};

/// How good detections are. Values are fractions 0..1; what cannot be measured (nothing labeled) is absent: `null`
/// in JSON, never −1 or NaN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Images measured.
    pub images: usize,
    /// Labeled objects in them.
    pub labels: usize,
    /// Mean over classes of AP at IoU 0.5.
    pub map50: Option<f64>,
    /// Mean over classes of AP at IoU 0.75.
    pub map75: Option<f64>,
    /// Mean over classes of AP averaged over IoU 0.50:0.05:0.95.
    pub map: Option<f64>,
    /// `map` of objects under 32² px of the source image. The area is that of the box.
    pub ap_small: Option<f64>,
    /// `map` of objects from 32² to 96² px.
    pub ap_medium: Option<f64>,
    /// `map` of objects over 96² px.
    pub ap_large: Option<f64>,
    /// Mean over classes of precision at `best_confidence`, IoU 0.5.
    pub precision: Option<f64>,
    /// Mean over classes of recall at `best_confidence`, IoU 0.5.
    pub recall: Option<f64>,
    /// Confidence with the highest F1 averaged over classes.
    pub best_confidence: f64,
    /// One entry a class, in the dataset's order.
    pub per_class: Vec<ClassMetrics>,
    /// Precision over recall at IoU 0.5.
    pub pr_curves: PrCurves,
    /// What was taken for what, at IoU 0.5 and `best_confidence`.
    pub confusion: Confusion,
}

/// Metrics of one class; see [`Metrics`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassMetrics {
    /// Class name.
    pub name: String,
    /// Images with at least one object of the class.
    pub images: usize,
    /// Labeled objects of the class.
    pub labels: usize,
    /// Precision at [`Metrics::best_confidence`].
    pub precision: Option<f64>,
    /// Recall at [`Metrics::best_confidence`].
    pub recall: Option<f64>,
    /// AP at IoU 0.5.
    pub map50: Option<f64>,
    /// AP averaged over IoU 0.50:0.05:0.95.
    pub map: Option<f64>,
}

/// Interpolated precision (the highest at this or any greater recall) at COCO's 101 recalls, IoU 0.5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrCurves {
    /// 0, 0.01, … 1: the horizontal axis of every curve.
    pub recall: Vec<f64>,
    /// Mean precision over the classes with labels; empty when there is none.
    pub mean: Vec<f64>,
    /// One curve for each class with labels.
    pub classes: Vec<PrCurve>,
}

/// Precision of one class along [`PrCurves::recall`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrCurve {
    /// Class name.
    pub name: String,
    /// Interpolated precision.
    pub precision: Vec<f64>,
}

/// Counts of labeled class (row) against detected class (column). The last row holds detections of nothing (false
/// alarms), the last column objects that were missed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// Class names; rows and columns `0..classes.len()`.
    pub classes: Vec<String>,
    /// `classes.len() + 1` rows of as many counts.
    pub counts: Vec<Vec<u64>>,
}
