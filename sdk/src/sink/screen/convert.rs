//! Frames of any form as XRGB8888, as large as a display takes them: the nearest pixel, black beside.

use crate::frame::{Matrix, Range, YuvColor};
use crate::source::{Format, Shot};

/// Where pixels go, kept from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Fitting {
    sizes: [[usize; 2]; 2],
    /// Column of the frame for each of the display's that it covers.
    columns: Vec<usize>,
}

impl Fitting {
    /// Draws a whole frame into rows of `stride` bytes.
    pub(super) fn draw(&mut self, shot: &Shot, memory: &mut [u8], stride: usize, display_px: [usize; 2]) {
        let frame_px = [shot.width_px, shot.height_px];
        let covered = covered(frame_px, display_px);
        if self.sizes != [frame_px, display_px] {
            self.sizes = [frame_px, display_px];
            self.columns.clear();
            self.columns.extend((0..covered[0]).map(|x| x * frame_px[0] / covered[0]));
        }
        let [left, top] = [0, 1].map(|side| (display_px[side] - covered[side]) / 2);
        let pixel = Pixels::new(shot);
        for (y, row) in memory.chunks_mut(stride).take(display_px[1]).enumerate() {
            let Some(inside) = y.checked_sub(top).filter(|inside| *inside < covered[1]) else {
                row.fill(0);
                continue;
            };
            let source = inside * frame_px[1] / covered[1];
            let pixels = row.as_chunks_mut::<4>().0;
            pixels.iter_mut().take(left).for_each(|pixel| *pixel = [0; 4]);
            pixels.iter_mut().skip(left + covered[0]).for_each(|pixel| *pixel = [0; 4]);
            for (target, x) in pixels.iter_mut().skip(left).zip(&self.columns) {
                let [r, g, b] = pixel.at(*x, source);
                // XRGB8888 is a little-endian word.
                *target = [b, g, r, 0];
            }
        }
    }
}

/// The largest size of the frame's shape that the display holds.
fn covered(frame_px: [usize; 2], display_px: [usize; 2]) -> [usize; 2] {
    let [[width, height], [most_wide, most_high]] = [frame_px, display_px];
    if width * most_high > height * most_wide {
        [most_wide, (height * most_wide / width).max(1)]
    } else {
        [(width * most_high / height).max(1), most_high]
    }
}

/// Pixels of a frame as red, green and blue.
struct Pixels<'a> {
    shot: &'a Shot,
    weights: Weights,
}

/// What Y, U and V add to red, green and blue, in units of 2^-16.
struct Weights {
    least: i32,
    luma: i32,
    red: i32,
    green: [i32; 2],
    blue: i32,
}

impl<'a> Pixels<'a> {
    fn new(shot: &'a Shot) -> Self {
        let color = match shot.format {
            Format::Rgb => YuvColor::default(),
            Format::Nv12(color) | Format::Yuyv(color) => color,
        };
        Self { shot, weights: Weights::new(color) }
    }

    fn at(&self, x: usize, y: usize) -> [u8; 3] {
        let Shot { width_px, height_px, bytes, .. } = self.shot;
        let place = y * width_px + x;
        match self.shot.format {
            Format::Rgb => [bytes[place * 3], bytes[place * 3 + 1], bytes[place * 3 + 2]],
            Format::Nv12(_) => {
                let chroma = width_px * height_px + y / 2 * width_px + x / 2 * 2;
                self.weights.rgb(bytes[place], bytes[chroma], bytes[chroma + 1])
            }
            Format::Yuyv(_) => {
                let pair = (y * width_px + x / 2 * 2) * 2;
                self.weights.rgb(bytes[place * 2], bytes[pair + 1], bytes[pair + 3])
            }
        }
    }
}

impl Weights {
    #[expect(clippy::cast_possible_truncation, reason = "weights below 3, in units of 2^-16")]
    fn new(color: YuvColor) -> Self {
        let [red, blue] = match color.matrix {
            Matrix::Bt601 => [0.299, 0.114],
            Matrix::Bt709 => [0.2126, 0.0722],
        };
        let (least, luma, chroma) = match color.range {
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0, 1.0, 1.0),
        };
        let unit = |weight: f64| (weight * 65_536.0).round() as i32;
        let (to_red, to_blue) = (2.0 * (1.0 - red), 2.0 * (1.0 - blue));
        let green = 1.0 - red - blue;
        Self {
            least,
            luma: unit(luma),
            red: unit(chroma * to_red),
            green: [unit(-chroma * to_blue * blue / green), unit(-chroma * to_red * red / green)],
            blue: unit(chroma * to_blue),
        }
    }

    #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
    fn rgb(&self, y: u8, u: u8, v: u8) -> [u8; 3] {
        let (u, v) = (i32::from(u) - 128, i32::from(v) - 128);
        let luma = (i32::from(y) - self.least) * self.luma + 0x8000;
        [self.red * v, self.green[0] * u + self.green[1] * v, self.blue * u]
            .map(|chroma| ((luma + chroma) >> 16).clamp(0, 255) as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_lie_in_the_middle_with_black_beside() {
        let shot = Shot { width_px: 2, height_px: 2, bytes: [1, 2, 3].repeat(4), ..Shot::default() };
        let mut memory = vec![0xff; 8 * 4 * 4];
        Fitting::default().draw(&shot, &mut memory, 8 * 4, [8, 4]);
        for row in memory.chunks_exact(32) {
            assert_eq!(row, [[0; 4].repeat(2), [3, 2, 1, 0].repeat(4), [0; 4].repeat(2)].concat());
        }
        assert_eq!(covered([1920, 1080], [800, 480]), [800, 450]);
        assert_eq!(covered([480, 640], [800, 480]), [360, 480]);
    }

    #[test]
    fn colors_are_those_of_the_frame() {
        let red = |color, [y, u, v]: [u8; 3]| {
            let bytes = [vec![y; 4], vec![u, v]].concat();
            let shot =
                Shot { width_px: 2, height_px: 2, bytes, format: Format::Nv12(color), ..Shot::default() };
            let mut memory = vec![0; 16];
            Fitting::default().draw(&shot, &mut memory, 8, [2, 2]);
            assert!(memory[2] > 250 && memory[0] < 5 && memory[1] < 5, "{memory:?}");
        };
        red(YuvColor::default(), [81, 90, 240]);
        red(YuvColor { matrix: Matrix::Bt709, range: Range::Full }, [54, 99, 255]);
    }
}
