//! A quantized model as data: the fused graph, a scale and zero point for each tensor, int8 kernels, and which nodes
//! stay in floats and why. Says whether it makes sense; computes nothing.

use std::collections::BTreeMap;

use artifact::{Fault, Quant};
use boards::Int8;
use repedge::int8;
use serde::{Deserialize, Serialize};

use crate::model::{Activation, Architecture, Conv, Graph, NodeId, Op, Weights};
use crate::{Error, Result};

/// A fused model with int8 kernels and a scale for each tensor.
#[derive(Debug, Clone, PartialEq)]
pub struct QuantizedModel {
    /// Graph and head, as fused.
    pub architecture: Architecture,
    /// Weights of the convolutions that stay in floats, and no others: kernels as 16 bits hold them, biases in 32.
    pub weights: Weights,
    /// Side of the square images it runs on, in pixels.
    pub imgsz: usize,
    /// What is stored in int8, and how.
    pub scheme: Scheme,
}

/// How a graph is quantized.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Scheme {
    /// Scale and zero point of each node's result, by node; none where the result is a float, or the sums of an int8
    /// convolution that are read as they are.
    pub tensors: Vec<Option<Quant>>,
    /// Kernel of each convolution that runs in int8, by the node's name.
    pub kernels: BTreeMap<String, Int8Kernel>,
    /// Why a node stays in floats, by its name; a node that is not here runs in int8.
    pub floats: BTreeMap<String, String>,
    /// What the engine that the scales were found for asks of them: another may ask for more.
    pub rules: Int8,
    /// How the scales were found, for the record.
    pub origin: Origin,
}

/// How the scales of a model were found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// Calibration method.
    pub method: String,
    /// Images calibrated on.
    pub images: usize,
    /// Passes that were applied, in order.
    pub passes: Vec<String>,
}

/// Symmetric int8 weights of a convolution with a scale for each output channel.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Kernel {
    /// `[cout, cin / groups, k, k]`, each in −127..=127.
    pub values: Vec<i8>,
    /// Real value of one step, for each output channel.
    pub scales: Vec<f32>,
    /// For each output channel, in units of the input's scale times the channel's.
    pub bias: Vec<i32>,
}

impl Int8Kernel {
    /// The kernel as the int8 reference takes it.
    pub fn view(&self) -> int8::reference::Kernel<'_> {
        int8::reference::Kernel { values: &self.values, scales: &self.scales, bias: &self.bias }
    }

    /// The biases as floats, over activations of scale `input_scale`.
    #[expect(
        clippy::cast_precision_loss,
        reason = "what f32 cannot hold of a bias is below a step of any output"
    )]
    pub fn real_bias(&self, input_scale: f32) -> Vec<f32> {
        self.bias.iter().zip(&self.scales).map(|(&bias, scale)| bias as f32 * (scale * input_scale)).collect()
    }

    /// The weights as floats.
    pub fn real_values(&self) -> Vec<f32> {
        let per_channel = self.values.len() / self.scales.len().max(1);
        let channels = self.values.chunks(per_channel.max(1)).zip(&self.scales);
        channels.flat_map(|(values, &scale)| values.iter().map(move |&q| f32::from(q) * scale)).collect()
    }
}

/// How much of a model's arithmetic is in int8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MacCount {
    /// Multiply-adds of the convolutions in int8.
    pub int8: u64,
    /// Multiply-adds of all convolutions.
    pub all: u64,
}

impl MacCount {
    /// Part of the multiply-adds that is in int8, 0..1.
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    pub fn share(&self) -> f64 {
        if self.all == 0 { 0.0 } else { self.int8 as f64 / self.all as f64 }
    }
}

impl QuantizedModel {
    /// Whether node `id` computes in int8.
    pub fn is_int8(&self, id: NodeId) -> bool {
        !self.scheme.floats.contains_key(&self.architecture.graph.nodes[id].name)
    }

