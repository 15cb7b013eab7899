//! Initial weights. Each tensor's values depend on the seed and the tensor's name alone, so adding or reordering layers
//! changes no other tensor. Distributions are PyTorch's defaults and YOLOv5's Detect biases.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use sha2::{Digest, Sha256};

use super::architecture::Architecture;
use super::graph::{Graph, NodeId, Op};
use super::head::{Boxes, Head};
use super::specs::{Role, WeightSpec};
use super::weights::Weights;

/// Image side for which YOLOv5 assumes [`OBJECTS_AN_IMAGE`] objects.
const REFERENCE_SIDE_PX: f64 = 640.0;
/// Objects expected in an image of [`REFERENCE_SIDE_PX`].
const OBJECTS_AN_IMAGE: f64 = 8.0;

/// Initial weights of every tensor the graph needs.
///
/// Convolutions: `U(-b, b)` with `b = 1/√fan_in`, which is PyTorch's `kaiming_uniform_(a=√5)`, biases alike. Batch
/// norm: γ = 1, β = 0, mean 0, variance 1; where batch norms meet in one sum (a RepVGG block), γ = 0 in all but the first,
/// so that training begins with the plain layer and the other branches join as they prove useful (as
/// arXiv 1706.02677 does with residual branches, section 5.1). To the Detect biases YOLOv5's prior is added: objectness
/// `log(8 / (640/stride)²)`, classes `log(0.6 / (classes − 0.99999))`.
pub fn initial_weights(architecture: &Architecture, seed: u64) -> Weights {
    let mut weights = Weights::default();
    for spec in architecture.graph.weight_specs() {
        let mut data = initial_tensor(architecture, &spec, seed);
        let level = architecture.graph.outputs.iter().position(|&output| output == spec.node);
        let has_anchors = matches!(architecture.head.boxes, Boxes::Anchors { .. });
        if let (Some(level), Role::Bias, true) = (level, spec.role, has_anchors) {
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
        (Role::Gamma, _) if is_side_branch(&architecture.graph, spec.node) => vec![0.0; count],
        (Role::Gamma, _) => vec![1.0; count],
        (Role::RunningVar, _) => vec![1.0; count],
        _ => vec![0.0; count],
    }
}

/// Whether this batch norm ends a branch that is added to a wider one: any but the first of those that meet in a sum.
fn is_side_branch(graph: &Graph, norm: NodeId) -> bool {
    let is_norm = |id: &NodeId| matches!(graph.nodes[*id].op, Op::BatchNorm { .. });
    let mut users = graph.nodes.iter().filter(|node| node.inputs.contains(&norm));
    match (users.next(), users.next()) {
        (Some(sum), None) => sum.op == Op::Add && sum.inputs[0] != norm && sum.inputs.iter().all(is_norm),
        _ => false,
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
fn inverse_sqrt(count: usize) -> f32 {
    (1.0 / (count as f64).sqrt()) as f32
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Overrides;

    fn load(name: &str, classes: usize) -> Architecture {
        let classes: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
        Architecture::load(name, &Overrides::default(), &classes).unwrap()
    }

    #[test]
    fn values_depend_on_seed_and_name_only() {
        let (plain, rep) = (load("yolov5n", 3), load("repyolov5n", 3));
        let weights = initial_weights(&plain, 5);
        assert_eq!(weights, initial_weights(&plain, 5));
        let (other_model, other_seed) = (initial_weights(&rep, 5), initial_weights(&plain, 6));
        let name = "model.23.cv3.conv.weight";
        assert_eq!(weights.get(name).unwrap(), other_model.get(name).unwrap());
        assert_ne!(weights.get(name).unwrap(), other_seed.get(name).unwrap());
    }

    #[test]
    fn convolutions_are_uniform_within_their_bound() {
        let weights = initial_weights(&load("yolov5n", 3), 0);
        let data = &weights.get("model.7.conv.weight").unwrap().data;
        let bound = 1.0 / (128.0f64 * 9.0).sqrt();
        let count = data.len() as f64;
        let mean = data.iter().map(|&v| f64::from(v)).sum::<f64>() / count;
        let variance = data.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / count;
        assert!(data.iter().all(|&v| f64::from(v).abs() <= bound * 1.000_001));
        assert!(mean.abs() < bound * 0.01, "{mean}");
        assert!((variance / (bound * bound / 3.0) - 1.0).abs() < 0.02, "{variance}");
    }

    #[test]
    fn side_branches_of_a_rep_block_begin_silent() {
        let weights = initial_weights(&load("repyolov5n", 3), 0);
        let gamma = |name: &str| weights.get(name).unwrap().data[0];
        assert_eq!(gamma("model.1.dense.bn.weight"), 1.0);
        assert_eq!(gamma("model.1.pointwise.bn.weight"), 0.0);
        let three =
            ["dense.bn", "pointwise.bn", "identity"].map(|b| gamma(&format!("model.2.m.0.cv2.{b}.weight")));
        assert_eq!(three, [1.0, 0.0, 0.0]);
        // A plain layer, and the two layers of a bottleneck that meet the shortcut in an Add.
        for name in ["model.0.bn.weight", "model.2.m.0.cv1.bn.weight"] {
            assert_eq!(gamma(name), 1.0, "{name}");
        }
    }

    #[test]
    fn detect_biases_carry_the_prior() {
        let weights = initial_weights(&load("yolov5n", 80), 0);
        let bias = &weights.get("model.24.m.0.bias").unwrap().data;
        let noise = 1.0 / 64.0f32.sqrt();
        for anchor in bias.chunks(85) {
            assert!(anchor[..4].iter().all(|v| v.abs() <= noise));
            assert!((anchor[4] - (8.0f32 / 6400.0).ln()).abs() <= noise);
            assert!(anchor[5..].iter().all(|v| (v - (0.6f32 / 79.000_01).ln()).abs() <= noise));
        }
    }

    #[test]
    fn values_stay_the_same_from_version_to_version() {
        let values = uniform(7, "model.0.conv.weight", 3, 1.0);
        assert_eq!(values, [-0.443_147_42, -0.100_725_65, -0.104_063_99]);
    }
}
