//! libtorch as an executor of the graph: forward in training or evaluation mode, parameters by name and group.
//! Knows the graph's operations and nothing about YOLO.

use std::collections::BTreeMap;

use tch::{Device, Kind, Tensor};

use super::ops::{convolve, weightless};
use super::schedule::Group;
use crate::model::{Conv, Graph, NodeId, Op, Role, Weights};
use crate::{Error, Result};

/// Momentum of running statistics (YOLOv5's value).
const NORM_MOMENTUM: f64 = 0.03;

/// Number format of convolutions in training; everything else stays f32.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ConvFormat {
    /// 32-bit float.
    #[default]
    F32,
    /// bfloat16 inputs and weights, cast around each convolution; batch norm, loss and master weights stay f32.
    Bf16,
}

/// Whether batch norm uses and updates batch statistics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, running statistics updated, gradients recorded.
    Train,
    /// Running statistics, no gradients.
    Eval,
}

/// A trainable tensor.
pub struct Parameter<'a> {
    /// Its name in [`Weights`].
    pub name: &'a str,
    /// Its optimizer group.
    pub group: Group,
    /// The leaf tensor.
    pub tensor: &'a Tensor,
}

/// A graph with its weights on a device.
pub struct Net {
    graph: Graph,
    tensors: BTreeMap<String, (Option<Group>, Tensor)>,
    last_use: Vec<NodeId>,
    device: Device,
    format: ConvFormat,
}

impl Net {
    /// Moves the weights of `graph` to `device`.
    ///
    /// # Errors
    /// [`Error::Model`] when a weight is missing, [`Error::Backend`] when libtorch refuses.
    pub fn new(graph: &Graph, weights: &Weights, device: Device, format: ConvFormat) -> Result<Self> {
        let mut tensors = BTreeMap::new();
        for spec in graph.weight_specs() {
            let source = weights.get(&spec.name)?;
            let shape: Vec<i64> = source.shape.iter().map(|&d| to_i64(d)).collect();
            let tensor = Tensor::f_from_slice(&source.data)?.f_reshape(shape)?.f_to_device(device)?;
            let group = group(spec.role);
            let tensor = if group.is_some() { tensor.f_set_requires_grad(true)? } else { tensor };
            tensors.insert(spec.name, (group, tensor));
        }
        Ok(Self { graph: graph.clone(), tensors, last_use: last_uses(graph), device, format })
    }

    /// As [`Net::new`], on the CPU and in f32: what a device computes, by libtorch.
    ///
    /// # Errors
    /// As [`Net::new`].
    pub fn on_cpu(graph: &Graph, weights: &Weights) -> Result<Self> {
        Self::new(graph, weights, Device::Cpu, ConvFormat::F32)
    }

    /// A second handle to the same tensors.
    pub fn share(&self) -> Self {
        let tensors =
            self.tensors.iter().map(|(name, (group, t))| (name.clone(), (*group, t.shallow_clone())));
        Self {
            graph: self.graph.clone(),
            tensors: tensors.collect(),
            last_use: self.last_use.clone(),
            device: self.device,
            format: self.format,
        }
    }

    /// Device the weights live on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Runs `images` `[N, C, H, W]` (f32, 0..1) and returns the graph's outputs in f32.
    ///
    /// # Errors
    /// [`Error::Backend`] when libtorch refuses.
    pub fn forward(&self, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        match mode {
            Mode::Train => self.execute(images, mode),
            Mode::Eval => tch::no_grad(|| self.execute(images, mode)),
        }
    }

