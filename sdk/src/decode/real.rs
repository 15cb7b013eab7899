//! Output values as an engine stores them, and what they mean: floats as they are, 8-bit integers through their
//! scale and zero point. Thresholds are moved into stored units, so that most values need no conversion.

use artifact::{Quant, Tensor, TensorData};

/// How stored values of type `T` become real ones.
pub(super) trait Real<T> {
    /// A threshold in stored units.
    type Threshold: Copy;
    /// What no stored value is below.
    const LOWEST: T;

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
    const LOWEST: f32 = f32::NEG_INFINITY;

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
            const LOWEST: $stored = <$stored>::MIN;

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

/// Values of any type, for where few of them are read.
pub(super) enum Values<'a> {
    F32(&'a [f32]),
    I8(&'a [i8], Quant),
    U8(&'a [u8], Quant),
}

impl<'a> Values<'a> {
    /// The values of `tensor`; none when it holds integers of unknown meaning.
    pub(super) fn of(tensor: &'a Tensor) -> Option<Self> {
        match (&tensor.data, tensor.quant) {
            (TensorData::F32(values), _) => Some(Self::F32(values)),
            (TensorData::I8(values), Some(quant)) => Some(Self::I8(values, quant)),
            (TensorData::U8(values), Some(quant)) => Some(Self::U8(values, quant)),
            (TensorData::I8(_) | TensorData::U8(_), None) => None,
        }
    }

    /// The real value at `index`, which the shape that was checked holds.
    pub(super) fn get(&self, index: usize) -> f32 {
        match self {
            Self::F32(values) => values[index],
            Self::I8(values, quant) => quant.value(values[index]),
            Self::U8(values, quant) => quant.value(values[index]),
        }
    }
}

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
