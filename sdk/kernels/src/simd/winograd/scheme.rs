//! The transforms of both minimal filterings, along one axis, and the matrix that belongs to them for weights.
//!
//! Stride 1 is F(4, 3) with the points 0, ±1, ±2 and ∞: 6 products for 4 outputs. Stride 2 splits the input by parity: the
//! even pixels meet the outer two weights, which is F(4, 2) with the points 0, ±1, 2 and ∞, and the odd ones the middle
//! weight: 5 + 4 products for 4 outputs where 12 would be. Matrices follow Toom and Cook: with M(x) = ∏(x − aⱼ), row j of
//! the input's is M(x) / (x − aⱼ), row j of the weights' the powers of aⱼ over that at aⱼ, and the output's are powers.

use super::TILE;
use crate::simd::Simd;

/// One axis of a minimal filtering with N products for [`TILE`] outputs.
pub trait Scheme<const N: usize> {
    /// N.
    const SIDE: usize;
    /// Inputs from a tile to the next.
    const STEP: usize;
    /// From three weights to N.
    const WEIGHTS: [[f64; 3]; N];

    /// From N inputs to N factors.
    fn forward<S: Simd>(simd: S, inputs: [S::V; N]) -> [S::V; N];

    /// From N products to the outputs.
    fn backward<S: Simd>(simd: S, products: [S::V; N]) -> [S::V; TILE];
}

/// Stride 1.
#[derive(Debug)]
pub struct Stride1;

impl Scheme<6> for Stride1 {
    const SIDE: usize = 6;
    const STEP: usize = TILE;
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
    fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, m5]: [S::V; 6]) -> [S::V; TILE] {
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

/// Stride 2.
#[derive(Debug)]
pub struct Stride2;

impl Scheme<9> for Stride2 {
    const SIDE: usize = 9;
    const STEP: usize = 2 * TILE;
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
    fn backward<S: Simd>(simd: S, [m0, m1, m2, m3, m4, n0, n1, n2, n3]: [S::V; 9]) -> [S::V; TILE] {
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
