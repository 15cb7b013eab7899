//! Bilinear resize with OpenCV's `INTER_LINEAR` geometry (half-pixel centers, two taps whatever the scale, borders
//! repeated) in 11-bit fixed point, so that results are the same on every machine. Tables and buffers are kept
//! between frames, which the resize crates do not do.

use multiversion::multiversion;

use super::LetterboxMap;

pub(super) const WEIGHT_BITS: u32 = 11;
pub(super) const ONE: u32 = 1 << WEIGHT_BITS;

/// A source position and the weight, of [`ONE`], of its successor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tap {
    pub(super) first: usize,
    pub(super) weight: u32,
}

/// Resizes RGB frames to the size a [`LetterboxMap`] asks for.
#[derive(Debug, Clone, Default)]
pub(super) struct Resizer {
    /// Source and resized width and height of the tables.
    sizes_px: [usize; 4],
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// One source row blended vertically, with [`WEIGHT_BITS`] more bits, and a pixel more that is never weighed.
    blended: Vec<[u32; 3]>,
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
        self.blended.resize(map.source_width_px + 1, [0; 3]);
        self.resized.clear();
        self.resized.resize(map.resized_width_px * 3, 0);
    }

    /// Gives each resized row of `rgb` with its number to `sink`.
    pub(super) fn run(&mut self, rgb: &[u8], mut sink: impl FnMut(usize, &[u8])) {
        let [source_width, source_height, width, height] = self.sizes_px;
        if (source_width, source_height) == (width, height) {
            return rgb
                .chunks_exact(source_width * 3)
                .enumerate()
                .for_each(|(number, row)| sink(number, row));
        }
        let source_row = |row: usize| &rgb[row * source_width * 3..][..source_width * 3];
        for (number, tap) in self.rows.iter().enumerate() {
            let second = (tap.first + 1).min(source_height - 1);
            blend_rows(
                source_row(tap.first),
                source_row(second),
                tap.weight,
                self.blended.as_flattened_mut(),
            );
            blend_columns(&self.blended, &self.columns, &mut self.resized);
            sink(number, &self.resized);
        }
    }
}

