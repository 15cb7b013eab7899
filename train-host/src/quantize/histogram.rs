//! How often each value of a tensor occurs, in memory that does not grow with the number of images. Bins are powers of
//! two wide and grow with the range, so that neither the order of the images nor how they are grouped matters.

use rayon::prelude::*;

/// Bins on each side of 0. Of a range that fills them, each of 255 steps has at least 16 bins.
const HALF: usize = 8192;
/// Narrowest bins: an empty range has to start somewhere.
const MIN_EXPONENT: i32 = -60;
/// Widest bins whose range is finite.
const MAX_EXPONENT: i32 = 100;

/// Values counted by one thread.
const PART: usize = 1 << 19;

/// How often a value of weight 1 is counted: whole numbers, so that no order of adding changes the sums.
const UNIT: f32 = 268_435_456.0;
/// The most that one value counts: sums of a hundred million still fit their counters, and more saturate.
const MOST: f32 = 1e11;

/// Counts of finite values.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Bins are `2^exponent` wide.
    exponent: i32,
    /// Bin `HALF + i` counts values of `[i, i + 1) · 2^exponent`, zeros excepted.
    counts: Vec<u64>,
    zeros: u64,
    low: f32,
    high: f32,
}

/// A value that is not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NotFinite(pub f32);

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: MIN_EXPONENT, counts: vec![0; 2 * HALF], zeros: 0, low: 0.0, high: 0.0 }
    }
}

impl Histogram {
    /// Counts each of `values` once.
    ///
    /// # Errors
    /// [`NotFinite`] with the first value that is infinite or no number; nothing is counted then.
    pub fn add(&mut self, values: &[f32]) -> Result<(), NotFinite> {
        self.count(values, |_| 1)
    }

    /// Counts each of `values` as often as `weights` says, in parts of [`UNIT`], and never less than once.
    ///
    /// # Errors
    /// As [`Histogram::add`].
    pub fn add_weighted(&mut self, values: &[f32], weights: &[f32]) -> Result<(), NotFinite> {
        // A weight that is no number would pass through `clamp`, and its value not be counted at all.
        let parts = |at: usize| weights.get(at).map_or(0.0, |weight| weight.max(0.0) * UNIT).clamp(1.0, MOST);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        self.count(values, |at| parts(at) as u64)
    }

    fn count(&mut self, values: &[f32], times: impl Fn(usize) -> u64 + Sync) -> Result<(), NotFinite> {
        let (mut low, mut high, mut finite) = (self.low, self.high, true);
        for &value in values {
            low = low.min(value);
            high = high.max(value);
            finite &= value.is_finite();
        }
        if !finite {
            let strange = values.iter().find(|value| !value.is_finite());
            return Err(NotFinite(strange.copied().unwrap_or(f32::NAN)));
        }
        self.widen(exponent_for(low.abs().max(high)));
        (self.low, self.high) = (low, high);
        let per_unit = 2.0_f32.powi(-self.exponent);
        let count = |(part, values): (usize, &[f32])| {
            let (mut counts, mut zeros) = (vec![0_u64; 2 * HALF], 0_u64);
            for (at, &value) in values.iter().enumerate() {
                let count = if value == 0.0 { &mut zeros } else { &mut counts[bin(value * per_unit)] };
                *count = count.saturating_add(times(part * PART + at));
            }
            (counts, zeros)
        };
        let parts: Vec<(Vec<u64>, u64)> = values.par_chunks(PART).enumerate().map(count).collect();
        for (counts, zeros) in parts {
            self.zeros = self.zeros.saturating_add(zeros);
            self.counts.iter_mut().zip(counts).for_each(|(sum, more)| *sum = sum.saturating_add(more));
        }
        Ok(())
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        let mut other = other.clone();
        let exponent = self.exponent.max(other.exponent);
        self.widen(exponent);
        other.widen(exponent);
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count = count.saturating_add(*more);
        }
        self.zeros = self.zeros.saturating_add(other.zeros);
        self.low = self.low.min(other.low);
        self.high = self.high.max(other.high);
    }

    /// Smallest value, or 0 if that is smaller.
    pub fn low(&self) -> f32 {
        self.low
    }

    /// Largest value, or 0 if that is larger.
    pub fn high(&self) -> f32 {
        self.high
    }

    /// Number of values.
    pub fn len(&self) -> u64 {
        self.counts.iter().fold(self.zeros, |sum, count| sum.saturating_add(*count))
    }

    /// Whether no value was counted.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The middle of each bin that holds values, and how many, in rising order; zeros are a bin of their own.
    pub fn bins(&self) -> Vec<(f64, u64)> {
        let width = 2.0_f64.powi(self.exponent);
        let mut bins = Vec::new();
        for (at, &count) in self.counts.iter().enumerate() {
            if at == HALF && self.zeros > 0 {
                bins.push((0.0, self.zeros));
            }
            if count > 0 {
                #[expect(clippy::cast_precision_loss, reason = "bins are few")]
                bins.push(((at as f64 - HALF as f64 + 0.5) * width, count));
            }
        }
        bins
    }

    /// Merges neighbors until bins are `2^exponent` wide.
    fn widen(&mut self, exponent: i32) {
        // A difference beyond the number of bins leaves one bin a side.
        for _ in 0..(exponent - self.exponent).clamp(0, 20) {
            let mut merged = vec![0; 2 * HALF];
            for (at, count) in self.counts.iter().enumerate() {
                // Relative to 0, index i moves to floor(i / 2).
                let sum: &mut u64 = &mut merged[(at + HALF) / 2];
                *sum = sum.saturating_add(*count);
            }
            self.counts = merged;
        }
        self.exponent = self.exponent.max(exponent);
    }
}

