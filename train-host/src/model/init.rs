//! Initial weights. Each tensor's values depend on the seed and the tensor's name alone, so adding or reordering layers
//! changes no other tensor. Distributions are PyTorch's defaults and YOLOv5's Detect biases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::architecture::Architecture;
use super::graph::Op;
use super::head::Head;
use super::specs::{Role, WeightSpec};
use super::weights::Weights;

/// Image side for which YOLOv5 assumes [`OBJECTS_AN_IMAGE`] objects.
const REFERENCE_SIDE_PX: f64 = 640.0;
/// Objects expected in an image of [`REFERENCE_SIDE_PX`].
const OBJECTS_AN_IMAGE: f64 = 8.0;

/// Initial weights of every tensor the graph needs.
///
/// Convolutions: `U(-b, b)` with `b = 1/√fan_in`, which is PyTorch's `kaiming_uniform_(a=√5)`, biases alike. Batch
/// norm: γ = 1, β = 0, mean 0, variance 1. To the Detect biases YOLOv5's prior is added: objectness
/// `log(8 / (640/stride)²)`, classes `log(0.6 / (classes − 0.99999))`.
pub fn initial_weights(architecture: &Architecture, seed: u64) -> Weights {
    let mut weights = Weights::default();
    for spec in architecture.graph.weight_specs() {
        let mut data = initial_tensor(architecture, &spec, seed);
        let level = architecture.graph.outputs.iter().position(|&output| output == spec.node);
        if let (Some(level), Role::Bias) = (level, spec.role) {
            add_prior(&architecture.head, level, &mut data);
        }
        weights.insert(spec.name, &spec.shape, data);
    }
    weights
}

fn initial_tensor(architecture: &Architecture, spec: &WeightSpec, seed: u64) -> Vec<f32> {
    let count = spec.len();
    match (spec.role, &architecture.graph.nodes[spec.node].op) {
        (Role::Kernel | Role::Bias, Op::Conv(conv)) => {
            let fan_in = conv.cin / conv.groups * conv.kernel * conv.kernel;
            uniform(seed, &spec.name, count, inverse_sqrt(fan_in))
        }
        (Role::Gamma | Role::RunningVar, _) => vec![1.0; count],
        _ => vec![0.0; count],
    }
}

/// `count` values of `U(-bound, bound)` from the stream of `seed` and `name`; built from integers so that the values do
/// not depend on the version of a sampling library.
fn uniform(seed: u64, name: &str, count: usize, bound: f32) -> Vec<f32> {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(name.as_bytes());
    let mut rng = ChaCha8Rng::from_seed(hasher.finalize().into());
    (0..count).map(|_| (unit(rng.next_u32()) * 2.0 - 1.0) * bound).collect()
}

/// A value in `[0, 1)` from the upper 24 bits.
#[expect(clippy::cast_precision_loss, reason = "24 bits fit an f32 exactly")]
fn unit(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1u32 << 24) as f32
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "rounding a bound is harmless"
)]
fn inverse_sqrt(fan_in: usize) -> f32 {
    (1.0 / (fan_in as f64).sqrt()) as f32
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a prior, computed in f64")]
fn add_prior(head: &Head, level: usize, bias: &mut [f32]) {
    let cells = REFERENCE_SIDE_PX / head.strides[level] as f64;
    let objectness = (OBJECTS_AN_IMAGE / cells.powi(2)).ln() as f32;
    let class = (0.6 / (head.classes.len() as f64 - 0.99999)).ln() as f32;
    for anchor in bias.chunks_mut(5 + head.classes.len()) {
        anchor[4] += objectness;
        anchor[5..].iter_mut().for_each(|value| *value += class);
    }
}
