//! What happens to sums on their way to memory: activation, then the sum with another image. Done on registers, so that
//! an image is written once and not read again.

use super::ROUND;
use super::reals::Reals;
use crate::network::Activation;

/// Largest magnitude whose sigmoid differs from that of this one by more than f32 can tell.
const SIGMOID_MAX: f32 = 87.0;
/// Coefficients of 2ʳ for |r| ≤ ½, highest power first: fitted at Chebyshev's points, within 1.5e-7 of it.
const EXP2: [f32; 6] =
    [1.326_697e-3, 9.675_46e-3, 5.550_742_5e-2, 2.402_212_2e-1, 6.931_469_4e-1, 1.000_000_1];

/// 1 + e⁻ˣ within a few units of the last place, for |x| ≤ [`SIGMOID_MAX`]: as 2ⁿ · 2ʳ with a whole n.
#[inline(always)]
fn one_plus_exp<S: Reals>(simd: S, x: S::V) -> S::V {
    let minus_log2_e = simd.splat(-std::f32::consts::LOG2_E);
    let shifted = simd.fma(x, minus_log2_e, simd.splat(ROUND));
    let whole = simd.sub(shifted, simd.splat(ROUND));
    let rest = simd.sub(simd.mul(x, minus_log2_e), whole);
    let mut power = simd.splat(EXP2[0]);
    for coefficient in &EXP2[1..] {
        power = simd.fma(power, rest, simd.splat(*coefficient));
    }
    simd.add(simd.splat(1.0), simd.scale(power, shifted))
}

/// `activation` of each lane.
#[inline(always)]
pub fn activate<S: Reals>(simd: S, activation: Activation, x: S::V) -> S::V {
    let zero = simd.splat(0.0);
    match activation {
        Activation::None => x,
        Activation::Relu => simd.max(x, zero),
        Activation::Leaky(slope) => simd.fma(simd.min(x, zero), simd.splat(slope), simd.max(x, zero)),
        Activation::Silu => {
            let bounded = simd.max(simd.min(x, simd.splat(SIGMOID_MAX)), simd.splat(-SIGMOID_MAX));
            simd.ratio(x, one_plus_exp(simd, bounded))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{BLOCK, Isa, Kernel, Simd};

    struct Apply<'a>(&'a [f32; BLOCK], Activation, &'a mut [f32; BLOCK]);

    impl Kernel for Apply<'_> {
        #[inline(always)]
        fn run<S: Simd>(self, simd: S) {
            // SAFETY: both are arrays of eight floats.
            unsafe {
                let x = simd.load(self.0.as_ptr());
                simd.store(self.2.as_mut_ptr(), activate(simd, self.1, x));
            }
        }
    }

    #[test]
    fn activations_are_those_of_the_reference_everywhere() {
        for isa in Isa::available() {
            for step in -1200_i16..=1200 {
                let base = f32::from(step) * 0.1;
                let x: [f32; BLOCK] =
                    std::array::from_fn(|lane| base + [0.0, 0.01, 0.02, 0.03, 0.05, 0.07, 0.08, 0.09][lane]);
                for activation in
                    [Activation::None, Activation::Relu, Activation::Leaky(0.1), Activation::Silu]
                {
                    let mut y = [0.0; BLOCK];
                    isa.run(Apply(&x, activation, &mut y));
                    for (x, y) in x.iter().zip(y) {
                        let exact = activation.of(f64::from(*x));
                        assert!(
                            (f64::from(y) - exact).abs()
                                <= 3e-7 * exact.abs() + 1e-7 * f64::from(x.abs()).min(1.0),
                            "{activation:?} of {x}: {y}"
                        );
                    }
                }
            }
        }
    }
}
