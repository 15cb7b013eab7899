//! Finds where a detector's raw convolutions end and its decoding begins, and makes sure what that decoding is: the part
//! behind the cut is run on numbers and has to give what the device's decoding gives. Never believes a name.

mod anchors;
mod distances;

use std::collections::HashMap;

use super::fault::{at_node, unsupported};
use super::inferred::Inferred;
use super::net::{Maker, Step, TensorId};
use super::tensor::Value;
use crate::{Error, Result};

/// Largest difference of a model's own decoding and ours, in pixels or as a fraction of the number itself.
const TOLERANCE: f32 = 1e-4;

/// Most numbers that the last convolutions may give: twice those of YOLOv5 at 1280 px.
const MAX_SEEDS: usize = 1 << 24;

/// What is known from outside of the graph.
#[derive(Debug, Clone, Copy)]
pub(super) struct Hints {
    /// Number of class names.
    pub classes: Option<usize>,
}

/// The raw head.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    /// Results of the last convolutions, in the order of [`crate::model::Head`].
    pub outputs: Vec<TensorId>,
    pub strides: Vec<usize>,
    pub classes: usize,
    pub boxes: Told,
}

/// How boxes are told.
#[derive(Debug, PartialEq)]
pub(super) enum Told {
    /// By so many anchors a stride, whose sizes the graph holds where it decodes.
    Anchors {
        count: usize,
        anchors_px: Option<Vec<Vec<[f32; 2]>>>,
    },
    Distances {
        reg_max: usize,
    },
}

/// The last convolutions over one grid, in the order they are computed.
#[derive(Debug)]
struct Level {
    stride: usize,
    /// Cells a side.
    side: usize,
    convs: Vec<TensorId>,
}

impl Level {
    fn cells(&self) -> usize {
        self.side * self.side
    }
}

/// Finds the head of a model of square images of `side_px`.
///
/// # Errors
/// [`Error::Model`] when the outputs are not those of a detector that the device can decode.
pub(super) fn find(model: &Inferred, side_px: usize, hints: Hints) -> Result<Found> {
    let levels = levels(model, side_px)?;
    match levels.iter().map(|level| level.convs.len()).collect::<Vec<_>>()[..] {
        [] => Err(no_detector(model, "no convolution")),
        ref counts if counts.iter().all(|&count| count == 1) => anchors::find(model, &levels, hints),
        ref counts if counts.iter().all(|&count| count == 2) => distances::find(model, &levels, hints),
        ref counts => Err(no_detector(model, &format!("{counts:?} convolutions of one size at its end"))),
    }
}

/// Groups the last convolutions by size, finest first.
fn levels(model: &Inferred, side_px: usize) -> Result<Vec<Level>> {
    let mut levels: Vec<Level> = Vec::new();
    for conv in last_convolutions(model)? {
        let shape = model.map_shape(conv);
        let square = shape.filter(|[_, h, w]| h == w && *h > 0 && side_px.is_multiple_of(*h));
        let Some([_, side, _]) = square else {
            return Err(no_detector(model, &format!("a last convolution of shape {shape:?}")));
        };
        match levels.iter_mut().find(|level| level.side == side) {
            Some(level) => level.convs.push(conv),
            None => levels.push(Level { stride: side_px / side, side, convs: vec![conv] }),
        }
    }
    levels.sort_by_key(|level| level.stride);
    Ok(levels)
}

/// The convolutions from which outputs follow without further ones, in the order they are computed.
fn last_convolutions(model: &Inferred) -> Result<Vec<TensorId>> {
    let (mut found, mut seen) = (Vec::new(), vec![false; model.net.makers.len()]);
    let mut open = model.net.outputs.clone();
    while let Some(tensor) = open.pop() {
        if std::mem::replace(&mut seen[tensor], true) || model.is_known(tensor) {
            continue;
        }
        match model.net.makers[tensor] {
            Maker::Step(number) => {
                let step = &model.net.steps[number];
                if step.node.op == "Conv" && !sums_bins(model, step) {
                    found.push((number, tensor));
                } else {
                    open.extend(step.inputs.iter().flatten());
                }
            }
            Maker::Input(_) | Maker::Stored(_) => {
                return Err(no_detector(
                    model,
                    "an output that follows from the image without a convolution",
                ));
            }
        }
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, tensor)| tensor).collect())
}

/// Whether a convolution takes the expectation of a distribution: one filter of weights 0, 1, 2, …
fn sums_bins(model: &Inferred, step: &Step) -> bool {
    let kernel = step.inputs.get(1).copied().flatten().and_then(|kernel| model.value(kernel));
    let (Some(&[1, bins, 1, 1]), Some(weights)) =
        (kernel.map(|kernel| &kernel.shape[..]), kernel.and_then(Value::as_floats))
    else {
        return false;
    };
    let counts = (0_u16..).map(f32::from);
    bins > 1 && weights.iter().zip(counts).all(|(&weight, count)| weight == count)
}

/// Numbers for the last convolutions: `fill` of a running index.
///
/// # Errors
/// [`Error::Model`] when they would be more than [`MAX_SEEDS`].
fn seeds(
    model: &Inferred,
    levels: &[Level],
    fill: impl Fn(usize) -> f32,
) -> Result<HashMap<TensorId, Value>> {
    let convs = || levels.iter().flat_map(|level| &level.convs);
    let shapes = convs().filter_map(|&conv| Some(&model.value(conv)?.shape));
    let count: usize = shapes.map(|shape| shape.iter().product::<usize>()).sum();
    if count > MAX_SEEDS {
        return Err(no_detector(
            model,
            &format!("last convolutions of {count} numbers, more than {MAX_SEEDS}"),
        ));
    }
    let mut next = 0_usize;
    Ok(convs()
        .filter_map(|&conv| {
            let shape = model.value(conv)?.shape.clone();
            let count: usize = shape.iter().product();
            let data = (next..next + count).map(&fill).collect();
            next += count;
            Some((conv, Value::floats(shape, data)))
        })
        .collect())
}

/// Numbers between −3 and 3 without a pattern (the finalizer of SplitMix64).
fn scattered(index: usize) -> f32 {
    let mut bits = (index as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    #[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
    let unit = (bits >> 40) as f32 / (1_u32 << 24) as f32;
    6.0 * unit - 3.0
}

fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Whether two lists of numbers are the same but for rounding.
fn close(found: &[f32], expected: &[f32]) -> bool {
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= TOLERANCE * b.abs().max(1.0);
    found.len() == expected.len() && found.iter().zip(expected).all(near)
}

fn no_detector(model: &Inferred, found: &str) -> Error {
    let shapes: Vec<String> = model
        .net
        .outputs
        .iter()
        .filter_map(|&output| Some(format!("{:?} {:?}", model.net.names[output], model.value(output)?.shape)))
        .collect();
    Error::model(
        format!("{found}, in a model with outputs {}", shapes.join(", ")),
        "a detector with YOLOv5's head or the split head of YOLOv8 and YOLO11, raw or decoded",
        "export a detection model (not segmentation, pose or classification) without NMS",
    )
}

/// The output whose computation from the last convolutions is none of those known.
fn misread(model: &Inferred, output: TensorId, expected: &str) -> Error {
    let found = format!(
        "output {:?} of shape {:?} is computed in another way",
        model.net.names[output],
        model.value(output).map(|value| value.shape.clone()).unwrap_or_default()
    );
    match model.net.step_of(output) {
        Some(step) => at_node(step.node, unsupported(format!("{found} than {expected}"))),
        None => Error::Model(unsupported(format!("{found} than {expected}"))),
    }
}
