//! What a node of tract's graph is to our kernels, if they compute it. Only looks: graphs are taken apart in `mod.rs`.

use kernels::{Activation, Convolution, Kind, Operator, Shape, Windows};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::ops::array::TypedConcat;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Max, Mul};
use tract_onnx::tract_core::ops::nn::resize::{CoordTransformer, Interpolator};
use tract_onnx::tract_core::ops::nn::{DataFormat, LeakyRelu, Sigmoid, Silu};
use tract_onnx_opl::resize::{AspectRatio, CoordTransform, Nearest, Resize};

/// Channels at whose multiples the kernels concatenate.
const ALIGNMENT: usize = 8;

/// Most operators between a constant and what is computed of it.
const MAX_DEPTH: usize = 3;

/// A node that our kernels compute.
pub(super) struct Translated {
    /// None where the node is part of another: the sigmoid of a SiLU.
    pub operator: Option<Operator>,
    /// What it reads, constants aside.
    pub inputs: Vec<OutletId>,
}

/// The size of one image and what it holds; none where `outlet` is anything else.
pub(super) fn form(model: &TypedModel, outlet: OutletId) -> Option<(Shape, Kind)> {
    let fact = model.outlet_fact(outlet).ok()?;
    let kind = match fact.datum_type {
        DatumType::F32 => Kind::Real,
        DatumType::I8 => Kind::Stored,
        _ => return None,
    };
    let &[1, channels, height, width] = fact.shape.as_concrete()? else { return None };
    Some((Shape { channels, height, width }, kind))
}

/// The size of one image in floats.
fn image(model: &TypedModel, outlet: OutletId) -> Option<Shape> {
    form(model, outlet).filter(|(_, kind)| *kind == Kind::Real).map(|(shape, _)| shape)
}

/// What `node` is to our kernels.
pub(super) fn translate(model: &TypedModel, node: &TypedNode) -> Option<Translated> {
    let constant = |outlet: &OutletId| constant(model, *outlet).is_some();
    let inputs: Vec<OutletId> = node.inputs.iter().copied().filter(|input| !constant(input)).collect();
    let images = inputs.iter().map(|&input| image(model, input)).collect::<Option<Vec<Shape>>>()?;
    if node.outputs.len() != 1 || images.is_empty() {
        return None;
    }
    if is_part_of_silu(model, node) {
        return Some(Translated { operator: None, inputs });
    }
    if let Some(input) = silu(model, node) {
        return Some(Translated {
            operator: Some(Operator::Activate(Activation::Silu)),
            inputs: vec![input],
        });
    }
    let output = image(model, node.id.into())?;
    let operator = operator(model, node, &images, output)?;
    Some(Translated { operator: Some(operator), inputs })
}

/// What `node` is the SiLU of, if it is the product of something and its sigmoid.
fn silu(model: &TypedModel, node: &TypedNode) -> Option<OutletId> {
    node.op_as::<TypedBinOp>().filter(|binary| binary.1.is_none() && binary.0.is::<Mul>())?;
    let &[a, b] = node.inputs.as_slice() else { return None };
    let is_sigmoid_of = |gate: OutletId, value: OutletId| {
        let maker = model.node(gate.node);
        let function = maker.op_as::<ElementWiseOp>();
        function.is_some_and(|op| op.1.is_none() && op.0.is::<Sigmoid>()) && maker.inputs[..] == [value]
    };
    [(a, b), (b, a)].into_iter().find(|&(gate, value)| is_sigmoid_of(gate, value)).map(|(_, value)| value)
}

/// Whether `node` is a sigmoid that nothing but SiLUs read.
fn is_part_of_silu(model: &TypedModel, node: &TypedNode) -> bool {
    let readers = &node.outputs[0].successors;
    let only_silus = readers
        .iter()
        .all(|reader| silu(model, model.node(reader.node)).is_some_and(|value| node.inputs[..] == [value]));
    only_silus && !readers.is_empty() && !model.outputs.contains(&node.id.into())
}

fn operator(model: &TypedModel, node: &TypedNode, images: &[Shape], output: Shape) -> Option<Operator> {
    let one = images.len() == 1;
    if let Some(conv) = node.op_as::<Conv>() {
        return convolution(model, node, conv).filter(|_| one).map(Operator::Convolution);
    }
    if let Some(concat) = node.op_as::<TypedConcat>() {
        let aligned = images.iter().rev().skip(1).all(|image| image.channels % ALIGNMENT == 0);
        let all = images.len() == node.inputs.len() && concat.axis == 1 && aligned;
        return all.then_some(Operator::Concat);
    }
    if let Some(pool) = node.op_as::<MaxPool>() {
        let windows = window(&pool.pool_spec).filter(|_| one && pool.with_index_outputs.is_none())?;
        return Some(Operator::MaxPool(windows));
    }
    if let Some(resize) = node.op_as::<Resize>() {
        return enlargement(resize, images[0], output).filter(|_| one);
    }
    if let Some(function) = node.op_as::<ElementWiseOp>() {
        return activation(function).filter(|_| one).map(Operator::Activate);
    }
    let binary = node.op_as::<TypedBinOp>().filter(|binary| binary.1.is_none())?;
    if binary.0.is::<Add>() && images == [output, output] {
        return Some(Operator::Add);
    }
    let zero = || node.inputs.iter().any(|&input| is_zero(model, input));
    (binary.0.is::<Max>() && one && images == [output] && zero())
        .then_some(Operator::Activate(Activation::Relu))
}

