//! The object shapes as signed distances in pixels, and the pixels they cover. Knows no colors.

use std::f32::consts::{PI, TAU};

use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Class names of the synthetic dataset, in class id order. Color hints at the class, texture says nothing about it.
pub const CLASSES: [&str; 5] = ["disk", "triangle", "square", "star", "cross"];

/// A point or vector in pixels.
pub(super) type Point = [f32; 2];

/// An outline placed on the canvas.
#[derive(Debug, Clone)]
pub(super) struct Shape {
    outline: Outline,
    /// Where it is.
    pub center: Point,
    /// Distance from the center that nothing of it exceeds.
    pub reach_px: f32,
    /// Turn in radians; textures turn with the shape.
    pub angle: f32,
    rounding_px: f32,
}

#[derive(Debug, Clone)]
enum Outline {
    Ellipse { radii: [f32; 2] },
    Polygon(Vec<Point>),
}

impl Shape {
    /// A shape of class `class` (index into [`CLASSES`]) with a random turn, aspect and slant.
    pub fn random(class: usize, center: Point, radius_px: f32, rng: &mut ChaCha8Rng) -> Self {
        let angle = rng.random_range(0.0..TAU);
        let aspect = rng.random_range(0.82_f32..1.22).sqrt();
        let radii = [radius_px * aspect, radius_px / aspect];
        let slant = rng.random_range(-0.12..0.12);
        let unit = match class {
            0 => return Self::ellipse(center, radii, angle),
            1 => regular(3, 1.0, 1.0),
            2 => regular(4, 1.0, 1.0),
            3 => regular(rng.random_range(5..=6) * 2, 1.0, rng.random_range(0.4..0.52)),
            _ => cross(rng.random_range(0.26..0.38)),
        };
        let (sin, cos) = angle.sin_cos();
        let place = |[x, y]: Point| {
            let (x, y) = ((x + slant * y) * radii[0], y * radii[1]);
            [center[0] + x * cos - y * sin, center[1] + x * sin + y * cos]
        };
        let corners: Vec<Point> = unit.into_iter().map(place).collect();
        let reach_px = corners.iter().map(|&p| length(sub(p, center))).fold(0.0, f32::max);
        let rounding_px = radius_px * rng.random_range(0.0..0.06);
        Self {
            outline: Outline::Polygon(corners),
            center,
            reach_px: reach_px + rounding_px,
            angle,
            rounding_px,
        }
    }

    fn ellipse(center: Point, radii: [f32; 2], angle: f32) -> Self {
        let reach_px = radii[0].max(radii[1]);
        Self { outline: Outline::Ellipse { radii }, center, reach_px, angle, rounding_px: 0.0 }
    }

    /// `point` in the shape's own frame: turned back around its center.
    pub fn local(&self, point: Point) -> Point {
        let [x, y] = sub(point, self.center);
        let (sin, cos) = self.angle.sin_cos();
        [x * cos + y * sin, y * cos - x * sin]
    }

    /// Distance of `point` to the outline in pixels, negative inside (first-order approximation for ellipses).
    pub fn distance(&self, point: Point) -> f32 {
        match &self.outline {
            Outline::Ellipse { radii } => ellipse_distance(self.local(point), *radii),
            Outline::Polygon(corners) => polygon_distance(point, corners) - self.rounding_px,
        }
    }

    /// How much of the pixel at column `x` and row `y` the shape covers, 0..1.
    pub fn coverage(&self, x: i32, y: i32) -> f32 {
        (0.5 - self.distance(pixel_center(x, y))).clamp(0.0, 1.0)
    }

    /// Columns and rows that may be covered, also outside the canvas.
    pub fn bounds(&self, margin_px: f32) -> [std::ops::RangeInclusive<i32>; 2] {
        self.center.map(|c| floor(c - self.reach_px - margin_px)..=floor(c + self.reach_px + margin_px))
    }
}

/// The middle of a pixel.
pub(super) fn pixel_center(x: i32, y: i32) -> Point {
    #[expect(clippy::cast_precision_loss, reason = "canvas coordinates are far below 2^24")]
    [x as f32 + 0.5, y as f32 + 0.5]
}

