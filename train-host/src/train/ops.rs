//! The operators of a graph in libtorch: each a function of tensors alone. Keeps no weights and runs no graph.

use tch::{Kind, Tensor};

use super::net::to_i64;
use crate::model::{Activation, Attention, Conv, LEAKY_SLOPE, Op};
use crate::{Error, Result};

/// The result of an operator without weights for `inputs`.
///
/// # Errors
/// [`Error::Backend`] when libtorch refuses, [`Error::Model`] for an operator with weights or without inputs.
pub(super) fn weightless(op: &Op, inputs: &[Tensor]) -> Result<Tensor> {
    let Some((x, others)) = inputs.split_first() else { return Err(no_form(op)) };
    Ok(match op {
        Op::Act(Activation::Silu) => x.f_silu()?,
        Op::Act(Activation::Relu) => x.f_relu()?,
        Op::Act(Activation::LeakyRelu) => x.f_maximum(&x.f_mul_scalar(LEAKY_SLOPE)?)?,
        Op::Act(Activation::Mish) => x.f_mish()?,
        Op::Add => {
            let mut sum = x.shallow_clone();
            for other in others {
                sum = sum.f_add(other)?;
            }
            sum
        }
        Op::Concat => Tensor::f_cat(inputs, 1)?,
        &Op::Slice { start, len } => x.f_narrow(1, to_i64(start), to_i64(len))?,
        Op::Attention(attention) => attend(attention, x)?,
        &Op::MaxPool { kernel, stride, pad } => {
            x.f_max_pool2d([to_i64(kernel); 2], [to_i64(stride); 2], [to_i64(pad); 2], [1, 1], false)?
        }
        &Op::Upsample { factor } => {
            let (_, _, h, w) = x.size4()?;
            x.f_upsample_nearest2d([h * to_i64(factor), w * to_i64(factor)], None, None)?
        }
        Op::SpaceToDepth => space_to_depth(x)?,
        Op::Input { .. } | Op::Conv(_) | Op::BatchNorm { .. } => return Err(no_form(op)),
    })
}

/// The convolution of `x`.
///
/// # Errors
/// [`Error::Backend`] when libtorch refuses.
pub(super) fn convolve(conv: &Conv, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let both = |v: usize| [to_i64(v); 2];
    let (x, conv) =
        if overruns(conv) { (&every(x, conv.stride)?, &Conv { stride: 1, ..*conv }) } else { (x, conv) };
    let (stride, pad, dilation) = (both(conv.stride), both(conv.pad), both(conv.dilation));
    Ok(x.f_conv2d(weight, bias, stride, pad, dilation, to_i64(conv.groups))?)
}

/// Channels in the widest vector of a CPU (16 × f32, AVX-512).
const VECTOR_CHANNELS: usize = 16;

/// Whether oneDNN writes past a buffer for this convolution. For the weight gradient of a strided 1×1 with channels
/// innermost it first gathers the pixels that are read, in whole vectors, and the last vector of the last pixel goes
/// beyond the end unless the channels fill it (seen with valgrind in libtorch 2.13, `jit_avx2_1x1_convolution_bwd_weights`;
/// the AVX-512 kernel corrupts the heap alike).
pub(super) fn overruns(conv: &Conv) -> bool {
    let &Conv { cin, kernel, stride, pad, groups, .. } = conv;
    kernel == 1 && pad == 0 && stride > 1 && !(cin / groups).is_multiple_of(VECTOR_CHANNELS)
}

/// The pixels that a 1×1 convolution of this stride reads: over these alone it needs no stride.
fn every(x: &Tensor, stride: usize) -> Result<Tensor> {
    let (_, _, h, w) = x.size4()?;
    Ok(x.f_slice(2, 0, h, to_i64(stride))?.f_slice(3, 0, w, to_i64(stride))?)
}

fn attend(attention: &Attention, x: &Tensor) -> Result<Tensor> {
    let (batch, _, h, w) = x.size4()?;
    let Attention { heads, key_dim, head_dim } = *attention;
    let [heads, key_dim, head_dim] = [heads, key_dim, head_dim].map(to_i64);
    let parts = x
        .f_reshape([batch, heads, 2 * key_dim + head_dim, h * w])?
        .f_split_with_sizes([key_dim, key_dim, head_dim], 2)?;
    #[expect(clippy::cast_precision_loss, reason = "channel counts are small")]
    let scale = 1.0 / (attention.key_dim as f64).sqrt();
    let scores = parts[0].f_transpose(-2, -1)?.f_matmul(&parts[1])?.f_mul_scalar(scale)?;
    let weights = scores.f_softmax(-1, None::<Kind>)?.f_transpose(-2, -1)?;
    Ok(parts[2].f_matmul(&weights)?.f_reshape([batch, heads * head_dim, h, w])?)
}

fn space_to_depth(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.size4()?;
    let pick = |row: i64, column: i64| x.f_slice(2, row, h, 2)?.f_slice(3, column, w, 2);
    Ok(Tensor::f_cat(&[pick(0, 0)?, pick(1, 0)?, pick(0, 1)?, pick(1, 1)?], 1)?)
}

fn no_form(op: &Op) -> Error {
    Error::model(
        format!("{op:?} as an operator without weights"),
        "one that has none",
        "report this as a bug",
    )
}
