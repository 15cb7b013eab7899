//! Bias correction (Nagel et al. 2019), measured instead of modeled: what a channel's outputs miss on average over the
//! images is added to its bias. Errors count by how steep the activation behind is where they happen, and rare large
//! ones are cut, because an outlier that was clipped says nothing about the other places.

use crate::quantize::scheme::Int8Kernel;
use crate::quantize::weights::round_bias;

/// Errors count up to this many standard deviations.
const CUT: f64 = 3.0;
/// Distance over which a slope is measured, in parts of 1.
const STEP: f64 = 1e-3;

/// Mean error of one channel: `wanted` minus `found` over all its places in all images, weighted by the slope of
/// `function` at the wanted values.
pub(super) fn mean_error(wanted: &[Vec<f32>], found: &[Vec<f32>], function: impl Fn(f64) -> f64) -> f64 {
    let errors = || wanted.iter().zip(found).flat_map(|(wanted, found)| wanted.iter().zip(found));
    let slope = |x: f64| ((function(x + STEP) - function(x - STEP)) / (2.0 * STEP)).abs();
    let weighted = |limit: f64, center: f64| {
        let (mut sum, mut squares, mut weights) = (0.0, 0.0, 0.0);
        for (&wanted, &found) in errors() {
            let (wanted, found) = (f64::from(wanted), f64::from(found));
            let weight = slope(wanted);
            let error = (wanted - found).clamp(center - limit, center + limit);
            sum += weight * error;
            squares += weight * error * error;
            weights += weight;
        }
        if weights > 0.0 { (sum / weights, squares / weights) } else { (0.0, 0.0) }
    };
    let (mean, square) = weighted(f64::INFINITY, 0.0);
    let deviation = (square - mean * mean).max(0.0).sqrt();
    // Twice, because the outliers inflate the first estimate of their own limit.
    let (mean, square) = weighted(CUT * deviation, mean);
    let deviation = (square - mean * mean).max(0.0).sqrt();
    weighted(CUT * deviation, mean).0
}

/// Adds `errors`, one for each channel, to the biases.
pub(super) fn correct(kernel: &mut Int8Kernel, errors: &[f64], input_scale: f32) {
    let old = kernel.real_bias(input_scale);
    for ((bias, scale), (old, error)) in
        kernel.bias.iter_mut().zip(&kernel.scales).zip(old.iter().zip(errors))
    {
        *bias = round_bias(f64::from(*old) + error, input_scale, *scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::weights::quantize_kernel;

    #[test]
    fn a_shift_is_found_in_spite_of_an_outlier() {
        let wanted: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin()).collect();
        let mut found: Vec<f32> =
            wanted.iter().enumerate().map(|(i, value)| value - 0.25 + 0.01 * (i as f32).cos()).collect();
        found[17] = -500.0;
        let error = mean_error(&[wanted], &[found], |x| x);
        assert!((error - 0.25).abs() < 0.01, "{error}");
    }

    #[test]
    fn errors_where_the_activation_is_flat_do_not_count() {
        let relu = |x: f64| x.max(0.0);
        let error =
            mean_error(&[vec![-5.0, -6.0], vec![1.0, 2.0]], &[vec![-9.0, -9.0], vec![0.9, 1.9]], relu);
        assert!((error - 0.1).abs() < 1e-5, "{error}");
    }

    #[test]
    fn a_correction_is_added_to_the_bias() {
        let mut kernel = quantize_kernel(&[1.0, -0.5], &[0.3, 2.0], 0.01);
        correct(&mut kernel, &[0.2, -1.0], 0.01);
        let bias = kernel.real_bias(0.01);
        assert!((bias[0] - 0.5).abs() < 1e-3 && (bias[1] - 1.0).abs() < 1e-3, "{bias:?}");
    }
}
