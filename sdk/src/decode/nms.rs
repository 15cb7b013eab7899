//! Greedy non-maximum suppression, class by class.

use super::Limits;
use super::candidates::Candidate;

/// Boxes kept of one frame, each linked to the one of its class before it, so that only boxes of a class are compared.
#[derive(Debug, Clone)]
pub(super) struct Suppression {
    kept: Vec<Candidate>,
    /// Of each kept box, the place of the last one of its class before it.
    before: Vec<Option<u32>>,
    /// Of each class, the place of its last kept box.
    last: Vec<Option<u32>>,
}

impl Suppression {
    /// For so many classes, and room for so many boxes.
    pub(super) fn new(classes: usize, max_detections: usize) -> Self {
        Self {
            kept: Vec::with_capacity(max_detections),
            before: Vec::with_capacity(max_detections),
            last: vec![None; classes],
        }
    }

    /// Those of `candidates` (best first) that no better box of their class covers.
    pub(super) fn run(&mut self, candidates: &[Candidate], limits: &Limits) -> &[Candidate] {
        self.clear();
        for candidate in candidates {
            if self.kept.len() == limits.max_detections {
                break;
            }
            if !self.of_class(candidate.class).any(|better| iou(better, candidate) > limits.iou) {
                self.keep(candidate);
            }
        }
        &self.kept
    }

    /// Those of the last run.
    #[cfg(test)]
    pub(super) fn kept(&self) -> &[Candidate] {
        &self.kept
    }

    fn clear(&mut self) {
        for kept in &self.kept {
            self.last[kept.class] = None;
        }
        self.kept.clear();
        self.before.clear();
    }

    /// Kept boxes of a class, the last first.
    fn of_class(&self, class: usize) -> impl Iterator<Item = &Candidate> {
        let places = std::iter::successors(self.last[class], |&place| self.before[place as usize]);
        places.map(|place| &self.kept[place as usize])
    }

    fn keep(&mut self, candidate: &Candidate) {
        let place = u32::try_from(self.kept.len()).ok();
        self.before.push(std::mem::replace(&mut self.last[candidate.class], place));
        self.kept.push(*candidate);
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
