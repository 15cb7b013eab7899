//! Frames as JPEG. YUV goes in as it is, only brought to the range and matrix that JPEG has (JFIF: BT.601, full range);
//! never through RGB.

use artifact::Fault;
use jpeg_encoder::{ColorType, Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};
use multiversion::multiversion;

use crate::Error;
use crate::frame::{Matrix, Picture, Range, Samples, YuvColor, YuvFrame};

/// Appends `picture` as JPEG of `quality` (1 to 100) to `out`.
///
/// # Errors
/// [`Error::Input`] when a side is longer than JPEG can say.
pub(super) fn encode(picture: Picture<'_>, quality: u8, out: &mut Vec<u8>) -> Result<(), Error> {
    picture.check()?;
    let (width_px, height_px) = picture.size_px();
    let (Ok(width), Ok(height)) = (u16::try_from(width_px), u16::try_from(height_px)) else {
        return Err(unencodable(format!("a frame of {width_px}x{height_px} pixels")));
    };
    let mut encoder = Encoder::new(out, quality);
    encoder.set_sampling_factor(SamplingFactor::F_2_2);
    let encoded = match picture {
        Picture::Rgb(frame) => encoder.encode(frame.rgb, width, height, ColorType::Rgb),
        Picture::Yuv(frame) => {
            encoder.encode_image(Rows { frame, width, height, form: Form::of(frame.color) })
        }
    };
    encoded.map_err(|error: EncodingError| unencodable(error.to_string()))
}

fn unencodable(found: String) -> Error {
    Error::Input(Fault::new(found, "a frame of at most 65535 pixels a side", "use a smaller camera mode"))
}

/// A frame as the encoder reads it.
struct Rows<'a> {
    frame: YuvFrame<'a>,
    width: u16,
    height: u16,
    form: Form,
}

impl ImageBuffer for Rows<'_> {
    fn get_jpeg_color_type(&self) -> JpegColorType {
        JpegColorType::Ycbcr
    }

    fn width(&self) -> u16 {
        self.width
    }

    fn height(&self) -> u16 {
        self.height
    }

    fn fill_buffers(&self, y: u16, buffers: &mut [Vec<u8>; 4]) {
        let (row, width) = (usize::from(y), usize::from(self.width));
        let begins = std::array::from_fn(|component: usize| buffers[component].len());
        let [luma, blue, red, _] = buffers;
        match self.frame.samples {
            Samples::Nv12 { luma: ys, chroma } => {
                luma.extend_from_slice(ys.row(row, width));
                let chroma = chroma.row(row / 2, width).as_chunks::<2>().0;
                extend_by_pairs(blue, chroma, |[u, _]| [*u; 2]);
                extend_by_pairs(red, chroma, |[_, v]| [*v; 2]);
            }
            Samples::Yuyv(plane) => {
                let groups = plane.row(row, width * 2).as_chunks::<4>().0;
                extend_by_pairs(luma, groups, |[y0, _, y1, _]| [*y0, *y1]);
                extend_by_pairs(blue, groups, |[_, u, _, _]| [*u; 2]);
                extend_by_pairs(red, groups, |[_, _, _, v]| [*v; 2]);
            }
        }
        let [luma_begin, blue_begin, red_begin, _] = begins;
        self.form.fill([&mut luma[luma_begin..], &mut blue[blue_begin..], &mut red[red_begin..]]);
    }
}

/// Appends what `pair` makes of each group, without asking for room at each.
fn extend_by_pairs<G>(samples: &mut Vec<u8>, groups: &[G], pair: impl Fn(&G) -> [u8; 2]) {
    let begin = samples.len();
    samples.resize(begin + 2 * groups.len(), 0);
    for (two, group) in samples[begin..].as_chunks_mut::<2>().0.iter_mut().zip(groups) {
        *two = pair(group);
    }
}

/// What makes samples those of JPEG.
enum Form {
    /// They are.
    Same,
    /// The matrix is that of JPEG, the range is not: Y - `least`, U - 128 and V - 128 by these, in units of 2^-16.
    Scaled { least: i32, luma: i32, chroma: i32 },
    /// Rows of a matrix for Y - `least`, U - 128 and V - 128, in units of 2^-16.
    Mixed { least: i32, rows: [[i32; 3]; 3] },
}