fn activation(function: &ElementWiseOp) -> Option<Activation> {
    if function.1.is_some() {
        return None;
    }
    if let Some(leaky) = function.0.downcast_ref::<LeakyRelu>() {
        return Some(Activation::Leaky(leaky.alpha));
    }
    function.0.is::<Silu>().then_some(Activation::Silu)
}

fn convolution(model: &TypedModel, node: &TypedNode, conv: &Conv) -> Option<Convolution> {
    let [_, kernel, bias] = node.inputs.as_slice() else { return None };
    let plain = conv.group == 1 && conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW;
    let windows = window(&conv.pool_spec).filter(|_| plain)?;
    let weights = floats(model, *kernel)?;
    let channels = conv.pool_spec.output_channels;
    let bias = match floats(model, *bias)?.as_slice() {
        [all] => vec![*all; channels],
        each if each.len() == channels => each.to_vec(),
        _ => return None,
    };
    Some(Convolution { weights, bias, windows, activation: Activation::None })
}

/// The windows of a convolution or pooling over planes, without dilation.
pub(super) fn window(spec: &PoolSpec) -> Option<Windows> {
    let pair = |values: &[usize]| <[usize; 2]>::try_from(values).ok();
    let dense = spec.dilations.as_ref().is_none_or(|all| all.iter().all(|&dilation| dilation == 1));
    let (pad, pad_end) = match &spec.padding {
        PaddingSpec::Explicit(before, after) | PaddingSpec::ExplicitOnnxPool(before, after, false) => {
            (pair(before)?, pair(after)?)
        }
        PaddingSpec::Valid => ([0; 2], [0; 2]),
        _ => return None,
    };
    let stride = spec.strides.as_ref().map_or(Some([1; 2]), |strides| pair(strides))?;
    let windows = Windows { kernel: pair(&spec.kernel_shape)?, stride, pad, pad_end };
    (dense && spec.data_format == DataFormat::NCHW).then_some(windows)
}

/// Nearest neighbor by whole factors: where outputs lie evenly over inputs, every rounding but up finds the same ones.
pub(super) fn enlargement(resize: &Resize, input: Shape, output: Shape) -> Option<Operator> {
    let factors = [output.height / input.height, output.width / input.width];
    let whole = [input.height * factors[0], input.width * factors[1]] == [output.height, output.width];
    let rounded = matches!(resize.nearest, Nearest::RoundPreferFloor | Nearest::RoundPreferCeil);
    let nearest = match &resize.coord_transformer {
        CoordTransform::Plain(CoordTransformer::Asymmetric) => resize.nearest == Nearest::Floor,
        CoordTransform::Plain(CoordTransformer::HalfPixel) => rounded,
        _ => false,
    };
    let plain = matches!(resize.interpolator, Interpolator::Nearest)
        && resize.keep_aspect_ratio_policy == AspectRatio::Stretch
        && input.channels == output.channels;
    (nearest && plain && whole && factors.iter().all(|&factor| factor > 0))
        .then_some(Operator::Upsample { factors })
}

fn is_zero(model: &TypedModel, outlet: OutletId) -> bool {
    floats(model, outlet).is_some_and(|values| values.iter().all(|&value| value == 0.0))
}

/// The value of `outlet`, where it is known; also behind a few operators on constants, such as the cast of a bias.
pub(super) fn constant(model: &TypedModel, outlet: OutletId) -> Option<Arc<Tensor>> {
    computed(model, outlet, MAX_DEPTH)
}

fn computed(model: &TypedModel, outlet: OutletId, depth: usize) -> Option<Arc<Tensor>> {
    if let Some(constant) = &model.outlet_fact(outlet).ok()?.konst {
        return Some(constant.clone());
    }
    let node = model.node(outlet.node);
    if node.inputs.is_empty() || depth == 0 {
        return None;
    }
    let inputs = node.inputs.iter().map(|&input| Some(computed(model, input, depth - 1)?.into_tvalue()));
    let outputs = node.op.eval_out_of_plan(inputs.collect::<Option<_>>()?).ok()??;
    Some(outputs.get(outlet.slot)?.clone().into_arc_tensor())
}

/// The values of `outlet`, where they are known and of this type.
pub(super) fn values<T: Datum + Copy>(model: &TypedModel, outlet: OutletId) -> Option<Vec<T>> {
    let tensor = constant(model, outlet)?;
    let view = tensor.to_plain_array_view::<T>().ok()?;
    Some(view.iter().copied().collect())
}

pub(super) fn floats(model: &TypedModel, outlet: OutletId) -> Option<Vec<f32>> {
    values(model, outlet)
}
