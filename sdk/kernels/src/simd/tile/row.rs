//! The output channels of a tile, in registers: one block, two, or four.

use crate::network::Activation;
use crate::simd::epilogue::activate;
use crate::simd::reals::Reals;
use crate::simd::{Simd, Wide};

/// Most blocks of a row.
pub const MOST: usize = 4;

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

    /// Reads as many floats, those of a second pair of blocks `pair` floats from those of the first.
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

/// Two pairs of blocks.
pub struct Quadruple;

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
        [first, second, first, second]
    }
}

impl Row for Quadruple {
    const BLOCKS: usize = 4;
    const PACKED: usize = 2;
    type V<S: Simd> = [Wide<S>; 2];

    #[inline(always)]
    fn splat<S: Simd>(simd: S, value: f32) -> [Wide<S>; 2] {
        [simd.wide().splat(value); 2]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load<S: Simd>(simd: S, from: *const f32, pair: usize) -> [Wide<S>; 2] {
        // SAFETY: the caller vouches for two pairs of blocks.
        unsafe { [simd.wide().load(from), simd.wide().load(from.add(pair))] }
    }

    #[inline(always)]
    fn add<S: Simd>(simd: S, a: [Wide<S>; 2], b: [Wide<S>; 2]) -> [Wide<S>; 2] {
        [simd.wide().add(a[0], b[0]), simd.wide().add(a[1], b[1])]
    }

    #[inline(always)]
    fn fma<S: Simd>(simd: S, a: [Wide<S>; 2], b: [Wide<S>; 2], c: [Wide<S>; 2]) -> [Wide<S>; 2] {
        [simd.wide().fma(a[0], b[0], c[0]), simd.wide().fma(a[1], b[1], c[1])]
    }

    #[inline(always)]
    fn settle<S: Simd>(simd: S, row: [Wide<S>; 2]) -> [Wide<S>; 2] {
        [simd.wide().settle(row[0]), simd.wide().settle(row[1])]
    }

    #[inline(always)]
    fn activate<S: Simd>(simd: S, activation: Activation, row: [Wide<S>; 2]) -> [Wide<S>; 2] {
        [activate(simd.wide(), activation, row[0]), activate(simd.wide(), activation, row[1])]
    }

    #[inline(always)]
    fn join<S: Simd>(simd: S, [first, second, third, fourth]: [S::V; MOST]) -> [Wide<S>; 2] {
        [simd.join([first, second]), simd.join([third, fourth])]
    }

    #[inline(always)]
    fn blocks<S: Simd>(simd: S, row: [Wide<S>; 2]) -> [S::V; MOST] {
        let ([first, second], [third, fourth]) = (simd.halves(row[0]), simd.halves(row[1]));
        [first, second, third, fourth]
    }
}
