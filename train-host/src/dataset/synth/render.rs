//! Paints a scene: background, distractors, objects with shadows, then what a camera adds (blur, light, noise).

use std::f32::consts::TAU;

use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;

use super::scene::{Object, Scene};
use super::shapes::{CLASSES, Point, Shape, floor, pixel_center, segment_distance};
use super::texture::{Color, Texture, mix, near, random_color};
use super::to_f32;

/// Least distance between an object's mean color and what it hides, of at most √3.
const LEAST_CONTRAST: f32 = 0.25;

/// How often an object has the color its class usually has: a hint, as in life, that alone misleads too often.
const TYPICAL_COLOR: f64 = 0.7;
/// Usual color of each class, in class id order, and how far an object may be from it in each channel.
const COLORS: [Color; CLASSES.len()] =
    [[0.85, 0.2, 0.15], [0.15, 0.35, 0.85], [0.9, 0.8, 0.2], [0.2, 0.7, 0.3], [0.75, 0.25, 0.75]];
const COLOR_SPREAD: f32 = 0.25;

fn object_color(class: usize, rng: &mut ChaCha8Rng) -> Color {
    if rng.random_bool(TYPICAL_COLOR) { near(COLORS[class], COLOR_SPREAD, rng) } else { random_color(rng) }
}

/// A square picture in linear steps 0..1, row-major.
#[derive(Debug)]
pub(super) struct Canvas {
    side_px: usize,
    pixels: Vec<Color>,
}

impl Canvas {
    /// Paints `scene` on a random background.
    pub fn paint(scene: &Scene, side_px: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut canvas = Self::background(side_px, rng);
        for _ in 0..rng.random_range(0..12) {
            canvas.distractor(rng);
        }
        for object in &scene.objects {
            canvas.object(object, rng);
        }
        canvas.camera(rng);
        canvas
    }

