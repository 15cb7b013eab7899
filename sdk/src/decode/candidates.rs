//! The best boxes so far, within a fixed buffer: when it is full, its weaker half is dropped.

use std::cmp::Ordering;

/// A box above the threshold, in pixels of the model input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) score: f32,
    pub(super) class: usize,
    pub(super) x0: f32,
    pub(super) y0: f32,
    pub(super) x1: f32,
    pub(super) y1: f32,
    /// Order of arrival, so that equal scores sort the same way always.
    order: u32,
}

/// Up to `limit` candidates with the highest scores.
#[derive(Debug, Clone)]
pub(super) struct Candidates {
    limit: usize,
    buffer: Vec<Candidate>,
    arrived: u32,
    /// Scores that are not above this can no longer enter.
    floor: f32,
}

impl Candidates {
    pub(super) fn with_limit(limit: usize) -> Self {
        let buffer = Vec::with_capacity(limit.saturating_mul(2));
        Self { limit, buffer, arrived: 0, floor: f32::NEG_INFINITY }
    }

    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.arrived = 0;
        self.floor = f32::NEG_INFINITY;
    }

    /// As [`Candidates::push_corners`], by center and size.
    pub(super) fn push(&mut self, class: usize, score: f32, center: [f32; 2], size: [f32; 2]) {
        let [x, y] = center;
        let [half_width, half_height] = [size[0] / 2.0, size[1] / 2.0];
        self.push_corners(class, score, [x - half_width, y - half_height, x + half_width, y + half_height]);
    }

    /// Takes a box by its left, top, right and bottom edge, unless a number of it is not finite or it is too weak by
    /// now.
    pub(super) fn push_corners(&mut self, class: usize, score: f32, [x0, y0, x1, y1]: [f32; 4]) {
        let finite = [score, x0, y0, x1, y1].iter().all(|n| n.is_finite());
        if !finite || score <= self.floor {
            return;
        }
        if self.buffer.len() == self.limit.saturating_mul(2) {
            self.drop_weaker_half();
        }
        self.buffer.push(Candidate { score, class, x0, y0, x1, y1, order: self.arrived });
        self.arrived = self.arrived.saturating_add(1);
    }

    /// All that remain, best first.
    pub(super) fn best_first(&mut self) -> &[Candidate] {
        if self.buffer.len() > self.limit {
            self.drop_weaker_half();
        }
        self.buffer.sort_unstable_by(better);
        &self.buffer
    }

    fn drop_weaker_half(&mut self) {
        let last = self.limit - 1;
        self.buffer.select_nth_unstable_by(last, better);
        self.buffer.truncate(self.limit);
        self.floor = self.buffer[last].score;
    }
}

fn better(a: &Candidate, b: &Candidate) -> Ordering {
    b.score.total_cmp(&a.score).then(a.order.cmp(&b.order))
}
