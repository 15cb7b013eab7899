//! Resizes a camera's frame and turns it into RGB, row by row: brightness and color are resized each at its own resolution,
//! with the taps and the fixed point of `resize`, and meet in the row that is written. No frame is stored in between.

use multiversion::multiversion;

use super::LetterboxMap;
use super::resize::{ONE, Tap, WEIGHT_BITS, blend_rows, fill_taps};
use crate::frame::{Matrix, Plane, Range, Samples, YuvColor, YuvFrame};

/// Makes rows of RGB from frames of one size and format.
#[derive(Debug, Clone, Default)]
pub(super) struct YuvResizer {
    /// Source and resized width and height, and rows of chroma, of the tables.
    sizes_px: [usize; 5],
    luma: Component,
    chroma: Component,
    /// Resized samples of Y, U and V.
    samples: [Vec<i32>; 3],
    /// Their red, green and blue.
    planes: [Vec<u8>; 3],
    rgb: Vec<u8>,
}

/// Tables of what has one resolution.
#[derive(Debug, Clone, Default)]
struct Component {
    columns: Vec<Tap>,
    rows: Vec<Tap>,
    /// A row of bytes blended vertically, and a group of samples more that is never weighed.
    blended: Vec<u32>,
}

/// Bytes in the largest group of samples.
const GROUP: usize = 4;

impl YuvResizer {
    /// Makes the tables for `map` and frames like `frame`, unless they are there.
    pub(super) fn prepare(&mut self, map: &LetterboxMap, frame: &YuvFrame<'_>) {
        let (row_bytes, chroma_rows) = match frame.samples {
            Samples::Nv12 { .. } => (map.source_width_px, map.source_height_px / 2),
            Samples::Yuyv(_) => (map.source_width_px * 2, map.source_height_px),
        };
        let (width, height) = (map.resized_width_px, map.resized_height_px);
        let sizes_px = [map.source_width_px, map.source_height_px, width, height, chroma_rows];
        if self.sizes_px == sizes_px {
            return;
        }
        self.sizes_px = sizes_px;
        self.luma.prepare([map.source_width_px, map.source_height_px], [width, height], row_bytes);
        self.chroma.prepare([map.source_width_px / 2, chroma_rows], [width, height], row_bytes);
        for samples in &mut self.samples {
            samples.clear();
            samples.resize(width, 0);
        }
        for plane in &mut self.planes {
            plane.clear();
            plane.resize(width, 0);
        }
        self.rgb.clear();
        self.rgb.resize(width * 3, 0);
    }

    /// Gives each resized row of `frame` with its number to `sink`.
    pub(super) fn run(&mut self, frame: &YuvFrame<'_>, mut sink: impl FnMut(usize, &[u8])) {
        let coefficients = Coefficients::of(frame.color);
        let [_, _, _, height, _] = self.sizes_px;
        let [y, u, v] = &mut self.samples;
        for number in 0..height {
            match frame.samples {
                Samples::Nv12 { luma, chroma } => {
                    self.luma.blend(luma, number);
                    columns::<1>(&self.luma, 0, y);
                    self.chroma.blend(chroma, number);
                    columns::<2>(&self.chroma, 0, u);
                    columns::<2>(&self.chroma, 1, v);
                }
                // Brightness and color share rows, and so the taps between them.
                Samples::Yuyv(plane) => {
                    self.luma.blend(plane, number);
                    columns::<2>(&self.luma, 0, y);
                    self.chroma.blend(plane, number);
                    columns::<4>(&self.chroma, 1, u);
                    columns::<4>(&self.chroma, 3, v);
                }
            }
            let [red, green, blue] = &mut self.planes;
            to_planes(coefficients, [&*y, &*u, &*v], [&mut *red, &mut *green, &mut *blue]);
            interleave([&*red, &*green, &*blue], &mut self.rgb);
            sink(number, &self.rgb);
        }
    }
}

impl Component {
    fn prepare(&mut self, source_px: [usize; 2], resized_px: [usize; 2], row_bytes: usize) {
        fill_taps(&mut self.columns, source_px[0], resized_px[0]);
        fill_taps(&mut self.rows, source_px[1], resized_px[1]);
        self.blended.clear();
        self.blended.resize(row_bytes + GROUP, 0);
    }

