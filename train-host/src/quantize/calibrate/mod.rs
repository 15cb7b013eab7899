//! From how often values occur to the range that int8 should cover: min-max, percentile, least squared error and least
//! divergence, one file each. Which is best is measured, never known: see `choose`.

mod kl;
mod min_max;
mod mse;
mod percentile;

use artifact::Quant;
use repedge::int8;
use serde::{Deserialize, Serialize};

use super::histogram::Histogram;

/// How a range is found.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lowercase")]
pub enum Method {
    /// All that occurred.
    MinMax,
    /// All but one value in ten thousand at each end.
    Percentile,
    /// The least squared error of the outputs: each value's error by its derivative, and outputs by what they cost.
    Mse,
    /// The least Kullback-Leibler divergence of the distribution (Migacz, "8-bit inference with TensorRT", 2017).
    Kl,
}

impl Method {
    /// All methods, the simplest first.
    pub const ALL: [Self; 4] = [Self::MinMax, Self::Percentile, Self::Mse, Self::Kl];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::MinMax => "minmax",
            Self::Percentile => "percentile",
            Self::Mse => "mse",
            Self::Kl => "kl",
        }
    }
}

impl std::fmt::Display for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// Real values that int8 covers; 0 is among them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// Smallest, at most 0.
    pub low: f64,
    /// Largest, at least 0.
    pub high: f64,
}

/// What the readers of a tensor see of it.
#[derive(Clone, Copy)]
pub enum View {
    /// Its values.
    Plain,
    /// A function of its values that is stored itself: the activation behind a convolution.
    Stored(fn(f64) -> f64, Quant),
}

/// The range that `method` finds for values that occurred as in `histogram`.
pub fn range(method: Method, histogram: &Histogram, view: View) -> Range {
    match method {
        Method::MinMax => min_max::range(histogram),
        Method::Percentile => percentile::range(histogram),
        Method::Mse => mse::range(histogram, view),
        Method::Kl => kl::range(histogram),
    }
}

impl Range {
    /// What a histogram reaches.
    pub fn of(histogram: &Histogram) -> Self {
        Self { low: f64::from(histogram.low()), high: f64::from(histogram.high()) }
    }

    /// Scale and zero point that cover the range with 255 steps, 0 being stored exactly; none for a range of nothing, and
    /// where f32 holds no such scale or not what an end of it stands for.
    pub fn quant(self) -> Option<Quant> {
        #[expect(clippy::cast_possible_truncation, reason = "scales are f32")]
        let scale = ((self.high - self.low) / 255.0) as f32;
        if !(scale.is_normal() && scale > 0.0) {
            return None;
        }
        let zero_point = f64::from(int8::MIN) - (self.low / f64::from(scale)).round_ties_even();
        #[expect(clippy::cast_possible_truncation, reason = "clamped to what an i8 holds")]
        let zero_point = zero_point.clamp(f64::from(int8::MIN), f64::from(int8::MAX)) as i32;
        let quant = Quant { scale, zero_point };
        [i8::MIN, i8::MAX].iter().all(|&end| int8::dequantize(end, quant).is_finite()).then_some(quant)
    }
}

/// Squared error of what readers see when values are stored as `quant`.
struct Cost {
    /// Middle of a bin, what readers should see of it, and how many values it holds.
    bins: Vec<(f64, f64, f64)>,
    view: View,
}

impl Cost {
    fn new(histogram: &Histogram, view: View) -> Self {
        let seen = match view {
            View::Plain => |x| x,
            View::Stored(function, _) => function,
        };
        #[expect(clippy::cast_precision_loss, reason = "a weight")]
        let bins = histogram.bins().into_iter().map(|(x, count)| (x, seen(x), count as f64)).collect();
        Self { bins, view }
    }

    fn of(&self, quant: Quant) -> f64 {
        let shown = shown(quant, self.view);
        let (scale, zero_point) = (f64::from(quant.scale), f64::from(quant.zero_point));
        let error = |&(x, seen, count): &(f64, f64, f64)| {
            let code = ((x / scale).round_ties_even() + zero_point + 128.0).clamp(0.0, 255.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
            let difference = seen - shown[code as usize];
            count * difference * difference
        };
        self.bins.iter().map(error).sum()
    }
}

/// What readers see of each stored value, from −128 on.
fn shown(quant: Quant, view: View) -> Vec<f64> {
    let real = |stored: i8| f64::from(int8::dequantize(stored, quant));
    let codes = i8::MIN..=i8::MAX;
    match view {
        View::Plain => codes.map(real).collect(),
        View::Stored(function, to) => {
            let table = int8::table(quant, to, function);
            codes.map(|stored| f64::from(int8::dequantize(table[int8::index(stored)], to))).collect()
        }
    }
}

#[cfg(test)]
mod tests;