    /// The convolution whose sums the int8 activation `id` reads, where nothing is stored between the two.
    pub fn fused_convolution(&self, id: NodeId) -> Option<NodeId> {
        let graph = &self.architecture.graph;
        let node = &graph.nodes[id];
        let &[input] = node.inputs.as_slice() else { return None };
        let fused = matches!(node.op, Op::Act(_))
            && matches!(graph.nodes[input].op, Op::Conv(_))
            && self.is_int8(id)
            && self.is_int8(input)
            && self.scheme.tensors[input].is_none();
        fused.then_some(input)
    }

    /// Multiply-adds for one image, in int8 and altogether.
    ///
    /// # Errors
    /// [`Error::Model`] when the graph does not fit the image size.
    pub fn macs(&self) -> Result<MacCount> {
        let Architecture { graph, .. } = &self.architecture;
        let shapes = graph.shapes(self.imgsz, self.imgsz)?;
        let macs = |id: NodeId| graph.nodes[id].op.flops(shapes[id]) / 2;
        let int8 = (0..shapes.len()).filter(|&id| self.is_int8(id)).map(macs).sum();
        Ok(MacCount { int8, all: (0..shapes.len()).map(macs).sum() })
    }

    /// Checks everything an engine relies on: scales, kernels, and that every int8 node reads and makes stored values.
    ///
    /// # Errors
    /// [`Error::Model`] naming the node.
    pub fn validate(&self) -> Result<()> {
        let Self { architecture, imgsz, .. } = self;
        architecture.validate()?;
        architecture.check_imgsz(*imgsz)?;
        self.validate_scheme()
    }

    /// The part of [`QuantizedModel::validate`] that is about the scheme: graph and head may be anything.
    ///
    /// # Errors
    /// As [`QuantizedModel::validate`].
    pub fn validate_scheme(&self) -> Result<()> {
        let Self { architecture, scheme, .. } = self;
        let graph = &architecture.graph;
        graph.validate()?;
        if scheme.tensors.len() != graph.nodes.len() {
            return Err(broken(format!("{} scales for {} nodes", scheme.tensors.len(), graph.nodes.len())));
        }
        let known = |name: &String| graph.nodes.iter().any(|node| node.name == *name);
        if let Some(name) = scheme.floats.keys().chain(scheme.kernels.keys()).find(|name| !known(name)) {
            return Err(broken(format!("scheme names {name:?}, which is no node")));
        }
        (0..graph.nodes.len()).try_for_each(|id| {
            self.check_node(id).map_err(|found| broken(format!("node {:?}: {found}", graph.nodes[id].name)))
        })
    }

    fn check_node(&self, id: NodeId) -> std::result::Result<(), String> {
        let graph = &self.architecture.graph;
        let node = &graph.nodes[id];
        if let Some(quant) = self.scheme.tensors[id] {
            check_quant(quant)?;
        }
        let kernel = self.scheme.kernels.get(&node.name);
        if !self.is_int8(id) {
            return if kernel.is_none() { Ok(()) } else { Err("a float node with an int8 kernel".into()) };
        }
        if self.scheme.tensors[id].is_none() && !matches!(node.op, Op::Conv(_)) {
            return Err("an int8 node without a scale".into());
        }
        let reads_sums = self.fused_convolution(id).is_some();
        if !reads_sums && node.inputs.iter().any(|&input| self.scheme.tensors[input].is_none()) {
            return Err("an int8 node that reads floats".into());
        }
        match node.op {
            Op::Conv(conv) => {
                check_kernel(&conv, kernel.ok_or("an int8 convolution without a kernel")?)?;
                self.check_bias_scales(id)
            }
            Op::MaxPool { .. } | Op::Upsample { .. } | Op::Slice { .. } | Op::SpaceToDepth => {
                let quant = self.scheme.tensors[id];
                let same = node.inputs.iter().all(|&input| self.scheme.tensors[input] == quant);
                if same { Ok(()) } else { Err("another scale than its input".into()) }
            }
            Op::BatchNorm { .. } => Err("a batch norm in int8".into()),
            Op::Attention(_) => Err("attention in int8".into()),
            Op::Input { .. } | Op::Act(_) | Op::Add | Op::Concat => Ok(()),
        }
    }

