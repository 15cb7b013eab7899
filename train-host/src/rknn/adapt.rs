//! What rknn-toolkit2 2.5.0 makes of a QDQ model, measured on its simulator, and how to hand it ours so that it computes
//! what we computed. Without this it agrees with the QDQ model to a few steps only; with it single convolutions are equal
//! bit for bit, and whole ReLU models too. Never chooses a scale of a stored tensor.
//!
//! - Scales and zero points of activations are kept, for concatenations and sums too, but where the zero point is 0.
//! - What has the zero point 0 is taken for symmetric, and its scale `s` becomes `128 / 127 · s`, because the stored range is
//!   taken to begin at −128: that of an output or a sum, by chance, and that of every channel of a kernel, whose values are
//!   rounded anew then. So we declare scales that are finer by as much. The rounding maps kernels back to ours; it can
//!   give no more than 126. What the toolkit makes of a concatenation, of a sum of sums or of an activation's result with
//!   that zero point, neither scale says; their ranges begin near 0, and their zero points are far from it.
//! - An activation behind a convolution reads the sums, as our [`SumTable`] does. Yet the convolution itself runs in int8
//!   only if its sums are stored too: without scales in between it is compiled to half floats. So we declare scales
//!   there, over all sums that the activation's stored result still tells apart.

use artifact::Quant;
use repedge::int8::{self, SumTable};

use crate::model::{Activation, Op};
use crate::quantize::{Int8Kernel, QuantizedModel, function};

/// Largest magnitude of a weight that survives the toolkit's own rounding.
const WEIGHT_MAX: i8 = 126;
/// The toolkit's grid over the one declared, where the zero point is 0.
const COARSER: (i32, i32) = (128, 127);

/// `model` as the toolkit can compute it: with weights of at most 126 steps. The largest weight of a channel moves by a
/// step; no other does.
pub fn computable(model: &QuantizedModel) -> QuantizedModel {
    let mut model = model.clone();
    for kernel in model.scheme.kernels.values_mut() {
        kernel.values.iter_mut().for_each(|value| *value = (*value).clamp(-WEIGHT_MAX, WEIGHT_MAX));
    }
    model
}

/// The model to print for the toolkit, which makes [`computable`]'s `model` of it.
pub fn declared(model: &QuantizedModel) -> QuantizedModel {
    let mut declared = model.clone();
    declared.scheme.kernels.values_mut().for_each(declare);
    for (id, node) in model.architecture.graph.nodes.iter().enumerate() {
        if let (Some(conv), Op::Act(activation), Some(to)) =
            (model.fused_convolution(id), node.op, model.scheme.tensors[id])
        {
            declared.scheme.tensors[conv] = Some(told_apart(activation, to));
        }
    }
    for quant in declared.scheme.tensors.iter_mut().flatten().filter(|quant| quant.zero_point == 0) {
        quant.scale = finer(quant.scale);
    }
    declared
}

/// The scale that becomes `scale` where the zero point is 0.
#[expect(clippy::cast_possible_truncation, reason = "a little less than an f32")]
fn finer(scale: f32) -> f32 {
    let (up, down) = COARSER;
    (f64::from(scale) * f64::from(down) / f64::from(up)) as f32
}

/// Moves a kernel to the grid that the toolkit's rounding maps back.
fn declare(kernel: &mut Int8Kernel) {
    let (up, down) = COARSER;
    for value in &mut kernel.values {
        let declared = divide_rounded(i64::from(*value) * i64::from(up), i64::from(down));
        *value = i8::try_from(declared).unwrap_or(if declared > 0 { i8::MAX } else { -i8::MAX });
    }
    for bias in &mut kernel.bias {
        let declared = divide_rounded(i64::from(*bias) * i64::from(up), i64::from(down));
        *bias = i32::try_from(declared).unwrap_or(if declared > 0 { i32::MAX } else { i32::MIN });
    }
    kernel.scales.iter_mut().for_each(|scale| *scale = finer(*scale));
}

/// The quotient, halves away from 0; `divisor` is above 0.
fn divide_rounded(value: i64, divisor: i64) -> i64 {
    (2 * value + value.signum() * divisor) / (2 * divisor)
}

