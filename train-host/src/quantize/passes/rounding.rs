//! Which way to round each weight: AdaRound's objective (Nagel et al. 2020, "Up or Down? Adaptive Rounding for
//! Post-Training Quantization", eq. 13), the least squared error of a layer's outputs, over floor and ceiling of each
//! weight. Solved by coordinate descent on the exact quadratic form instead of a relaxation: every step lowers it.

use rayon::prelude::*;

use super::samples::{Moments, Objective};
use crate::quantize::scheme::Int8Kernel;
use repedge::int8::WEIGHT_MAX;

/// Most sweeps over the weights of a channel; most end after four or five.
const SWEEPS: usize = 20;
/// Least part of what a move costs alone by which it has to lower the error: below it, sums in f32 say nothing. Relative,
/// because a convolution's weights, and with them its errors, may be of any size.
const LEAST_GAIN: f32 = 1e-7;
/// Part of the mean input variance by which each weight is also drawn to its float value: what the samples do not
/// show, other images may.
const RIDGE: f32 = 0.02;

/// Rounds the kernel anew for `objective`, whose biases are those of all channels. `values` are the float weights,
/// `moments` one for each channel group.
pub(super) fn round_adaptively(
    kernel: &mut Int8Kernel,
    values: &[f32],
    moments: &[Moments],
    objective: Objective<'_>,
) {
    let Some(first) = moments.first() else { return };
    let (taps, per_group) = (first.taps, first.channels);
    let products: Vec<Vec<f32>> = moments.iter().map(|moments| moments.mean_products(objective)).collect();
    let scales = &kernel.scales;
    kernel.values.par_chunks_mut(taps).zip(values.par_chunks(taps)).enumerate().for_each(
        |(channel, (codes, values))| {
            let group = channel / per_group;
            let cross = moments[group].mean_cross(channel % per_group, objective.of_group(group, per_group));
            let row = Row { scale: scales[channel], values, products: &products[group], cross: &cross };
            row.descend(codes);
        },
    );
}

/// One output channel.
struct Row<'a> {
    scale: f32,
    values: &'a [f32],
    products: &'a [f32],
    cross: &'a [f32],
}

