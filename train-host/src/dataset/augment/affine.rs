//! A random affine map of a canvas onto the training square, bilinear, and the same map for boxes.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::mosaic::Canvas;
use super::{Augmented, FILL, PixelBox, Strength};

/// Boxes must keep this fraction of their (scaled) area inside the picture. Source: YOLOv5's training recipe.
const MIN_AREA_KEPT: f32 = 0.1;
/// Boxes must be wider and higher than this many pixels.
const MIN_SIDE_PX: f32 = 2.0;
/// Boxes longer than this many times their width are dropped.
const MAX_ASPECT: f32 = 100.0;

/// Maps canvas coordinates to picture coordinates: `x' = a·x + b·y + c`, `y' = d·x + e·y + f`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Affine {
    m: [f32; 6],
    scale: f32,
}

impl Affine {
    /// Draws rotation, scale, shear and translation around the canvas center.
    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    pub(super) fn random(canvas: usize, side: usize, strength: &Strength, rng: &mut ChaCha8Rng) -> Self {
        let mut around = |limit: f32| (rng.random::<f32>() * 2.0 - 1.0) * limit;
        let angle = around(strength.degrees).to_radians();
        let scale = 1.0 + around(strength.scale);
        let (shear_x, shear_y) =
            (around(strength.shear).to_radians().tan(), around(strength.shear).to_radians().tan());
        let side = side as f32;
        let tx = (0.5 + around(strength.translate)) * side;
        let ty = (0.5 + around(strength.translate)) * side;
        let (sin, cos) = angle.sin_cos();
        let (ra, rb, rc, rd) = (cos * scale, sin * scale, -sin * scale, cos * scale);
        let (a, b) = (ra + shear_x * rc, rb + shear_x * rd);
        let (d, e) = (shear_y * ra + rc, shear_y * rb + rd);
        let half = canvas as f32 / 2.0;
        Self { m: [a, b, tx - (a + b) * half, d, e, ty - (d + e) * half], scale }
    }

    fn apply(&self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.m;
        (a * x + b * y + c, d * x + e * y + f)
    }

    fn inverse(&self) -> [f32; 6] {
        let [a, b, c, d, e, f] = self.m;
        let det = a * e - b * d;
        // A canvas folded onto a line (only under absurd shear) maps everywhere to its corner.
        let k = if det.abs() < 1e-12 { 0.0 } else { 1.0 / det };
        [e * k, -b * k, (b * f - e * c) * k, -d * k, a * k, (d * c - a * f) * k]
    }