/// A scale and zero point for the range of sums outside of which `activation`, stored as `to`, no longer changes: what
/// is clipped at its ends was equal already.
fn told_apart(activation: Activation, to: Quant) -> Quant {
    let table = SumTable::new(to, function(activation));
    let first = f64::from(table.first());
    #[expect(clippy::cast_precision_loss, reason = "a table has a few million entries at most")]
    let last = first + table.entries().len() as f64;
    let unit = f64::from(table.unit());
    let (low, high) = ((first * unit).min(0.0), (last * unit).max(0.0));
    // One step is kept free, because the zero point is rounded: up, so that the range reaches `low`.
    let scale = (high - low) / f64::from(int8::MAX - int8::MIN - 1);
    #[expect(clippy::cast_possible_truncation, reason = "between the ends by construction")]
    let zero_point = (f64::from(int8::MIN) - low / scale).ceil() as i32;
    #[expect(clippy::cast_possible_truncation, reason = "of the size of the activation's scale")]
    Quant { scale: scale as f32, zero_point: zero_point.clamp(int8::MIN, int8::MAX) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As the toolkit rounds a declared weight.
    fn rounded_by_the_toolkit(declared: i8) -> f64 {
        (f64::from(declared) * 127.0 / 128.0).round_ties_even()
    }

    #[test]
    fn the_toolkits_rounding_gives_back_every_weight_that_it_can_give() {
        for value in -WEIGHT_MAX..=WEIGHT_MAX {
            let mut kernel = Int8Kernel { values: vec![value], scales: vec![0.5], bias: vec![0] };
            declare(&mut kernel);
            assert_eq!(rounded_by_the_toolkit(kernel.values[0]), f64::from(value));
            assert!((f64::from(kernel.scales[0]) * 128.0 / 127.0 - 0.5).abs() < 1e-7);
        }
    }

    #[test]
    fn a_bias_beyond_the_grid_is_the_largest_there_is() {
        for (bias, expected) in [
            (i32::MAX, i32::MAX),
            (i32::MIN, i32::MIN),
            (2_140_000_000, i32::MAX),
            (-2_140_000_000, i32::MIN),
            (2_130_000_000, 2_146_771_654),
        ] {
            let mut kernel = Int8Kernel { values: vec![1], scales: vec![0.5], bias: vec![bias] };
            declare(&mut kernel);
            assert_eq!(kernel.bias, [expected], "{bias}");
        }
    }

    #[test]
    fn quotients_are_rounded_on_both_sides_of_zero() {
        assert_eq!([7, 8, -7, -8, 5, -5].map(|value| divide_rounded(value, 10)), [1, 1, -1, -1, 1, -1]);
    }

    proptest! {
        #[test]
        fn a_bias_means_what_it_meant(bias in -(1 << 30)..(1 << 30)) {
            let mut kernel = Int8Kernel { values: vec![1], scales: vec![0.5], bias: vec![bias] };
            declare(&mut kernel);
            let back = divide_rounded(i64::from(kernel.bias[0]) * 127, 128);
            prop_assert_eq!(back, i64::from(bias));
        }

        #[test]
        fn clipping_to_the_declared_range_changes_no_result(
            scale in 1e-3_f32..0.5,
            zero_point in -128..=100_i32,
            x in -60.0_f64..60.0,
        ) {
            for activation in [Activation::Silu, Activation::Mish, Activation::LeakyRelu, Activation::Relu] {
                let to = Quant { scale, zero_point };
                let between = told_apart(activation, to);
                let step = f64::from(between.scale);
                let [low, high] = [int8::MIN, int8::MAX].map(|q| f64::from(q - between.zero_point) * step);
                let stored = |x: f64| {
                    let real = function(activation)(x);
                    let code = (real / f64::from(scale)).round_ties_even() + f64::from(zero_point);
                    code.clamp(-128.0, 127.0)
                };
                prop_assert_eq!(stored(x.clamp(low, high)), stored(x), "{:?} {:?}", activation, between);
            }
        }
    }
}