    /// 8-bit RGB, row-major.
    pub fn to_rgb(&self) -> Vec<u8> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 0..=255")]
        let quantize = |v: f32| (v.clamp(0.0, 1.0) * 255.0).round() as u8;
        self.pixels.iter().flatten().map(|&v| quantize(v)).collect()
    }

    fn background(side_px: usize, rng: &mut ChaCha8Rng) -> Self {
        let side = to_f32(side_px);
        let base = random_color(rng);
        let coarse_period = side * rng.random_range(0.15..0.6);
        let fine_period = side * rng.random_range(0.015..0.08);
        let coarse = Texture::random(base, near(base, 0.45, rng), coarse_period, rng);
        let fine = Texture::noise(base, near(base, 0.5, rng), fine_period, rng);
        let share = rng.random_range(0.1..0.6);
        let place = |i: usize| [to_f32(i % side_px), to_f32(i / side_px)];
        let pixels =
            (0..side_px * side_px).map(|i| mix(coarse.at(place(i)), fine.at(place(i)), share)).collect();
        Self { side_px, pixels }
    }

    /// A line, arc or speck that is no object.
    fn distractor(&mut self, rng: &mut ChaCha8Rng) {
        let side = to_f32(self.side_px);
        let color = random_color(rng);
        let alpha = rng.random_range(0.3..0.9);
        let half_width = side * rng.random_range(0.002..0.009);
        let mut at = [rng.random_range(0.0..side), rng.random_range(0.0..side)];
        let mut heading: f32 = rng.random_range(0.0..TAU);
        // Curled by up to a third of a turn in all, so that no stroke closes to a ring.
        let steps = rng.random_range(2_u8..60);
        let curl = rng.random_range(-2.0..2.0) / f32::from(steps);
        let step = side * 0.012;
        let mut stroke = vec![at];
        for _ in 0..steps {
            heading += curl;
            at = [at[0] + step * heading.cos(), at[1] + step * heading.sin()];
            stroke.push(at);
        }
        self.stroke(&stroke, half_width, color, alpha);
    }

    fn stroke(&mut self, points: &[Point], half_width: f32, color: Color, alpha: f32) {
        let reach = half_width + 1.0;
        let range = |axis: usize| {
            let along = || points.iter().map(|p| p[axis]);
            let low = along().fold(f32::INFINITY, f32::min) - reach;
            let high = along().fold(f32::NEG_INFINITY, f32::max) + reach;
            floor(low)..=floor(high)
        };
        for y in range(1) {
            for x in range(0) {
                let place = pixel_center(x, y);
                let distance = |ends: &[Point]| segment_distance(place, ends[0], ends[1]);
                let nearest = points.windows(2).map(distance).fold(f32::INFINITY, f32::min);
                self.blend(x, y, color, alpha * (half_width + 0.5 - nearest).clamp(0.0, 1.0));
            }
        }
    }

    fn object(&mut self, object: &Object, rng: &mut ChaCha8Rng) {
        let shape = &object.shape;
        if rng.random_bool(0.4) {
            self.shadow(shape, object.radius_px, rng);
        }
        let fill = self.contrasting_fill(object, rng);
        let rim = rng.random_bool(0.3).then(|| random_color(rng));
        let rim_px = (object.radius_px * 0.12).max(1.0);
        let hollow_px = if rng.random_bool(0.15) { (object.radius_px * 0.3).max(2.5) } else { f32::INFINITY };
        let alpha = rng.random_range(0.85..=1.0);
        let light = rng.random_range(-0.25..0.25) / object.radius_px;
        let [columns, rows] = shape.bounds(1.0);
        for y in rows {
            for x in columns.clone() {
                let distance = shape.distance(pixel_center(x, y));
                let inner = (distance + hollow_px + 0.5).clamp(0.0, 1.0);
                let coverage = (0.5 - distance).clamp(0.0, 1.0) * inner;
                if coverage > 0.0 {
                    let local = shape.local(pixel_center(x, y));
                    let color = match rim {
                        Some(rim) if distance > -rim_px => rim,
                        _ => fill.at(local).map(|v| v + light * local[0]),
                    };
                    self.blend(x, y, color, coverage * alpha);
                }
            }
        }
    }

    /// A texture unlike what lies under the object, so that it can be seen at all.
    fn contrasting_fill(&self, object: &Object, rng: &mut ChaCha8Rng) -> Texture {
        let hidden = self.mean_under(&object.shape);
        let far = |color: Color| {
            let squares = color.iter().zip(hidden).map(|(a, b)| (a - b).powi(2));
            squares.sum::<f32>().sqrt() >= LEAST_CONTRAST
        };
        loop {
            let from = object_color(object.class, rng);
            let to = near(from, 0.35, rng);
            if far(from) && far(to) && far(mix(from, to, 0.5)) {
                let period = object.radius_px * rng.random_range(0.3..1.2);
                return Texture::random(from, to, period, rng);
            }
        }
    }

    fn mean_under(&self, shape: &Shape) -> Color {
        let [columns, rows] = shape.bounds(1.0);
        let mut sum = [0.0; 3];
        let mut count = 0.0_f32;
        for y in rows {
            for pixel in columns.clone().filter_map(|x| self.index(x, y)) {
                sum = std::array::from_fn(|c| sum[c] + self.pixels[pixel][c]);
                count += 1.0;
            }
        }
        sum.map(|v| v / count.max(1.0))
    }

    fn shadow(&mut self, shape: &Shape, radius_px: f32, rng: &mut ChaCha8Rng) {
        let shift = [radius_px * rng.random_range(-0.2..0.2), radius_px * rng.random_range(0.05..0.25)];
        let softness = (radius_px * 0.25).max(1.5);
        let strength = rng.random_range(0.2..0.6);
        let [columns, rows] = shape.bounds(radius_px * 0.5 + softness);
        for y in rows {
            for x in columns.clone() {
                let [px, py] = pixel_center(x, y);
                let distance = shape.distance([px - shift[0], py - shift[1]]);
                self.blend(x, y, [0.0; 3], strength * (0.5 - distance / softness).clamp(0.0, 1.0));
            }
        }
    }

    fn camera(&mut self, rng: &mut ChaCha8Rng) {
        if rng.random_bool(0.6) {
            let sigma_px = rng.random_range(0.4..1.3) * (to_f32(self.side_px) / 320.0).max(0.5);
            self.blur(sigma_px);
        }
        let gain: f32 = rng.random_range(0.6..1.25);
        let lift = rng.random_range(-0.06..0.08);
        let balance: Color = std::array::from_fn(|_| gain * rng.random_range(0.9..1.1));
        let noise = rng.random_range(0.0..0.07);
        for pixel in &mut self.pixels {
            *pixel = std::array::from_fn(|c| pixel[c] * balance[c] + lift + noise * normal(rng));
        }
    }

    /// Gaussian blur, one axis after the other; the edge pixel goes on outside.
    fn blur(&mut self, sigma_px: f32) {
        let reach = floor(sigma_px * 3.0).max(1);
        let weight = |d: i32| (-0.5 * (pixel_center(d, 0)[0] - 0.5).powi(2) / (sigma_px * sigma_px)).exp();
        let taps: Vec<(i32, f32)> = (-reach..=reach).map(|d| (d, weight(d))).collect();
        let total: f32 = taps.iter().map(|(_, w)| w).sum();
        let side = self.side_px;
        let last = i32::try_from(side).unwrap_or(i32::MAX) - 1;
        let clamped = |v: usize, d: i32| {
            let moved = i32::try_from(v).unwrap_or(0).saturating_add(d).clamp(0, last);
            usize::try_from(moved).unwrap_or(0)
        };
        for vertical in [false, true] {
            let source = std::mem::take(&mut self.pixels);
            let sample = |i: usize| {
                let (x, y) = (i % side, i / side);
                let mut sum = [0.0; 3];
                for &(d, weight) in &taps {
                    let from = if vertical { clamped(y, d) * side + x } else { y * side + clamped(x, d) };
                    sum = std::array::from_fn(|c| sum[c] + weight * source[from][c]);
                }
                sum.map(|v| v / total)
            };
            self.pixels = (0..side * side).map(sample).collect();
        }
    }

    fn blend(&mut self, x: i32, y: i32, color: Color, alpha: f32) {
        if alpha > 0.0
            && let Some(pixel) = self.index(x, y)
        {
            self.pixels[pixel] = mix(self.pixels[pixel], color, alpha);
        }
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.side_px && y < self.side_px).then_some(y * self.side_px + x)
    }
}

/// About normally distributed, mean 0 and variance 1: the sum of four random bytes (their variance is 65535/12 each),
/// which is far cheaper than Box and Muller's way.
fn normal(rng: &mut ChaCha8Rng) -> f32 {
    let sum: u16 = rng.next_u32().to_le_bytes().into_iter().map(u16::from).sum();
    (f32::from(sum) - 510.0) / 147.8
}