    fn execute(&self, images: &Tensor, mode: Mode) -> Result<Vec<Tensor>> {
        let mut values: Vec<Option<Tensor>> = Vec::with_capacity(self.graph.nodes.len());
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let inputs: Vec<Tensor> =
                node.inputs.iter().filter_map(|&i| values[i].as_ref().map(Tensor::shallow_clone)).collect();
            for &i in &node.inputs {
                if self.last_use[i] == id {
                    values[i] = None;
                }
            }
            let value = match inputs.first() {
                None => images.shallow_clone(),
                Some(first) => self.apply(&node.name, &node.op, first, &inputs, mode)?,
            };
            values.push(Some(value));
        }
        Ok(self.graph.outputs.iter().filter_map(|&i| values[i].as_ref().map(Tensor::shallow_clone)).collect())
    }

    fn apply(&self, name: &str, op: &Op, x: &Tensor, inputs: &[Tensor], mode: Mode) -> Result<Tensor> {
        match op {
            Op::Conv(conv) => self.conv(name, conv, x),
            Op::BatchNorm { eps, .. } => self.norm(name, *eps, x, mode),
            op => weightless(op, inputs),
        }
    }

    fn conv(&self, name: &str, conv: &Conv, x: &Tensor) -> Result<Tensor> {
        let weight = self.tensor(name, "weight")?;
        let bias = if conv.bias { Some(self.tensor(name, "bias")?) } else { None };
        match self.format {
            ConvFormat::F32 => convolve(conv, x, weight, bias),
            ConvFormat::Bf16 => {
                let low = |t: &Tensor| t.f_to_kind(Kind::BFloat16);
                let bias = bias.map(low).transpose()?;
                Ok(convolve(conv, &low(x)?, &low(weight)?, bias.as_ref())?.f_to_kind(Kind::Float)?)
            }
        }
    }

    fn norm(&self, name: &str, eps: f64, x: &Tensor, mode: Mode) -> Result<Tensor> {
        Ok(x.f_batch_norm(
            Some(self.tensor(name, "weight")?),
            Some(self.tensor(name, "bias")?),
            Some(self.tensor(name, "running_mean")?),
            Some(self.tensor(name, "running_var")?),
            mode == Mode::Train,
            NORM_MOMENTUM,
            eps,
            true,
        )?)
    }

    fn tensor(&self, node: &str, suffix: &str) -> Result<&Tensor> {
        let name = format!("{node}.{suffix}");
        self.tensors.get(&name).map(|(_, tensor)| tensor).ok_or_else(|| {
            Error::model(
                format!("no tensor {name}"),
                "one for every node",
                "this is a defect: please report it",
            )
        })
    }

    /// Trainable tensors in name order.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.tensors
            .iter()
            .filter_map(|(name, (group, tensor))| group.map(|group| Parameter { name, group, tensor }))
    }

    /// Every tensor (parameters and running statistics) in name order.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, (_, tensor))| (name.as_str(), tensor))
    }

    /// A copy of all tensors in host memory.
    ///
    /// # Errors
    /// [`Error::Backend`] when libtorch refuses.
    pub fn weights(&self) -> Result<Weights> {
        let mut weights = Weights::default();
        for (name, tensor) in self.tensors() {
            insert(&mut weights, name, tensor)?;
        }
        Ok(weights)
    }
}

/// Copies a tensor of any device into `weights` under `name`.
pub(super) fn insert(weights: &mut Weights, name: &str, tensor: &Tensor) -> Result<()> {
    let shape: Vec<usize> = tensor.size().iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
    weights.insert(name, &shape, to_vec(tensor)?);
    Ok(())
}

/// The elements of a tensor of any device, in row-major order.
pub(super) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    let flat = tensor.f_detach()?.f_to_device(Device::Cpu)?.f_to_kind(Kind::Float)?.f_contiguous()?;
    let mut data = vec![0.0; flat.numel()];
    let count = data.len();
    flat.f_copy_data(&mut data, count)?;
    Ok(data)
}

pub(super) fn to_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Optimizer group of a weight; none for running statistics.
fn group(role: Role) -> Option<Group> {
    match role {
        Role::Kernel => Some(Group::Weight),
        Role::Gamma => Some(Group::Norm),
        Role::Bias | Role::Beta => Some(Group::Bias),
        Role::RunningMean | Role::RunningVar => None,
    }
}

