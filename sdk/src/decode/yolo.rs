//! YOLOv5's decoding of raw convolution outputs. The objectness of a cell is compared with the threshold in the units
//! it comes in (logits, or quantized logits), so that sigmoids and dequantization are spent on few cells only.
//! Formulas: ultralytics/yolov5, Detect (v6): `xy = (2σ - 0.5 + cell) * stride`, `wh = (2σ)² * anchor`.

use artifact::{Spread, TensorSpec, TensorView, ViewData};

use super::candidates::Candidates;
use super::logits::{logit, sigmoid};
use super::plane::Plane;
use super::real::{Floats, Real};
use super::steps::Steps;
use super::winners::{self, GROUP, Winners};
use super::{Labels, Limits, misfit};
use crate::Error;

/// Channels of an anchor before its class scores: x, y, w, h, objectness.
const BOX_CHANNELS: usize = 5;
const OBJECTNESS: usize = 4;

/// One anchor of an output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Anchor {
    /// Width and height.
    size_px: [f32; 2],
    /// What its box channels tell of their logits.
    spread: [Spread; 4],
}

/// One output and its grid.
#[derive(Debug, Clone)]
pub(super) struct Head {
    stride_px: f32,
    anchors: Vec<Anchor>,
    classes: usize,
    width: usize,
    cells: usize,
    steps: Steps,
}

/// One head an output.
pub(super) fn heads(
    strides: &[usize],
    anchors: Vec<Vec<Anchor>>,
    classes: usize,
    outputs: &[TensorSpec],
) -> Result<Vec<Head>, Error> {
    if outputs.is_empty() || outputs.len() != strides.len() || strides.len() != anchors.len() {
        return Err(misfit(
            format!(
                "{} outputs, {} strides and {} lists of anchors",
                outputs.len(),
                strides.len(),
                anchors.len()
            ),
            "one of each for every output, and at least one",
        ));
    }
    let parts = outputs.iter().zip(strides).zip(anchors);
    parts.map(|((spec, &stride_px), anchors)| Head::new(spec, stride_px, anchors, classes)).collect()
}

/// The anchors of each output, with how each is spread.
pub(super) fn anchors(
    anchors_px: &[Vec<[f32; 2]>],
    spread: &[Vec<[Spread; 4]>],
) -> Result<Vec<Vec<Anchor>>, Error> {
    Spread::expect_fits(spread, anchors_px).map_err(|(found, expected)| misfit(found, expected))?;
    let plain = |sizes_px: &Vec<[f32; 2]>| {
        sizes_px.iter().map(|&size_px| Anchor { size_px, spread: [Spread::NONE; 4] }).collect::<Vec<_>>()
    };
    let mut anchors: Vec<Vec<Anchor>> = anchors_px.iter().map(plain).collect();
    for (anchor, &spread) in anchors.iter_mut().flatten().zip(spread.iter().flatten()) {
        anchor.spread = spread;
    }
    Ok(anchors)
}

impl Head {
    fn new(spec: &TensorSpec, stride_px: usize, anchors: Vec<Anchor>, classes: usize) -> Result<Self, Error> {
        let channels = anchors.len().saturating_mul(classes.saturating_add(BOX_CHANNELS));
        let shaped =
            spec.shape[0] == 1 && spec.channels() == channels && Steps::fits(spec) && !spec.is_empty();
        if classes == 0 || stride_px == 0 || !shaped {
            return Err(misfit(
                format!("output {:?} of shape {:?} for {classes} classes", spec.name, spec.shape),
                "batch 1 and anchors * (5 + classes) channels",
            ));
        }
        let (height, width) = spec.height_width();
        let cells = height * width;
        #[expect(clippy::cast_precision_loss, reason = "strides are small")]
        let stride_px = stride_px as f32;
        Ok(Self { stride_px, anchors, classes, width, cells, steps: Steps::of(spec) })
    }

    /// Number of boxes the output holds.
    pub(super) fn boxes(&self) -> usize {
        self.anchors.len() * self.cells
    }

    /// Adds the boxes of `output`, which has the shape given to [`heads`], above the threshold.
    pub(super) fn decode(
        &self,
        output: TensorView<'_>,
        limits: &Limits,
        found: &mut Candidates,
    ) -> Result<(), Error> {
        match (output.data, output.quant) {
            (ViewData::F32(values), _) => self.decode_values(values, &Floats, limits, found),
            (ViewData::I8(values), Some(quant)) => self.decode_values(values, &quant, limits, found),
            (ViewData::U8(values), Some(quant)) => self.decode_values(values, &quant, limits, found),
            (ViewData::I8(_) | ViewData::U8(_), None) => {
                return Err(misfit(
                    "an integer output without quantization".into(),
                    "a scale and a zero point",
                ));
            }
        }
        Ok(())
    }

