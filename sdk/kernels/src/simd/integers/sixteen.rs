//! Sixteen sums at a time: two registers of eight, or one.

use crate::layout::BLOCK;
use crate::simd::{Simd, Wide};

/// The sums of a block of output channels, and what is multiplied for them.
pub trait Sixteen<S: Simd>: Copy {
    /// Sixteen i32.
    type Sums: Copy;
    /// Sixteen pairs of i16.
    type Pairs: Copy;
    /// Sixteen quads of bytes.
    type Quads: Copy;

    /// Blocks of output channels of a tile.
    const BLOCKS: usize;
    /// Most pixels of a tile that multiplies quads.
    const QUAD_PIXELS: usize;

    /// `value` in every lane.
    fn splat(simd: S, value: i32) -> Self::Sums;

    /// Reads sixteen i32.
    ///
    /// # Safety
    /// `from` must be valid for reading them.
    unsafe fn load(simd: S, from: *const i32) -> Self::Sums;

    /// Writes sixteen i32.
    ///
    /// # Safety
    /// `to` must be valid for writing them.
    unsafe fn store(simd: S, to: *mut i32, sums: Self::Sums);

    /// Writes them as bytes: as [`super::Integers::store_saturated`].
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen bytes.
    unsafe fn store_saturated(simd: S, to: *mut u8, values: Self::Sums);

    /// Writes the bytes that `table` has at `places`.
    ///
    /// # Safety
    /// `to` must be valid for writing sixteen bytes, and `table` for reading at the places and
    /// [`BEHIND`](crate::simd::int8::epilogue::BEHIND) more.
    unsafe fn look_up(simd: S, table: *const u8, places: Self::Sums, to: *mut u8);

