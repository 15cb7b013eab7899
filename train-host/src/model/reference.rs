//! A slow, plain executor of graphs in f64, for tests that compare two graphs: what it computes is the definition of
//! each operator written out. Never used outside tests.

use super::architecture::Architecture;
use super::graph::{Activation, Attention, Conv, Graph, LEAKY_SLOPE, Op};
use super::init::initial_weights;
use super::specs::Role;
use super::weights::Weights;

/// A `[channels, height, width]` tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Plane {
    pub shape: [usize; 3],
    pub data: Vec<f64>,
}

impl Plane {
    /// A tensor whose value at channel, row, column is `value(c, y, x)`.
    pub fn fill(shape: [usize; 3], mut value: impl FnMut(usize, usize, usize) -> f64) -> Self {
        let [channels, height, width] = shape;
        let mut data = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                data.extend((0..width).map(|x| value(c, y, x)));
            }
        }
        Self { shape, data }
    }

    fn at(&self, c: usize, y: usize, x: usize) -> f64 {
        self.data[(c * self.shape[1] + y) * self.shape[2] + x]
    }

    /// Value at a position that may lie in the padding.
    fn padded(&self, c: usize, y: Option<usize>, x: Option<usize>) -> Option<f64> {
        let (y, x) = (y?, x?);
        (y < self.shape[1] && x < self.shape[2]).then(|| self.at(c, y, x))
    }

    fn map(&self, f: impl Fn(f64) -> f64) -> Self {
        Self { shape: self.shape, data: self.data.iter().map(|&v| f(v)).collect() }
    }
}

/// Initial weights whose batch norms are as if trained: γ of both signs, variances from 0.1 to 10.
pub(crate) fn scrambled_weights(architecture: &Architecture, seed: u64) -> Weights {
    let mut weights = initial_weights(architecture, seed);
    let mut state = seed;
    let mut unit = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    };
    for spec in architecture.graph.weight_specs() {
        let mut value: Box<dyn FnMut() -> f32> = match spec.role {
            Role::Kernel | Role::Bias => continue,
            Role::Gamma => Box::new(|| (0.5 + unit()).copysign(unit() - 0.5)),
            Role::Beta | Role::RunningMean => Box::new(|| unit() - 0.5),
            Role::RunningVar => Box::new(|| 0.1 * 100.0f32.powf(unit())),
        };
        let data = (0..spec.len()).map(|_| value()).collect();
        weights.insert(spec.name, &spec.shape, data);
    }
    weights
}

/// The graph with a bias on every convolution, in which whoever read a batch norm reads its input.
pub(crate) fn without_batch_norms(graph: &Graph) -> Graph {
    let mut kept = Graph::default();
    let mut new_ids = Vec::new();
    for node in &graph.nodes {
        let inputs: Vec<usize> = node.inputs.iter().map(|&id| new_ids[id]).collect();
        new_ids.push(match node.op {
            Op::BatchNorm { .. } => inputs[0],
            Op::Conv(conv) => kept.push(&node.name, Op::Conv(Conv { bias: true, ..conv }), &inputs),
            op => kept.push(&node.name, op, &inputs),
        });
    }
    kept.outputs = graph.outputs.iter().map(|&id| new_ids[id]).collect();
    kept
}

