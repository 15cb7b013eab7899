//! What happens to integer sums on their way to memory: requantization, an activation's table, or scaling to reals. Done on
//! registers, so that sums of a convolution are never written. Operations are those of `int8` in the sdk, one by one: nothing
//! is fused, and bounds are whole numbers, so that saturating before rounding gives the same as after it, as bytes are stored.

use super::LANES;
use crate::layout::BLOCK;
use crate::simd::Simd;

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
        /// The bytes that are stored.
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
    sums: [[S::I; 2]; P],
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
    factors: [S::V; 2],
    bounds: Option<[f32; 2]>,
    zero: i32,
    sums: [[S::I; 2]; P],
    to: Target,
) {
    let zero = simd.splat_i32(zero);
    for (p, sums) in sums.into_iter().enumerate() {
        let bytes = steps(simd, sums, factors, bounds).map(|steps| simd.add_i32(steps, zero));
        // SAFETY: the caller vouches for the pixels.
        unsafe { simd.store_saturated(to.start.add(p * to.pixel).cast(), bytes) };
    }
}

/// The entries of a table that steps within its bounds have.
///
/// # Safety
/// `to` must be valid for writing the pixels, and the table must have an entry for each step within its bounds.
#[inline(always)]
unsafe fn store_entries<S: Simd, const P: usize>(
    simd: S,
    factors: [S::V; 2],
    bounds: [i32; 2],
    entries: &[u8],
    sums: [[S::I; 2]; P],
    to: Target,
) {
    let first = simd.splat_i32(bounds[0]);
    for (p, sums) in sums.into_iter().enumerate() {
        let steps = steps(simd, sums, factors, Some(bounds.map(exact)));
        let places = steps.map(|steps| simd.sub_i32(steps, first));
        // SAFETY: the caller vouches for the pixels, and for the table: no step is beyond its bounds.
        unsafe { look_up(simd, entries, places, to.start.add(p * to.pixel).cast()) };
    }
}

/// Sums as real values.
///
/// # Safety
/// `to` must be valid for writing the pixels.
#[inline(always)]
unsafe fn store_reals<S: Simd, const P: usize>(
    simd: S,
    scales: [S::V; 2],
    bias: [S::V; 2],
    sums: [[S::I; 2]; P],
    to: Target,
) {
    for (p, sums) in sums.into_iter().enumerate() {
        let mut reals = [simd.splat(0.0); 2];
        for (half, real) in reals.iter_mut().enumerate() {
            *real = simd.add(simd.mul(simd.real(sums[half]), scales[half]), bias[half]);
        }
        // SAFETY: the caller vouches for the pixels.
        unsafe {
            simd.store(to.start.add(p * to.pixel), reals[0]);
            if let Some(second) = to.second {
                simd.store(second.add(p * to.pixel), reals[1]);
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
unsafe fn lanes<S: Simd>(simd: S, values: &[f32], block: usize) -> [S::V; 2] {
    // SAFETY: the caller vouches for sixteen entries from here on.
    unsafe {
        let values = values.as_ptr().add(block * LANES);
        [simd.load(values), simd.load(values.add(BLOCK))]
    }
}

/// Sums as steps, within bounds.
#[inline(always)]
fn steps<S: Simd>(simd: S, sums: [S::I; 2], factors: [S::V; 2], bounds: Option<[f32; 2]>) -> [S::I; 2] {
    let mut steps = sums;
    for (half, steps) in steps.iter_mut().enumerate() {
        let mut scaled = simd.mul(simd.real(sums[half]), factors[half]);
        if let Some([low, high]) = bounds {
            scaled = simd.min(simd.max(scaled, simd.splat(low)), simd.splat(high));
        }
        *steps = simd.nearest(scaled);
    }
    steps
}

/// Stores what `entries` has at `places`.
///
/// # Safety
/// `to` must be valid for writing sixteen bytes, and places must be those of entries.
#[inline(always)]
unsafe fn look_up<S: Simd>(simd: S, entries: &[u8], places: [S::I; 2], to: *mut [u8; LANES]) {
    let (mut lanes, mut bytes) = ([0_i32; LANES], [0_u8; LANES]);
    // SAFETY: arrays of sixteen, and the caller vouches for the rest.
    unsafe {
        simd.store_i32(lanes.as_mut_ptr(), places[0]);
        simd.store_i32(lanes.as_mut_ptr().add(BLOCK), places[1]);
        for (byte, place) in bytes.iter_mut().zip(lanes) {
            *byte = *entries.get_unchecked(place.cast_unsigned() as usize);
        }
        to.write_unaligned(bytes);
    }
}