    /// Renders the `side × side` picture and moves the boxes; boxes left too small are dropped.
    pub(super) fn warp(&self, canvas: &Canvas, side: usize) -> Augmented {
        let mut rgb = vec![FILL; side * side * 3];
        if self.m == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0] && canvas.side == side {
            rgb.copy_from_slice(&canvas.rgb);
        } else {
            self.sample(canvas, side, &mut rgb);
        }
        let boxes = canvas.boxes.iter().filter_map(|b| self.move_box(b, side)).collect();
        Augmented { rgb, boxes }
    }

    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    fn sample(&self, canvas: &Canvas, side: usize, rgb: &mut [u8]) {
        let inv = self.inverse();
        for (y, row) in rgb.chunks_exact_mut(side * 3).enumerate() {
            let yf = y as f32;
            for (x, pixel) in row.chunks_exact_mut(3).enumerate() {
                let xf = x as f32;
                let sx = inv[0] * xf + inv[1] * yf + inv[2];
                let sy = inv[3] * xf + inv[4] * yf + inv[5];
                bilinear(canvas, sx, sy, pixel);
            }
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    fn move_box(&self, b: &PixelBox, side: usize) -> Option<PixelBox> {
        let corners = [(b.x0, b.y0), (b.x1, b.y0), (b.x1, b.y1), (b.x0, b.y1)].map(|(x, y)| self.apply(x, y));
        let limit = side as f32;
        let edge = |pick: fn(&(f32, f32)) -> f32, start: f32, best: fn(f32, f32) -> f32| {
            corners.iter().map(pick).fold(start, best).clamp(0.0, limit)
        };
        let moved = PixelBox {
            class: b.class,
            x0: edge(|p| p.0, f32::INFINITY, f32::min),
            y0: edge(|p| p.1, f32::INFINITY, f32::min),
            x1: edge(|p| p.0, f32::NEG_INFINITY, f32::max),
            y1: edge(|p| p.1, f32::NEG_INFINITY, f32::max),
        };
        self.worth_keeping(b, &moved).then_some(moved)
    }

    fn worth_keeping(&self, before: &PixelBox, after: &PixelBox) -> bool {
        let (w1, h1) = ((before.x1 - before.x0) * self.scale, (before.y1 - before.y0) * self.scale);
        let (w2, h2) = (after.x1 - after.x0, after.y1 - after.y0);
        let tiny = f32::EPSILON;
        let aspect = (w2 / (h2 + tiny)).max(h2 / (w2 + tiny));
        w2 > MIN_SIDE_PX
            && h2 > MIN_SIDE_PX
            && w2 * h2 / (w1 * h1 + tiny) > MIN_AREA_KEPT
            && aspect < MAX_ASPECT
    }
}

/// Blends the four neighbors of (`sx`, `sy`) with 1/256 weights; what lies outside the canvas counts as [`FILL`].
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positions are bounded just above"
)]
fn bilinear(canvas: &Canvas, sx: f32, sy: f32, out: &mut [u8]) {
    let side = canvas.side;
    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    let limit = side as f32;
    // `!(..)` also turns NaN away.
    if !(sx > -1.0 && sy > -1.0 && sx < limit && sy < limit) {
        return;
    }
    let (x0, y0) = (floor(sx), floor(sy));
    let (fx, fy) = (((sx - x0) * 256.0) as u32, ((sy - y0) * 256.0) as u32);
    let weights = [(256 - fx) * (256 - fy), fx * (256 - fy), (256 - fx) * fy, fx * fy];
    let inside = x0 >= 0.0 && y0 >= 0.0 && x0 + 1.0 < limit && y0 + 1.0 < limit;
    if inside {
        let at = (y0 as usize * side + x0 as usize) * 3;
        let (top, bottom) = (&canvas.rgb[at..at + 6], &canvas.rgb[at + side * 3..at + side * 3 + 6]);
        for c in 0..3 {
            let sum = u32::from(top[c]) * weights[0]
                + u32::from(top[c + 3]) * weights[1]
                + u32::from(bottom[c]) * weights[2]
                + u32::from(bottom[c + 3]) * weights[3];
            out[c] = ((sum + (1 << 15)) >> 16) as u8;
        }
        return;
    }
    let value = |dx: f32, dy: f32, c: usize| {
        let (x, y) = (x0 + dx, y0 + dy);
        if x < 0.0 || y < 0.0 || x >= limit || y >= limit {
            return u32::from(FILL);
        }
        u32::from(canvas.rgb[(y as usize * side + x as usize) * 3 + c])
    };
    for (c, out) in out.iter_mut().enumerate() {
        let sum = value(0.0, 0.0, c) * weights[0]
            + value(1.0, 0.0, c) * weights[1]
            + value(0.0, 1.0, c) * weights[2]
            + value(1.0, 1.0, c) * weights[3];
        *out = ((sum + (1 << 15)) >> 16) as u8;
    }
}

/// `x.floor()` for the positions that get here, without the library call that it is on a CPU of any age.
#[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "sides are far below 2^24")]
fn floor(x: f32) -> f32 {
    let whole = x as i32 as f32;
    if whole > x { whole - 1.0 } else { whole }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_rounded_down() {
        for x in [-0.999f32, -0.5, -1e-9, 0.0, 0.25, 0.999_999_9, 1.0, 639.5] {
            assert_eq!(floor(x), x.floor(), "{x}");
        }
    }

    #[test]
    fn inverse_undoes_the_map() {
        let map = Affine { m: [0.8, 0.1, 5.0, -0.2, 1.1, -3.0], scale: 1.0 };
        let inv = map.inverse();
        let (x, y) = map.apply(12.0, 7.0);
        assert!((inv[0] * x + inv[1] * y + inv[2] - 12.0).abs() < 1e-4);
        assert!((inv[3] * x + inv[4] * y + inv[5] - 7.0).abs() < 1e-4);
    }

    #[test]
    fn boxes_mostly_outside_are_dropped() {
        let shift = Affine { m: [1.0, 0.0, -9.5, 0.0, 1.0, 0.0], scale: 1.0 };
        let b = PixelBox { class: 0, x0: 0.0, y0: 0.0, x1: 10.0, y1: 10.0 };
        assert_eq!(shift.move_box(&b, 20), None);
        let kept = Affine { m: [1.0, 0.0, -5.0, 0.0, 1.0, 0.0], scale: 1.0 }.move_box(&b, 20).unwrap();
        assert_eq!((kept.x0, kept.x1), (0.0, 5.0));
    }

    #[test]
    fn half_pixel_shift_averages_neighbors() {
        let mut canvas = Canvas { side: 4, rgb: vec![0; 48], boxes: vec![] };
        canvas.rgb[(4 + 1) * 3] = 100;
        canvas.rgb[(4 + 2) * 3] = 200;
        let mut out = [0; 3];
        bilinear(&canvas, 1.5, 1.0, &mut out);
        assert_eq!(out, [150, 0, 0]);
    }
}
