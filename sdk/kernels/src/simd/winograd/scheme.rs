//! The transforms of the minimal filterings, along one axis, and the matrix that belongs to them for weights.
//!
//! Stride 1 is F(4, 3) with the points 0, ±1, ±2 and ∞: 6 products for 4 outputs; or F(6, 3) with ±½ as well: 8 products for 6
//! outputs. Stride 2 splits the input by parity: the
//! even pixels meet the outer two weights, which is F(4, 2) with the points 0, ±1, 2 and ∞, and the odd ones the middle
//! weight: 5 + 4 products for 4 outputs where 12 would be. Matrices follow Toom and Cook: with M(x) = ∏(x − aⱼ), row j of
//! the input's is M(x) / (x − aⱼ), row j of the weights' the powers of aⱼ over that at aⱼ, and the output's are powers.

use crate::simd::Simd;

/// One axis of a minimal filtering with N products for T outputs.
pub trait Scheme<const N: usize, const T: usize> {
    /// N.
    const SIDE: usize = N;
    /// T.
    const TILE: usize = T;
    /// Inputs from a tile to the next.
    const STEP: usize;
    /// From three weights to N.
    const WEIGHTS: [[f64; 3]; N];

    /// From N inputs to N factors.
    fn forward<S: Simd>(simd: S, inputs: [S::V; N]) -> [S::V; N];

    /// From N products to the outputs.
    fn backward<S: Simd>(simd: S, products: [S::V; N]) -> [S::V; T];
}

/// Stride 1.
#[derive(Debug)]
pub struct Stride1;

impl Scheme<6, 4> for Stride1 {
    const STEP: usize = 4;
    const WEIGHTS: [[f64; 3]; 6] = [
        [1.0 / 4.0, 0.0, 0.0],
        [-1.0 / 6.0, -1.0 / 6.0, -1.0 / 6.0],
        [-1.0 / 6.0, 1.0 / 6.0, -1.0 / 6.0],
        [1.0 / 24.0, 1.0 / 12.0, 1.0 / 6.0],
        [1.0 / 24.0, -1.0 / 12.0, 1.0 / 6.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    fn forward<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5]: [S::V; 6]) -> [S::V; 6] {
        let minus4 = simd.splat(-4.0);
        let four = simd.splat(4.0);
        let minus5 = simd.splat(-5.0);
        let two = simd.splat(2.0);
        let even = simd.fma(d2, minus4, d4);
        let odd = simd.fma(d1, minus4, d3);
        let outer_even = simd.sub(d4, d2);
        let outer_odd = simd.mul(simd.sub(d3, d1), two);
        [
            simd.fma(d0, four, simd.fma(d2, minus5, d4)),
            simd.add(even, odd),
            simd.sub(even, odd),
            simd.add(outer_even, outer_odd),
            simd.sub(outer_even, outer_odd),
            simd.fma(d1, four, simd.fma(d3, minus5, d5)),
        ]
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::V; 6]) -> [S::V; 4] {
        let two = simd.splat(2.0);
        let four = simd.splat(4.0);
        let eight = simd.splat(8.0);
        let (sum, difference) = (simd.add(m1, m2), simd.sub(m1, m2));
        let (outer_sum, outer_difference) = (simd.add(m3, m4), simd.sub(m3, m4));
        [
            simd.add(simd.add(m0, sum), outer_sum),
            simd.fma(outer_difference, two, difference),
            simd.fma(outer_sum, four, sum),
            simd.add(simd.fma(outer_difference, eight, difference), m5),
        ]
    }
}

/// Stride 1, with large tiles.
#[derive(Debug)]
pub struct LargeStride1;

impl Scheme<8, 6> for LargeStride1 {
    const STEP: usize = 6;
    const WEIGHTS: [[f64; 3]; 8] = [
        [-1.0, 0.0, 0.0],
        [-2.0 / 9.0, -2.0 / 9.0, -2.0 / 9.0],
        [-2.0 / 9.0, 2.0 / 9.0, -2.0 / 9.0],
        [1.0 / 90.0, 1.0 / 45.0, 2.0 / 45.0],
        [1.0 / 90.0, -1.0 / 45.0, 2.0 / 45.0],
        [32.0 / 45.0, 16.0 / 45.0, 8.0 / 45.0],
        [32.0 / 45.0, -16.0 / 45.0, 8.0 / 45.0],
        [0.0, 0.0, 1.0],
    ];