    fn decode_values<T: Copy + PartialEq, R: Real<T>>(
        &self,
        values: &[T],
        real: &R,
        limits: &Limits,
        found: &mut Candidates,
    ) {
        let threshold = real.threshold(logit(limits.confidence));
        for anchor in 0..self.anchors.len() {
            let first_channel = anchor * (BOX_CHANNELS + self.classes);
            let plane = Plane::of(values, &self.steps, first_channel + OBJECTNESS, self.cells);
            let mut neighbors = Neighbors { first_cell: 0, winners: None };
            plane.for_cells_above(real, threshold, |cell| {
                let stored = Stored { values, first_channel, cell: self.steps.cell(cell), steps: self.steps };
                let best = (limits.labels == Labels::Best)
                    .then(|| self.best_class(cell, &stored, real, &mut neighbors));
                self.push_box((anchor, cell), &stored, best, real, limits, found);
            });
        }
    }

    fn push_box<T: Copy + PartialEq, R: Real<T>>(
        &self,
        (anchor, cell): (usize, usize),
        stored: &Stored<'_, T>,
        best: Option<(usize, T)>,
        real: &R,
        limits: &Limits,
        found: &mut Candidates,
    ) {
        let at = |channel: usize| real.value(stored.at(channel));
        let objectness = sigmoid(at(OBJECTNESS));
        let mut geometry = None;
        let mut push = |class: usize, stored: T| {
            let score = objectness * sigmoid(real.value(stored));
            if score > limits.confidence {
                let (center, size) = *geometry.get_or_insert_with(|| self.geometry(anchor, cell, at));
                found.push(class, score, center, size);
            }
        };
        match best {
            Some((class, highest)) => push(class, highest),
            None => {
                // A class passes where objectness * sigmoid(logit) > confidence; the margin covers rounding, the
                // exact comparison follows in `push`.
                let enough = real.threshold(logit(limits.confidence / objectness) - 1e-3);
                stored.for_runs(self.classes, |first, run| {
                    for (class, &value) in (first..).zip(run).filter(|(_, value)| real.above(**value, enough))
                    {
                        push(class, value);
                    }
                });
            }
        }
    }

    /// The class with the highest stored value, which is the one with the highest score; of equal ones the first.
    fn best_class<T: Copy + PartialEq, R: Real<T>>(
        &self,
        cell: usize,
        stored: &Stored<'_, T>,
        real: &R,
        neighbors: &mut Neighbors<T>,
    ) -> (usize, T) {
        if !self.steps.has_dense_cells() {
            return self.best_of_runs(stored, real);
        }
        let (first_cell, lane) = (cell - cell % GROUP, cell % GROUP);
        if neighbors.first_cell != first_cell {
            *neighbors = Neighbors { first_cell, winners: None };
        }
        let winners = neighbors.winners.get_or_insert_with(|| {
            let at = self.steps.channel(stored.first_channel + BOX_CHANNELS) + first_cell;
            let cells = GROUP.min(self.cells - first_cell);
            Winners::of(&stored.values[at..], self.steps.block_step(), self.classes, cells, real)
        });
        winners.at(lane)
    }

    /// As [`Head::best_class`], where the classes of a cell lie side by side.
    fn best_of_runs<T: Copy + PartialEq, R: Real<T>>(&self, stored: &Stored<'_, T>, real: &R) -> (usize, T) {
        let mut best = (0, R::LOWEST);
        stored.for_runs(self.classes, |first, run| best = winners::better_of_run(best, first, run, real));
        best
    }

    /// Center and size in pixels of the model input.
    #[expect(clippy::cast_precision_loss, reason = "cells are far fewer than 2^24")]
    fn geometry(&self, anchor: usize, cell: usize, at: impl Fn(usize) -> f32) -> ([f32; 2], [f32; 2]) {
        let (column, row) = ((cell % self.width) as f32, (cell / self.width) as f32);
        let Anchor { size_px: [anchor_width, anchor_height], spread } = self.anchors[anchor];
        let [x, y, w, h] = std::array::from_fn(|channel| 2.0 * sigmoid(spread[channel].logit(at(channel))));
        let center = [(x - 0.5 + column) * self.stride_px, (y - 0.5 + row) * self.stride_px];
        (center, [w * w * anchor_width, h * h * anchor_height])
    }
}

/// The best classes of the cells looked at last, as more of them are likely to hold a box.
struct Neighbors<T> {
    first_cell: usize,
    winners: Option<Winners<T>>,
}

/// The channels of one anchor at one cell, as they are stored.
struct Stored<'a, T> {
    values: &'a [T],
    first_channel: usize,
    /// Where the cell lies in each channel.
    cell: usize,
    steps: Steps,
}

impl<T: Copy> Stored<'_, T> {
    fn at(&self, channel: usize) -> T {
        self.values[self.steps.channel(self.first_channel + channel) + self.cell]
    }

    /// Gives the class channels run by run, each as long as they lie side by side, with the run's first class.
    fn for_runs(&self, classes: usize, mut each: impl FnMut(usize, &[T])) {
        let mut class = 0;
        while class < classes {
            let channel = self.first_channel + BOX_CHANNELS + class;
            let length = self.steps.dense_channels(channel).min(classes - class);
            let start = self.steps.channel(channel) + self.cell;
            each(class, &self.values[start..start + length]);
            class += length;
        }
    }
}