/// The graph's outputs for `image`.
pub(crate) fn run(graph: &Graph, weights: &Weights, image: &Plane) -> Vec<Plane> {
    let shapes = graph.shapes(image.shape[1], image.shape[2]).unwrap();
    let mut results: Vec<Plane> = Vec::new();
    for (node, &shape) in graph.nodes.iter().zip(&shapes) {
        let inputs: Vec<&Plane> = node.inputs.iter().map(|&id| &results[id]).collect();
        let weight = |suffix: &str| values(weights, &format!("{}.{suffix}", node.name));
        let result = match node.op {
            Op::Input { .. } => image.clone(),
            Op::Conv(conv) => {
                let bias = if conv.bias { weight("bias") } else { vec![0.0; conv.cout] };
                convolve(&conv, inputs[0], shape, &weight("weight"), &bias)
            }
            Op::BatchNorm { eps, .. } => {
                let (gamma, beta) = (weight("weight"), weight("bias"));
                let (mean, var) = (weight("running_mean"), weight("running_var"));
                Plane::fill(shape, |c, y, x| {
                    (inputs[0].at(c, y, x) - mean[c]) / (var[c] + eps).sqrt() * gamma[c] + beta[c]
                })
            }
            Op::Act(act) => inputs[0].map(|v| activate(act, v)),
            Op::Slice { start, .. } => Plane::fill(shape, |c, y, x| inputs[0].at(start + c, y, x)),
            Op::Attention(attention) => attend(&attention, inputs[0], shape),
            Op::Add => Plane::fill(shape, |c, y, x| inputs.iter().map(|input| input.at(c, y, x)).sum()),
            Op::Concat => {
                Plane { shape, data: inputs.iter().flat_map(|input| input.data.iter().copied()).collect() }
            }
            Op::MaxPool { kernel, stride, pad } => Plane::fill(shape, |c, y, x| {
                let taps = (0..kernel * kernel).filter_map(|tap| {
                    let (dy, dx) = (tap / kernel, tap % kernel);
                    inputs[0].padded(
                        c,
                        (y * stride + dy).checked_sub(pad),
                        (x * stride + dx).checked_sub(pad),
                    )
                });
                taps.fold(f64::NEG_INFINITY, f64::max)
            }),
            Op::Upsample { factor } => Plane::fill(shape, |c, y, x| inputs[0].at(c, y / factor, x / factor)),
            Op::SpaceToDepth => {
                let channels = inputs[0].shape[0];
                Plane::fill(shape, |c, y, x| {
                    let part = c / channels;
                    inputs[0].at(c % channels, 2 * y + part % 2, 2 * x + part / 2)
                })
            }
        };
        results.push(result);
    }
    graph.outputs.iter().map(|&id| results[id].clone()).collect()
}

/// Largest difference of two lists of outputs, as a fraction of the largest value of `a`.
pub(crate) fn relative_difference(a: &[Plane], b: &[Plane]) -> f64 {
    assert_eq!(a.len(), b.len());
    let pairs = a.iter().zip(b).flat_map(|(a, b)| {
        assert_eq!(a.shape, b.shape);
        a.data.iter().zip(&b.data)
    });
    let (difference, largest) = pairs.fold((0.0f64, 0.0f64), |(difference, largest), (a, b)| {
        assert!(a.is_finite() && b.is_finite());
        (difference.max((a - b).abs()), largest.max(a.abs()))
    });
    difference / largest
}

fn convolve(conv: &Conv, input: &Plane, shape: [usize; 3], kernel: &[f64], bias: &[f64]) -> Plane {
    let (per_group, outputs_per_group) = (conv.cin / conv.groups, conv.cout / conv.groups);
    let side = conv.kernel;
    Plane::fill(shape, |c, y, x| {
        let first = c / outputs_per_group * per_group;
        let mut sum = bias[c];
        for i in 0..per_group {
            for tap in 0..side * side {
                let (dy, dx) = (tap / side * conv.dilation, tap % side * conv.dilation);
                let value = input.padded(
                    first + i,
                    (y * conv.stride + dy).checked_sub(conv.pad),
                    (x * conv.stride + dx).checked_sub(conv.pad),
                );
                sum += value.unwrap_or(0.0) * kernel[(c * per_group + i) * side * side + tap];
            }
        }
        sum
    })
}

fn attend(attention: &Attention, input: &Plane, shape: [usize; 3]) -> Plane {
    let Attention { key_dim, head_dim, .. } = *attention;
    let cells = shape[1] * shape[2];
    let at = |channel: usize, cell: usize| input.data[channel * cells + cell];
    Plane::fill(shape, |c, y, x| {
        let first = c / head_dim * (2 * key_dim + head_dim);
        let position = y * shape[2] + x;
        let weight = |other: usize| {
            let product: f64 =
                (0..key_dim).map(|k| at(first + k, position) * at(first + key_dim + k, other)).sum();
            (product / (key_dim as f64).sqrt()).exp()
        };
        let value = |other: usize| at(first + 2 * key_dim + c % head_dim, other);
        let sum: f64 = (0..cells).map(weight).sum();
        (0..cells).map(|other| weight(other) * value(other)).sum::<f64>() / sum
    })
}

fn activate(act: Activation, value: f64) -> f64 {
    match act {
        Activation::Silu => value / (1.0 + (-value).exp()),
        Activation::Relu => value.max(0.0),
        Activation::LeakyRelu => {
            if value > 0.0 {
                value
            } else {
                LEAKY_SLOPE * value
            }
        }
        Activation::Mish => value * value.exp().ln_1p().tanh(),
    }
}

fn values(weights: &Weights, name: &str) -> Vec<f64> {
    weights.get(name).unwrap().data.iter().map(|&v| f64::from(v)).collect()
}
