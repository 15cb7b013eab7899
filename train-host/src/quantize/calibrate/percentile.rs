//! The range without the outermost values: one in ten thousand at each end is clipped.

use super::Range;
use crate::quantize::histogram::Histogram;

/// Part of the values that is clipped at each end.
const TAIL: f64 = 1e-4;

pub(super) fn range(histogram: &Histogram) -> Range {
    let bins = histogram.bins();
    #[expect(clippy::cast_precision_loss, reason = "a part of many values")]
    let most = histogram.len() as f64 * TAIL;
    let full = Range::of(histogram);
    let low = quantile(bins.iter().copied(), most).map_or(full.low, |x| x.clamp(full.low, 0.0));
    let high = quantile(bins.iter().rev().copied(), most).map_or(full.high, |x| x.clamp(0.0, full.high));
    if low < high { Range { low, high } } else { full }
}

/// The first value beyond which `most` values lie.
fn quantile(bins: impl Iterator<Item = (f64, u64)>, most: f64) -> Option<f64> {
    let mut seen = 0.0;
    for (x, count) in bins {
        #[expect(clippy::cast_precision_loss, reason = "a part of many values")]
        let count = count as f64;
        seen += count;
        if seen > most {
            return Some(x);
        }
    }
    None
}
