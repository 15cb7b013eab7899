//! Numbers as people read them in the article. Never rounds what is stored.

use crate::statistics::{Ratio, Spread};

/// A fraction as percent with its deviation.
pub(super) fn percent(spread: Option<Spread>) -> String {
    spread.map_or_else(dash, |s| match s.deviation {
        Some(deviation) => format!("{:.2} ± {:.2}", s.mean * 100.0, deviation * 100.0),
        None => format!("{:.2}", s.mean * 100.0),
    })
}

/// Difference of two fractions in points, with its sign.
pub(super) fn difference(own: Option<Spread>, other: Option<Spread>) -> String {
    own.zip(other).map_or_else(dash, |(a, b)| format!("{:+.2}", (a.mean - b.mean) * 100.0).replace('-', "−"))
}

pub(super) fn interval(ratio: &Ratio) -> String {
    format!("{:.3} ({:.3}–{:.3})", ratio.median, ratio.low, ratio.high)
}

/// What stands for a number that could not be measured.
pub fn dash() -> String {
    "–".into()
}

pub(super) fn millions(count: u64) -> String {
    format!("{:.3} M", float(count) / 1e6)
}

pub(super) fn billions(count: u64) -> String {
    format!("{:.2}", float(count) / 1e9)
}

/// Bytes in MiB, without the unit.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.0}", float(bytes) / f64::from(1 << 20))
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(super) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_seed_has_no_deviation() {
        let spread = Spread { mean: 0.5, deviation: None, least: 0.5, greatest: 0.5 };
        assert_eq!(percent(Some(spread)), "50.00");
        assert_eq!(percent(None), "–");
        assert_eq!(difference(Some(spread), Some(Spread { mean: 0.512, ..spread })), "−1.20");
    }
}
