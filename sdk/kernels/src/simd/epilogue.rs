//! What happens to sums on their way to memory: activation, then the sum with another image. Done on registers, so that
//! an image is written once and not read again.

use super::Simd;
use crate::network::Activation;

/// Highest argument of [`exp`]; beyond it the result is that of this one.
const EXP_MAX: f32 = 88.0;
/// Lowest argument of [`exp`].
const EXP_MIN: f32 = -87.0;
/// ln 2 as a sum whose first part has so few bits that multiples of it are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// Coefficients of `(eʳ − 1 − r) / r²` for |r| ≤ ln 2 / 2, highest power first (Cephes, `expf`).
const EXP: [f32; 6] =
    [1.987_569_1e-4, 1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5.000_000_1e-1];

/// eˣ within two units of the last place, for arguments between [`EXP_MIN`] and [`EXP_MAX`].
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::V) -> S::V {
    let x = simd.max(simd.min(x, simd.splat(EXP_MAX)), simd.splat(EXP_MIN));
    let exponent = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    let rest = simd.fma(exponent, simd.splat(-LN2_HIGH), x);
    let rest = simd.fma(exponent, simd.splat(-LN2_LOW), rest);
    let mut sum = simd.splat(EXP[0]);
    for coefficient in &EXP[1..] {
        sum = simd.fma(sum, rest, simd.splat(*coefficient));
    }
    let sum = simd.fma(simd.mul(rest, rest), sum, simd.add(rest, simd.splat(1.0)));
    simd.mul(sum, simd.pow2(exponent))
}

/// `activation` of each lane.
#[inline(always)]
pub fn activate<S: Simd>(simd: S, activation: Activation, x: S::V) -> S::V {
    let zero = simd.splat(0.0);
    match activation {
        Activation::None => x,
        Activation::Relu => simd.max(x, zero),
        Activation::Leaky(slope) => simd.fma(simd.min(x, zero), simd.splat(slope), simd.max(x, zero)),
        Activation::Silu => {
            let one = simd.splat(1.0);
            simd.div(x, simd.add(one, exp(simd, simd.sub(zero, x))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simd::{BLOCK, Isa, Kernel};

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
                            (f64::from(y) - exact).abs() <= 3e-7 * exact.abs() + 1e-30,
                            "{activation:?} of {x}: {y}"
                        );
                    }
                }
            }
        }
    }
}
