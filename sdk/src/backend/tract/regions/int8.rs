//! What a node of a graph rewritten by `integer` is to our kernels: stored values, exact sums and what becomes of them. What is
//! in floats is `translate`'s.

use kernels::{Codes, Ending, IntegerConvolution, Kind, Operator, Quant, Windows};
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::DimLike;
use tract_onnx::tract_core::ops::array::{Slice, TypedConcat};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::Cast;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool};
use tract_onnx::tract_core::ops::element_wise::ElementWiseOp;
use tract_onnx::tract_core::ops::math::{Add, Mul};
use tract_onnx::tract_core::ops::quant::{DequantizeLinearF32, QuantizeLinearI8};
use tract_onnx_opl::resize::Resize;

use super::super::integer;
use super::translate::{Translated, constant, enlargement, floats, form, values, window};

/// Channels at whose multiples the kernels concatenate and slice.
const ALIGNMENT: usize = 16;
/// Largest scale of a summand: the sum of two stays finite.
const MAX_SCALE: f32 = 1e30;

/// What `node` is to our kernels.
pub(super) fn translate(model: &TypedModel, node: &TypedNode) -> Option<Translated> {
    if node.outputs.len() != 1 {
        return None;
    }
    if is_part_of_ending(model, node) {
        return Some(Translated { operator: None, inputs: variables(model, node) });
    }
    if let Some((sums, ending)) = ended(model, node) {
        let conv = IntegerConvolution {
            weights: sums.weights,
            windows: sums.windows,
            zero_point: sums.zero_point,
            ending,
        };
        return Some(Translated { operator: Some(Operator::Integer(conv)), inputs: vec![sums.input] });
    }
    let inputs = variables(model, node);
    let operator = operator(model, node, &inputs)?;
    Some(Translated { operator: Some(operator), inputs })
}

/// What `node` reads, constants aside.
fn variables(model: &TypedModel, node: &TypedNode) -> Vec<OutletId> {
    node.inputs.iter().copied().filter(|&input| constant(model, input).is_none()).collect()
}

/// An operator that computes no sums.
fn operator(model: &TypedModel, node: &TypedNode, inputs: &[OutletId]) -> Option<Operator> {
    let forms = inputs.iter().map(|&input| form(model, input)).collect::<Option<Vec<_>>>()?;
    let (output, kind) = form(model, node.id.into())?;
    let stored = forms.iter().all(|(_, kind)| *kind == Kind::Stored) && kind == Kind::Stored;
    let one = forms.len() == 1;
    if let Some(function) = node.op_as::<ElementWiseOp>() {
        if let Some(quantize) = function.0.downcast_ref::<QuantizeLinearI8>() {
            let real = forms[0].1 == Kind::Real && quantize.scale.is_finite();
            return real
                .then_some(Operator::Quantize { factor: quantize.scale, zero_point: quantize.zero_point });
        }
        let table = function.0.downcast_ref::<integer::Table>().filter(|_| stored && one)?;
        return Some(Operator::Map(Box::new(*table.entries())));
    }
    if let Some(dequantize) = node.op_as::<DequantizeLinearF32>() {
        let quant = Quant { scale: dequantize.scale, zero_point: dequantize.zero_point };
        return (one && forms[0].1 == Kind::Stored).then_some(Operator::Dequantize(quant));
    }
    if !stored {
        return None;
    }
    if let Some(add) = node.op_as::<integer::Add>() {
        let (from, to) = add.quants();
        let quant = |quant: artifact::Quant| Quant { scale: quant.scale, zero_point: quant.zero_point };
        let bounded = from.iter().all(|quant| quant.scale <= MAX_SCALE);
        let from = <[artifact::Quant; 2]>::try_from(from).ok().filter(|_| bounded)?;
        return Some(Operator::AddStored { from: from.map(quant), to: quant(to) });
    }
    if let Some(concat) = node.op_as::<TypedConcat>() {
        let aligned = forms.iter().rev().skip(1).all(|(shape, _)| shape.channels % ALIGNMENT == 0);
        let all = forms.len() == node.inputs.len() && concat.axis == 1 && aligned;
        return all.then_some(Operator::Concat);
    }
    if let Some(pool) = node.op_as::<MaxPool>() {
        let windows = window(&pool.pool_spec).filter(|_| one && pool.with_index_outputs.is_none())?;
        return Some(Operator::MaxPool(windows));
    }
    if let Some(resize) = node.op_as::<Resize>() {
        return enlargement(resize, forms[0].0, output).filter(|_| one);
    }
    let slice = node.op_as::<Slice>().filter(|slice| slice.axis == 1 && one)?;
    let (start, end) = (slice.start.to_usize().ok()?, slice.end.to_usize().ok()?);
    (start % ALIGNMENT == 0 && start < end).then_some(Operator::Slice(start..end))
}

/// A convolution's sums of stored values.
struct Sums {
    input: OutletId,
    weights: Vec<i8>,
    windows: Windows,
    zero_point: i8,
    channels: usize,
}

