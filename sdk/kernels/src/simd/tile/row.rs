//! The output channels of a tile, in registers: one block, or one, two or four pairs of them.

use crate::network::Activation;
use crate::simd::epilogue::activate;
use crate::simd::reals::Reals;
use crate::simd::{Simd, Wide};

/// Most blocks of a row.
pub const MOST: usize = 8;

/// Output channels of a tile, in registers.
pub trait Row {
    /// How many blocks.
    const BLOCKS: usize;
    /// How many of them have their weights beside each other.
    const PACKED: usize;
    /// The floats of a pixel.
    type V<S: Simd>: Copy;

    /// `value` in every lane.
    fn splat<S: Simd>(simd: S, value: f32) -> Self::V<S>;

    /// Reads as many floats, those of each pair of blocks `pair` floats from those of the one before.
    ///
    /// # Safety
    /// `from` must be valid for reading them.
    unsafe fn load<S: Simd>(simd: S, from: *const f32, pair: usize) -> Self::V<S>;

    /// `a + b`.
    fn add<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a · b + c`.
    fn fma<S: Simd>(simd: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// As [`Reals::settle`].
    fn settle<S: Simd>(simd: S, row: Self::V<S>) -> Self::V<S>;
    /// `activation` of each lane.
    fn activate<S: Simd>(simd: S, activation: Activation, row: Self::V<S>) -> Self::V<S>;
    /// A row of the first blocks of these.
    fn join<S: Simd>(simd: S, blocks: [S::V; MOST]) -> Self::V<S>;
    /// The blocks of a row first.
    fn blocks<S: Simd>(simd: S, row: Self::V<S>) -> [S::V; MOST];
}

/// One block.
pub struct Single;

/// Two blocks.
pub struct Double;

/// Some pairs of blocks.
pub struct Pairs<const N: usize>;

/// Two pairs of blocks.
pub type Quadruple = Pairs<2>;

/// Four pairs of blocks.
pub type Octuple = Pairs<4>;

impl Row for Single {
    const BLOCKS: usize = 1;
    const PACKED: usize = 1;
    type V<S: Simd> = S::V;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f32) -> S::V {
        simd.splat(value)
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32, _: usize) -> S::V {
        // SAFETY: the caller vouches for a block.
        unsafe { simd.load(from) }
    }

    #[inline(always)]
    fn add<S: Simd>(simd: S, a: S::V, b: S::V) -> S::V {
        simd.add(a, b)
    }

    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: S::V, b: S::V, c: S::V) -> S::V {
        simd.fma(a, b, c)
    }

    #[inline(always)]
    fn settle<S: Simd>(_: S, row: S::V) -> S::V {
        row
    }

    #[inline(always)]
    fn activate<S: Simd>(simd: S, activation: Activation, row: S::V) -> S::V {
        activate(simd, activation, row)
    }

    #[inline(always)]
    fn join<S: Simd>(_: S, blocks: [S::V; MOST]) -> S::V {
        blocks[0]
    }

    #[inline(always)]
    fn blocks<S: Simd>(_: S, row: S::V) -> [S::V; MOST] {
        [row; MOST]
    }
}

impl Row for Double {
    const BLOCKS: usize = 2;
    const PACKED: usize = 2;
    type V<S: Simd> = Wide<S>;

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f32) -> Wide<S> {
        simd.wide().splat(value)
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32, _: usize) -> Wide<S> {
        // SAFETY: the caller vouches for two blocks.
        unsafe { simd.wide().load(from) }
    }

    #[inline(always)]
    fn add<S: Simd>(simd: S, a: Wide<S>, b: Wide<S>) -> Wide<S> {
        simd.wide().add(a, b)
    }

    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: Wide<S>, b: Wide<S>, c: Wide<S>) -> Wide<S> {
        simd.wide().fma(a, b, c)
    }

    #[inline(always)]
    fn settle<S: Simd>(simd: S, row: Wide<S>) -> Wide<S> {
        simd.wide().settle(row)
    }

    #[inline(always)]
    fn activate<S: Simd>(simd: S, activation: Activation, row: Wide<S>) -> Wide<S> {
        activate(simd.wide(), activation, row)
    }

    #[inline(always)]
    fn join<S: Simd>(simd: S, [first, second, ..]: [S::V; MOST]) -> Wide<S> {
        simd.join([first, second])
    }

    #[inline(always)]
    fn blocks<S: Simd>(simd: S, row: Wide<S>) -> [S::V; MOST] {
        let [first, second] = simd.halves(row);
        [first, second, first, second, first, second, first, second]
    }
}

impl<const N: usize> Row for Pairs<N> {
    const BLOCKS: usize = 2 * N;
    const PACKED: usize = 2;
    type V<S: Simd> = [Wide<S>; N];

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f32) -> [Wide<S>; N] {
        [simd.wide().splat(value); N]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32, pair: usize) -> [Wide<S>; N] {
        let mut row = [simd.wide().splat(0.0); N];
        for (number, floats) in row.iter_mut().enumerate() {
            // SAFETY: the caller vouches for all pairs of blocks.
            *floats = unsafe { simd.wide().load(from.add(number * pair)) };
        }
        row
    }

    // Loops, not closures: those are functions of their own, without the unit's features.
    #[inline(always)]
    fn add<S: Simd>(simd: S, mut a: [Wide<S>; N], b: [Wide<S>; N]) -> [Wide<S>; N] {
        for (a, b) in a.iter_mut().zip(b) {
            *a = simd.wide().add(*a, b);
        }
        a
    }

    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: [Wide<S>; N], b: [Wide<S>; N], mut c: [Wide<S>; N]) -> [Wide<S>; N] {
        for ((a, b), c) in a.into_iter().zip(b).zip(&mut c) {
            *c = simd.wide().fma(a, b, *c);
        }
        c
    }

    #[inline(always)]
    fn settle<S: Simd>(simd: S, mut row: [Wide<S>; N]) -> [Wide<S>; N] {
        for floats in &mut row {
            *floats = simd.wide().settle(*floats);
        }
        row
    }

    #[inline(always)]
    fn activate<S: Simd>(simd: S, activation: Activation, mut row: [Wide<S>; N]) -> [Wide<S>; N] {
        for floats in &mut row {
            *floats = activate(simd.wide(), activation, *floats);
        }
        row
    }

    #[inline(always)]
    fn join<S: Simd>(simd: S, blocks: [S::V; MOST]) -> [Wide<S>; N] {
        let mut row = [simd.wide().splat(0.0); N];
        for (pair, floats) in row.iter_mut().enumerate() {
            *floats = simd.join([blocks[2 * pair], blocks[2 * pair + 1]]);
        }
        row
    }

    #[inline(always)]
    fn blocks<S: Simd>(simd: S, row: [Wide<S>; N]) -> [S::V; MOST] {
        let mut blocks = [simd.splat(0.0); MOST];
        for (pair, floats) in row.into_iter().enumerate() {
            [blocks[2 * pair], blocks[2 * pair + 1]] = simd.halves(floats);
        }
        blocks
    }
}
