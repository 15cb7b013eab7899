//! The split head of YOLOv8 and YOLO11: two convolutions a stride, distances and classes. Formulas: see
//! [`artifact::Decode::Yolov8`].

use std::collections::HashMap;

use artifact::MAX_BINS;

use super::super::inferred::Inferred;
use super::super::net::TensorId;
use super::super::tensor::Value;
use super::{Found, Hints, Level, Told, close, misread, no_detector, scattered, seeds, sigmoid};
use crate::Result;

/// Left, top, right, bottom.
const SIDES: usize = 4;
/// Bins of a distance in YOLOv8 and YOLO11.
const USUAL_BINS: usize = 16;
const FORMULAS: &str = "YOLOv8's decoding of the last convolutions";

pub(super) fn find(model: &Inferred, levels: &[Level], hints: Hints) -> Result<Found> {
    let raw = seeds(model, levels, scattered)?;
    let found = model.probe(&raw, &model.net.outputs)?;
    let outputs: Vec<(TensorId, &Value)> = model.net.outputs.iter().copied().zip(&found).collect();
    let mut candidates = candidates(model, levels);
    // Raw outputs alone do not tell which is which: the likelier reading comes first.
    candidates.sort_by_key(|split| (Some(split.classes) != hints.classes, split.bins != USUAL_BINS));
    let reads = |split: &&Split| outputs.iter().all(|(_, value)| split.explains(levels, &raw, value));
    match candidates.iter().find(reads) {
        Some(split) => Ok(split.found(levels)),
        None if candidates.is_empty() => {
            Err(no_detector(model, "pairs of last convolutions that are no distances and classes"))
        }
        None => {
            let odd = |(_, value): &&(TensorId, &Value)| {
                !candidates.iter().any(|split| split.explains(levels, &raw, value))
            };
            let output = outputs.iter().find(odd).map_or(model.net.outputs[0], |(output, _)| *output);
            Err(misread(model, output, FORMULAS))
        }
    }
}

/// Which convolution of each level is which.
struct Split {
    bins: usize,
    classes: usize,
    /// For each level, the distances and the classes.
    pairs: Vec<[TensorId; 2]>,
}

/// Every way to read the convolutions: the first of a level as distances, or the second.
fn candidates(model: &Inferred, levels: &[Level]) -> Vec<Split> {
    let channels = |conv: TensorId| model.map_shape(conv).map(|[channels, ..]| channels);
    let Some(&[a, b]) = levels.first().map(|level| &level.convs[..]) else { return Vec::new() };
    [[a, b], [b, a]]
        .into_iter()
        .filter_map(|[boxes, scores]| {
            let (boxes, classes) = (channels(boxes)?, channels(scores)?);
            let pair = |level: &Level| match level.convs[..] {
                [x, y] if boxes == classes && [channels(x), channels(y)] == [Some(boxes); 2] => {
                    Some(if scores == a { [y, x] } else { [x, y] })
                }
                [x, y] => [[x, y], [y, x]]
                    .into_iter()
                    .find(|[x, y]| [channels(*x), channels(*y)] == [Some(boxes), Some(classes)]),
                _ => None,
            };
            let bins = boxes / SIDES;
            let fits = boxes.is_multiple_of(SIDES) && (1..=MAX_BINS).contains(&bins);
            let pairs = levels.iter().map(pair).collect::<Option<Vec<_>>>()?;
            fits.then_some(Split { bins, classes, pairs })
        })
        .collect()
}

impl Split {
    fn found(&self, levels: &[Level]) -> Found {
        Found {
            outputs: self.pairs.as_flattened().to_vec(),
            strides: levels.iter().map(|level| level.stride).collect(),
            classes: self.classes,
            boxes: Told::Distances { reg_max: self.bins },
        }
    }

