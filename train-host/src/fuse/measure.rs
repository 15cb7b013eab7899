//! What folding cost: the training form and the fused form run side by side in tract on the same images, compared by
//! group of output channels, because boxes, objectness and classes have ranges of their own and an error in one
//! hides behind the others. Never runs libtorch.

use artifact::{Tensor, TensorData, TensorSpec};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use repedge::backend::Session;
use serde::{Deserialize, Serialize};

use crate::export;
use crate::model::{Boxes, FusedModel, Head, TrainedModel};
use crate::{Error, Result};

/// Largest [`GroupError::relative`] of a sound folding; beyond it `train-host fuse` fails.
pub const MAX_FUSE_ERROR: f64 = 1e-4;

/// Images of each kind that are compared.
const IMAGES_OF_A_KIND: usize = 2;
/// Gray of letterbox bars.
const BAR: f32 = 114.0 / 255.0;

/// Output channels that mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChannelGroup {
    /// The four box channels of every anchor, or all distances of a split head.
    Box,
    /// The objectness of every anchor.
    Objectness,
    /// All class scores.
    Class,
}

/// Difference between the training form `a` and the fused form `b` over a group of channels of one output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupError {
    /// Name of the output in the ONNX file.
    pub output: String,
    /// Which of its channels.
    pub group: ChannelGroup,
    /// `max|a − b|`.
    pub max_abs_difference: f64,
    /// `max|a|`.
    pub max_abs: f64,
    /// `max|a − b| / max|a|`.
    pub relative: f64,
}

/// Compares raw outputs on noise and on smooth letterboxed images, drawn from `seed`.
///
/// # Errors
/// [`Error::Runtime`] when tract refuses a model; [`Error::Model`] when an output is not finite.
pub fn fuse_error(trained: &TrainedModel, fused: &FusedModel, seed: u64) -> Result<Vec<GroupError>> {
    let mut reference = export::diagnostic_session(trained)?;
    let mut session = export::session(fused)?;
    let head = &trained.architecture.head;
    let mut errors = Vec::new();
    for image in test_images(reference.input(), seed) {
        let expected = run(&mut reference, &image)?;
        let found = run(&mut session, &image)?;
        for (output, ((spec, a), b)) in reference.outputs().iter().zip(&expected).zip(&found).enumerate() {
            let groups: Vec<ChannelGroup> =
                (0..spec.channels()).map(|channel| group_of(output, channel, head)).collect();
            for group in [ChannelGroup::Box, ChannelGroup::Objectness, ChannelGroup::Class] {
                if groups.contains(&group) {
                    record(&mut errors, group_error(spec, &groups, group, a, b)?);
                }
            }
        }
    }
    Ok(errors)
}

/// The largest relative error of all groups.
pub fn largest(errors: &[GroupError]) -> f64 {
    errors.iter().map(|error| error.relative).fold(0.0, f64::max)
}

/// Keeps the worst image of each group.
fn record(errors: &mut Vec<GroupError>, new: GroupError) {
    match errors.iter_mut().find(|old| old.output == new.output && old.group == new.group) {
        Some(old) if old.relative < new.relative => *old = new,
        Some(_) => {}
        None => errors.push(new),
    }
}

fn run(session: &mut impl Session, image: &Tensor) -> Result<Vec<Vec<f32>>> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(image, &mut outputs)?;
    Ok(outputs.into_iter().filter_map(|output| floats(output.data)).collect())
}

fn floats(data: TensorData) -> Option<Vec<f32>> {
    match data {
        TensorData::F32(values) => Some(values),
        TensorData::I8(_) | TensorData::U8(_) => None,
    }
}

fn group_error(
    spec: &TensorSpec,
    groups: &[ChannelGroup],
    group: ChannelGroup,
    a: &[f32],
    b: &[f32],
) -> Result<GroupError> {
    let [_, _, height, width] = spec.shape;
    let (mut max_abs_difference, mut max_abs) = (0.0_f64, 0.0_f64);
    let planes = a.chunks_exact(height * width).zip(b.chunks_exact(height * width));
    for ((a, b), _) in planes.zip(groups).filter(|(_, of)| **of == group) {
        for (&a, &b) in a.iter().zip(b) {
            if !(a.is_finite() && b.is_finite()) {
                return Err(not_finite(&spec.name));
            }
            max_abs_difference = max_abs_difference.max((f64::from(a) - f64::from(b)).abs());
            max_abs = max_abs.max(f64::from(a).abs());
        }
    }
    // Two silent outputs agree.
    let relative = if max_abs_difference == 0.0 { 0.0 } else { max_abs_difference / max_abs };
    Ok(GroupError { output: spec.name.clone(), group, max_abs_difference, max_abs, relative })
}

/// What `channel` of output `output` means.
pub(crate) fn group_of(output: usize, channel: usize, head: &Head) -> ChannelGroup {
    match (&head.boxes, channel % (5 + head.classes.len())) {
        (Boxes::Distances { .. }, _) if output.is_multiple_of(2) => ChannelGroup::Box,
        (Boxes::Distances { .. }, _) => ChannelGroup::Class,
        (Boxes::Anchors { .. }, 0..=3) => ChannelGroup::Box,
        (Boxes::Anchors { .. }, 4) => ChannelGroup::Objectness,
        (Boxes::Anchors { .. }, _) => ChannelGroup::Class,
    }
}

fn not_finite(output: &str) -> Error {
    Error::model(
        format!("output {output:?} of the model is not finite"),
        "finite outputs for any image",
        "the training diverged: take an earlier checkpoint",
    )
}

/// Noise finds what smooth images cannot, and the other way round.
fn test_images(spec: &TensorSpec, seed: u64) -> Vec<Tensor> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut images = Vec::new();
    for _ in 0..IMAGES_OF_A_KIND {
        images.push((0..spec.len()).map(|_| rng.random::<f32>()).collect());
        images.push(smooth_image(spec, &mut rng));
    }
    let tensor = |data| Tensor { data: TensorData::F32(data), ..Tensor::zeroed(spec) };
    images.into_iter().map(tensor).collect()
}

/// Waves of photographic size and contrast between gray bars above and below.
fn smooth_image(spec: &TensorSpec, rng: &mut impl Rng) -> Vec<f32> {
    let [_, channels, height, width] = spec.shape;
    let mut data = Vec::with_capacity(spec.len());
    for _ in 0..channels {
        let [rows, columns, phase] = [8.0, 8.0, std::f32::consts::TAU].map(|most| rng.random::<f32>() * most);
        for row in 0..height {
            let bar = row < height / 8 || row >= height - height / 8;
            data.extend((0..width).map(|column| match bar {
                true => BAR,
                false => 0.5 + 0.5 * (rows * part(row, height) + columns * part(column, width) + phase).sin(),
            }));
        }
    }
    data
}

#[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
fn part(at: usize, side: usize) -> f32 {
    at as f32 / side as f32
}
