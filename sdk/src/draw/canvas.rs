//! The memory of a frame as something to draw on: RGB, NV12 and YUYV, through embedded-graphics. Never converts the frame:
//! colors are brought into its own form, and only what is drawn on is written.

use std::convert::Infallible;

use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::Rectangle;

use crate::frame::{Matrix, Range, YuvColor};
use crate::source::{Format, Shot};
use crate::{Error, Image};

/// Borrowed bytes of a frame, rows without padding.
pub(crate) struct Canvas<'a> {
    width_px: usize,
    height_px: usize,
    pixels: Pixels<'a>,
    /// The color drawn with last, in the frame's own form.
    ink: (Rgb888, [u8; 3]),
}

enum Pixels<'a> {
    Rgb(&'a mut [u8]),
    Nv12 { luma: &'a mut [u8], chroma: &'a mut [u8], color: YuvColor },
    Yuyv { bytes: &'a mut [u8], color: YuvColor },
}

impl<'a> Canvas<'a> {
    pub(crate) fn of_image(image: &'a mut Image) -> Self {
        Self::new(image.width_px, image.height_px, Pixels::Rgb(&mut image.rgb))
    }

    /// Fails when sides and bytes do not fit together.
    pub(crate) fn of_shot(shot: &'a mut Shot) -> Result<Self, Error> {
        shot.picture()?;
        let (width_px, height_px, bytes) = (shot.width_px, shot.height_px, &mut shot.bytes[..]);
        let pixels = match shot.format {
            Format::Rgb => Pixels::Rgb(bytes),
            Format::Nv12(color) => {
                let (luma, chroma) = bytes.split_at_mut(width_px * height_px);
                Pixels::Nv12 { luma, chroma, color }
            }
            Format::Yuyv(color) => Pixels::Yuyv { bytes, color },
        };
        Ok(Self::new(width_px, height_px, pixels))
    }

    fn new(width_px: usize, height_px: usize, pixels: Pixels<'a>) -> Self {
        let mut canvas = Self { width_px, height_px, pixels, ink: (Rgb888::BLACK, [0; 3]) };
        canvas.ink.1 = canvas.mixed(Rgb888::BLACK);
        canvas
    }

    /// `color` in the frame's own form.
    fn dip(&mut self, color: Rgb888) -> [u8; 3] {
        if self.ink.0 != color {
            self.ink = (color, self.mixed(color));
        }
        self.ink.1
    }

    fn mixed(&self, color: Rgb888) -> [u8; 3] {
        match &self.pixels {
            Pixels::Rgb(_) => [color.r(), color.g(), color.b()],
            Pixels::Nv12 { color: form, .. } | Pixels::Yuyv { color: form, .. } => to_yuv(color, *form),
        }
    }

    /// The part of `area` that is within the frame: columns and rows.
    fn within(&self, area: &Rectangle) -> Option<[std::ops::Range<usize>; 2]> {
        let part = area.intersection(&self.bounding_box());
        let end = part.bottom_right()?;
        let span = |from: i32, to: i32| Some(usize::try_from(from).ok()?..usize::try_from(to).ok()? + 1);
        Some([span(part.top_left.x, end.x)?, span(part.top_left.y, end.y)?])
    }

    /// Colors one pixel. Those it shares a color sample with follow when it gives the color, in its row and in its column.
    fn dot(&mut self, x: usize, y: usize, ink: [u8; 3], gives: [bool; 2]) {
        let width = self.width_px;
        match &mut self.pixels {
            Pixels::Rgb(bytes) => bytes[(y * width + x) * 3..][..3].copy_from_slice(&ink),
            Pixels::Nv12 { luma, chroma, .. } => {
                luma[y * width + x] = ink[0];
                if gives == [true; 2] {
                    chroma[y / 2 * width + x / 2 * 2..][..2].copy_from_slice(&ink[1..]);
                }
            }
            Pixels::Yuyv { bytes, .. } => {
                bytes[(y * width + x) * 2] = ink[0];
                if gives[0] {
                    let pair = &mut bytes[(y * width + x / 2 * 2) * 2..][..4];
                    (pair[1], pair[3]) = (ink[1], ink[2]);
                }
            }
        }
    }
}

impl OriginDimensions for Canvas<'_> {
    fn size(&self) -> Size {
        Size::new(to_u32(self.width_px), to_u32(self.height_px))
    }
}