    /// Files hold the scale of a bias, too: the product of its weights' and its input's, which f32 has to hold as well.
    fn check_bias_scales(&self, id: NodeId) -> std::result::Result<(), String> {
        let node = &self.architecture.graph.nodes[id];
        let kernel = self.scheme.kernels.get(&node.name);
        let (Some(kernel), Some(from)) = (kernel, self.scheme.tensors[node.inputs[0]]) else { return Ok(()) };
        match kernel.scales.iter().find(|&&scale| !(scale * from.scale).is_normal()) {
            None => Ok(()),
            Some(scale) => Err(format!(
                "a weight scale of {scale:e} over an input scale of {:e}: f32 does not hold their product, the scale of \
                 the bias",
                from.scale
            )),
        }
    }
}

/// The function of an activation in f64, as int8 tables are made of it.
pub fn function(activation: Activation) -> fn(f64) -> f64 {
    match activation {
        Activation::Silu => int8::silu,
        Activation::Mish => int8::mish,
        Activation::Relu => |x| x.max(0.0),
        Activation::LeakyRelu => |x| if x > 0.0 { x } else { x * leaky_slope() },
    }
}

/// The slope as ONNX holds it, in f32.
fn leaky_slope() -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "ONNX attributes are f32")]
    f64::from(crate::model::LEAKY_SLOPE as f32)
}

/// Whether 32 bits hold every sum of a convolution, whatever its input: what int8 needs of it.
pub fn sums_fit(conv: &Conv) -> bool {
    let taps = conv.cin / conv.groups.max(1) * conv.kernel * conv.kernel;
    // A step from the zero point is at most 255; the bias takes no more than half of the range.
    taps.saturating_mul(255 * 127) < 1 << 30
}

/// The only reader of convolution `id`'s result when that is an activation, which then sees all of it: engines compute both
/// as one. Behind any other operator an activation is an operator of its own, which reads what is stored.
pub fn sole_activation(graph: &Graph, users: &[Vec<NodeId>], id: NodeId) -> Option<(NodeId, Activation)> {
    let [reader] = users[id].as_slice() else { return None };
    match (graph.nodes[id].op, graph.nodes[*reader].op) {
        (Op::Conv(_), Op::Act(activation)) if !graph.outputs.contains(&id) => Some((*reader, activation)),
        _ => None,
    }
}

fn check_quant(quant: Quant) -> std::result::Result<(), String> {
    let sound =
        quant.scale.is_finite() && quant.scale > 0.0 && (int8::MIN..=int8::MAX).contains(&quant.zero_point);
    if sound { Ok(()) } else { Err(format!("scale {} and zero point {}", quant.scale, quant.zero_point)) }
}

fn check_kernel(conv: &Conv, kernel: &Int8Kernel) -> std::result::Result<(), String> {
    let Int8Kernel { values, scales, bias } = kernel;
    let taps = conv.cin / conv.groups * conv.kernel * conv.kernel;
    if values.len() != conv.cout * taps || scales.len() != conv.cout || bias.len() != conv.cout {
        return Err(format!("{} weights, {} scales, {} biases", values.len(), scales.len(), bias.len()));
    }
    if values.contains(&i8::MIN) {
        return Err("a weight of -128".into());
    }
    if !sums_fit(conv) || bias.iter().any(|bias| bias.unsigned_abs() > 1 << 30) {
        return Err("sums that 32 bits may not hold".into());
    }
    match scales.iter().find(|scale| !(scale.is_finite() && **scale > 0.0)) {
        None => Ok(()),
        Some(scale) => Err(format!("a weight scale of {scale}")),
    }
}

fn broken(found: String) -> Error {
    Error::Model(Fault::new(
        found,
        "a scale above 0 for every int8 tensor, and a kernel for every int8 convolution",
        "quantize the model again: `train-host quantize`",
    ))
}
