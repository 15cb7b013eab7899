//! The range of least squared error: what clipping loses against what finer steps gain, as readers see it. For the
//! values before an activation the error counts behind it, so that no code is spent where the activation is flat.

use super::{Cost, Range, View};
use crate::quantize::histogram::Histogram;

/// Ends that are tried: each is this part of the one before.
const STEP: f64 = 0.93;
/// Number of ends tried on each side; the last is 1/33 of the range.
const ENDS: i32 = 48;
/// Most turns of improving one end, then the other.
const TURNS: usize = 6;

pub(super) fn range(histogram: &Histogram, view: View) -> Range {
    let full = Range::of(histogram);
    let cost = Cost::new(histogram, view);
    let of = |range: Range| range.quant().map_or(f64::INFINITY, |quant| cost.of(quant));
    let mut best = (full, of(full));
    for _ in 0..TURNS {
        let before = best.1;
        for end in [End::High, End::Low] {
            for power in 0..ENDS {
                let candidate = end.shrunk(full, best.0, STEP.powi(power));
                let error = of(candidate);
                if error < best.1 {
                    best = (candidate, error);
                }
            }
        }
        if best.1 >= before {
            break;
        }
    }
    best.0
}

#[derive(Clone, Copy)]
enum End {
    Low,
    High,
}

impl End {
    /// `range` with this end at `part` of the full range's.
    fn shrunk(self, full: Range, range: Range, part: f64) -> Range {
        match self {
            Self::Low => Range { low: full.low * part, ..range },
            Self::High => Range { high: full.high * part, ..range },
        }
    }
}