impl DrawTarget for Canvas<'_> {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Rgb888>>>(&mut self, pixels: I) -> Result<(), Infallible> {
        for Pixel(point, color) in pixels {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else { continue };
            if x < self.width_px && y < self.height_px {
                let ink = self.dip(color);
                self.dot(x, y, ink, [true; 2]);
            }
        }
        Ok(())
    }

    fn fill_contiguous<I: IntoIterator<Item = Rgb888>>(
        &mut self,
        area: &Rectangle,
        colors: I,
    ) -> Result<(), Infallible> {
        let Some([columns, rows]) = self.within(area) else { return Ok(()) };
        for (point, color) in area.points().zip(colors) {
            let (Ok(x), Ok(y)) = (usize::try_from(point.x), usize::try_from(point.y)) else { continue };
            if columns.contains(&x) && rows.contains(&y) {
                // One pixel of those that share a color gives it, so that letters do not blur what is around them.
                let is_first = |at: usize, start: usize| at.is_multiple_of(2) || at == start;
                let gives = [is_first(x, columns.start), is_first(y, rows.start)];
                let ink = self.dip(color);
                self.dot(x, y, ink, gives);
            }
        }
        Ok(())
    }

    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let Some([columns, rows]) = self.within(area) else { return Ok(()) };
        let ([a, b, c], width) = (self.dip(color), self.width_px);
        // Columns and rows that share a color with one of the area.
        let wide = columns.start & !1..columns.end.next_multiple_of(2);
        match &mut self.pixels {
            Pixels::Rgb(bytes) => {
                for row in rows_of(bytes, width * 3, rows) {
                    row[columns.start * 3..columns.end * 3].as_chunks_mut::<3>().0.fill([a, b, c]);
                }
            }
            Pixels::Nv12 { luma, chroma, .. } => {
                for row in rows_of(chroma, width, rows.start / 2..rows.end.div_ceil(2)) {
                    row[wide.clone()].as_chunks_mut::<2>().0.fill([b, c]);
                }
                for row in rows_of(luma, width, rows) {
                    row[columns.clone()].fill(a);
                }
            }
            Pixels::Yuyv { bytes, .. } => {
                for row in rows_of(bytes, width * 2, rows) {
                    for ([_, sample], x) in
                        row[wide.start * 2..wide.end * 2].as_chunks_mut::<2>().0.iter_mut().zip(wide.clone())
                    {
                        *sample = if x.is_multiple_of(2) { b } else { c };
                    }
                    for [luma, _] in row[columns.start * 2..columns.end * 2].as_chunks_mut::<2>().0 {
                        *luma = a;
                    }
                }
            }
        }
        Ok(())
    }
}

fn rows_of(bytes: &mut [u8], row: usize, rows: std::ops::Range<usize>) -> std::slice::ChunksExactMut<'_, u8> {
    bytes[rows.start * row..rows.end * row].chunks_exact_mut(row)
}

/// Y, U and V of a color (ITU-R BT.601 and BT.709).
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and in range; `as` saturates"
)]
fn to_yuv(color: Rgb888, form: YuvColor) -> [u8; 3] {
    let [r, g, b] = [color.r(), color.g(), color.b()].map(|value| f32::from(value) / 255.0);
    let [red, blue] = match form.matrix {
        Matrix::Bt601 => [0.299, 0.114],
        Matrix::Bt709 => [0.2126, 0.0722],
    };
    let luma = red * r + (1.0 - red - blue) * g + blue * b;
    let [u, v] = [(b - luma) / (2.0 * (1.0 - blue)), (r - luma) / (2.0 * (1.0 - red))];
    let [least, luma_span, chroma_span] = match form.range {
        Range::Limited => [16.0, 219.0, 224.0],
        Range::Full => [0.0, 255.0, 255.0],
    };
    [least + luma_span * luma, 128.0 + chroma_span * u, 128.0 + chroma_span * v]
        .map(|value| value.round() as u8)
}

fn to_u32(px: usize) -> u32 {
    u32::try_from(px).unwrap_or(i32::MAX.cast_unsigned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FORMATS: [Format; 3] = [
        Format::Rgb,
        Format::Nv12(YuvColor { matrix: Matrix::Bt601, range: Range::Limited }),
        Format::Yuyv(YuvColor { matrix: Matrix::Bt709, range: Range::Full }),
    ];

    fn shot(format: Format, width_px: usize, height_px: usize) -> Shot {
        let pixels = width_px * height_px;
        let len = match format {
            Format::Rgb => pixels * 3,
            Format::Nv12(_) => pixels * 3 / 2,
            Format::Yuyv(_) => pixels * 2,
        };
        Shot { width_px, height_px, format, bytes: vec![128; len], ..Shot::default() }
    }

    #[test]
    fn primary_colors_have_the_values_of_the_standards() {
        let limited = YuvColor::default();
        assert_eq!(to_yuv(Rgb888::BLACK, limited), [16, 128, 128]);
        assert_eq!(to_yuv(Rgb888::WHITE, limited), [235, 128, 128]);
        assert_eq!(to_yuv(Rgb888::RED, limited), [81, 90, 240]);
        assert_eq!(to_yuv(Rgb888::BLUE, limited), [41, 240, 110]);
        let hd = YuvColor { matrix: Matrix::Bt709, range: Range::Limited };
        assert_eq!(to_yuv(Rgb888::GREEN, hd), [173, 42, 26]);
        let full = YuvColor { matrix: Matrix::Bt601, range: Range::Full };
        assert_eq!(to_yuv(Rgb888::WHITE, full), [255, 128, 128]);
    }

    proptest! {
        #[test]
        fn a_filled_area_is_the_same_dot_by_dot(
            corner in (-9_i32..20, -9_i32..20),
            size in (0_u32..20, 0_u32..20),
            format in 0_usize..3,
        ) {
            let area = Rectangle::new(corner.into(), size.into());
            let (mut filled, mut dotted) = (shot(FORMATS[format], 16, 12), shot(FORMATS[format], 16, 12));
            let Ok(()) = Canvas::of_shot(&mut filled).unwrap().fill_solid(&area, Rgb888::RED);
            let dots = area.points().map(|point| Pixel(point, Rgb888::RED));
            let Ok(()) = Canvas::of_shot(&mut dotted).unwrap().draw_iter(dots);
            prop_assert_eq!(&filled.bytes, &dotted.bytes);
            let mut listed = shot(FORMATS[format], 16, 12);
            let colors = std::iter::repeat(Rgb888::RED);
            let Ok(()) = Canvas::of_shot(&mut listed).unwrap().fill_contiguous(&area, colors);
            prop_assert_eq!(&filled.bytes, &listed.bytes);
        }
    }

    #[test]
    fn shots_of_other_sizes_are_refused() {
        let mut odd = shot(FORMATS[1], 16, 12);
        odd.bytes.pop();
        assert!(Canvas::of_shot(&mut odd).is_err());
    }
}
