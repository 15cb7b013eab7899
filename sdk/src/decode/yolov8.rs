//! YOLOv8's and YOLO11's decoding of split heads: per stride one output of box sides as distributions and one of class
//! logits. A cell's best class logit is compared with the threshold in the units it comes in; softmaxes and
//! dequantization are spent on the cells that pass. Formulas: see [`artifact::Decode::Yolov8`].

use std::ops::Range;

use artifact::{MAX_BINS, TensorSpec, TensorView, ViewData};

use super::candidates::Candidates;
use super::logits::{logit, sigmoid};
use super::real::{Floats, Real, Values};
use super::steps::Steps;
use super::winners::{GROUP, Winners};
use super::{Labels, Limits, misfit};
use crate::Error;

/// Left, top, right, bottom.
const SIDES: usize = 4;
/// How far below the threshold a logit may lie for its score to be compared itself: more than rounding.
const MARGIN: f32 = 1e-3;

/// The two outputs of a stride and their grid.
#[derive(Debug, Clone)]
pub(super) struct Level {
    stride_px: f32,
    bins: usize,
    classes: usize,
    width: usize,
    cells: usize,
    boxes: Steps,
    scores: Steps,
}

/// One level for each stride, over its pair of outputs.
pub(super) fn levels(
    strides: &[usize],
    bins: usize,
    classes: usize,
    outputs: &[TensorSpec],
) -> Result<Vec<Level>, Error> {
    let (pairs, rest) = outputs.as_chunks::<2>();
    if strides.is_empty() || pairs.len() != strides.len() || !rest.is_empty() {
        return Err(misfit(
            format!("{} outputs for {} strides", outputs.len(), strides.len()),
            "a box and a class output for each of at least one stride",
        ));
    }
    let parts = pairs.iter().zip(strides);
    parts.map(|([boxes, scores], &stride_px)| Level::new(boxes, scores, stride_px, bins, classes)).collect()
}

impl Level {
    fn new(
        boxes: &TensorSpec,
        scores: &TensorSpec,
        stride_px: usize,
        bins: usize,
        classes: usize,
    ) -> Result<Self, Error> {
        let usable = (1..=MAX_BINS).contains(&bins) && classes > 0 && stride_px > 0;
        let shaped = |spec: &TensorSpec, channels| {
            spec.shape[0] == 1 && spec.channels() == channels && Steps::fits(spec) && !spec.is_empty()
        };
        let (height, width) = boxes.height_width();
        let fits = usable
            && shaped(boxes, SIDES * bins)
            && shaped(scores, classes)
            && scores.height_width() == (height, width);
        if !fits {
            return Err(misfit(
                format!(
                    "outputs {:?} of shape {:?} and {:?} of shape {:?} for {bins} bins and {classes} classes",
                    boxes.name, boxes.shape, scores.name, scores.shape
                ),
                "batch 1, 4 * reg_max and as many channels as classes, over one grid",
            ));
        }
        let cells = height * width;
        #[expect(clippy::cast_precision_loss, reason = "strides are small")]
        let stride_px = stride_px as f32;
        let (boxes, scores) = (Steps::of(boxes), Steps::of(scores));
        Ok(Self { stride_px, bins, classes, width, cells, boxes, scores })
    }

    /// Number of boxes the outputs hold.
    pub(super) fn boxes(&self) -> usize {
        self.cells
    }

    /// Adds the boxes above the threshold; the outputs have the shapes given to [`levels`].
    pub(super) fn decode(
        &self,
        boxes: TensorView<'_>,
        scores: TensorView<'_>,
        limits: &Limits,
        found: &mut Candidates,
    ) -> Result<(), Error> {
        let boxes = Values::of(boxes).ok_or_else(bare_integers)?;
        let job = Job { boxes, limits, enough: logit(limits.confidence) - MARGIN };
        match (scores.data, scores.quant) {
            (ViewData::F32(values), _) => self.decode_scores(values, &Floats, &job, found),
            (ViewData::I8(values), Some(quant)) => self.decode_scores(values, &quant, &job, found),
            (ViewData::U8(values), Some(quant)) => self.decode_scores(values, &quant, &job, found),
            (ViewData::I8(_) | ViewData::U8(_), None) => return Err(bare_integers()),
        }
        Ok(())
    }

