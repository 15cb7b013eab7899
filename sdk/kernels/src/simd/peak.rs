//! The most that this processor multiplies and adds: what benchmarks measure kernels against.

use std::hint::black_box;
use std::time::Instant;

use super::reals::Reals;
use super::{Isa, Kernel, Simd};
use crate::layout::BLOCK;

/// Sums of sixteen floats that a tile would divide no further: with those, enough for two units of five cycles each.
const SUMS: usize = 6;
/// Most chains of a unit.
const MOST_CHAINS: usize = 2;
const ROUNDS: usize = 50_000;
const ATTEMPTS: usize = 30;

/// The most multiplications and additions of floats a second that one core did with `isa` in a few attempts. Takes some milliseconds
/// each.
#[expect(clippy::cast_precision_loss, reason = "counts below 2⁵³")]
pub fn peak_flops(isa: Isa) -> f64 {
    let mut best = 0.0_f64;
    let mut result = 0.5;
    for _ in 0..ATTEMPTS {
        let mut flops = 0;
        let started = Instant::now();
        isa.run(Peak { result: &mut result, flops: &mut flops });
        let seconds = started.elapsed().as_secs_f64();
        best = best.max(flops as f64 / seconds);
    }
    black_box(result);
    best
}

/// Multiplications and additions without memory.
struct Peak<'a> {
    /// Takes the result, so that it has to be computed.
    result: &'a mut f32,
    /// Takes their number.
    flops: &'a mut usize,
}

impl Kernel for Peak<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (factor, term) = (simd.wide().splat(black_box(0.999)), simd.wide().splat(black_box(0.001)));
        let mut sums = [simd.wide().splat(*self.result); SUMS * MOST_CHAINS];
        for _ in 0..ROUNDS {
            for sum in sums.iter_mut().take(SUMS * S::CHAINS) {
                *sum = simd.wide().fma(*sum, factor, term);
            }
        }
        let mut total = [0.0; BLOCK];
        for sum in sums {
            for half in simd.halves(sum) {
                // SAFETY: an array of eight floats.
                unsafe { simd.store(total.as_mut_ptr(), half) };
                *self.result += total[0] * 1e-3;
            }
        }
        *self.flops = ROUNDS * SUMS * S::CHAINS * 2 * BLOCK * 2;
    }
}
