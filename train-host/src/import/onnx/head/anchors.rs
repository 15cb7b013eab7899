//! YOLOv5's head: one convolution a stride, `anchors·(5 + classes)` channels. Formulas: see
//! [`artifact::Decode::Yolov5`].

use std::collections::HashMap;

use super::super::inferred::Inferred;
use super::super::net::TensorId;
use super::super::tensor::Value;
use super::{Found, Hints, Level, Told, close, misread, no_detector, scattered, seeds, sigmoid};
use crate::{Error, Result};

/// Channels of an anchor before its class scores: x, y, w, h, objectness.
const BOX_CHANNELS: usize = 5;
/// Anchors a stride where nothing says otherwise.
const USUAL_ANCHORS: usize = 3;

pub(super) fn find(model: &Inferred, levels: &[Level], hints: Hints) -> Result<Found> {
    let layout = Layout::read(model, levels, hints)?;
    let decoded = model.net.outputs.iter().copied().find(|&output| layout.decodes(model, levels, output));
    let anchors_px = decoded.map(|output| measure(model, levels, layout, output)).transpose()?;
    verify(model, levels, layout, anchors_px.as_ref())?;
    Ok(Found {
        outputs: levels.iter().map(|level| level.convs[0]).collect(),
        strides: levels.iter().map(|level| level.stride).collect(),
        classes: layout.numbers - BOX_CHANNELS,
        boxes: Told::Anchors {
            count: layout.anchors,
            anchors_px: anchors_px.map(|measured| measured.anchors_px),
        },
    })
}

/// How the channels of a convolution are divided.
#[derive(Debug, Clone, Copy)]
struct Layout {
    anchors: usize,
    /// Numbers of an anchor: box, objectness, classes.
    numbers: usize,
}

impl Layout {
    fn read(model: &Inferred, levels: &[Level], hints: Hints) -> Result<Self> {
        let channels: Vec<usize> =
            levels.iter().filter_map(|level| Some(model.map_shape(level.convs[0])?[0])).collect();
        let &[first, ..] = &channels[..] else { return Err(no_detector(model, "no convolution")) };
        if channels.iter().any(|&other| other != first) {
            return Err(no_detector(model, &format!("last convolutions of {channels:?} channels")));
        }
        let numbers = model.net.outputs.iter().find_map(|&output| match model.value(output)?.shape[..] {
            [1, _, numbers] => Some(numbers),
            [1, anchors, a, _, c] if anchors > 0 && first.is_multiple_of(anchors) => {
                [a, c].into_iter().find(|&numbers| numbers * anchors == first)
            }
            _ => None,
        });
        let told = hints.classes.map(|classes| classes + BOX_CHANNELS);
        let numbers = numbers.or(told).unwrap_or(first / USUAL_ANCHORS);
        let layout = Self { anchors: first.checked_div(numbers).unwrap_or(0), numbers };
        if layout.anchors * numbers != first || numbers <= BOX_CHANNELS {
            return Err(no_detector(
                model,
                &format!("{first} channels, which is no number of anchors with {numbers} numbers each"),
            ));
        }
        Ok(layout)
    }

    /// Whether `output` has the shape of all boxes of all levels.
    fn decodes(self, model: &Inferred, levels: &[Level], output: TensorId) -> bool {
        let boxes: usize = levels.iter().map(|level| self.anchors * level.cells()).sum();
        model.value(output).is_some_and(|value| value.shape == [1, boxes, self.numbers])
    }

    /// The index of a number among those of a convolution.
    fn raw(self, level: &Level, anchor: usize, cell: usize, number: usize) -> usize {
        (anchor * self.numbers + number) * level.cells() + cell
    }
}

/// What a decoded output tells of its head.
struct Measured {
    anchors_px: Vec<Vec<[f32; 2]>>,
    /// The order in which it lists the levels.
    order: Vec<usize>,
}

