//! The arithmetic of int8 models, stated once: every engine, quantizer and stand-in computes what stands here, or says
//! by how much it differs. Never runs a model: see `backend`.
//!
//! - A stored activation `q` means `(q - zero_point) · scale`, computed in f32; `q` is in −128..=127.
//! - Weights are symmetric with one scale an output channel, in −127..=127; a bias is an i32 in units of
//!   `input scale · weight scale`.
//! - A convolution sums `(q - zero_point) · w` and its bias in i32. Padding holds the zero point, so it adds nothing.
//! - Requantization is `round(sum as f32 · m) + zero_point`, saturated, where `m = input scale · weight scale / output
//!   scale` in f32 and `round` takes halves to the even neighbor: what ONNX's `QLinearConv` does in onnxruntime.
//! - A convolution whose result stays real, as raw outputs may, is `sum as f32 · s + bias as f32 · s`, where `sum` is
//!   without the bias and `s = input scale · weight scale` in f32: every step is rounded, none is fused with the next.
//! - Any function of one tensor (an activation, a change of scale) is a table of 256 entries, computed in f64.
//! - An activation right behind a convolution may read its sums instead of stored values: they are requantized to
//!   sixteenths of the output's step, and a longer table gives the output: see [`SumTable`].

pub mod reference;
mod sum_table;

use artifact::Quant;

pub use sum_table::SumTable;

/// Smallest stored activation.
pub const MIN: i32 = -128;
/// Largest stored activation.
pub const MAX: i32 = 127;
/// Largest magnitude of a stored weight.
pub const WEIGHT_MAX: i32 = 127;

/// A function of one stored value, indexed by the value's bits (`q as u8`).
pub type Table = [i8; 256];

/// The real value of `stored`.
#[expect(clippy::cast_precision_loss, reason = "8-bit values and zero points are small")]
pub fn dequantize(stored: i8, quant: Quant) -> f32 {
    i32::from(stored).wrapping_sub(quant.zero_point) as f32 * quant.scale
}

/// The stored value nearest to `real`, halves to even, saturated: ONNX's `QuantizeLinear`. NaN becomes the zero point.
pub fn quantize(real: f32, quant: Quant) -> i8 {
    round_to_code(f64::from((real / quant.scale).round_ties_even()), quant.zero_point)
}

/// What turns sums of one output channel into stored outputs: see [`requantize`].
pub fn multiplier(input_scale: f32, weight_scale: f32, output_scale: f32) -> f32 {
    input_scale * weight_scale / output_scale
}

/// The stored output for the sum of a convolution, `multiplier` being [`multiplier`]'s.
#[expect(clippy::cast_precision_loss, reason = "as stated: the sum enters the product as f32")]
pub fn requantize(sum: i32, multiplier: f32, zero_point: i32) -> i8 {
    round_to_code(f64::from((sum as f32 * multiplier).round_ties_even()), zero_point)
}

/// The real value of a convolution's `sum`, which is without its `bias`: `scale` is `input scale · weight scale`.
#[expect(clippy::cast_precision_loss, reason = "as stated: sum and bias enter the products as f32")]
pub fn real(sum: i32, bias: i32, scale: f32) -> f32 {
    sum as f32 * scale + bias as f32 * scale
}

/// The table of `function` from values stored as `from` to values stored as `to`.
pub fn table(from: Quant, to: Quant, function: impl Fn(f64) -> f64) -> Table {
    let mut table = [0; 256];
    for stored in i8::MIN..=i8::MAX {
        table[index(stored)] = quantize_exact(function(f64::from(dequantize(stored, from))), to);
    }
    table
}

/// As [`quantize`], of a real value in f64.
fn quantize_exact(real: f64, quant: Quant) -> i8 {
    round_to_code((real / f64::from(quant.scale)).round_ties_even(), quant.zero_point)
}

/// Where a [`Table`] keeps its entry for `stored`.
pub fn index(stored: i8) -> usize {
    usize::from(stored.cast_unsigned())
}

/// The function `x · σ(x)`.
pub fn silu(x: f64) -> f64 {
    x * sigmoid(x)
}

/// The function `x · tanh(ln(1 + eˣ))`.
pub fn mish(x: f64) -> f64 {
    x * softplus(x).tanh()
}

/// The function `ln(1 + eˣ)`, in a form that does not overflow.
pub fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// The logistic function.
pub fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `steps + zero_point` saturated; `steps` is a whole number, an infinity, or NaN, which counts as 0.
fn round_to_code(steps: f64, zero_point: i32) -> i8 {
    let code = steps + f64::from(zero_point);
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, as stated; NaN is handled")]
    if code.is_nan() { zero_point.clamp(MIN, MAX) as i8 } else { code as i8 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quants() -> impl Strategy<Value = Quant> {
        (1e-4_f32..1.0, MIN..=MAX).prop_map(|(scale, zero_point)| Quant { scale, zero_point })
    }

    #[test]
    fn halves_go_to_the_even_neighbor_and_ends_saturate() {
        let quant = Quant { scale: 2.0, zero_point: 1 };
        for (real, stored) in [(1.0, 1), (3.0, 3), (5.0, 3), (-1.0, 1), (-3.0, -1), (1e9, 127), (-1e9, -128)]
        {
            assert_eq!(quantize(real, quant), stored, "{real}");
        }
        assert_eq!(quantize(f32::INFINITY, quant), 127);
        assert_eq!(quantize(f32::NAN, quant), 1);
        assert_eq!([1, 3, 5, -1].map(|sum| requantize(sum, 0.5, 0)), [0, 2, 2, 0]);
        assert_eq!([i32::MAX, i32::MIN].map(|sum| requantize(sum, 1.0, 5)), [127, -128]);
    }

    #[test]
    fn sum_and_bias_become_real_each_on_its_own() {
        assert_eq!(real(6, -2, 0.5), 2.0);
        // 2²⁴ + 1 is no f32: added as integers, the two would give 2²⁴ + 2.
        assert_eq!(real((1 << 24) + 1, 1, 1.0), 16_777_216.0);
    }

    #[test]
    fn a_table_is_its_function_on_every_code() {
        let (from, to) = (Quant { scale: 0.05, zero_point: -20 }, Quant { scale: 0.03, zero_point: -118 });
        let table = table(from, to, silu);
        assert_eq!(table[index(-20)], -118, "silu(0) is 0");
        assert_eq!(table[index(127)], 127, "saturated");
        // x = -1.25, silu(x) = -1.25 / (1 + e^1.25) = -0.27838…, -9.28 steps.
        assert_eq!(table[index(-45)], -118 - 9);
    }

    proptest! {
        #[test]
        fn what_is_stored_comes_back(quant in quants(), stored in any::<i8>()) {
            prop_assert_eq!(quantize(dequantize(stored, quant), quant), stored);
        }

        #[test]
        fn a_value_in_range_moves_by_half_a_step_at_most(quant in quants(), part in -1.0_f32..1.0) {
            let real = part * 100.0 * quant.scale;
            let stored = quantize(real, quant);
            prop_assume!((-127..127).contains(&stored));
            prop_assert!((dequantize(stored, quant) - real).abs() <= quant.scale * 0.5001);
        }

        #[test]
        fn the_identity_between_equal_scales_changes_nothing(quant in quants()) {
            let table = table(quant, quant, |x| x);
            prop_assert!((i8::MIN..=i8::MAX).all(|stored| table[index(stored)] == stored));
        }
    }
}