/// The sums that `outlet` is, if nothing else reads them and our kernels compute them.
fn sums(model: &TypedModel, outlet: OutletId) -> Option<Sums> {
    let node = model.node(outlet.node);
    let conv = node.op_as::<Conv>()?;
    let plain = conv.q_params == Some(i32::datum_type())
        && conv.group == 1
        && conv.kernel_fmt == KernelFormat::OIHW
        && is_read_once(model, node);
    let windows = window(&conv.pool_spec).filter(|_| plain)?;
    let &[input, kernel, bias, zero_point, ref rest @ ..] = node.inputs.as_slice() else { return None };
    let [scale, kernel_zero_point, kernel_scale, output_zero_point, output_scale] = rest else { return None };
    let is = |outlet: OutletId, value: i32| {
        values::<i32>(model, outlet).is_some_and(|all| all.iter().all(|&v| v == value))
    };
    let is_one = |outlet: &OutletId| floats(model, *outlet).is_some_and(|all| all.iter().all(|&v| v == 1.0));
    let integer = is(bias, 0) && is(*kernel_zero_point, 0) && is(*output_zero_point, 0);
    let unscaled = [scale, kernel_scale, output_scale].into_iter().all(is_one);
    let (_, Kind::Stored) = form(model, input)? else { return None };
    let [zero_point] = values::<i32>(model, zero_point)?[..] else { return None };
    (integer && unscaled).then_some(Sums {
        input,
        weights: values(model, kernel)?,
        windows,
        zero_point: i8::try_from(zero_point).ok()?,
        channels: conv.pool_spec.output_channels,
    })
}

fn is_read_once(model: &TypedModel, node: &TypedNode) -> bool {
    node.outputs[0].successors.len() == 1 && !model.outputs.contains(&node.id.into())
}

/// The sums that `node` is the last to do something with, and what became of them.
fn ended(model: &TypedModel, node: &TypedNode) -> Option<(Sums, Ending)> {
    if let Some(requantize) = node.op_as::<integer::Requantize>() {
        let sums = sums(model, *node.inputs.first()?)?;
        return Some((sums, stored(requantize)?));
    }
    let (scaled, bias) = with_constant::<Add>(model, node)?;
    let multiply = model.node(scaled.node);
    let (reals, scales) = with_constant::<Mul>(model, multiply).filter(|_| is_read_once(model, multiply))?;
    let cast = model.node(reals.node);
    let to_real = cast.op_as::<Cast>().is_some_and(|cast| cast.to == f32::datum_type());
    let sums = sums(model, *cast.inputs.first()?).filter(|_| to_real && is_read_once(model, cast))?;
    let ending = Ending::Real {
        scales: along_channels(model, scales, sums.channels)?,
        bias: along_channels(model, bias, sums.channels)?,
    };
    Some((sums, ending))
}

fn stored(requantize: &integer::Requantize) -> Option<Ending> {
    let codes = match &requantize.codes {
        integer::Codes::Shifted { zero_point } => {
            Codes::Shifted { zero_point: i8::try_from(*zero_point).ok()? }
        }
        integer::Codes::Table { first, entries } => Codes::Table { first: *first, entries: entries.clone() },
    };
    let (bias, multipliers) = (requantize.bias.clone(), requantize.multipliers.clone());
    Some(Ending::Stored { bias, multipliers, codes })
}

/// What `node`, an operation `O` of a variable and a constant, reads: both in this order.
fn with_constant<O: tract_onnx::tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    node: &TypedNode,
) -> Option<(OutletId, OutletId)> {
    node.op_as::<TypedBinOp>().filter(|binary| binary.1.is_none() && binary.0.is::<O>())?;
    let &[a, b] = node.inputs.as_slice() else { return None };
    match (constant(model, a), constant(model, b)) {
        (None, Some(_)) => Some((a, b)),
        (Some(_), None) => Some((b, a)),
        _ => None,
    }
}

/// A float for each of `channels` channels of an image.
fn along_channels(model: &TypedModel, outlet: OutletId, channels: usize) -> Option<Vec<f32>> {
    let shape = constant(model, outlet)?.shape().to_vec();
    (shape == [1, channels, 1, 1]).then(|| floats(model, outlet)).flatten()
}

/// Whether `node` is only read by what becomes part of a convolution, as `node` does.
fn is_part_of_ending(model: &TypedModel, node: &TypedNode) -> bool {
    let mut next = node;
    // From sums to their ending there are two nodes at most.
    for _ in 0..3 {
        let passes = [next.op_is::<Conv>(), next.op_is::<Cast>(), next.op_is::<TypedBinOp>()];
        let [reader] = next.outputs[0].successors.as_slice() else { return false };
        if !passes.contains(&true) || !is_read_once(model, next) {
            return false;
        }
        next = model.node(reader.node);
        if ended(model, next).is_some() {
            return true;
        }
    }
    false
}