    /// Whether an output is computed from the convolutions as this reading has it.
    fn explains(&self, levels: &[Level], raw: &HashMap<TensorId, Value>, output: &Value) -> bool {
        let (Some(floats), Some(parts)) = (output.as_floats(), self.parts(levels, raw)) else { return false };
        let boxes: usize = levels.iter().map(Level::cells).sum();
        let numbers = SIDES + self.classes;
        if output.shape == [1, numbers, boxes] {
            return close(floats, &by_number(&self.decoded(&parts), numbers));
        }
        if output.shape == [1, boxes, numbers] {
            return close(floats, &self.decoded(&parts));
        }
        parts.iter().any(|part| part.is_raw(output, floats))
    }

    fn parts<'r>(&self, levels: &[Level], raw: &'r HashMap<TensorId, Value>) -> Option<Vec<Part<'r>>> {
        let floats = |conv| raw.get(&conv).and_then(Value::as_floats);
        let pairs = levels.iter().zip(&self.pairs);
        pairs
            .map(|(level, &[boxes, scores])| {
                Some(Part {
                    stride: level.stride,
                    side: level.side,
                    boxes: floats(boxes)?,
                    scores: floats(scores)?,
                })
            })
            .collect()
    }

    /// Center, size and class scores of every box, one box after the other.
    fn decoded(&self, parts: &[Part]) -> Vec<f32> {
        let mut rows = Vec::new();
        for part in parts {
            let cells = part.side * part.side;
            #[expect(clippy::cast_precision_loss, reason = "cells and strides are small")]
            let [stride, side] = [part.stride as f32, part.side as f32];
            for cell in 0..cells {
                #[expect(clippy::cast_precision_loss, reason = "cells are few")]
                let at = cell as f32;
                let (x, y) = (at % side + 0.5, (at / side).floor() + 0.5);
                let [left, top, right, bottom] =
                    std::array::from_fn(|edge| distance(part.boxes, self.bins, cells, edge, cell));
                rows.push((x + (right - left) / 2.0) * stride);
                rows.push((y + (bottom - top) / 2.0) * stride);
                rows.push((left + right) * stride);
                rows.push((top + bottom) * stride);
                rows.extend((0..self.classes).map(|class| sigmoid(part.scores[class * cells + cell])));
            }
        }
        rows
    }
}

/// The numbers of one level.
struct Part<'r> {
    stride: usize,
    side: usize,
    boxes: &'r [f32],
    scores: &'r [f32],
}

impl Part<'_> {
    /// Whether an output is one of the two convolutions, or both, boxes first; scores with or without a sigmoid, which
    /// the device applies itself.
    fn is_raw(&self, output: &Value, floats: &[f32]) -> bool {
        let grid = output.map_shape().is_some_and(|[_, height, width]| [height, width] == [self.side; 2]);
        let scores: Vec<f32> = self.scores.iter().copied().map(sigmoid).collect();
        let known = [
            self.boxes.to_vec(),
            self.scores.to_vec(),
            [self.boxes, self.scores].concat(),
            [self.boxes, &scores].concat(),
            scores,
        ];
        grid && known.iter().any(|known| close(floats, known))
    }
}

/// The expectation of a distribution over bins, in cells.
fn distance(boxes: &[f32], bins: usize, cells: usize, edge: usize, cell: usize) -> f32 {
    let at = |bin: usize| boxes[(edge * bins + bin) * cells + cell];
    if bins == 1 {
        return at(0);
    }
    let weights: Vec<f32> = (0..bins).map(|bin| at(bin).exp()).collect();
    let counts = (0_u16..).map(f32::from);
    weights.iter().zip(counts).map(|(weight, count)| weight * count).sum::<f32>()
        / weights.iter().sum::<f32>()
}

/// Rows of `numbers` each as columns.
fn by_number(rows: &[f32], numbers: usize) -> Vec<f32> {
    (0..numbers).flat_map(|number| rows.iter().skip(number).step_by(numbers).copied()).collect()
}