    /// `a + b`.
    fn add(simd: S, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// `a − b`.
    fn sub(simd: S, a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// As [`Simd::real`].
    fn real(simd: S, sums: Self::Sums) -> Wide<S>;
    /// As [`Simd::nearest`].
    fn nearest(simd: S, values: Wide<S>) -> Self::Sums;

    /// The eight of one, then the eight of the other.
    fn join(simd: S, halves: [S::I; 2]) -> Self::Sums;
    /// The first eight and the last.
    fn halves(simd: S, sums: Self::Sums) -> [S::I; 2];

    /// Reads sixteen pairs, one after the other.
    ///
    /// # Safety
    /// `from` must be valid for reading 32 i16.
    unsafe fn load_pairs(simd: S, from: *const i16) -> Self::Pairs;

    /// Reads a pair and repeats it.
    ///
    /// # Safety
    /// `from` must be valid for reading two i16.
    unsafe fn splat_pair(simd: S, from: *const i16) -> Self::Pairs;

    /// As [`super::Integers::dot`].
    fn dot(simd: S, sums: Self::Sums, a: Self::Pairs, b: Self::Pairs) -> Self::Sums;

    /// Reads sixteen quads of weights, one after the other.
    ///
    /// # Safety
    /// `from` must be valid for reading 64 weights.
    unsafe fn load_quads(simd: S, from: *const i8) -> Self::Quads;

    /// Reads a quad of bytes and repeats it.
    ///
    /// # Safety
    /// `from` must be valid for reading four bytes.
    unsafe fn splat_quad(simd: S, from: *const u8) -> Self::Quads;

    /// As [`super::Integers::dot_quads`].
    fn dot_quads(simd: S, sums: Self::Sums, bytes: Self::Quads, weights: Self::Quads) -> Self::Sums;
}

/// Twice eight.
#[derive(Debug, Clone, Copy)]
pub struct Halves;

impl<S: Simd> Sixteen<S> for Halves {
    type Sums = [S::I; 2];
    type Pairs = [S::P; 2];
    type Quads = [S::Q; 2];

    const BLOCKS: usize = 1;
    // For the sake of AVX2, whose products take a register of ones; others would have room for six.
    const QUAD_PIXELS: usize = 5;

    #[inline(always)]
    fn splat(simd: S, value: i32) -> [S::I; 2] {
        [simd.splat_i32(value); 2]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load(simd: S, from: *const i32) -> [S::I; 2] {
        // SAFETY: the caller vouches for sixteen i32.
        unsafe { [simd.load_i32(from), simd.load_i32(from.add(BLOCK))] }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store(simd: S, to: *mut i32, sums: [S::I; 2]) {
        // SAFETY: the caller vouches for sixteen i32.
        unsafe {
            simd.store_i32(to, sums[0]);
            simd.store_i32(to.add(BLOCK), sums[1]);
        }
    }

    // SAFETY: the caller keeps the trait's promise about `to`.
    #[inline(always)]
    unsafe fn store_saturated(simd: S, to: *mut u8, values: [S::I; 2]) {
        // SAFETY: the caller vouches for sixteen bytes.
        unsafe { simd.store_saturated(to, values) }
    }

    // SAFETY: the caller keeps the trait's promise.
    #[inline(always)]
    unsafe fn look_up(simd: S, table: *const u8, places: [S::I; 2], to: *mut u8) {
        let (mut lanes, mut bytes) = ([0_i32; 2 * BLOCK], [0_u8; 2 * BLOCK]);
        // SAFETY: arrays of sixteen, and the caller vouches for the rest.
        unsafe {
            Self::store(simd, lanes.as_mut_ptr(), places);
            for (byte, place) in bytes.iter_mut().zip(lanes) {
                *byte = *table.add(place.cast_unsigned() as usize);
            }
            to.cast::<[u8; 2 * BLOCK]>().write_unaligned(bytes);
        }
    }

    #[inline(always)]
    fn add(simd: S, a: [S::I; 2], b: [S::I; 2]) -> [S::I; 2] {
        [simd.add_i32(a[0], b[0]), simd.add_i32(a[1], b[1])]
    }

    #[inline(always)]
    fn sub(simd: S, a: [S::I; 2], b: [S::I; 2]) -> [S::I; 2] {
        [simd.sub_i32(a[0], b[0]), simd.sub_i32(a[1], b[1])]
    }

    #[inline(always)]
    fn real(simd: S, sums: [S::I; 2]) -> Wide<S> {
        simd.join([simd.real(sums[0]), simd.real(sums[1])])
    }

    #[inline(always)]
    fn nearest(simd: S, values: Wide<S>) -> [S::I; 2] {
        let [low, high] = simd.halves(values);
        [simd.nearest(low), simd.nearest(high)]
    }

    #[inline(always)]
    fn join(_: S, halves: [S::I; 2]) -> [S::I; 2] {
        halves
    }

    #[inline(always)]
    fn halves(_: S, sums: [S::I; 2]) -> [S::I; 2] {
        sums
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_pairs(simd: S, from: *const i16) -> [S::P; 2] {
        // SAFETY: the caller vouches for sixteen pairs.
        unsafe { [simd.load_pairs(from), simd.load_pairs(from.add(2 * BLOCK))] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_pair(simd: S, from: *const i16) -> [S::P; 2] {
        // SAFETY: the caller vouches for a pair.
        [unsafe { simd.splat_pair(from) }; 2]
    }

    #[inline(always)]
    fn dot(simd: S, sums: [S::I; 2], a: [S::P; 2], b: [S::P; 2]) -> [S::I; 2] {
        [simd.dot(sums[0], a[0], b[0]), simd.dot(sums[1], a[1], b[1])]
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn load_quads(simd: S, from: *const i8) -> [S::Q; 2] {
        // SAFETY: the caller vouches for sixteen quads.
        unsafe { [simd.load_quads(from), simd.load_quads(from.add(4 * BLOCK))] }
    }

    // SAFETY: the caller keeps the trait's promise about `from`.
    #[inline(always)]
    unsafe fn splat_quad(simd: S, from: *const u8) -> [S::Q; 2] {
        // SAFETY: the caller vouches for a quad.
        [unsafe { simd.splat_quad(from) }; 2]
    }

    #[inline(always)]
    fn dot_quads(simd: S, sums: [S::I; 2], bytes: [S::Q; 2], weights: [S::Q; 2]) -> [S::I; 2] {
        [simd.dot_quads(sums[0], bytes[0], weights[0]), simd.dot_quads(sums[1], bytes[1], weights[1])]
    }
}
