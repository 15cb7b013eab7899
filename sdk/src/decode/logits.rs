//! Scores and logits: the sigmoid, and its inverse that moves thresholds to where the values are.

/// `1 / (1 + e^-x)`.
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// Inverse of [`sigmoid`]; -∞ at 0 and below, +∞ at 1 and above.
pub(super) fn logit(p: f32) -> f32 {
    if p <= 0.0 {
        f32::NEG_INFINITY
    } else if p >= 1.0 {
        f32::INFINITY
    } else {
        (p / (1.0 - p)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logit_inverts_sigmoid_and_saturates() {
        for p in [0.001, 0.25, 0.5, 0.999] {
            assert!((sigmoid(logit(p)) - p).abs() < 1e-6);
        }
        assert_eq!(logit(0.0), f32::NEG_INFINITY);
        assert_eq!(logit(1.0), f32::INFINITY);
        assert_eq!(sigmoid(f32::NEG_INFINITY), 0.0);
    }
}
