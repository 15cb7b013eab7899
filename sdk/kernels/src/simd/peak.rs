//! The most that this processor multiplies and adds: what benchmarks measure kernels against.

use super::{Kernel, Simd};

/// Sums that do not wait for each other: enough for two units of five cycles each.
const CHAINS: usize = 12;

/// Multiplications and additions of floats, without memory.
pub struct Peak<'a> {
    /// How many rounds of [`Peak::FLOPS`] operations.
    pub rounds: usize,
    /// Takes the result, so that it has to be computed.
    pub result: &'a mut f32,
}

impl Peak<'_> {
    /// Floating-point operations of a round.
    pub const FLOPS: usize = CHAINS * super::BLOCK * 2;
}

impl Kernel for Peak<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let (factor, term) =
            (simd.splat(std::hint::black_box(0.999)), simd.splat(std::hint::black_box(0.001)));
        let mut sums = [simd.splat(*self.result); CHAINS];
        for _ in 0..self.rounds {
            for sum in &mut sums {
                *sum = simd.fma(*sum, factor, term);
            }
        }
        let mut total = [0.0; super::BLOCK];
        for sum in sums {
            // SAFETY: an array of eight floats.
            unsafe { simd.store(total.as_mut_ptr(), sum) };
            *self.result += total[0];
        }
    }
}