    fn decode_scores<T: Copy + PartialOrd, R: Real<T>>(
        &self,
        values: &[T],
        real: &R,
        job: &Job,
        found: &mut Candidates,
    ) {
        let threshold = real.threshold(job.enough);
        for start in (0..self.cells).step_by(GROUP) {
            if !self.may_pass(values, start, real, threshold) {
                continue;
            }
            let best = self.best_of_group(values, start, real);
            let lanes = 0..GROUP.min(self.cells - start);
            for lane in lanes.filter(|&lane| real.above(best.at(lane).1, threshold)) {
                let cell = start + lane;
                let classes = match job.limits.labels {
                    Labels::Best => best.at(lane).0..best.at(lane).0 + 1,
                    Labels::Multi => 0..self.classes,
                };
                let logit_of =
                    |class: usize| real.value(values[self.scores.channel(class) + self.scores.cell(cell)]);
                self.push_cell(cell, classes, logit_of, job, found);
            }
        }
    }

    /// Whether a class of a cell of the group may be above the threshold; true also where only what fills up a block is.
    fn may_pass<T: Copy, R: Real<T>>(
        &self,
        values: &[T],
        start: usize,
        real: &R,
        threshold: R::Threshold,
    ) -> bool {
        let (lanes, block) = (GROUP.min(self.cells - start), self.scores.block());
        (0..self.classes).step_by(block).any(|class| {
            let first = self.scores.channel(class) + self.scores.cell(start);
            // All of it lies side by side, and is compared without a branch.
            real.above(real.highest(&values[first..first + lanes * block]), threshold)
        })
    }

    /// The best class of each cell from `start` on; lanes beyond the last cell hold nothing.
    fn best_of_group<T: Copy + PartialOrd, R: Real<T>>(
        &self,
        values: &[T],
        start: usize,
        real: &R,
    ) -> Winners<T> {
        let lanes = GROUP.min(self.cells - start);
        if self.scores.has_dense_cells() {
            let values = &values[self.scores.channel(0) + start..];
            return Winners::of(values, self.scores.block_step(), self.classes, lanes, real);
        }
        let mut best = Winners::none(real);
        let block = self.scores.block();
        for lane in 0..lanes {
            for class in (0..self.classes).step_by(block) {
                let first = self.scores.channel(class) + self.scores.cell(start + lane);
                best.offer_run(lane, class, &values[first..first + block.min(self.classes - class)], real);
            }
        }
        best
    }

    fn push_cell(
        &self,
        cell: usize,
        classes: Range<usize>,
        logit_of: impl Fn(usize) -> f32,
        job: &Job,
        found: &mut Candidates,
    ) {
        let mut corners = None;
        for class in classes {
            let logit = logit_of(class);
            // Spares exponentials; the exact comparison follows.
            if logit <= job.enough {
                continue;
            }
            let score = sigmoid(logit);
            if score > job.limits.confidence {
                let [x0, y0, x1, y1] = *corners.get_or_insert_with(|| self.corners(cell, &job.boxes));
                // Distances that are no expectation may be negative, and such a box turned inside out.
                if x0 <= x1 && y0 <= y1 {
                    found.push_corners(class, score, [x0, y0, x1, y1]);
                }
            }
        }
    }

    /// Left, top, right and bottom edge in pixels of the model input.
    #[expect(clippy::cast_precision_loss, reason = "cells are far fewer than 2^24")]
    fn corners(&self, cell: usize, boxes: &Values) -> [f32; 4] {
        let (x, y) = ((cell % self.width) as f32 + 0.5, (cell / self.width) as f32 + 0.5);
        let [left, top, right, bottom] = std::array::from_fn(|side| self.distance(side, cell, boxes));
        [x - left, y - top, x + right, y + bottom].map(|edge| edge * self.stride_px)
    }

    /// Distance of a side from the middle of its cell, in cells.
    #[expect(clippy::cast_precision_loss, reason = "there are at most 64 bins")]
    fn distance(&self, side: usize, cell: usize, boxes: &Values) -> f32 {
        let at = |bin: usize| boxes.get(self.boxes.channel(side * self.bins + bin) + self.boxes.cell(cell));
        if self.bins == 1 {
            return at(0);
        }
        let highest = (0..self.bins).map(at).fold(f32::NEG_INFINITY, f32::max);
        let (mut sum, mut moment) = (0.0, 0.0);
        for bin in 0..self.bins {
            let weight = (at(bin) - highest).exp();
            sum += weight;
            moment += weight * bin as f32;
        }
        moment / sum
    }
}

/// What the cells of one output share.
struct Job<'a> {
    boxes: Values<'a>,
    limits: &'a Limits,
    /// Class logits not above this are below the threshold.
    enough: f32,
}

fn bare_integers() -> Error {
    misfit("an integer output without quantization".into(), "a scale and a zero point")
}

#[cfg(test)]
mod tests;
