//! Output values as an engine stores them, and what they mean: floats as they are, 8-bit integers through their
//! scale and zero point. Thresholds are moved into stored units, so that most values need no conversion.

use artifact::{Quant, TensorView, ViewData};

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
    /// Whether the real value of `a` is above that of `b`; false where one is NaN.
    fn exceeds(&self, a: T, b: T) -> bool;
    /// The stored value with the highest real one; [`Real::LOWEST`] of none, NaN passed over.
    fn highest(&self, run: &[T]) -> T;
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

    fn exceeds(&self, a: f32, b: f32) -> bool {
        a > b
    }

    fn highest(&self, run: &[f32]) -> f32 {
        run.iter().copied().fold(Self::LOWEST, f32::max)
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
                let steps = i32::from(stored).saturating_sub(self.zero_point) as f32;
                steps * self.scale
            }

            fn threshold(&self, real: f32) -> Option<$stored> {
                let above = |stored: i32| <$stored>::try_from(stored).is_ok_and(|s| self.value(s) > real);
                let (low, high) = (i32::from(<$stored>::MIN), i32::from(<$stored>::MAX));
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "the cast saturates; the search corrects it"
                )]
                let guess = ((real / self.scale).floor() as i32).saturating_add(self.zero_point);
                // Real values rise with stored ones, so the first above lies next to the guess but for rounding.
                let mut smallest = guess.clamp(low, high);
                while smallest > low && above(smallest - 1) {
                    smallest -= 1;
                }
                while smallest <= high && !above(smallest) {
                    smallest += 1;
                }
                <$stored>::try_from(smallest).ok()
            }

            fn above(&self, stored: $stored, threshold: Option<$stored>) -> bool {
                threshold.is_some_and(|smallest| stored >= smallest)
            }

            fn exceeds(&self, a: $stored, b: $stored) -> bool {
                a > b
            }

            fn highest(&self, run: &[$stored]) -> $stored {
                run.iter().fold(<Self as Real<$stored>>::LOWEST, |highest, &stored| highest.max(stored))
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
    pub(super) fn of(tensor: TensorView<'a>) -> Option<Self> {
        match (tensor.data, tensor.quant) {
            (ViewData::F32(values), _) => Some(Self::F32(values)),
            (ViewData::I8(values), Some(quant)) => Some(Self::I8(values, quant)),
            (ViewData::U8(values), Some(quant)) => Some(Self::U8(values, quant)),
            (ViewData::I8(_) | ViewData::U8(_), None) => None,
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

        #[test]
        fn thresholds_beyond_all_values_are_found_too(scale in 1e-30_f32..1e30, zero_point in -128_i32..128) {
            let quant = Quant { scale, zero_point };
            for real in [f32::NEG_INFINITY, -1e38, -1.0, 0.0, 1.0, 1e38, f32::INFINITY, f32::NAN] {
                let first = (i8::MIN..=i8::MAX).find(|&stored| quant.value(stored) > real);
                prop_assert_eq!(Real::<i8>::threshold(&quant, real), first);
            }
        }

        #[test]
        fn no_zero_point_harms(stored in any::<i8>(), zero_point in any::<i32>(), real in any::<f32>()) {
            for zero_point in [zero_point, i32::MIN, i32::MAX] {
                let quant = Quant { scale: 0.5, zero_point };
                let threshold = Real::<i8>::threshold(&quant, real);
                prop_assert_eq!(quant.above(stored, threshold), quant.value(stored) > real);
            }
        }

        #[test]
        fn the_highest_stored_value_is_the_highest_real_one(run in proptest::collection::vec(any::<u8>(), 1..50)) {
            let quant = Quant { scale: 0.1, zero_point: 128 };
            let best = run.iter().map(|&stored| quant.value(stored)).fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(quant.value(quant.highest(&run)), best);
            let floats: Vec<f32> = run.iter().map(|&stored| if stored == 7 { f32::NAN } else { stored.into() }).collect();
            let highest = floats.iter().copied().filter(|value| !value.is_nan()).fold(f32::NEG_INFINITY, f32::max);
            prop_assert_eq!(Floats.highest(&floats), highest);
        }
    }
}