    /// Blends the two rows of `plane` that resized row `number` lies between.
    fn blend(&mut self, plane: Plane<'_>, number: usize) {
        let len = self.blended.len() - GROUP;
        let Tap { first, weight } = self.rows[number];
        let first_row = plane.row(first, len);
        let second_row = if weight == 0 { first_row } else { plane.row(first + 1, len) };
        blend_rows(first_row, second_row, weight, &mut self.blended[..len]);
    }
}

/// Blends columns of the samples at `offset` of groups of `STEP`.
fn columns<const STEP: usize>(component: &Component, offset: usize, samples: &mut [i32]) {
    blend_samples::<STEP>(&component.blended, offset, &component.columns, samples);
}

#[multiversion(targets("x86_64+avx2"))]
fn blend_samples<const STEP: usize>(blended: &[u32], offset: usize, columns: &[Tap], samples: &mut [i32]) {
    const HALF: u32 = 1 << (2 * WEIGHT_BITS - 1);
    for (sample, tap) in samples.iter_mut().zip(columns) {
        let at = tap.first * STEP + offset;
        let sum = blended[at] * (ONE - tap.weight) + blended[at + STEP] * tap.weight;
        *sample = ((sum + HALF) >> (2 * WEIGHT_BITS)).cast_signed();
    }
}

/// Bits behind the point of [`Coefficients`].
const COLOR_BITS: u32 = 20;

/// The matrix from Y, U and V to RGB, in fixed point.
#[derive(Debug, Clone, Copy)]
struct Coefficients {
    black: i32,
    luma: i32,
    red_v: i32,
    green_u: i32,
    green_v: i32,
    blue_u: i32,
}

impl Coefficients {
    /// From the weights that red and blue have in Y, as ITU-R BT.601 and BT.709 define the rest by.
    fn of(color: YuvColor) -> Self {
        let (red, blue) = match color.matrix {
            Matrix::Bt601 => (0.299, 0.114),
            Matrix::Bt709 => (0.2126, 0.0722),
        };
        let (black, luma, chroma) = match color.range {
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0, 1.0, 1.0),
        };
        let green = 1.0 - red - blue;
        let (red_v, blue_u) = (2.0 * (1.0 - red) * chroma, 2.0 * (1.0 - blue) * chroma);
        Self {
            black,
            luma: fixed(luma),
            red_v: fixed(red_v),
            green_u: fixed(blue_u * blue / green),
            green_v: fixed(red_v * red / green),
            blue_u: fixed(blue_u),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "coefficients are below 3")]
fn fixed(coefficient: f64) -> i32 {
    (coefficient * f64::from(1_u32 << COLOR_BITS)).round() as i32
}

/// Fills `planes` with red, green and blue of the samples of Y, U and V.
#[multiversion(targets("x86_64+avx2"))]
fn to_planes(coefficients: Coefficients, samples: [&[i32]; 3], planes: [&mut [u8]; 3]) {
    let Coefficients { black, luma, red_v, green_u, green_v, blue_u } = coefficients;
    let [y, u, v] = samples;
    let [red, green, blue] = planes;
    let light = |y: &i32| (y - black) * luma + HALF_COLOR;
    for ((red, y), v) in red.iter_mut().zip(y).zip(v) {
        *red = to_byte(light(y) + (v - 128) * red_v);
    }
    for (((green, y), u), v) in green.iter_mut().zip(y).zip(u).zip(v) {
        *green = to_byte(light(y) - (u - 128) * green_u - (v - 128) * green_v);
    }
    for ((blue, y), u) in blue.iter_mut().zip(y).zip(u) {
        *blue = to_byte(light(y) + (u - 128) * blue_u);
    }
}

/// Pixels of three planes, in a loop of its own because the compiler has shuffles for just this.
#[multiversion(targets("x86_64+avx2"))]
fn interleave([red, green, blue]: [&[u8]; 3], rgb: &mut [u8]) {
    for (((pixel, &red), &green), &blue) in
        rgb.as_chunks_mut::<3>().0.iter_mut().zip(red).zip(green).zip(blue)
    {
        *pixel = [red, green, blue];
    }
}

/// Rounds.
const HALF_COLOR: i32 = 1 << (COLOR_BITS - 1);

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn to_byte(value: i32) -> u8 {
    (value >> COLOR_BITS).clamp(0, 255) as u8
}