/// With logits of zero a box is its anchor, on the middle of its cell: which tells sizes and order.
fn measure(model: &Inferred, levels: &[Level], layout: Layout, output: TensorId) -> Result<Measured> {
    let zeros = seeds(model, levels, |_| 0.0)?;
    let values = model.probe(&zeros, &[output])?;
    let misread = || misread(model, output, FORMULAS);
    let boxes = values[0].as_floats().ok_or_else(misread)?;
    let mut measured = Measured { anchors_px: vec![Vec::new(); levels.len()], order: Vec::new() };
    let mut row = 0;
    while measured.order.len() < levels.len() {
        let first = boxes.get(row * layout.numbers..).and_then(|rest| rest.first()).ok_or_else(misread)?;
        #[expect(clippy::cast_precision_loss, reason = "strides are small")]
        let starts = |level: &Level| close(&[2.0 * first], &[level.stride as f32]);
        let level = levels.iter().position(starts).filter(|level| !measured.order.contains(level));
        let level = level.ok_or_else(misread)?;
        for anchor in 0..layout.anchors {
            let at = (row + anchor * levels[level].cells()) * layout.numbers;
            let &[width, height] = boxes.get(at + 2..at + 4).ok_or_else(misread)? else {
                return Err(misread());
            };
            if !(width.is_finite() && width > 0.0 && height.is_finite() && height > 0.0) {
                return Err(misread());
            }
            measured.anchors_px[level].push([width, height]);
        }
        row += layout.anchors * levels[level].cells();
        measured.order.push(level);
    }
    Ok(measured)
}

const FORMULAS: &str = "YOLOv5's decoding of the last convolutions";

/// Checks that every output is what it should be for numbers without a pattern.
fn verify(model: &Inferred, levels: &[Level], layout: Layout, measured: Option<&Measured>) -> Result<()> {
    let raw = seeds(model, levels, scattered)?;
    let found = model.probe(&raw, &model.net.outputs)?;
    for (&output, found) in model.net.outputs.iter().zip(&found) {
        let floats = found.as_floats().ok_or_else(|| misread(model, output, FORMULAS))?;
        let fits = match measured {
            Some(measured) if layout.decodes(model, levels, output) => {
                close(floats, &decoded(levels, layout, measured, &raw)?)
            }
            _ => levels.iter().any(|level| is_raw(level, layout, &raw, found, floats)),
        };
        if !fits {
            return Err(misread(model, output, FORMULAS));
        }
    }
    Ok(())
}

/// Every box as YOLOv5 decodes it.
fn decoded(
    levels: &[Level],
    layout: Layout,
    measured: &Measured,
    raw: &HashMap<TensorId, Value>,
) -> Result<Vec<f32>> {
    let mut rows = Vec::new();
    for &at in &measured.order {
        let level = &levels[at];
        let values = floats_of(raw, level.convs[0])?;
        #[expect(clippy::cast_precision_loss, reason = "cells and strides are small")]
        let (stride, position) =
            (level.stride as f32, |cell: usize| [(cell % level.side) as f32, (cell / level.side) as f32]);
        for (anchor, [width, height]) in measured.anchors_px[at].iter().enumerate() {
            for cell in 0..level.cells() {
                let score = |number| sigmoid(values[layout.raw(level, anchor, cell, number)]);
                let [column, row] = position(cell);
                rows.push((2.0 * score(0) - 0.5 + column) * stride);
                rows.push((2.0 * score(1) - 0.5 + row) * stride);
                rows.push((2.0 * score(2)).powi(2) * width);
                rows.push((2.0 * score(3)).powi(2) * height);
                rows.extend((4..layout.numbers).map(score));
            }
        }
    }
    Ok(rows)
}

/// Whether an output is a level's convolution: as it is, by anchors, or by anchors with the numbers last; with or without
/// a sigmoid, which the device applies itself.
fn is_raw(
    level: &Level,
    layout: Layout,
    raw: &HashMap<TensorId, Value>,
    found: &Value,
    floats: &[f32],
) -> bool {
    let Ok(values) = floats_of(raw, level.convs[0]) else { return false };
    let Layout { anchors, numbers } = layout;
    let side = level.side;
    let numbers_last = || -> Vec<f32> {
        let cells = (0..anchors).flat_map(|anchor| (0..level.cells()).map(move |cell| (anchor, cell)));
        let row =
            |(anchor, cell)| (0..numbers).map(move |number| values[layout.raw(level, anchor, cell, number)]);
        cells.flat_map(row).collect()
    };
    let expected = if found.shape == [1, anchors * numbers, side, side]
        || found.shape == [1, anchors, numbers, side, side]
    {
        values.to_vec()
    } else if found.shape == [1, anchors, side, side, numbers] {
        numbers_last()
    } else {
        return false;
    };
    let scores: Vec<f32> = expected.iter().copied().map(sigmoid).collect();
    close(floats, &expected) || close(floats, &scores)
}

fn floats_of(raw: &HashMap<TensorId, Value>, conv: TensorId) -> Result<&[f32]> {
    raw.get(&conv).and_then(Value::as_floats).ok_or_else(|| {
        Error::model(
            "a convolution without a shape",
            "one for every convolution",
            "report this with the model",
        )
    })
}