impl Row<'_> {
    /// Moves single weights between floor and ceiling while that lowers the error.
    fn descend(&self, codes: &mut [i8]) {
        let taps = codes.len();
        let trace: f32 = (0..taps).map(|tap| self.products[tap * taps + tap]).sum();
        // Inputs this large say nothing in floats: rounding to nearest stays.
        if !trace.is_finite() {
            return;
        }
        #[expect(clippy::cast_precision_loss, reason = "taps are few")]
        let ridge = RIDGE * trace / taps as f32;
        let mut gradient = self.gradient(codes, ridge);
        for _ in 0..SWEEPS {
            let mut moved = false;
            for tap in 0..taps {
                let Some(other) = self.other(codes[tap], self.values[tap]) else { continue };
                let step = f32::from(i16::from(other) - i16::from(codes[tap])) * self.scale;
                let curvature = self.products[tap * taps + tap] + ridge;
                let alone = step * step * curvature;
                if 2.0 * step * gradient[tap] + alone >= -LEAST_GAIN * alone {
                    continue;
                }
                codes[tap] = other;
                let column = &self.products[tap * taps..][..taps];
                gradient.iter_mut().zip(column).for_each(|(g, product)| *g += step * product);
                gradient[tap] += step * ridge;
                moved = true;
            }
            if !moved {
                break;
            }
        }
    }

    /// Half the derivative of the error by each weight.
    fn gradient(&self, codes: &[i8], ridge: f32) -> Vec<f32> {
        let taps = codes.len();
        let real: Vec<f32> = codes.iter().map(|&code| f32::from(code) * self.scale).collect();
        let of_tap = |tap: usize| {
            let product: f32 =
                self.products[tap * taps..][..taps].iter().zip(&real).map(|(c, w)| c * w).sum();
            product - self.cross[tap] + ridge * (real[tap] - self.values[tap])
        };
        (0..taps).map(of_tap).collect()
    }

    /// The other one of the two codes around `value`.
    fn other(&self, code: i8, value: f32) -> Option<i8> {
        let steps = value / self.scale;
        let (floor, ceil) = (steps.floor(), steps.ceil());
        let other = if f32::from(code) <= floor { ceil } else { floor };
        #[expect(clippy::cast_precision_loss, reason = "127")]
        let most = WEIGHT_MAX as f32;
        #[expect(clippy::cast_possible_truncation, reason = "checked to be in range")]
        (other != f32::from(code) && other.abs() <= most).then_some(other as i8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Conv;
    use crate::quantize::focus::Focus;
    use crate::quantize::passes::samples::sample;
    use crate::quantize::weights::quantize_with;

    /// A 1×1 convolution of `cin` correlated channels, seen at 256 places, with the outputs of its float weights.
    fn case(cin: usize) -> (Conv, Vec<f32>, Vec<f32>, Vec<f32>) {
        let conv = Conv { cin, cout: 2, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1, bias: true };
        let mut state = 1_u32;
        let mut unit = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        let common: Vec<f32> = (0..256).map(|_| unit()).collect();
        let input: Vec<f32> =
            (0..cin).flat_map(|_| common.iter().map(|c| c + 0.3 * unit()).collect::<Vec<_>>()).collect();
        let values: Vec<f32> = (0..2 * cin).map(|_| 2.0 * unit() - 1.0).collect();
        let wanted = outputs(&values, &[0.1, -0.2], &input, cin);
        (conv, input, values, wanted)
    }

    fn outputs(values: &[f32], bias: &[f32], input: &[f32], cin: usize) -> Vec<f32> {
        let at = |channel: usize, place: usize| {
            (0..cin).map(|i| values[channel * cin + i] * input[i * 256 + place]).sum::<f32>() + bias[channel]
        };
        (0..2)
            .flat_map(|channel| (0..256).map(move |place| (channel, place)))
            .map(|(c, p)| at(c, p))
            .collect()
    }

    /// Error of the outputs, their mean error apart: that is the bias's business.
    fn variance(kernel: &Int8Kernel, input: &[f32], wanted: &[f32], cin: usize) -> f32 {
        let found = outputs(&kernel.real_values(), &[0.0; 2], input, cin);
        let errors: Vec<f32> = found.iter().zip(wanted).map(|(a, b)| a - b).collect();
        let of_channel = |errors: &[f32]| {
            let mean = errors.iter().sum::<f32>() / 256.0;
            errors.iter().map(|error| (error - mean) * (error - mean)).sum::<f32>()
        };
        errors.chunks(256).map(of_channel).sum()
    }

    #[test]
    fn rounding_with_the_inputs_in_view_lowers_the_error_of_the_outputs() {
        let cin = 24;
        let (conv, input, values, wanted) = case(cin);
        // Few bits, so that rounding matters.
        let scales = vec![0.25; 2];
        let nearest = quantize_with(&values, &[0.1, -0.2], 0.01, scales);
        let mut moments = Moments::of(&conv);
        sample(&mut moments, &conv, &Focus::whole(16), (&input, [cin, 16, 16]), (&wanted, [2, 16, 16]));
        let mut adapted = nearest.clone();
        round_adaptively(&mut adapted, &values, &moments, Objective::Spread);
        let errors = [&nearest, &adapted].map(|kernel| variance(kernel, &input, &wanted, cin));
        assert!(errors[1] < 0.3 * errors[0], "{errors:?}");
        for ((&code, &value), &old) in adapted.values.iter().zip(&values).zip(&nearest.values) {
            let steps = value / 0.25;
            assert!((f32::from(code) - steps).abs() < 1.0, "{code} for {steps}, {old} before");
        }
    }

    /// A power of two changes no rounding of floats: weights of any size are to be rounded alike.
    #[test]
    fn weights_in_steps_of_a_millionth_are_rounded_as_those_in_steps_of_a_quarter() {
        let cin = 24;
        let (conv, input, values, wanted) = case(cin);
        let rounded = |size: f32| {
            let sized = |values: &[f32]| -> Vec<f32> { values.iter().map(|value| value * size).collect() };
            let (values, wanted) = (sized(&values), sized(&wanted));
            let mut kernel = quantize_with(&values, &sized(&[0.1, -0.2]), 0.01, vec![0.25 * size; 2]);
            let nearest = kernel.values.clone();
            let mut moments = Moments::of(&conv);
            sample(&mut moments, &conv, &Focus::whole(16), (&input, [cin, 16, 16]), (&wanted, [2, 16, 16]));
            round_adaptively(&mut kernel, &values, &moments, Objective::Spread);
            (nearest, kernel.values)
        };
        let (ordinary, tiny) = (rounded(1.0), rounded(1.0 / f32::from(2_u16).powi(18)));
        assert_ne!(tiny.0, tiny.1, "none was refined");
        assert_eq!(tiny, ordinary);
    }
}
