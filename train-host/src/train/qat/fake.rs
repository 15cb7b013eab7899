//! A quantized model in libtorch, in floats that hold what int8 stores: forward it gives what the integer reference gives,
//! backward rounding counts for nothing (the straight-through estimator) and what is cut off passes no gradient. Learns
//! nothing by itself.

use std::collections::BTreeMap;

use artifact::Quant;
use half::f16;
use repedge::int8;
use tch::{Device, Kind, Tensor};

use super::learned::Learned;
use crate::model::{Conv, Graph, NodeId, Op};
use crate::quantize::{QuantizedModel, quantize_with, sole_activation};
use crate::train::net::{last_uses, to_i64, to_vec};
use crate::train::ops::{convolve, weightless};
use crate::{Error, Result};

/// Parts of an output's step that sums are read in: see [`int8::SumTable`].
const PARTS: f64 = 16.0;
/// Farthest sum in such parts.
const REACH: i64 = 1 << 20;
/// A change of a scale by this part moves the largest values it stores by one step.
const CODES: f64 = 128.0;

/// A quantized model whose weights, biases and activation scales are trained.
pub(super) struct FakeNet {
    graph: Graph,
    /// Nodes whose results are given.
    outputs: Vec<NodeId>,
    last_use: Vec<NodeId>,
    kernels: BTreeMap<NodeId, Kernel>,
    /// Every scale there is; those of different nodes that are equal have to stay so.
    grids: Vec<Grid>,
    /// The grid of each node's result; none where it is a float.
    grid_of: Vec<Option<usize>>,
    /// How many times finer than int8: 1, but where gradients are checked.
    fineness: i64,
}

struct Kernel {
    conv: Conv,
    weight: Learned,
    bias: Learned,
    /// Scales and zero points of the output channels of an int8 convolution.
    stored: Option<[Tensor; 2]>,
}

/// How one or more tensors are stored.
struct Grid {
    scale: Learned,
    /// Codes from the zero point to the least and the most that is stored.
    reach: [i64; 2],
    /// That of the image is given by what images are.
    trained: bool,
}

impl FakeNet {
    /// `model` on `device`, giving the results of `outputs`.
    ///
    /// # Errors
    /// [`Error::Backend`] when libtorch refuses, [`Error::Model`] when a weight is missing.
    pub fn new(model: &QuantizedModel, outputs: &[NodeId], device: Device) -> Result<Self> {
        Self::with_fineness(model, outputs, device, 1)
    }

    /// As [`FakeNet::new`], with every step of int8 divided by `fineness`, so that rounding vanishes.
    pub fn with_fineness(
        model: &QuantizedModel,
        outputs: &[NodeId],
        device: Device,
        fineness: i64,
    ) -> Result<Self> {
        let graph = Graph { outputs: outputs.to_vec(), ..model.architecture.graph.clone() };
        let (quants, grid_of) = distinct(&model.scheme.tensors);
        let is_image = |grid: usize| {
            let nodes = graph.nodes.iter().zip(&grid_of);
            nodes.into_iter().any(|(node, of)| *of == Some(grid) && matches!(node.op, Op::Input { .. }))
        };
        let grids = quants.iter().enumerate();
        let grids: Vec<Grid> = grids
            .map(|(at, quant)| Grid::new(*quant, !is_image(at), device, fineness))
            .collect::<Result<_>>()?;
        let mut kernels = BTreeMap::new();
        for (id, node) in graph.nodes.iter().enumerate() {
            if let Op::Conv(conv) = node.op {
                kernels.insert(id, Kernel::new(model, id, conv, device, fineness)?);
            }
        }
        Ok(Self {
            last_use: last_uses(&graph),
            graph,
            outputs: outputs.to_vec(),
            kernels,
            grids,
            grid_of,
            fineness,
        })
    }

    /// Runs `images` `[N, C, H, W]` (f32, 0..1) and gives the real values of the outputs.
    ///
    /// # Errors
    /// [`Error::Backend`] when libtorch refuses.
    pub fn forward(&self, images: &Tensor) -> Result<Vec<Tensor>> {
        let mut values: Vec<Option<Tensor>> = Vec::with_capacity(self.graph.nodes.len());
        for (id, node) in self.graph.nodes.iter().enumerate() {
            let inputs: Vec<Tensor> =
                node.inputs.iter().filter_map(|&i| values[i].as_ref().map(Tensor::shallow_clone)).collect();
            for &i in &node.inputs {
                if self.last_use[i] == id {
                    values[i] = None;
                }
            }
            values.push(Some(self.node(id, images, &inputs)?));
        }
        Ok(self.outputs.iter().filter_map(|&i| values[i].as_ref().map(Tensor::shallow_clone)).collect())
    }

