//! Bilinear resize with OpenCV's `INTER_LINEAR` geometry (half-pixel centers, two taps whatever the scale, borders
//! repeated) in 11-bit fixed point, so that results are the same on every machine. Tables and buffers are kept
//! between frames, which the resize crates do not do.

use super::LetterboxMap;

const WEIGHT_BITS: u32 = 11;
const ONE: u32 = 1 << WEIGHT_BITS;

/// Two neighboring source positions and the weight of the second, of [`ONE`].
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    first: usize,
    second: usize,
    weight: u32,
}

/// Resizes RGB frames to the size a [`LetterboxMap`] asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Resizer {
    /// Source and resized width and height of the tables.
    sizes_px: [usize; 4],
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// One source row blended vertically, with [`WEIGHT_BITS`] more bits.
    blended: Vec<u32>,
    resized: Vec<u8>,
}

impl Resizer {
    /// Makes the tables for `map`, unless they are there.
    pub(super) fn prepare(&mut self, map: &LetterboxMap) {
        let sizes_px =
            [map.source_width_px, map.source_height_px, map.resized_width_px, map.resized_height_px];
        if self.sizes_px == sizes_px {
            return;
        }
        self.sizes_px = sizes_px;
        fill_taps(&mut self.columns, map.source_width_px, map.resized_width_px);
        fill_taps(&mut self.rows, map.source_height_px, map.resized_height_px);
        self.blended.clear();
        self.blended.resize(map.source_width_px * 3, 0);
        self.resized.clear();
        self.resized.resize(map.resized_width_px * 3, 0);
    }

    /// Gives each resized row of `rgb` with its number to `sink`.
    pub(super) fn run(&mut self, rgb: &[u8], mut sink: impl FnMut(usize, &[u8])) {
        let row_len = self.blended.len();
        for (number, row) in self.rows.iter().enumerate() {
            let first = &rgb[row.first * row_len..][..row_len];
            let second = &rgb[row.second * row_len..][..row_len];
            blend_rows(first, second, row.weight, &mut self.blended);
            blend_columns(&self.blended, &self.columns, &mut self.resized);
            sink(number, &self.resized);
        }
    }
}

fn blend_rows(first: &[u8], second: &[u8], weight: u32, blended: &mut [u32]) {
    for ((out, &a), &b) in blended.iter_mut().zip(first).zip(second) {
        *out = u32::from(a) * (ONE - weight) + u32::from(b) * weight;
    }
}

fn blend_columns(blended: &[u32], columns: &[Tap], resized: &mut [u8]) {
    const HALF: u32 = 1 << (2 * WEIGHT_BITS - 1);
    for (out, tap) in resized.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let first = &blended[tap.first * 3..][..3];
        let second = &blended[tap.second * 3..][..3];
        for channel in 0..3 {
            let sum = first[channel] * (ONE - tap.weight) + second[channel] * tap.weight;
            #[expect(clippy::cast_possible_truncation, reason = "a weighted mean of bytes is a byte")]
            let byte = ((sum + HALF) >> (2 * WEIGHT_BITS)) as u8;
            out[channel] = byte;
        }
    }
}

fn fill_taps(taps: &mut Vec<Tap>, source_px: usize, resized_px: usize) {
    taps.clear();
    taps.extend((0..resized_px).map(|position| tap(position, source_px, resized_px)));
}

/// OpenCV: the center of resized pixel `p` lies at `(p + 0.5) * source / resized - 0.5` of the source.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions lie within the image, whose sides are far below 2^24"
)]
fn tap(position: usize, source_px: usize, resized_px: usize) -> Tap {
    let center = (position as f64 + 0.5) * (source_px as f64 / resized_px as f64) - 0.5;
    let center = center.clamp(0.0, (source_px - 1) as f64);
    let first = center as usize;
    let weight = ((center - first as f64) * f64::from(ONE)).round() as u32;
    Tap { first, second: (first + 1).min(source_px - 1), weight }
}

#[cfg(test)]
mod tests {}
