//! The work itself: bilinear between the centers of samples, each at its own resolution, and the matrices of ITU-R BT.601 and
//! BT.709, in floating point and one pixel after the other.

use std::ffi::c_int;

use crate::state::{Done, Image, Misuse, NV12, RGB, YUYV};

/// Samples of one kind.
struct Plane {
    width: usize,
    height: usize,
    values: Vec<f64>,
}

/// A frame, taken apart.
pub(crate) struct Picture {
    planes: [Plane; 3],
    sides: [usize; 2],
    color: Color,
}

#[derive(Clone, Copy)]
struct Color {
    /// Weights of red and blue in Y.
    weights: [f64; 2],
    black: f64,
    luma: f64,
    chroma: f64,
}

impl Color {
    fn of(mode: c_int) -> Option<Self> {
        let limited = |weights| Self { weights, black: 16.0, luma: 255.0 / 219.0, chroma: 255.0 / 224.0 };
        match mode {
            1 => Some(limited([0.299, 0.114])),
            2 => Some(Self { black: 0.0, luma: 1.0, chroma: 1.0, ..limited([0.299, 0.114]) }),
            3 => Some(limited([0.2126, 0.0722])),
            _ => None,
        }
    }

    fn rgb(self, [y, u, v]: [f64; 3]) -> [u8; 3] {
        let [red, blue] = self.weights;
        let green = 1.0 - red - blue;
        let y = (y - self.black) * self.luma;
        let (u, v) = ((u - 128.0) * self.chroma, (v - 128.0) * self.chroma);
        let r = y + 2.0 * (1.0 - red) * v;
        let b = y + 2.0 * (1.0 - blue) * u;
        let g = (y - red * r - blue * b) / green;
        [r, g, b].map(to_byte)
    }
}

impl Plane {
    /// Samples `sample(x, y)`.
    fn new(width: usize, height: usize, sample: impl Fn(usize, usize) -> u8) -> Self {
        let at = |index: usize| f64::from(sample(index % width, index / width));
        Self { width, height, values: (0..width * height).map(at).collect() }
    }

    /// The value in the middle of column `x` and row `y` of `sides`.
    fn at(&self, [x, y]: [usize; 2], sides: [usize; 2]) -> f64 {
        let (left, to_right) = between(x, sides[0], self.width);
        let (top, down) = between(y, sides[1], self.height);
        let value =
            |x: usize, y: usize| self.values[y.min(self.height - 1) * self.width + x.min(self.width - 1)];
        let row = |y: usize| value(left, y) * (1.0 - to_right) + value(left + 1, y) * to_right;
        row(top) * (1.0 - down) + row(top + 1) * down
    }
}

/// The sample before the middle of `place` of `places`, and how far behind it that lies.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the plane")]
fn between(place: usize, places: usize, samples: usize) -> (usize, f64) {
    let middle =
        ((to_f64(place) + 0.5) * to_f64(samples) / to_f64(places) - 0.5).clamp(0.0, to_f64(samples - 1));
    (middle as usize, middle.fract())
}

#[expect(clippy::cast_precision_loss, reason = "sides are far below 2^53")]
fn to_f64(side: usize) -> f64 {
    side as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and within a byte")]
fn to_byte(value: f64) -> u8 {
    value.round().clamp(0.0, 255.0) as u8
}

impl Image {
    /// The frame that it holds.
    pub(crate) fn read(&self, color_mode: c_int) -> Result<Picture, Misuse> {
        let (width, height, bytes) = (self.width, self.height, self.bytes());
        let color = Color::of(color_mode).ok_or(Misuse)?;
        if !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Misuse);
        }
        let planes = match self.format {
            NV12 => {
                let stride = self.stride;
                let chroma = |offset: usize| {
                    Plane::new(width / 2, height / 2, |x, y| bytes[stride * (height + y) + 2 * x + offset])
                };
                [Plane::new(width, height, |x, y| bytes[stride * y + x]), chroma(0), chroma(1)]
            }
            YUYV => {
                let stride = self.stride * 2;
                let chroma =
                    |offset: usize| Plane::new(width / 2, height, |x, y| bytes[stride * y + 4 * x + offset]);
                [Plane::new(width, height, |x, y| bytes[stride * y + 2 * x]), chroma(1), chroma(3)]
            }
            _ => return Err(Misuse),
        };
        Ok(Picture { planes, sides: [width, height], color })
    }

    /// Fills a rectangle.
    pub(crate) fn fill(&mut self, rect: [usize; 4], color: [u8; 3]) -> Result<Done, Misuse> {
        self.write(rect, |_| color)?;
        Ok(Done::Filled)
    }

    /// Resizes `picture` into a rectangle.
    pub(crate) fn place(&mut self, rect: [usize; 4], picture: &Picture) -> Result<Done, Misuse> {
        let sides = [rect[2], rect[3]];
        let may_become = |from: usize, to: usize| from <= 16 * to && to <= 16 * from;
        if !may_become(picture.sides[0], sides[0]) || !may_become(picture.sides[1], sides[1]) {
            return Err(Misuse);
        }
        self.write(rect, |at| picture.color.rgb(picture.planes.each_ref().map(|plane| plane.at(at, sides))))?;
        Ok(Done::Resized)
    }

    fn write(&mut self, rect: [usize; 4], pixel: impl Fn([usize; 2]) -> [u8; 3]) -> Result<(), Misuse> {
        let [left, top, width, height] = rect;
        let stride = self.stride;
        if self.format != RGB {
            return Err(Misuse);
        }
        for y in 0..height {
            for x in 0..width {
                let start = (stride * (top + y) + left + x) * 3;
                self.bytes_mut()[start..start + 3].copy_from_slice(&pixel([x, y]));
            }
        }
        Ok(())
    }
}