impl Form {
    #[expect(clippy::cast_possible_truncation, reason = "weights below 2, in units of 2^-16")]
    fn of(color: YuvColor) -> Self {
        if (color.matrix, color.range) == (Matrix::Bt601, Range::Full) {
            return Self::Same;
        }
        let [red, blue] = match color.matrix {
            Matrix::Bt601 => [0.299, 0.114],
            Matrix::Bt709 => [0.2126, 0.0722],
        };
        let (least, luma_scale, chroma_scale) = match color.range {
            Range::Limited => (16, 255.0 / 219.0, 255.0 / 224.0),
            Range::Full => (0, 1.0, 1.0),
        };
        // What each of Y, U and V becomes through red, green and blue.
        let column = |[y, u, v]: [f64; 3]| {
            let (r, b) = (y + 2.0 * (1.0 - red) * v, y + 2.0 * (1.0 - blue) * u);
            let g = (y - red * r - blue * b) / (1.0 - red - blue);
            let luma = 0.299 * r + 0.587 * g + 0.114 * b;
            [luma, (b - luma) / 1.772, (r - luma) / 1.402]
        };
        let columns = [
            column([luma_scale, 0.0, 0.0]),
            column([0.0, chroma_scale, 0.0]),
            column([0.0, 0.0, chroma_scale]),
        ];
        let row = |at: usize| columns.map(|column| (column[at] * 65_536.0).round() as i32);
        let rows = [row(0), row(1), row(2)];
        match color.matrix {
            Matrix::Bt601 => Self::Scaled { least, luma: rows[0][0], chroma: rows[1][1] },
            Matrix::Bt709 => Self::Mixed { least, rows },
        }
    }

    /// Makes samples of Y, U and V those of JPEG.
    fn fill(&self, [luma, blue, red]: [&mut [u8]; 3]) {
        match self {
            Self::Same => {}
            Self::Scaled { least, luma: light, chroma } => {
                scale(luma, *least, *light, 0);
                scale(blue, 128, *chroma, 128);
                scale(red, 128, *chroma, 128);
            }
            Self::Mixed { least, rows } => {
                for ((y, u), v) in luma.iter_mut().zip(blue).zip(red) {
                    [*y, *u, *v] = mixed([*y, *u, *v], *least, rows);
                }
            }
        }
    }
}

/// Stretches samples about `center`, by units of 2^-16, to lie about `new_center`.
#[multiversion(targets("x86_64+avx2"))]
fn scale(samples: &mut [u8], center: i32, by: i32, new_center: i32) {
    for sample in samples {
        *sample = rounded((i32::from(*sample) - center) * by, new_center);
    }
}

#[inline(always)]
#[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
fn rounded(value: i32, center: i32) -> u8 {
    (((value + 0x8000) >> 16) + center).clamp(0, 255) as u8
}

fn mixed([y, u, v]: [u8; 3], least: i32, rows: &[[i32; 3]; 3]) -> [u8; 3] {
    let samples = [i32::from(y) - least, i32::from(u) - 128, i32::from(v) - 128];
    let sum = |row: &[i32; 3]| row[0] * samples[0] + row[1] * samples[1] + row[2] * samples[2];
    [rounded(sum(&rows[0]), 0), rounded(sum(&rows[1]), 128), rounded(sum(&rows[2]), 128)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::parse_image;
    use crate::{Frame, Image};

    fn decoded(picture: Picture<'_>) -> Image {
        let mut bytes = Vec::new();
        encode(picture, 90, &mut bytes).unwrap();
        parse_image("made.jpg", &bytes).unwrap()
    }

    fn near(image: &Image, expected: [u8; 3]) {
        for pixel in image.rgb.as_chunks::<3>().0 {
            let is_near = pixel.iter().zip(expected).all(|(a, b)| a.abs_diff(b) <= 4);
            assert!(is_near, "{pixel:?} for {expected:?}");
        }
    }

    #[test]
    fn colors_come_back_whatever_form_they_had() {
        let red = [255, 0, 0];
        near(&decoded(Frame::new(6, 4, &red.repeat(24)).unwrap().into()), red);
        // Y, U and V of red in each form (ITU-R BT.601 and BT.709).
        for (matrix, range, [y, u, v]) in [
            (Matrix::Bt601, Range::Limited, [81, 90, 240]),
            (Matrix::Bt601, Range::Full, [76, 85, 255]),
            (Matrix::Bt709, Range::Limited, [63, 102, 240]),
            (Matrix::Bt709, Range::Full, [54, 99, 255]),
        ] {
            let color = YuvColor { matrix, range };
            let nv12 = [[y].repeat(24), [u, v].repeat(6)].concat();
            near(&decoded(YuvFrame::nv12(6, 4, &nv12, color).unwrap().into()), red);
            let yuyv = [y, u, y, v].repeat(12);
            near(&decoded(YuvFrame::yuyv(6, 4, &yuyv, color).unwrap().into()), red);
        }
    }

    #[test]
    fn frames_too_large_for_jpeg_are_refused() {
        let bytes = vec![0; 70_000 * 3];
        let error = encode(Frame::new(70_000, 1, &bytes).unwrap().into(), 80, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("70000x1"), "{error}");
    }
}