    fn node(&self, id: NodeId, images: &Tensor, inputs: &[Tensor]) -> Result<Tensor> {
        let op = &self.graph.nodes[id].op;
        let value = match (op, self.kernels.get(&id), inputs.first()) {
            (Op::Input { .. }, ..) => images.shallow_clone(),
            (Op::Conv(_), Some(kernel), Some(x)) => {
                convolve(&kernel.conv, x, &kernel.weight(self.fineness)?, Some(&kernel.bias.tensor))?
            }
            (Op::Act(_), _, Some(sums)) if self.reads_sums(id) => {
                weightless(op, &[self.in_parts(id, sums)?])?
            }
            _ => weightless(op, inputs)?,
        };
        match self.grid_of[id] {
            Some(grid) if !self.only_moves(id) => self.grids[grid].store(&value),
            _ => Ok(value),
        }
    }

    /// Whether the activation `id` reads the sums of a convolution, of which nothing is stored.
    fn reads_sums(&self, id: NodeId) -> bool {
        let input = self.graph.nodes[id].inputs[0];
        self.grid_of[id].is_some()
            && self.grid_of[input].is_none()
            && self.kernels.get(&input).is_some_and(Kernel::is_int8)
    }

    /// `sums` in the parts of its output's step in which the activation `id` looks them up.
    fn in_parts(&self, id: NodeId, sums: &Tensor) -> Result<Tensor> {
        let Some(grid) = self.grid_of[id].map(|grid| &self.grids[grid]) else {
            return Ok(sums.shallow_clone());
        };
        let unit = grid.scale.tensor.f_detach()?.f_div_scalar(PARTS)?;
        let reach = REACH * self.fineness;
        let zero = unit.f_zeros_like()?.f_to_kind(Kind::Int)?;
        Ok(sums.f_fake_quantize_per_tensor_affine_tensor_qparams(&unit, &zero, -reach, reach)?)
    }

    /// Whether the result of `id` holds nothing but values that are stored as it is.
    fn only_moves(&self, id: NodeId) -> bool {
        let node = &self.graph.nodes[id];
        let moves = matches!(
            node.op,
            Op::Concat | Op::MaxPool { .. } | Op::Upsample { .. } | Op::Slice { .. } | Op::SpaceToDepth
        );
        moves && node.inputs.iter().all(|&input| self.grid_of[input] == self.grid_of[id])
    }

    /// All that is trained.
    pub fn learned(&mut self) -> impl Iterator<Item = &mut Learned> {
        let kernels = self.kernels.values_mut().flat_map(|kernel| [&mut kernel.weight, &mut kernel.bias]);
        let grids = self.grids.iter_mut().filter(|grid| grid.trained).map(|grid| &mut grid.scale);
        kernels.chain(grids)
    }

    /// `start`, which this net was made of, with what has been learned since.
    ///
    /// # Errors
    /// [`Error::Model`] when training gave what cannot be stored.
    pub fn quantized(&self, start: &QuantizedModel) -> Result<QuantizedModel> {
        let mut model = start.clone();
        for (quant, grid) in model.scheme.tensors.iter_mut().zip(&self.grid_of) {
            if let (Some(quant), Some(grid)) = (quant, grid) {
                quant.scale = to_vec(&self.grids[*grid].scale.tensor)?[0];
            }
        }
        for (node, quant) in self.graph.nodes.iter().zip(&model.scheme.tensors) {
            if quant.is_some_and(|quant| !(quant.scale.is_normal() && quant.scale > 0.0)) {
                return Err(diverged(&node.name));
            }
        }
        for (&id, kernel) in &self.kernels {
            let node = &self.graph.nodes[id];
            let (values, bias) = (to_vec(&kernel.weight.tensor)?, to_vec(&kernel.bias.tensor)?);
            // 16-bit floats hold what stays in floats.
            if values.iter().any(|&value| !f16::from_f32(value).is_finite())
                || bias.iter().any(|value| !value.is_finite())
            {
                return Err(diverged(&node.name));
            }
            match (model.scheme.tensors[node.inputs[0]], &kernel.stored) {
                (Some(from), Some([scales, _])) => {
                    let kernel = quantize_with(&values, &bias, from.scale, to_vec(scales)?);
                    model.scheme.kernels.insert(node.name.clone(), kernel);
                }
                _ => {
                    let Conv { cin, cout, kernel: side, groups, .. } = kernel.conv;
                    // What stays in floats is stored in 16 bits.
                    let values = values.iter().map(|&value| f16::from_f32(value).to_f32()).collect();
                    let shape = [cout, cin / groups, side, side];
                    model.weights.insert(format!("{}.weight", node.name), &shape, values);
                    model.weights.insert(format!("{}.bias", node.name), &[cout], bias);
                }
            }
        }
        model.validate()?;
        Ok(model)
    }
}

