//! From coefficients to samples (ITU-T T.81, A.3.3), in integers. Values of 8 columns are a vector of most processors: a pass over
//! columns, the block turned, and the same pass again. Sums of 32 bits hold whatever 16 bits the coefficients have.

/// Fractional bits of weights.
const WEIGHT_BITS: u32 = 13;
/// Fractional bits of values between the passes.
const KEPT_BITS: u32 = 3;

/// `√2 cos(n π / 16)` for 1 to 7, with [`WEIGHT_BITS`].
const C1: i32 = 11363;
const C2: i32 = 10703;
const C3: i32 = 9633;
const C5: i32 = 6437;
const C6: i32 = 4433;
const C7: i32 = 2260;

/// 8 rows of 8 values.
pub(super) type Block<T> = [[T; 8]; 8];

/// Samples of dequantized coefficients, of which only the first `N` rows and columns are not 0. Coefficients lie turned: rows are
/// frequencies across.
#[inline(always)]
pub(super) fn samples<const N: usize>(coefficients: &Block<i16>) -> Block<u8> {
    let across = pass::<N>(coefficients, WEIGHT_BITS - KEPT_BITS);
    // Each pass leaves √8 times what it should be, which is 3 bits together.
    to_samples(&pass::<N>(&turned(&across), WEIGHT_BITS + KEPT_BITS + 3))
}

/// The sample that all of a block have, of its mean.
#[inline(always)]
pub(super) fn flat(mean: i16) -> u8 {
    to_sample((mean.saturating_add(4)) >> 3)
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn to_sample(value: i16) -> u8 {
    value.saturating_add(128).clamp(0, 255) as u8
}

#[inline(always)]
fn to_samples(values: &Block<i16>) -> Block<u8> {
    let mut samples = [[0; 8]; 8];
    for (sample, value) in samples.as_flattened_mut().iter_mut().zip(values.as_flattened()) {
        *sample = to_sample(*value);
    }
    samples
}

/// Transforms columns and takes `shift` bits off.
#[inline(always)]
fn pass<const N: usize>(rows: &Block<i16>, shift: u32) -> Block<i16> {
    let mut out = [[0; 8]; 8];
    for at in 0..8 {
        let x = |row: usize| if row < N { i32::from(rows[row][at]) } else { 0 };
        let half = 1 << (shift - 1);
        let (sum, difference) =
            (((x(0) + x(4)) << WEIGHT_BITS) + half, ((x(0) - x(4)) << WEIGHT_BITS) + half);
        let (outer, inner) = (x(2) * C2 + x(6) * C6, x(2) * C6 - x(6) * C2);
        let even = [sum + outer, difference + inner, difference - inner, sum - outer];
        let odd = [
            x(1) * C1 + x(3) * C3 + x(5) * C5 + x(7) * C7,
            x(1) * C3 - x(3) * C7 - x(5) * C1 - x(7) * C5,
            x(1) * C5 - x(3) * C1 + x(5) * C7 + x(7) * C3,
            x(1) * C7 - x(3) * C5 + x(5) * C3 - x(7) * C1,
        ];
        for row in 0..4 {
            out[row][at] = to_i16((even[row] + odd[row]) >> shift);
            out[7 - row][at] = to_i16((even[row] - odd[row]) >> shift);
        }
    }
    out
}

#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "clamped to 16 bits")]
fn to_i16(value: i32) -> i16 {
    value.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

/// Rows for columns: the halves of the block interleaved, three times, which processors have instructions for.
#[inline(always)]
fn turned(block: &Block<i16>) -> Block<i16> {
    interleaved(&interleaved(&interleaved(block)))
}

#[inline(always)]
fn interleaved(block: &Block<i16>) -> Block<i16> {
    let mut out = [[0; 8]; 8];
    let (upper, lower) = block.as_flattened().split_at(32);
    for ((pair, a), b) in out.as_flattened_mut().as_chunks_mut::<2>().0.iter_mut().zip(upper).zip(lower) {
        *pair = [*a, *b];
    }
    out
}
