//! YOLOv5's decoding of raw convolution outputs. The objectness of a cell is compared with the threshold in the units
//! it comes in (logits, or quantized logits), so that sigmoids and dequantization are spent on few cells only.
//! Formulas: ultralytics/yolov5, Detect (v6): `xy = (2σ - 0.5 + cell) * stride`, `wh = (2σ)² * anchor`.

use artifact::{Layout, Tensor, TensorData, TensorSpec};

use super::candidates::Candidates;
use super::logits::{logit, sigmoid};
use super::real::{Floats, Real};
use super::{Labels, Limits, misfit};
use crate::Error;

/// Objectness values looked at together; most groups hold none above the threshold.
const GROUP: usize = 32;
/// Channels of an anchor before its class scores: x, y, w, h, objectness.
const BOX_CHANNELS: usize = 5;
const OBJECTNESS: usize = 4;

/// One output and its grid.
#[derive(Debug, Clone)]
pub(super) struct Head {
    stride_px: f32,
    anchors_px: Vec<[f32; 2]>,
    classes: usize,
    width: usize,
    cells: usize,
    /// Distance in memory of a cell's channels, and of a channel's cells.
    channel_step: usize,
    cell_step: usize,
}

/// One head an output.
pub(super) fn heads(
    strides: &[usize],
    anchors_px: &[Vec<[f32; 2]>],
    classes: usize,
    outputs: &[TensorSpec],
) -> Result<Vec<Head>, Error> {
    if outputs.is_empty() || outputs.len() != strides.len() || strides.len() != anchors_px.len() {
        return Err(misfit(
            format!(
                "{} outputs, {} strides and {} lists of anchors",
                outputs.len(),
                strides.len(),
                anchors_px.len()
            ),
            "one of each for every output, and at least one",
        ));
    }
    let parts = outputs.iter().zip(strides).zip(anchors_px);
    parts.map(|((spec, &stride_px), anchors_px)| Head::new(spec, stride_px, anchors_px, classes)).collect()
}

impl Head {
    fn new(
        spec: &TensorSpec,
        stride_px: usize,
        anchors_px: &[[f32; 2]],
        classes: usize,
    ) -> Result<Self, Error> {
        let channels = anchors_px.len().saturating_mul(classes.saturating_add(BOX_CHANNELS));
        let shaped = spec.shape[0] == 1 && spec.channels() == channels && !spec.is_empty();
        if classes == 0 || stride_px == 0 || !shaped {
            return Err(misfit(
                format!("output {:?} of shape {:?} for {classes} classes", spec.name, spec.shape),
                "batch 1 and anchors * (5 + classes) channels",
            ));
        }
        let (height, width) = spec.height_width();
        let cells = height * width;
        let (channel_step, cell_step) = match spec.layout {
            Layout::Nchw => (cells, 1),
            Layout::Nhwc => (1, channels),
        };
        #[expect(clippy::cast_precision_loss, reason = "strides are small")]
        let stride_px = stride_px as f32;
        Ok(Self {
            stride_px,
            anchors_px: anchors_px.to_vec(),
            classes,
            width,
            cells,
            channel_step,
            cell_step,
        })
    }

    /// Number of boxes the output holds.
    pub(super) fn boxes(&self) -> usize {
        self.anchors_px.len() * self.cells
    }

    /// Adds the boxes of `output`, which has the shape given to [`heads`], above the threshold.
    pub(super) fn decode(
        &self,
        output: &Tensor,
        limits: &Limits,
        found: &mut Candidates,
    ) -> Result<(), Error> {
        match (&output.data, output.quant) {
            (TensorData::F32(values), _) => self.decode_values(values, &Floats, limits, found),
            (TensorData::I8(values), Some(quant)) => self.decode_values(values, &quant, limits, found),
            (TensorData::U8(values), Some(quant)) => self.decode_values(values, &quant, limits, found),
            (TensorData::I8(_) | TensorData::U8(_), None) => {
                return Err(misfit(
                    "an integer output without quantization".into(),
                    "a scale and a zero point",
                ));
            }
        }
        Ok(())
    }

    fn decode_values<T: Copy, R: Real<T>>(
        &self,
        values: &[T],
        real: &R,
        limits: &Limits,
        found: &mut Candidates,
    ) {
        let threshold = real.threshold(logit(limits.confidence));
        for anchor in 0..self.anchors_px.len() {
            let first_channel = anchor * (BOX_CHANNELS + self.classes);
            let plane = &values[(first_channel + OBJECTNESS) * self.channel_step..];
            self.for_cells_above(
                plane,
                |value| real.above(value, threshold),
                |cell| {
                    let at = |channel: usize| {
                        real.value(
                            values[(first_channel + channel) * self.channel_step + cell * self.cell_step],
                        )
                    };
                    self.push_box(anchor, cell, at, limits, found);
                },
            );
        }
    }

    /// Calls `hit` for each cell of `plane` that is `above`, in order.
    fn for_cells_above<T: Copy>(&self, plane: &[T], above: impl Fn(T) -> bool, mut hit: impl FnMut(usize)) {
        if self.cell_step != 1 {
            (0..self.cells).filter(|cell| above(plane[cell * self.cell_step])).for_each(hit);
            return;
        }
        for (group, values) in plane[..self.cells].chunks(GROUP).enumerate() {
            // Without a branch a value, so that the compiler compares many at once.
            if values.iter().fold(false, |any, &value| any | above(value)) {
                let start = group * GROUP;
                (0..values.len()).filter(|&i| above(values[i])).for_each(|i| hit(start + i));
            }
        }
    }

    fn push_box(
        &self,
        anchor: usize,
        cell: usize,
        at: impl Fn(usize) -> f32,
        limits: &Limits,
        found: &mut Candidates,
    ) {
        let objectness = sigmoid(at(OBJECTNESS));
        let mut geometry = None;
        let mut push = |class: usize, score: f32| {
            if score > limits.confidence {
                let (center, size) = *geometry.get_or_insert_with(|| self.geometry(anchor, cell, &at));
                found.push(class, score, center, size);
            }
        };
        let class_logit = |class: usize| at(BOX_CHANNELS + class);
        match limits.labels {
            Labels::Best => {
                let best = (0..self.classes).fold((0, f32::NEG_INFINITY), |best, class| {
                    let logit = class_logit(class);
                    if logit > best.1 { (class, logit) } else { best }
                });
                push(best.0, objectness * sigmoid(best.1));
            }
            Labels::Multi => {
                // A class passes where objectness * sigmoid(logit) > confidence; the margin covers rounding, the
                // exact comparison follows in `push`.
                let enough = logit(limits.confidence / objectness) - 1e-3;
                for class in 0..self.classes {
                    let logit = class_logit(class);
                    if logit >= enough {
                        push(class, objectness * sigmoid(logit));
                    }
                }
            }
        }
    }

    /// Center and size in pixels of the model input.
    #[expect(clippy::cast_precision_loss, reason = "cells are far fewer than 2^24")]
    fn geometry(&self, anchor: usize, cell: usize, at: impl Fn(usize) -> f32) -> ([f32; 2], [f32; 2]) {
        let (column, row) = ((cell % self.width) as f32, (cell / self.width) as f32);
        let [x, y, w, h] = std::array::from_fn(|channel| 2.0 * sigmoid(at(channel)));
        let center = [(x - 0.5 + column) * self.stride_px, (y - 0.5 + row) * self.stride_px];
        let [anchor_width, anchor_height] = self.anchors_px[anchor];
        (center, [w * w * anchor_width, h * h * anchor_height])
    }
}