/// The pixel a coordinate falls into.
pub(super) fn floor(v: f32) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and canvas coordinates are small")]
    let pixel = v.floor() as i32;
    pixel
}

/// `corners` points around the origin, alternating between the radii `outer` and `inner`.
fn regular(corners: u16, outer: f32, inner: f32) -> Vec<Point> {
    (0..corners)
        .map(|i| {
            let (sin, cos) = (f32::from(i) / f32::from(corners) * TAU - PI / 2.0).sin_cos();
            let radius = if i % 2 == 0 { outer } else { inner };
            [radius * cos, radius * sin]
        })
        .collect()
}

/// A plus sign of reach 1 whose arms are `2 * half` wide.
fn cross(half: f32) -> Vec<Point> {
    let corner = [[half, 1.0], [half, half], [1.0, half]];
    let mut corners = Vec::with_capacity(12);
    for quarter in 0..4_u8 {
        for [x, y] in corner {
            corners.push(match quarter {
                0 => [x, y],
                1 => [y, -x],
                2 => [-x, -y],
                _ => [-y, x],
            });
        }
    }
    corners
}

fn ellipse_distance(p: Point, radii: [f32; 2]) -> f32 {
    let scaled = length([p[0] / radii[0], p[1] / radii[1]]);
    let slope = length([p[0] / (radii[0] * radii[0]), p[1] / (radii[1] * radii[1])]);
    if slope < 1e-6 { -radii[0].min(radii[1]) } else { scaled * (scaled - 1.0) / slope }
}

/// Smallest distance to an edge; the sign by counting edges crossed on the way to the right.
fn polygon_distance(p: Point, corners: &[Point]) -> f32 {
    let mut nearest = f32::INFINITY;
    let mut inside = false;
    let mut previous = corners[corners.len() - 1];
    for &corner in corners {
        nearest = nearest.min(segment_distance(p, previous, corner));
        if (corner[1] > p[1]) != (previous[1] > p[1]) {
            let slope = (corner[0] - previous[0]) / (corner[1] - previous[1]);
            let crossing = previous[0] + (p[1] - previous[1]) * slope;
            inside ^= p[0] < crossing;
        }
        previous = corner;
    }
    if inside { -nearest } else { nearest }
}

/// Distance of `p` to the line from `a` to `b`, two different points.
pub(super) fn segment_distance(p: Point, a: Point, b: Point) -> f32 {
    let (edge, to_p) = (sub(b, a), sub(p, a));
    let along = (dot(to_p, edge) / dot(edge, edge)).clamp(0.0, 1.0);
    length([to_p[0] - along * edge[0], to_p[1] - along * edge[1]])
}

fn sub(a: Point, b: Point) -> Point {
    [a[0] - b[0], a[1] - b[1]]
}

fn dot(a: Point, b: Point) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

fn length(v: Point) -> f32 {
    dot(v, v).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn distances_of_a_square_and_a_disk_are_exact_on_the_axes() {
        let square = [[-2.0, -2.0], [2.0, -2.0], [2.0, 2.0], [-2.0, 2.0]];
        assert!((polygon_distance([0.0, 0.0], &square) + 2.0).abs() < 1e-6);
        assert!((polygon_distance([5.0, 0.0], &square) - 3.0).abs() < 1e-6);
        assert!((polygon_distance([5.0, 6.0], &square) - 5.0).abs() < 1e-6);
        assert!((ellipse_distance([3.0, 0.0], [2.0, 2.0]) - 1.0).abs() < 1e-6);
        assert!((ellipse_distance([0.0, 0.0], [2.0, 2.0]) + 2.0).abs() < 1e-6);
    }

    #[test]
    fn no_shape_leaves_its_bounds() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for class in (0..CLASSES.len()).cycle().take(50) {
            let shape = Shape::random(class, [40.0, 40.0], rng.random_range(5.0..25.0), &mut rng);
            let [columns, rows] = shape.bounds(1.0);
            for y in -10..90 {
                for x in -10..90 {
                    let inside = columns.contains(&x) && rows.contains(&y);
                    assert!(inside || shape.coverage(x, y) == 0.0, "class {class} at {x},{y}");
                }
            }
            assert!(shape.coverage(40, 40) > 0.99, "class {class} is hollow");
        }
    }
}
