//! What happens to integer sums on their way to memory: requantization, an activation's table, or scaling to reals. Done on
//! registers, so that sums of a convolution are never written. Operations are those of `int8` in the sdk, one by one: nothing
//! is fused, and bounds are whole numbers, so that saturating before rounding gives the same as after it, as bytes are stored.

use super::LANES;
use super::tile::Sums;
use crate::simd::integers::Sixteen;
use crate::simd::reals::Reals;
use crate::simd::{Simd, Wide};

/// Bytes that must be readable behind a table: units may read four at a time.
pub const BEHIND: usize = 3;

/// What becomes of sums; vectors have an entry for each lane of the output's blocks.
#[derive(Debug)]
pub enum Ending {
    /// Steps of the output, saturated.
    Codes {
        /// From sums to steps.
        multipliers: Vec<f32>,
        /// Least and most steps, where 32 bits might not hold all.
        bounds: Option<[f32; 2]>,
        /// The byte of no steps.
        zero: i32,
    },
    /// What a table has for the steps.
    Table {
        /// From sums to steps.
        multipliers: Vec<f32>,
        /// Steps of the first and the last entry.
        bounds: [i32; 2],
        /// The bytes that are stored, and [`BEHIND`] others.
        entries: Vec<u8>,
    },
    /// Real values, in blocks of floats.
    Reals {
        /// Real value of a step.
        scales: Vec<f32>,
        /// Added in the end.
        bias: Vec<f32>,
    },
}

/// Where a run of pixels of one block goes.
#[derive(Clone, Copy)]
pub struct Target {
    /// The first pixel.
    pub start: *mut f32,
    /// From a pixel to the next, in floats.
    pub pixel: usize,
    /// The first pixel's second half, where that is a block of its own: of floats.
    pub second: Option<*mut f32>,
}

impl Target {
    /// From pixel `first` on.
    #[inline(always)]
    pub fn from(self, first: usize) -> Self {
        let step = |start: *mut f32| start.wrapping_add(first * self.pixel);
        Self { start: step(self.start), second: self.second.map(step), ..self }
    }
}

/// Finishes `P` pixels of block `block`.
///
/// # Safety
/// `to` must be valid for writing them, and `ending` must have entries for the block.
#[inline(always)]
pub unsafe fn finish<S: Simd, const P: usize>(
    simd: S,
    ending: &Ending,
    block: usize,
    sums: [Sums<S>; P],
    to: Target,
) {
    // SAFETY: the caller vouches for the pixels and for entries of the block.
    unsafe {
        match ending {
            Ending::Codes { multipliers, bounds, zero } => {
                store_codes(simd, lanes(simd, multipliers, block), *bounds, *zero, sums, to);
            }
            Ending::Table { multipliers, bounds, entries } => {
                store_entries(simd, lanes(simd, multipliers, block), *bounds, entries, sums, to);
            }
            Ending::Reals { scales, bias } => {
                store_reals(simd, lanes(simd, scales, block), lanes(simd, bias, block), sums, to);
            }
        }
    }
}

/// Steps within bounds, counted from zero, as bytes.
///
/// # Safety
/// `to` must be valid for writing the pixels.
#[inline(always)]
unsafe fn store_codes<S: Simd, const P: usize>(
    simd: S,
    factors: Wide<S>,
    bounds: Option<[f32; 2]>,
    zero: i32,
    sums: [Sums<S>; P],
    to: Target,
) {
    let zero = S::Sixteen::splat(simd, zero);
    for (p, sums) in sums.into_iter().enumerate() {
        let bytes = S::Sixteen::add(simd, steps(simd, sums, factors, bounds), zero);
        // SAFETY: the caller vouches for the pixels.
        unsafe { S::Sixteen::store_saturated(simd, to.start.add(p * to.pixel).cast(), bytes) };
    }
}

/// The entries of a table that steps within its bounds have.
///
/// # Safety
/// `to` must be valid for writing the pixels, and the table must have an entry for each step within its bounds.
#[inline(always)]
unsafe fn store_entries<S: Simd, const P: usize>(
    simd: S,
    factors: Wide<S>,
    bounds: [i32; 2],
    entries: &[u8],
    sums: [Sums<S>; P],
    to: Target,
) {
    let first = S::Sixteen::splat(simd, bounds[0]);
    for (p, sums) in sums.into_iter().enumerate() {
        let steps = steps(simd, sums, factors, Some(bounds.map(exact)));
        let places = S::Sixteen::sub(simd, steps, first);
        // SAFETY: the caller vouches for the pixels, and for the table: no step is beyond its bounds.
        unsafe { S::Sixteen::look_up(simd, entries.as_ptr(), places, to.start.add(p * to.pixel).cast()) };
    }
}

/// Sums as real values.
///
/// # Safety
/// `to` must be valid for writing the pixels.
#[inline(always)]
unsafe fn store_reals<S: Simd, const P: usize>(
    simd: S,
    scales: Wide<S>,
    bias: Wide<S>,
    sums: [Sums<S>; P],
    to: Target,
) {
    let wide = simd.wide();
    for (p, sums) in sums.into_iter().enumerate() {
        let scaled = wide.mul(S::Sixteen::real(simd, sums), scales);
        let [first, last] = simd.halves(wide.add(scaled, bias));
        // SAFETY: the caller vouches for the pixels.
        unsafe {
            simd.store(to.start.add(p * to.pixel), first);
            if let Some(second) = to.second {
                simd.store(second.add(p * to.pixel), last);
            }
        }
    }
}

/// Steps of a table are below 2²² in magnitude.
#[expect(clippy::cast_precision_loss, reason = "24 bits hold them")]
fn exact(steps: i32) -> f32 {
    steps as f32
}

/// The entries of `values` for the lanes of `block`.
///
/// # Safety
/// There must be as many.
#[inline(always)]
unsafe fn lanes<S: Simd>(simd: S, values: &[f32], block: usize) -> Wide<S> {
    // SAFETY: the caller vouches for sixteen entries from here on.
    unsafe { simd.wide().load(values.as_ptr().add(block * LANES)) }
}

/// Sums as steps, within bounds.
#[inline(always)]
fn steps<S: Simd>(simd: S, sums: Sums<S>, factors: Wide<S>, bounds: Option<[f32; 2]>) -> Sums<S> {
    let wide = simd.wide();
    let mut scaled = wide.mul(S::Sixteen::real(simd, sums), factors);
    if let Some([low, high]) = bounds {
        scaled = wide.min(wide.max(scaled, wide.splat(low)), wide.splat(high));
    }
    S::Sixteen::nearest(simd, scaled)
}
