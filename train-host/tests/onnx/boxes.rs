//! The boxes that a model computes itself, and whether the device finds the same.

use repedge::decode::{Detection, Labels, Limits};

/// How a decoded output lists its boxes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Listing {
    /// YOLOv5: `[1, boxes, 5 + classes]`, the fifth number an objectness.
    Rows,
    /// YOLOv8: `[1, 4 + classes, boxes]`.
    Columns,
}

/// Boxes that a model computes itself, of all classes.
pub struct Own {
    boxes: Vec<Detection>,
    /// A score that none is near, so that rounding cannot move one across.
    pub confidence: f32,
}

impl Own {
    /// Reads a model's output.
    pub fn read(values: &[f32], shape: &[usize], listing: Listing) -> Self {
        let objectness = listing == Listing::Rows;
        let (numbers, count) = if objectness { (shape[2], shape[1]) } else { (shape[1], shape[2]) };
        let at = |row: usize, number: usize| {
            if objectness { values[row * numbers + number] } else { values[number * count + row] }
        };
        let first = if objectness { 5 } else { 4 };
        let class = |(row, class): (usize, usize)| {
            let [x, y, w, h] = std::array::from_fn(|number| at(row, number));
            let score = at(row, first + class) * if objectness { at(row, 4) } else { 1.0 };
            Detection { class, score, x0: x - w / 2.0, y0: y - h / 2.0, x1: x + w / 2.0, y1: y + h / 2.0 }
        };
        let boxes: Vec<Detection> = (0..count)
            .flat_map(|row| (0..numbers - first).map(move |class| (row, class)))
            .map(class)
            .collect();
        let confidence = clear_threshold(boxes.iter().map(|found| found.score).collect());
        Self { boxes, confidence }
    }

    /// Limits under which nothing is suppressed, so that every box is compared.
    pub fn limits(&self) -> Limits {
        Limits {
            labels: Labels::Multi,
            max_detections: 10_000,
            max_candidates: 10_000,
            ..Limits::device(self.confidence, 1.0)
        }
    }

    /// Asserts that these boxes of square images of `side_px` were found, and no others.
    pub fn assert_found(&self, name: &str, side_px: usize, found: &[Detection]) {
        let strong = self.boxes.iter().filter(|own| own.score > self.confidence);
        let expected: Vec<Detection> = strong.filter_map(|own| clipped(own, side_px as f32)).collect();
        assert!(expected.len() > 5, "{name}: {} boxes", expected.len());
        assert_eq!(found.len(), expected.len(), "{name}");
        for found in found {
            let known = expected.iter().any(|expected| same(found, expected));
            assert!(known, "{name}: {found:?} is none of the model's");
        }
    }
}

/// The lowest score from 0.05 on that none is near.
fn clear_threshold(mut scores: Vec<f32>) -> f32 {
    scores.retain(|score| *score > 0.05);
    scores.sort_by(f32::total_cmp);
    let gap = scores.windows(2).find(|pair| pair[1] - pair[0] > 5e-4).unwrap();
    f32::midpoint(gap[0], gap[1])
}

/// As the device shows it: within the frame, and not at all where nothing is visible.
fn clipped(own: &Detection, side: f32) -> Option<Detection> {
    let [x0, y0, x1, y1] = [own.x0, own.y0, own.x1, own.y1].map(|edge| edge.clamp(0.0, side));
    (x0 < x1 && y0 < y1).then_some(Detection { x0, y0, x1, y1, ..*own })
}

fn same(a: &Detection, b: &Detection) -> bool {
    let edges = |d: &Detection| [d.x0, d.y0, d.x1, d.y1];
    let near = edges(a).iter().zip(edges(b)).all(|(a, b)| (a - b).abs() < 0.02);
    a.class == b.class && (a.score - b.score).abs() < 1e-3 && near
}
