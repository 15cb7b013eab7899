//! The range of everything that occurred. Never clips, and pays for each outlier.

use super::Range;
use crate::quantize::histogram::Histogram;

pub(super) fn range(histogram: &Histogram) -> Range {
    Range::of(histogram)
}
