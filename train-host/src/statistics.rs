//! Means, spreads and ratios of measured numbers. Plain arithmetic: knows nothing of what was measured.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Resamples of a bootstrap, and how many of them lie beyond each end of a 95 % interval.
const RESAMPLES: usize = 1000;
const BEYOND: usize = RESAMPLES / 40;
/// Blocks that a bootstrap draws from: what disturbs one measurement disturbs its neighbors too, so that single ones
/// are not independent. Source: Künsch, "The Jackknife and the Bootstrap for General Stationary Observations" (1989).
const BLOCKS: usize = 100;

/// Mean and spread of a few values.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Mean.
    pub mean: f64,
    /// Standard deviation of the sample (n − 1); absent for a single value.
    pub deviation: Option<f64>,
    /// Smallest value.
    pub least: f64,
    /// Largest value.
    pub greatest: f64,
}

/// How times of one thing compare to times of another, taken in pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Sum of all its times over the sum of the other's.
    pub of_sums: f64,
    /// Median of the ratios pair by pair: a few disturbed pairs do not move it.
    pub median: f64,
    /// Lower end of the 95 % interval of `median`.
    pub low: f64,
    /// Upper end of the 95 % interval of `median`.
    pub high: f64,
}

/// Mean and spread of `values`; `None` when there is none.
pub fn spread(values: &[f64]) -> Option<Spread> {
    let first = *values.first()?;
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    Some(Spread {
        mean: center,
        deviation: (values.len() > 1).then(|| (squares / float(values.len() - 1)).sqrt()),
        least: values.iter().copied().fold(first, f64::min),
        greatest: values.iter().copied().fold(first, f64::max),
    })
}

/// Arithmetic mean; 0 of nothing.
pub fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { values.iter().sum::<f64>() / float(values.len()) }
}

/// The middle value, or the mean of the two in the middle; 0 of nothing.
pub fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    median_of(&mut values)
}

/// The value that `share` (0..1) of `values` do not exceed, by nearest rank; 0 of nothing.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank, made to fit below")]
    let rank = (share * float(sorted.len())).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(0.0)
}

/// Compares `own` times to `other`, pair by pair; times are positive. The interval is that of a block bootstrap drawn
/// from `seed`.
pub fn ratio(own: &[f64], other: &[f64], seed: u64) -> Ratio {
    let ratios: Vec<f64> = own.iter().zip(other).map(|(own, other)| own / other).collect();
    let [low, high] = interval(&ratios, seed);
    Ratio { of_sums: own.iter().sum::<f64>() / other.iter().sum::<f64>(), median: median(&ratios), low, high }
}

/// 95 % interval of the median.
fn interval(values: &[f64], seed: u64) -> [f64; 2] {
    let blocks: Vec<&[f64]> = values.chunks(values.len().div_ceil(BLOCKS).max(1)).collect();
    if blocks.is_empty() {
        return [0.0; 2];
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = Vec::with_capacity(values.len());
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            drawn.clear();
            for _ in 0..blocks.len() {
                drawn.extend_from_slice(blocks[rng.random_range(0..blocks.len())]);
            }
            median_of(&mut drawn)
        })
        .collect();
    medians.sort_unstable_by(f64::total_cmp);
    [medians[BEYOND], medians[RESAMPLES - 1 - BEYOND]]
}

/// The median, found by moving `values` about.
fn median_of(values: &mut [f64]) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    let is_odd = values.len() % 2 == 1;
    let (below, &mut upper, _) = values.select_nth_unstable_by(values.len() / 2, f64::total_cmp);
    if is_odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    f64::midpoint(lower, upper)
}

#[expect(clippy::cast_precision_loss, reason = "counts of measurements are far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_of_three_by_hand() {
        let s = spread(&[1.0, 2.0, 6.0]).unwrap();
        assert_eq!((s.mean, s.least, s.greatest), (3.0, 1.0, 6.0));
        assert!((s.deviation.unwrap() - 7f64.sqrt()).abs() < 1e-12);
        assert_eq!(spread(&[4.0]).unwrap().deviation, None);
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn medians_and_quantiles_by_hand() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!((median(&[]), mean(&[]), quantile(&[], 0.5)), (0.0, 0.0, 0.0));
        let ten: Vec<f64> = (1..=10).map(f64::from).collect();
        assert_eq!([0.0, 0.05, 0.5, 0.95, 1.0].map(|q| quantile(&ten, q)), [1.0, 1.0, 5.0, 10.0, 10.0]);
    }

    #[test]
    fn a_constant_ratio_is_certain() {
        let other: Vec<f64> = (1..=250).map(f64::from).collect();
        let own: Vec<f64> = other.iter().map(|t| t * 1.25).collect();
        let r = ratio(&own, &other, 1);
        assert!([r.of_sums, r.median, r.low, r.high].iter().all(|v| (v - 1.25).abs() < 1e-12));
    }

    #[test]
    fn a_few_disturbed_pairs_move_the_sums_and_not_the_median() {
        let other = vec![10.0; 200];
        let own: Vec<f64> =
            (0..200).map(|i| if i % 50 == 0 { 1000.0 } else { 9.0 + f64::from(i % 3) }).collect();
        let r = ratio(&own, &other, 1);
        assert!(r.of_sums > 1.3 && r.median == 1.0);
        assert!(r.low <= r.median && r.median <= r.high && r.high <= 1.1, "{r:?}");
        assert_eq!(r, ratio(&own, &other, 1));
    }

    #[test]
    fn nothing_compared_is_no_panic() {
        assert_eq!(ratio(&[], &[], 0).median, 0.0);
        assert_eq!(ratio(&[2.0], &[1.0], 0).high, 2.0);
    }
}
