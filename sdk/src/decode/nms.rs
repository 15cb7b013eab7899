//! Greedy non-maximum suppression, class by class.

use super::Limits;
use super::candidates::Candidate;

/// Fills `kept` with those of `candidates` (best first) that no better box of their class covers.
pub(super) fn suppress(candidates: &[Candidate], limits: &Limits, kept: &mut Vec<Candidate>) {
    kept.clear();
    for candidate in candidates {
        if kept.len() == limits.max_detections {
            return;
        }
        let covered =
            kept.iter().any(|better| better.class == candidate.class && iou(better, candidate) > limits.iou);
        if !covered {
            kept.push(*candidate);
        }
    }
}

/// Intersection over union, 0 for two boxes without area.
fn iou(a: &Candidate, b: &Candidate) -> f32 {
    let width = (a.x1.min(b.x1) - a.x0.max(b.x0)).max(0.0);
    let height = (a.y1.min(b.y1) - a.y0.max(b.y0)).max(0.0);
    let intersection = width * height;
    let union = area(a) + area(b) - intersection;
    if union > 0.0 { intersection / union } else { 0.0 }
}

fn area(a: &Candidate) -> f32 {
    (a.x1 - a.x0) * (a.y1 - a.y0)
}