/// The mean of two rows, weighed, with [`WEIGHT_BITS`] more bits.
#[multiversion(targets("x86_64+avx2"))]
pub(super) fn blend_rows(first: &[u8], second: &[u8], weight: u32, blended: &mut [u32]) {
    for ((out, &a), &b) in blended.iter_mut().zip(first).zip(second) {
        *out = u32::from(a) * (ONE - weight) + u32::from(b) * weight;
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn blend_columns(blended: &[[u32; 3]], columns: &[Tap], resized: &mut [u8]) {
    const HALF: u32 = 1 << (2 * WEIGHT_BITS - 1);
    for (out, tap) in resized.as_chunks_mut::<3>().0.iter_mut().zip(columns) {
        let [first, second] = [blended[tap.first], blended[tap.first + 1]];
        let (first_weight, second_weight) = (ONE - tap.weight, tap.weight);
        for channel in 0..3 {
            let sum = first[channel] * first_weight + second[channel] * second_weight;
            #[expect(clippy::cast_possible_truncation, reason = "a weighted mean of bytes is a byte")]
            let byte = ((sum + HALF) >> (2 * WEIGHT_BITS)) as u8;
            out[channel] = byte;
        }
    }
}

pub(super) fn fill_taps(taps: &mut Vec<Tap>, source_px: usize, resized_px: usize) {
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
    Tap { first, weight }
}

#[cfg(test)]
mod tests {
    use artifact::Preprocess;
    use fast_image_resize as fir;
    use proptest::prelude::*;

    use super::*;

    /// Resizes to exactly `to_px`, without letterbox.
    fn resize(rgb: &[u8], from_px: (usize, usize), to_px: (usize, usize)) -> Vec<u8> {
        let map = LetterboxMap {
            resized_width_px: to_px.0,
            resized_height_px: to_px.1,
            ..LetterboxMap::fit(from_px.0, from_px.1, &Preprocess::yolo(to_px.0, to_px.1))
        };
        let mut resizer = Resizer::default();
        resizer.prepare(&map);
        let mut out = Vec::new();
        resizer.run(rgb, |row, pixels| {
            assert_eq!(row * to_px.0 * 3, out.len());
            out.extend_from_slice(pixels);
        });
        out
    }

    /// The largest difference between two images, in levels.
    fn distance(a: &[u8], b: &[u8]) -> u8 {
        assert_eq!(a.len(), b.len());
        a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
    }

    /// 7x5 pixels: `(37 x + 91 y + 53 c + 29 x y) mod 256`.
    fn pattern() -> Vec<u8> {
        let value = |x: usize, y: usize, c: usize| (x * 37 + y * 91 + c * 53 + x * y * 29) % 256;
        let positions = (0..5).flat_map(|y| (0..7).flat_map(move |x| (0..3).map(move |c| (x, y, c))));
        positions.map(|(x, y, c)| u8::try_from(value(x, y, c)).unwrap()).collect()
    }

    /// `cv2.resize(pattern, (4, 3), interpolation=cv2.INTER_LINEAR)` of OpenCV 5.0.0.
    const OPENCV_4X3: [u8; 36] = [
        48, 101, 122, 119, 97, 150, 126, 179, 232, 207, 100, 57, 122, 175, 68, 128, 149, 202, 70, 91, 144,
        204, 97, 150, 67, 120, 173, 105, 158, 62, 132, 35, 88, 95, 94, 147,
    ];

    /// The same for `(9, 6)`.
    const OPENCV_9X6: [u8; 162] = [
        0, 53, 106, 25, 77, 130, 53, 106, 159, 82, 135, 188, 111, 164, 217, 140, 193, 246, 168, 221, 132,
        197, 165, 47, 222, 19, 72, 68, 121, 174, 107, 160, 85, 153, 121, 67, 156, 60, 113, 53, 106, 159, 98,
        151, 204, 144, 197, 108, 190, 157, 40, 229, 26, 79, 144, 197, 101, 100, 153, 85, 114, 120, 114, 155,
        92, 145, 137, 40, 93, 85, 105, 158, 116, 169, 163, 181, 148, 130, 236, 33, 86, 113, 166, 70, 85, 138,
        141, 71, 124, 177, 95, 115, 168, 178, 82, 135, 63, 82, 135, 89, 142, 195, 172, 140, 193, 244, 41, 94,
        40, 93, 146, 84, 137, 190, 80, 133, 158, 61, 114, 117, 114, 167, 220, 66, 69, 122, 90, 115, 168, 142,
        131, 184, 187, 48, 101, 108, 161, 214, 39, 92, 145, 73, 126, 65, 135, 188, 42, 55, 108, 161, 174, 28,
        81, 151, 90, 143, 70, 124, 176, 2, 55, 108,
    ];

    #[test]
    fn opencv_gives_the_same_within_one_level() {
        assert!(distance(&resize(&pattern(), (7, 5), (4, 3)), &OPENCV_4X3) <= 1);
        assert!(distance(&resize(&pattern(), (7, 5), (9, 6)), &OPENCV_9X6) <= 1);
    }

    #[test]
    fn the_same_size_is_the_same_image() {
        assert_eq!(resize(&pattern(), (7, 5), (7, 5)), pattern());
    }

    #[test]
    fn doubling_weighs_neighbors_three_to_one() {
        let out = resize(&[0, 0, 0, 100, 100, 100], (2, 1), (4, 1));
        assert_eq!(out.iter().step_by(3).copied().collect::<Vec<_>>(), [0, 25, 75, 100]);
    }

    #[test]
    fn a_strong_reduction_takes_two_taps_and_no_average() {
        let mut row = [0; 9 * 3];
        row[4 * 3..5 * 3].fill(90);
        assert_eq!(resize(&row, (9, 1), (1, 1)), [90; 3]);
    }

    proptest! {
        #[test]
        fn fast_image_resize_gives_the_same_within_one_level(
            from_px in (1_usize..40, 1_usize..40),
            to_px in (1_usize..40, 1_usize..40),
            seed in any::<u32>(),
        ) {
            let mut state = seed;
            let rgb: Vec<u8> = (0..from_px.0 * from_px.1 * 3).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            }).collect();
            let side = |px: usize| u32::try_from(px).unwrap();
            let source = fir::images::ImageRef::new(side(from_px.0), side(from_px.1), &rgb, fir::PixelType::U8x3).unwrap();
            let mut target = fir::images::Image::new(side(to_px.0), side(to_px.1), fir::PixelType::U8x3);
            let bilinear = fir::ResizeAlg::Interpolation(fir::FilterType::Bilinear);
            fir::Resizer::new().resize(&source, &mut target, &fir::ResizeOptions::new().resize_alg(bilinear)).unwrap();
            prop_assert!(distance(&resize(&rgb, from_px, to_px), target.buffer()) <= 1);
        }
    }
}
