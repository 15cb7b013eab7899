//! The range whose quantized distribution tells the most about the true one: least Kullback-Leibler divergence
//! (Migacz, "8-bit inference with TensorRT", 2017), with each end clipped by itself.

use super::Range;
use crate::quantize::histogram::Histogram;

/// Parts of the full range that are tried: each is this part of the one before.
const STEP: f64 = 0.96;
/// Number of parts tried; the last is 1/12 of the range.
const PARTS: i32 = 61;
/// Turns of clipping one end, then the other.
const TURNS: usize = 2;
/// Keeps the logarithm finite where a level holds nothing.
const EPSILON: f64 = 1e-12;

pub(super) fn range(histogram: &Histogram) -> Range {
    let full = Range::of(histogram);
    #[expect(clippy::cast_precision_loss, reason = "a weight")]
    let bins: Vec<(f64, f64)> = histogram.bins().into_iter().map(|(x, count)| (x, count as f64)).collect();
    let mut best = (full, divergence(&bins, full));
    for _ in 0..TURNS {
        for high in [true, false] {
            for power in 1..PARTS {
                let part = STEP.powi(power);
                let candidate = if high {
                    Range { high: full.high * part, ..best.0 }
                } else {
                    Range { low: full.low * part, ..best.0 }
                };
                let divergence = divergence(&bins, candidate);
                if divergence < best.1 {
                    best = (candidate, divergence);
                }
            }
        }
    }
    best.0
}

/// Divergence between the bins inside `range`, those outside counted at its ends, and the same spread evenly over the
/// bins of each of 256 levels. Values outside count against the range because only the true distribution has them.
fn divergence(bins: &[(f64, f64)], range: Range) -> f64 {
    let Some(quant) = range.quant() else { return f64::INFINITY };
    let scale = f64::from(quant.scale);
    let level = |x: f64| ((x / scale).round_ties_even() + f64::from(quant.zero_point)).clamp(-128.0, 127.0);
    let inside = |x: f64| (range.low..=range.high).contains(&x);
    let first = bins.iter().position(|bin| inside(bin.0));
    let last = bins.iter().rposition(|bin| inside(bin.0));
    let (Some(first), Some(last)) = (first, last) else { return f64::INFINITY };
    let mut reference: Vec<f64> = bins[first..=last].iter().map(|bin| bin.1).collect();
    reference[0] += bins[..first].iter().map(|bin| bin.1).sum::<f64>();
    let end = reference.len() - 1;
    reference[end] += bins[last + 1..].iter().map(|bin| bin.1).sum::<f64>();
    let inner = &bins[first..=last];
    let total: f64 = reference.iter().sum();
    let kept: f64 = inner.iter().map(|bin| bin.1).sum();
    let mut sum = 0.0;
    let mut at = 0;
    while at < inner.len() {
        let same = inner[at..].iter().take_while(|bin| level(bin.0) == level(inner[at].0)).count();
        #[expect(clippy::cast_precision_loss, reason = "bins are few")]
        let even = inner[at..at + same].iter().map(|bin| bin.1).sum::<f64>() / same as f64 / kept;
        for count in &reference[at..at + same] {
            let p = count / total;
            sum += p * (p / even.max(EPSILON)).ln();
        }
        at += same;
    }
    sum
}
