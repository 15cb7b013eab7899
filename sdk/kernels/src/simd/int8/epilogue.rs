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
                let zero = simd.splat_i32(*zero);
                let factors = lanes(simd, multipliers, block);
                for (p, sums) in sums.into_iter().enumerate() {
                    let steps = steps(simd, sums, factors, *bounds);
                    let bytes = steps.map(|steps| simd.add_i32(steps, zero));
                    simd.store_saturated(to.start.add(p * to.pixel).cast(), bytes);
                }
            }
            Ending::Table { multipliers, bounds, entries } => {
                let factors = lanes(simd, multipliers, block);
                let first = simd.splat_i32(bounds[0]);
                let bounds = [exact(bounds[0]), exact(bounds[1])];
                for (p, sums) in sums.into_iter().enumerate() {
                    let [low, high] = steps(simd, sums, factors, Some(bounds));
                    let places = [simd.sub_i32(low, first), simd.sub_i32(high, first)];
                    look_up(simd, entries, places, to.start.add(p * to.pixel).cast());
                }
            }
            Ending::Reals { scales, bias } => {
                let (scales, bias) = (lanes(simd, scales, block), lanes(simd, bias, block));
                for (p, sums) in sums.into_iter().enumerate() {
                    let mut reals = [simd.splat(0.0); 2];
                    for (half, real) in reals.iter_mut().enumerate() {
                        *real = simd.add(simd.mul(simd.real(sums[half]), scales[half]), bias[half]);
                    }
                    simd.store(to.start.add(p * to.pixel), reals[0]);
                    if let Some(second) = to.second {
                        simd.store(second.add(p * to.pixel), reals[1]);
                    }
                }
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
