//! Output values as an engine stores them, and what they mean: floats as they are, 8-bit integers through their
//! scale and zero point. Thresholds are moved into stored units, so that most values need no conversion.

use artifact::Quant;

/// How stored values of type `T` become real ones.
pub(super) trait Real<T> {
    /// A threshold in stored units.
    type Threshold: Copy;

    /// The real value.
    fn value(&self, stored: T) -> f32;
    /// A real threshold in stored units.
    fn threshold(&self, real: f32) -> Self::Threshold;
    /// Whether the real value of `stored` is above the threshold; false for NaN.
    fn above(&self, stored: T, threshold: Self::Threshold) -> bool;
}

/// Values that are real already.
pub(super) struct Floats;

impl Real<f32> for Floats {
    type Threshold = f32;

    fn value(&self, stored: f32) -> f32 {
        stored
    }

    fn threshold(&self, real: f32) -> f32 {
        real
    }

    fn above(&self, stored: f32, threshold: f32) -> bool {
        stored > threshold
    }
}

macro_rules! quantized {
    ($stored:ty) => {
        impl Real<$stored> for Quant {
            /// The smallest stored value above the threshold; none where no value is.
            type Threshold = Option<$stored>;

            fn value(&self, stored: $stored) -> f32 {
                #[expect(clippy::cast_precision_loss, reason = "8-bit values and zero points are small")]
                let steps = (i32::from(stored) - self.zero_point) as f32;
                steps * self.scale
            }

            fn threshold(&self, real: f32) -> Option<$stored> {
                (<$stored>::MIN..=<$stored>::MAX).find(|&stored| self.value(stored) > real)
            }

            fn above(&self, stored: $stored, threshold: Option<$stored>) -> bool {
                threshold.is_some_and(|smallest| stored >= smallest)
            }
        }
    };
}

quantized!(i8);
quantized!(u8);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stored_values_are_above_the_threshold_when_their_real_values_are(
            scale in 1e-4_f32..1.0,
            zero_point in -128_i32..128,
            real in -20.0_f32..20.0,
        ) {
            let quant = Quant { scale, zero_point };
            let threshold = Real::<i8>::threshold(&quant, real);
            for stored in i8::MIN..=i8::MAX {
                prop_assert_eq!(quant.above(stored, threshold), quant.value(stored) > real);
            }
        }
    }
}
