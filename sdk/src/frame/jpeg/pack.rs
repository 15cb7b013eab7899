//! From samples of each component to a frame: as NV12 or YUYV where a camera of that kind would have the same samples, and as RGB
//! otherwise. Colors that several pixels share are those of each of them.

use multiversion::multiversion;

use super::Packing;
use super::header::Header;
use super::scan::Strip;

/// A frame that is filled row by row.
pub(super) struct Packer<'a> {
    packing: Packing,
    width_px: usize,
    height_px: usize,
    /// Rows of brightness in a strip.
    strip_rows: usize,
    /// Pixels that share a color, across and down; none where there is no color.
    sharing: Option<[usize; 2]>,
    frame: &'a mut [u8],
    /// Blue and red of each pixel of a row.
    chroma: &'a mut [Vec<u8>; 2],
}

/// What `header` is packed as.
pub(super) fn packing(header: &Header) -> Packing {
    let is_even = header.sides_px.iter().all(|side| side.is_multiple_of(2));
    match header.sharing() {
        Some([2, 2]) if is_even => Packing::Nv12,
        Some([2, 1]) if is_even => Packing::Yuyv,
        _ => Packing::Rgb,
    }
}

impl<'a> Packer<'a> {
    /// Makes room in `frame`.
    pub(super) fn new(header: &Header, frame: &'a mut Vec<u8>, chroma: &'a mut [Vec<u8>; 2]) -> Self {
        let packing = packing(header);
        let [width_px, height_px] = header.sides_px;
        frame.resize(packing.bytes(header.sides_px), 0);
        let strip_rows = header.mcu_blocks()[1] * 8;
        Self { packing, width_px, height_px, strip_rows, sharing: header.sharing(), frame, chroma }
    }

    /// Packs the rows of strip `number`.
    pub(super) fn pack(&mut self, number: usize, strips: &[Strip; 3]) {
        let begin = number * self.strip_rows;
        let rows = self.strip_rows.min(self.height_px - begin);
        let width = self.width_px;
        match self.packing {
            Packing::Nv12 => {
                let (luma, chroma) = self.frame.split_at_mut(width * self.height_px);
                for row in 0..rows {
                    luma[(begin + row) * width..][..width].copy_from_slice(strips[0].row(row, width));
                }
                for row in 0..rows / 2 {
                    let [blue, red] = [1, 2].map(|at| strips[at].row(row, width / 2));
                    pairs(blue, red, &mut chroma[(begin / 2 + row) * width..][..width]);
                }
            }
            Packing::Yuyv => {
                for row in 0..rows {
                    let [blue, red] = [1, 2].map(|at| strips[at].row(row, width / 2));
                    yuyv(
                        strips[0].row(row, width),
                        blue,
                        red,
                        &mut self.frame[(begin + row) * 2 * width..][..2 * width],
                    );
                }
            }
            Packing::Rgb => {
                for row in 0..rows {
                    let rgb = &mut self.frame[(begin + row) * 3 * width..][..3 * width];
                    let luma = strips[0].row(row, width);
                    let Some([across, down]) = self.sharing else {
                        gray(luma, rgb);
                        continue;
                    };
                    for (chroma, strip) in self.chroma.iter_mut().zip(&strips[1..]) {
                        chroma.resize(width.next_multiple_of(2), 0);
                        spread(strip.row(row / down, width.div_ceil(across)), across, chroma);
                    }
                    let [blue, red] = self.chroma;
                    to_rgb(luma, blue, red, rgb);
                }
            }
        }
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn pairs(first: &[u8], second: &[u8], pairs: &mut [u8]) {
    for ((pair, &a), &b) in pairs.as_chunks_mut::<2>().0.iter_mut().zip(first).zip(second) {
        *pair = [a, b];
    }
}

#[multiversion(targets("x86_64+avx2"))]
fn yuyv(luma: &[u8], blue: &[u8], red: &[u8], row: &mut [u8]) {
    let groups = row.as_chunks_mut::<4>().0.iter_mut().zip(luma.as_chunks::<2>().0);
    for (((group, &[first, second]), &u), &v) in groups.zip(blue).zip(red) {
        *group = [first, u, second, v];
    }
}

/// Each sample once for each pixel that shares it, one or two.
fn spread(samples: &[u8], across: usize, pixels: &mut [u8]) {
    if across == 2 {
        pairs(samples, samples, pixels);
    } else {
        pixels[..samples.len()].copy_from_slice(samples);
    }
}

fn gray(luma: &[u8], rgb: &mut [u8]) {
    for (pixel, &luma) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(luma) {
        *pixel = [luma; 3];
    }
}

/// Fractional bits of weights.
const BITS: u32 = 16;

/// JFIF: the matrix of ITU-R BT.601 with values of 0 to 255.
#[multiversion(targets("x86_64+avx2"))]
fn to_rgb(luma: &[u8], blue: &[u8], red: &[u8], rgb: &mut [u8]) {
    const RED_V: i32 = 91_881;
    const GREEN_U: i32 = 22_554;
    const GREEN_V: i32 = 46_802;
    const BLUE_U: i32 = 116_130;
    for (((pixel, &y), &u), &v) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(luma).zip(blue).zip(red) {
        let light = (i32::from(y) << BITS) + (1 << (BITS - 1));
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        *pixel = [light + v * RED_V, light - u * GREEN_U - v * GREEN_V, light + u * BLUE_U].map(to_byte);
    }
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to a byte")]
fn to_byte(value: i32) -> u8 {
    (value >> BITS).clamp(0, 255) as u8
}