    #[inline(always)]
    fn forward<S: Simd>(simd: S, [d0, d1, d2, d3, d4, d5, d6, d7]: [S::V; 8]) -> [S::V; 8] {
        let factor = |factor: f32| simd.splat(factor);
        // Rows of a pair of points ±a share what is even in a, and what is odd.
        let pair = |even: S::V, odd: S::V| [simd.add(even, odd), simd.sub(even, odd)];
        let [one, minus_one] = pair(
            simd.fma(d4, factor(-4.25), simd.add(d2, d6)),
            simd.fma(d3, factor(-4.25), simd.add(d1, d5)),
        );
        let [two, minus_two] = pair(
            simd.fma(d2, factor(0.25), simd.fma(d4, factor(-1.25), d6)),
            simd.fma(d1, factor(0.5), simd.fma(d3, factor(-2.5), simd.add(d5, d5))),
        );
        let [half, minus_half] = pair(
            simd.fma(d2, factor(4.0), simd.fma(d4, factor(-5.0), d6)),
            simd.fma(d5, factor(0.5), simd.fma(d3, factor(-2.5), simd.add(d1, d1))),
        );
        [
            simd.fma(simd.sub(d2, d4), factor(5.25), simd.sub(d6, d0)),
            one,
            minus_one,
            two,
            minus_two,
            half,
            minus_half,
            simd.fma(simd.sub(d3, d5), factor(5.25), simd.sub(d7, d1)),
        ]
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5, m6, m7]: [S::V; 8]) -> [S::V; 6] {
        let factor = |factor: f32| simd.splat(factor);
        let (ones, ones_apart) = (simd.add(m1, m2), simd.sub(m1, m2));
        let (twos, twos_apart) = (simd.add(m3, m4), simd.sub(m3, m4));
        let (halves, halves_apart) = (simd.add(m5, m6), simd.sub(m5, m6));
        let sum = |ones: S::V, twos: S::V, two: f32, halves: S::V, half: f32| {
            simd.fma(halves, factor(half), simd.fma(twos, factor(two), ones))
        };
        [
            simd.add(simd.add(m0, ones), simd.add(twos, halves)),
            sum(ones_apart, twos_apart, 2.0, halves_apart, 0.5),
            sum(ones, twos, 4.0, halves, 0.25),
            sum(ones_apart, twos_apart, 8.0, halves_apart, 0.125),
            sum(ones, twos, 16.0, halves, 0.0625),
            simd.add(sum(ones_apart, twos_apart, 32.0, halves_apart, 0.03125), m7),
        ]
    }
}

/// Stride 2.
#[derive(Debug)]
pub struct Stride2;

impl Scheme<9, 4> for Stride2 {
    const STEP: usize = 8;
    const WEIGHTS: [[f64; 3]; 9] = [
        [1.0 / 2.0, 0.0, 0.0],
        [-1.0 / 2.0, 0.0, -1.0 / 2.0],
        [-1.0 / 6.0, 0.0, 1.0 / 6.0],
        [1.0 / 6.0, 0.0, 1.0 / 3.0],
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
        [0.0, 1.0, 0.0],
    ];

    #[inline(always)]
    fn forward<S: Simd>(simd: S, [e0, o0, e1, o1, e2, o2, e3, o3, e4]: [S::V; 9]) -> [S::V; 9] {
        let two = simd.splat(2.0);
        let minus2 = simd.splat(-2.0);
        let minus3 = simd.splat(-3.0);
        let inner = simd.sub(e3, e1);
        [
            simd.fma(simd.sub(e0, e2), two, inner),
            simd.sub(simd.fma(e1, minus2, e3), e2),
            simd.fma(e1, two, simd.fma(e2, minus3, e3)),
            inner,
            simd.fma(inner, minus2, simd.sub(e4, e2)),
            o0,
            o1,
            o2,
            o3,
        ]
    }

    #[inline(always)]
    fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, n0, n1, n2, n3]: [S::V; 9]) -> [S::V; 4] {
        let two = simd.splat(2.0);
        let four = simd.splat(4.0);
        let eight = simd.splat(8.0);
        let (sum, difference) = (simd.add(m1, m2), simd.sub(m1, m2));
        [
            simd.add(simd.add(m0, sum), simd.add(m3, n0)),
            simd.add(simd.fma(m3, two, difference), n1),
            simd.add(simd.fma(m3, four, sum), n2),
            simd.add(simd.fma(m3, eight, difference), simd.add(m4, n3)),
        ]
    }
}
