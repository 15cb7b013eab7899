//! Float kernels to symmetric int8 kernels with a scale for each output channel, and biases to i32. Rounds to nearest;
//! better roundings are passes.

use super::scheme::Int8Kernel;
use repedge::int8::WEIGHT_MAX;

/// Largest stored bias: half of what an i32 holds, so that the sum of products has the other half.
const BIAS_MAX: f64 = (1 << 30) as f64;
/// What the bias of a channel without weights is stored as.
const LONE_BIAS: f64 = (1 << 20) as f64;
/// Weights below this that f32 holds no scale for are nothing: they came out of training that way, as decay leaves them.
const NOTHING: f32 = 1e-19;

/// The kernel `values` `[cout, …]` and its `bias`, over activations of scale `input_scale`.
///
/// A channel without weights gets a scale that holds its bias, never 0; see [`is_dead`].
pub fn quantize_kernel(values: &[f32], bias: &[f32], input_scale: f32) -> Int8Kernel {
    let scales = scales(values, bias, input_scale);
    quantize_with(values, bias, input_scale, scales)
}

/// As [`quantize_kernel`], with given scales.
pub fn quantize_with(values: &[f32], bias: &[f32], input_scale: f32, scales: Vec<f32>) -> Int8Kernel {
    let per_channel = (values.len() / bias.len().max(1)).max(1);
    let quantized = values.chunks(per_channel).zip(&scales);
    let stored_values =
        quantized.flat_map(|(values, &scale)| values.iter().map(move |&value| round(value, scale))).collect();
    let stored_bias = bias
        .iter()
        .zip(&scales)
        .map(|(&bias, &scale)| round_bias(f64::from(bias), input_scale, scale))
        .collect();
    Int8Kernel { values: stored_values, scales, bias: stored_bias }
}

/// The scale of each output channel: its largest weight is 127 steps.
pub fn scales(values: &[f32], bias: &[f32], input_scale: f32) -> Vec<f32> {
    let per_channel = (values.len() / bias.len().max(1)).max(1);
    let of_channel = |(values, &bias): (&[f32], &f32)| {
        let largest = values.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let bias = f64::from(bias.abs()) / f64::from(input_scale);
        let scale =
            if is_dead(values) { bias / LONE_BIAS } else { f64::from(largest) / f64::from(WEIGHT_MAX) };
        #[expect(clippy::cast_possible_truncation, reason = "scales are f32")]
        let scale = scale.max(bias / BIAS_MAX) as f32;
        let is_nothing = largest < NOTHING && !(scale * input_scale).is_normal();
        if scale.is_normal() && !is_nothing { scale } else { 1.0 }
    };
    values.chunks(per_channel).zip(bias).map(of_channel).collect()
}

/// Whether a channel's weights are all 0: whatever it sees, it gives its bias.
pub fn is_dead(channel: &[f32]) -> bool {
    channel.iter().all(|value| value.abs() < f32::MIN_POSITIVE)
}

/// The bias in units of input scale times weight scale.
#[expect(clippy::cast_possible_truncation, reason = "clamped to what an i32 holds")]
pub fn round_bias(bias: f64, input_scale: f32, weight_scale: f32) -> i32 {
    let unit = f64::from(input_scale * weight_scale);
    (bias / unit).round_ties_even().clamp(-BIAS_MAX, BIAS_MAX) as i32
}

#[expect(clippy::cast_possible_truncation, reason = "clamped to what an i8 holds")]
fn round(value: f32, scale: f32) -> i8 {
    let most = f64::from(WEIGHT_MAX);
    (f64::from(value) / f64::from(scale)).round_ties_even().clamp(-most, most) as i8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_channel_fills_its_own_range() {
        let kernel = quantize_kernel(&[1.27, -0.5, 0.02, -12.7], &[0.1, -1.0], 0.1);
        assert_eq!(kernel.values, [127, -50, 0, -127]);
        assert!((kernel.scales[0] - 0.01).abs() < 1e-7 && (kernel.scales[1] - 0.1).abs() < 1e-7);
        assert_eq!(kernel.bias, [100, -100]);
    }

    #[test]
    fn a_channel_without_weights_keeps_its_bias_and_has_a_scale() {
        let kernel = quantize_kernel(&[0.0, 0.0, 0.0, -0.0], &[2.5, 0.0], 0.25);
        assert_eq!(kernel.values, [0; 4]);
        assert!(kernel.scales.iter().all(|scale| scale.is_normal()));
        let bias = f64::from(kernel.bias[0]) * f64::from(kernel.scales[0]) * 0.25;
        assert!((bias - 2.5).abs() < 1e-5, "{bias}");
        assert_eq!(kernel.bias[1], 0);
    }

    #[test]
    fn a_channel_too_small_for_any_scale_is_nothing_and_an_input_too_small_is_no_reason() {
        let kernel = quantize_kernel(&[1e-34, 0.5], &[1e-36, 1.0], 0.005);
        assert_eq!((kernel.scales[0], &kernel.values[..], kernel.bias[0]), (1.0, &[0, 127][..], 0));
        // f32 holds no scale for this bias: whoever checks the model has to see that, not a layer without weights.
        let kernel = quantize_kernel(&[1e-9], &[0.0], 1e-31);
        assert_eq!(kernel.values, [127]);
        assert!(!(kernel.scales[0] * 1e-31).is_normal());
    }

    #[test]
    fn a_bias_far_above_its_weights_still_fits() {
        let kernel = quantize_kernel(&[1e-20], &[1000.0], 1e-3);
        assert!(kernel.bias[0].unsigned_abs() <= 1 << 30);
        let bias = f64::from(kernel.bias[0]) * f64::from(kernel.scales[0]) * f64::from(1e-3_f32);
        assert!((bias - 1000.0).abs() < 1e-3, "{bias}");
    }

    proptest! {
        #[test]
        fn weights_move_by_half_a_step_at_most(
            values in prop::collection::vec(-10.0_f32..10.0, 12),
            bias in prop::collection::vec(-10.0_f32..10.0, 3),
            input_scale in 1e-3_f32..1.0,
        ) {
            let kernel = quantize_kernel(&values, &bias, input_scale);
            for (at, (real, &value)) in kernel.real_values().iter().zip(&values).enumerate() {
                prop_assert!((real - value).abs() <= 0.501 * kernel.scales[at / 4]);
            }
            prop_assert!(!kernel.values.contains(&i8::MIN));
        }
    }
}