/// Width of bins that reach `magnitude`.
fn exponent_for(magnitude: f32) -> i32 {
    let mut exponent = MIN_EXPONENT;
    #[expect(clippy::cast_precision_loss, reason = "a power of two")]
    while exponent < MAX_EXPONENT && magnitude >= HALF as f32 * 2.0_f32.powi(exponent) {
        exponent += 1;
    }
    exponent
}

/// The bin of a value in units of the bins' width. Values at the very ends belong to the last bins.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    reason = "clamped to the bins first"
)]
fn bin(units: f32) -> usize {
    let place = units.clamp(-(HALF as f32), (HALF - 1) as f32);
    // `floor` is a call where the processor is not known.
    let toward_zero = place as i32;
    let floor = toward_zero - i32::from(toward_zero as f32 > place);
    (floor + HALF as i32) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(values: &[f32]) -> Histogram {
        let mut histogram = Histogram::default();
        histogram.add(values).unwrap();
        histogram
    }

    #[test]
    fn values_lie_in_their_bins_and_zeros_apart() {
        let histogram = of(&[0.0, 0.0, 1.0, 1.0, -0.5]);
        assert_eq!((histogram.low(), histogram.high(), histogram.len()), (-0.5, 1.0, 5));
        let bins = histogram.bins();
        let counts: Vec<u64> = bins.iter().map(|bin| bin.1).collect();
        assert_eq!(counts, [1, 2, 2]);
        // 1 just needs bins of 2^-12.
        let half_bin = 0.5 / 4096.0;
        assert_eq!(bins[2].0, 1.0 + half_bin);
        assert_eq!(bins[0].0, -0.5 + half_bin);
    }

    #[test]
    fn a_value_that_is_not_finite_is_refused_and_nothing_counted() {
        for strange in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut histogram = of(&[1.0]);
            let before = histogram.clone();
            let NotFinite(found) = histogram.add(&[2.0, strange]).unwrap_err();
            assert!(!found.is_finite());
            assert_eq!(histogram, before);
        }
    }

    #[test]
    fn weights_count_in_small_parts_and_never_nothing() {
        let mut histogram = Histogram::default();
        histogram.add_weighted(&[1.0, -1.0, 2.0], &[1.0, 0.5, 0.0]).unwrap();
        let counts: Vec<u64> = histogram.bins().into_iter().map(|bin| bin.1).collect();
        assert_eq!(counts, [1 << 27, 1 << 28, 1]);
    }

    #[test]
    fn weights_that_are_not_finite_count_least_or_most() {
        let mut histogram = Histogram::default();
        histogram.add_weighted(&[1.0, -1.0], &[f32::NAN, f32::INFINITY]).unwrap();
        let counts: Vec<u64> = histogram.bins().into_iter().map(|bin| bin.1).collect();
        assert_eq!(counts[1], 1);
        assert!((99_000_000_000..=101_000_000_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn extremes_are_counted() {
        let histogram = of(&[f32::MAX, f32::MIN, f32::MIN_POSITIVE]);
        assert_eq!(histogram.bins().iter().map(|bin| bin.1).sum::<u64>(), 3);
    }

    proptest! {
        #[test]
        fn neither_order_nor_grouping_matters(
            values in prop::collection::vec(prop_oneof![-1e3_f32..1e3, -1.0_f32..1.0, Just(0.0)], 1..60),
            at in any::<prop::sample::Index>(),
        ) {
            let whole = of(&values);
            let mut turned = values.clone();
            turned.rotate_left(at.index(values.len()));
            prop_assert_eq!(&of(&turned), &whole);
            let (a, b) = values.split_at(at.index(values.len()));
            let mut merged = of(a);
            merged.merge(&of(b));
            prop_assert_eq!(&merged, &whole);
            let mut streamed = Histogram::default();
            for value in &values {
                streamed.add(&[*value]).unwrap();
            }
            prop_assert_eq!(&streamed, &whole);
        }

        #[test]
        fn a_bin_is_at_most_a_sixteenth_of_a_step(values in prop::collection::vec(-1e4_f32..1e4, 2..40)) {
            let histogram = of(&values);
            let width = 2.0_f64.powi(histogram.exponent);
            let reach = f64::from(histogram.high().max(-histogram.low()));
            prop_assert!(width <= reach / 4096.0 + 1e-12);
        }
    }
}
