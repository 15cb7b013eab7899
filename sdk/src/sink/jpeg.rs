//! Frames as JPEG. YUV goes in as it is, only brought to the range and matrix that JPEG has (JFIF: BT.601, full range);
//! never through RGB.

use artifact::Fault;
use jpeg_encoder::{ColorType, Encoder, EncodingError, ImageBuffer, JpegColorType, SamplingFactor};

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
        let [luma, blue, red, _] = buffers;
        let mut pair = |[y0, y1]: [u8; 2], [u, v]: [u8; 2]| {
            let ([y0, u0, v0], [y1, u1, v1]) = (self.form.full([y0, u, v]), self.form.full([y1, u, v]));
            luma.extend_from_slice(&[y0, y1]);
            blue.extend_from_slice(&[u0, u1]);
            red.extend_from_slice(&[v0, v1]);
        };
        match self.frame.samples {
            Samples::Nv12 { luma, chroma } => {
                let (luma, chroma) = (luma.row(row, width), chroma.row(row / 2, width));
                for (ys, uv) in luma.as_chunks::<2>().0.iter().zip(chroma.as_chunks::<2>().0) {
                    pair(*ys, *uv);
                }
            }
            Samples::Yuyv(plane) => {
                for [y0, u, y1, v] in plane.row(row, width * 2).as_chunks::<4>().0 {
                    pair([*y0, *y1], [*u, *v]);
                }
            }
        }
    }
}

/// What makes samples those of JPEG.
enum Form {
    /// They are.
    Same,
    /// Rows of a matrix for Y - `least`, U - 128 and V - 128, in units of 2^-16.
    Other { least: i32, rows: [[i32; 3]; 3] },
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
        Self::Other { least, rows: [row(0), row(1), row(2)] }
    }

    #[expect(clippy::cast_sign_loss, reason = "clamped to 0..=255")]
    fn full(&self, [y, u, v]: [u8; 3]) -> [u8; 3] {
        let Self::Other { least, rows } = self else { return [y, u, v] };
        let samples = [i32::from(y) - least, i32::from(u) - 128, i32::from(v) - 128];
        let sum =
            |row: &[i32; 3]| (row[0] * samples[0] + row[1] * samples[1] + row[2] * samples[2] + 0x8000) >> 16;
        let byte = |value: i32| value.clamp(0, 255) as u8;
        [byte(sum(&rows[0])), byte(sum(&rows[1]) + 128), byte(sum(&rows[2]) + 128)]
    }
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