/// For each node the last node that reads it; outputs are never released.
pub(super) fn last_uses(graph: &Graph) -> Vec<NodeId> {
    let mut last: Vec<NodeId> =
        graph.users().iter().map(|users| users.last().copied().unwrap_or(NodeId::MAX)).collect();
    for &output in &graph.outputs {
        last[output] = NodeId::MAX;
    }
    last
}

impl From<tch::TchError> for Error {
    fn from(error: tch::TchError) -> Self {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        Self::backend(
            format!("libtorch: {first}"),
            "an operation libtorch can carry out",
            "if it speaks of memory, lower --batch or --imgsz; if of CUDA, check the driver or use --device cpu",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Architecture, Overrides, initial_weights};
    use crate::train::ops::overruns;

    #[test]
    fn strided_pointwise_convolutions_have_the_gradients_of_libtorch() {
        let conv =
            Conv { cin: 3, cout: 8, kernel: 1, stride: 2, pad: 0, dilation: 1, groups: 1, bias: false };
        assert!(
            overruns(&conv) && !overruns(&Conv { cin: 32, ..conv }) && !overruns(&Conv { stride: 1, ..conv })
        );
        let mut graph = Graph::default();
        let image = graph.push("images", Op::Input { channels: 3 }, &[]);
        let output = graph.push("conv", Op::Conv(conv), &[image]);
        graph.outputs = vec![output];
        let mut weights = Weights::default();
        weights.insert("conv.weight", &[8, 3, 1, 1], (0..24u8).map(|i| f32::from(i) / 24.0 - 0.4).collect());
        let net = Net::on_cpu(&graph, &weights).unwrap();
        let ramp: Vec<f32> = (0..2 * 3 * 9 * 7u16).map(|i| f32::from(i % 101) / 101.0).collect();
        // Odd sides: the last row and column are read too.
        let image = Tensor::from_slice(&ramp).view([2, 9, 7, 3]).permute([0, 3, 1, 2]);
        let found = net.forward(&image, Mode::Train).unwrap().remove(0);
        found.square().sum(Kind::Float).backward();
        let weight = net.parameters().next().unwrap().tensor.grad();

        let plain = net.tensor("conv", "weight").unwrap().detach().set_requires_grad(true);
        let expected = image.contiguous().conv2d(&plain, None::<Tensor>, [2, 2], [0, 0], [1, 1], 1);
        expected.square().sum(Kind::Float).backward();
        assert_eq!(found.size(), [2, 8, 5, 4]);
        for (found, expected) in [(found, expected), (weight, plain.grad())] {
            let error = (&found - &expected).abs().max() / expected.abs().max();
            assert!(error.double_value(&[]) < 1e-6);
        }
    }

    #[test]
    fn bf16_convolutions_stay_close_and_leave_f32_outputs_and_gradients() {
        let architecture =
            Architecture::load("repyolov5n", &Overrides::default(), &["a".to_owned()]).unwrap();
        let weights = initial_weights(&architecture, 3);
        let ramp: Vec<f32> = (0..2 * 3 * 64 * 64u16).map(|i| f32::from(i % 251) / 251.0).collect();
        let image = Tensor::from_slice(&ramp).view([2, 3, 64, 64]);
        let run = |format| {
            let net = Net::new(&architecture.graph, &weights, Device::Cpu, format).unwrap();
            let outputs = net.forward(&image, Mode::Train).unwrap();
            outputs[0].square().mean(Kind::Float).backward();
            for parameter in net.parameters().filter(|p| p.tensor.grad().defined()) {
                let kinds = (parameter.tensor.kind(), parameter.tensor.grad().kind());
                assert_eq!(kinds, (Kind::Float, Kind::Float));
            }
            assert_eq!(outputs[0].kind(), Kind::Float);
            outputs[0].shallow_clone()
        };
        let (full, low) = (run(ConvFormat::F32), run(ConvFormat::Bf16));
        let error = ((&full - low).abs().max() / full.abs().max()).double_value(&[]);
        assert!(error > 0.0 && error < 0.2, "{error:e}");
    }
}