impl Kernel {
    fn new(model: &QuantizedModel, id: NodeId, conv: Conv, device: Device, fineness: i64) -> Result<Self> {
        let node = &model.architecture.graph.nodes[id];
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel].map(to_i64);
        let tensor = |values: &[f32], shape: &[i64]| -> Result<Tensor> {
            Ok(Tensor::f_from_slice(values)?.f_reshape(shape)?.f_to_device(device)?)
        };
        let (values, bias, steps, is_int8) =
            match (model.scheme.kernels.get(&node.name), model.scheme.tensors[node.inputs[0]]) {
                (Some(kernel), Some(from)) => {
                    (kernel.real_values(), kernel.real_bias(from.scale), kernel.scales.clone(), true)
                }
                _ => {
                    let values = model.weights.get(&format!("{}.weight", node.name))?.data.clone();
                    let bias = model.weights.get(&format!("{}.bias", node.name))?.data.clone();
                    let steps = steps_of(&values, bias.len());
                    (values, bias, steps, false)
                }
            };
        let channels = [to_i64(conv.cout)];
        let steps = tensor(&steps, &channels)?;
        let bias_unit = match felt_by(model, id) {
            Some(quant) => steps.f_full_like(f64::from(quant.scale))?,
            None => steps.shallow_clone(),
        };
        #[expect(clippy::cast_precision_loss, reason = "a small whole number")]
        let finer = steps.f_div_scalar(fineness as f64)?;
        let stored = if is_int8 { Some([finer, steps.f_zeros_like()?.f_to_kind(Kind::Int)?]) } else { None };
        Ok(Self {
            conv,
            weight: Learned::new(&tensor(&values, &shape)?, &steps.f_reshape([channels[0], 1, 1, 1])?)?,
            bias: Learned::new(&tensor(&bias, &channels)?, &bias_unit)?,
            stored,
        })
    }

    fn is_int8(&self) -> bool {
        self.stored.is_some()
    }

    /// The weights as int8 holds them.
    fn weight(&self, fineness: i64) -> Result<Tensor> {
        let weight = &self.weight.tensor;
        let Some([scales, zeros]) = &self.stored else { return Ok(weight.shallow_clone()) };
        let most = i64::from(int8::WEIGHT_MAX) * fineness;
        Ok(weight.f_fake_quantize_per_channel_affine(scales, zeros, 0, -most, most)?)
    }
}

impl Grid {
    fn new(quant: Quant, trained: bool, device: Device, fineness: i64) -> Result<Self> {
        let number = |value: f64| Tensor::f_full([1], value, (Kind::Float, device));
        #[expect(clippy::cast_precision_loss, reason = "a small whole number")]
        let scale = f64::from(quant.scale) / fineness as f64;
        let codes = |end: i32| i64::from(end - quant.zero_point) * fineness;
        Ok(Self {
            scale: Learned::new(&number(scale)?, &number(scale / CODES)?)?,
            reach: [codes(int8::MIN), codes(int8::MAX)],
            trained,
        })
    }

    /// `value` as it comes back from being stored. Counted from the zero point, as rounding is in int8.
    fn store(&self, value: &Tensor) -> Result<Tensor> {
        let (scale, [least, most]) = (&self.scale.tensor, self.reach);
        let zero = scale.f_detach()?.f_zeros_like()?;
        if self.trained {
            return Ok(
                value.f_internal_fake_quantize_learnable_per_tensor_affine(scale, &zero, least, most, 1.0)?
            );
        }
        let (scale, zero) = (scale.f_detach()?, zero.f_to_kind(Kind::Int)?);
        Ok(value.f_fake_quantize_per_tensor_affine_tensor_qparams(&scale, &zero, least, most)?)
    }
}

/// The quants that occur, each once, and which of them each tensor has.
fn distinct(tensors: &[Option<Quant>]) -> (Vec<Quant>, Vec<Option<usize>>) {
    let mut quants: Vec<Quant> = Vec::new();
    let place = |quant: &Option<Quant>| {
        let quant = (*quant)?;
        Some(quants.iter().position(|known| *known == quant).unwrap_or_else(|| {
            quants.push(quant);
            quants.len() - 1
        }))
    };
    let places = tensors.iter().map(place).collect();
    (quants, places)
}

/// How the sums of convolution `id`, or what its activation makes of them, are stored; none where they stay floats.
fn felt_by(model: &QuantizedModel, id: NodeId) -> Option<Quant> {
    let graph = &model.architecture.graph;
    let tensors = &model.scheme.tensors;
    tensors[id].or_else(|| sole_activation(graph, &graph.users(), id).and_then(|(act, _)| tensors[act]))
}

/// What a step of each output channel would be in int8.
fn steps_of(values: &[f32], channels: usize) -> Vec<f32> {
    #[expect(clippy::cast_precision_loss, reason = "127")]
    let most = int8::WEIGHT_MAX as f32;
    let per_channel = (values.len() / channels.max(1)).max(1);
    let largest = |values: &[f32]| values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
    values.chunks(per_channel).map(|values| largest(values) / most).collect()
}

fn diverged(node: &str) -> Error {
    Error::model(
        format!("weights or scale of {node:?} are nothing that can be stored after training"),
        "finite weights within what 16 bits hold, and a scale above 0",
        "train on images like those the device will see, or leave --qat out",
    )
}
