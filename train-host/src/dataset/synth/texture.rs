//! Fills of objects and backgrounds: plain, gradient, stripes, checks, dots and value noise between two colors.
//! A texture is a function of the place; it keeps no pixels.

use std::f32::consts::TAU;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::shapes::{Point, floor};

/// Red, green and blue, 0..1.
pub(super) type Color = [f32; 3];

/// A random color of any hue.
pub(super) fn random_color(rng: &mut ChaCha8Rng) -> Color {
    [rng.random(), rng.random(), rng.random()]
}

/// A color near `color`, at most `by` away in each channel.
pub(super) fn near(color: Color, by: f32, rng: &mut ChaCha8Rng) -> Color {
    color.map(|v| (v + rng.random_range(-by..by)).clamp(0.0, 1.0))
}

/// `a` at 0, `b` at 1.
pub(super) fn mix(a: Color, b: Color, t: f32) -> Color {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// A pattern between two colors.
#[derive(Debug, Clone)]
pub(super) struct Texture {
    from: Color,
    to: Color,
    kind: Kind,
    direction: Point,
    period_px: f32,
    seed: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Plain,
    Gradient,
    Stripes,
    Checks,
    Dots,
    Noise,
}

impl Texture {
    /// A random pattern from `from` to `to` whose details are about `period_px` wide.
    pub fn random(from: Color, to: Color, period_px: f32, rng: &mut ChaCha8Rng) -> Self {
        let kinds =
            [Kind::Plain, Kind::Gradient, Kind::Stripes, Kind::Checks, Kind::Dots, Kind::Noise, Kind::Noise];
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        Self {
            from,
            to,
            kind: kinds[rng.random_range(0..kinds.len())],
            direction: [cos, sin],
            period_px: period_px.max(2.0),
            seed: rng.random(),
        }
    }

    /// Value noise from `from` to `to`.
    pub fn noise(from: Color, to: Color, period_px: f32, rng: &mut ChaCha8Rng) -> Self {
        Self { kind: Kind::Noise, ..Self::random(from, to, period_px, rng) }
    }

    /// The color at a place, in pixels from the texture's origin.
    pub fn at(&self, [x, y]: Point) -> Color {
        let u = (x * self.direction[0] + y * self.direction[1]) / self.period_px;
        let v = (y * self.direction[0] - x * self.direction[1]) / self.period_px;
        let t = match self.kind {
            Kind::Plain => 0.0,
            Kind::Gradient => (0.5 + u * 0.25).clamp(0.0, 1.0),
            Kind::Stripes => wave(u),
            Kind::Checks => (wave(u) - wave(v)).abs(),
            Kind::Dots => smooth((0.34 - (fract(u) - 0.5).hypot(fract(v) - 0.5)) * 8.0 + 0.5),
            Kind::Noise => smooth(fractal_noise([u, v], self.seed) * 1.8 - 0.4),
        };
        mix(self.from, self.to, t)
    }
}

/// Softened square wave of period 1, 0..1.
fn wave(u: f32) -> f32 {
    ((u * TAU).sin() * 2.5 + 0.5).clamp(0.0, 1.0)
}

fn fract(u: f32) -> f32 {
    u - u.floor()
}

/// Smooth step from 0 to 1.
fn smooth(t: f32) -> f32 {
    let t = t.clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// Three octaves of value noise, 0..1.
pub(super) fn fractal_noise(p: Point, seed: u32) -> f32 {
    let octave = |factor: f32, weight: f32| {
        weight * value_noise([p[0] * factor, p[1] * factor], seed.wrapping_add(factor.to_bits()))
    };
    octave(1.0, 0.55) + octave(2.1, 0.29) + octave(4.3, 0.16)
}

/// Random values at integer places, smoothly interpolated.
fn value_noise([x, y]: Point, seed: u32) -> f32 {
    let (ix, iy) = (floor(x), floor(y));
    let (tx, ty) = (smooth(fract(x)), smooth(fract(y)));
    let corner = |dx: i32, dy: i32| lattice(ix.wrapping_add(dx), iy.wrapping_add(dy), seed);
    let top = corner(0, 0) + (corner(1, 0) - corner(0, 0)) * tx;
    let bottom = corner(0, 1) + (corner(1, 1) - corner(0, 1)) * tx;
    top + (bottom - top) * ty
}

/// A hash of a lattice place to 0..1 (multiply and xor-shift rounds as in MurmurHash3's finalizer).
fn lattice(x: i32, y: i32, seed: u32) -> f32 {
    let mut h =
        seed ^ x.cast_unsigned().wrapping_mul(0x9E37_79B1) ^ y.cast_unsigned().wrapping_mul(0x85EB_CA77);
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    let sixteen_bits = u16::try_from((h ^ (h >> 16)) & 0xFFFF).unwrap_or(0);
    f32::from(sixteen_bits) / 65535.0
}
