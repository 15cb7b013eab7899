//! Which objects lie where: sizes, overlaps, and what stays visible. Paints nothing.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::shapes::{CLASSES, Shape};
use super::to_f32;
use crate::dataset::LabelBox;

/// An object keeps at least this part of its area visible: inside the picture and not under others.
const LEAST_VISIBLE: f32 = 0.5;
/// Placements tried for one object before the picture goes without it.
const ATTEMPTS: usize = 30;
/// One picture in so many shows no object.
const EMPTY_ONE_IN: u32 = 20;

/// An object of the scene; later ones lie on top.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub class: usize,
    pub shape: Shape,
    pub radius_px: f32,
    area_px: usize,
}

/// Objects from back to front and which of them each pixel shows.
#[derive(Debug)]
pub(super) struct Scene {
    pub objects: Vec<Object>,
    side_px: usize,
    /// Row-major; 0 where no object covers half of the pixel, else its index plus 1.
    owner: Vec<u8>,
}

impl Scene {
    /// A random arrangement on a square of `side_px`.
    pub fn random(side_px: usize, rng: &mut ChaCha8Rng) -> Self {
        let mut scene = Self { objects: Vec::new(), side_px, owner: vec![0; side_px * side_px] };
        let count = if rng.random_range(0..EMPTY_ONE_IN) == 0 { 0 } else { rng.random_range(2..=8) };
        for _ in 0..count {
            for _ in 0..ATTEMPTS {
                let candidate = scene.candidate(rng);
                if scene.place(candidate) {
                    break;
                }
            }
        }
        scene
    }

    fn candidate(&self, rng: &mut ChaCha8Rng) -> Object {
        let side = to_f32(self.side_px);
        // Radii 4 % to 24 % of the side, small ones as often as large: at 320 px, boxes of 24 to 150 px.
        let radius_px = side * 0.04 * (6.0_f32).powf(rng.random());
        let center = match self.objects.last() {
            Some(other) if rng.random_bool(0.3) => {
                let by = other.radius_px + radius_px;
                other.shape.center.map(|c| c + rng.random_range(-by..by))
            }
            _ => [rng.random_range(0.0..side), rng.random_range(0.0..side)],
        };
        let class = rng.random_range(0..CLASSES.len());
        Object { class, shape: Shape::random(class, center, radius_px, rng), radius_px, area_px: 0 }
    }

    /// Puts `object` on top if it and all below stay visible enough; says whether it did.
    fn place(&mut self, mut object: Object) -> bool {
        let [columns, rows] = object.shape.bounds(1.0);
        let mut covered = Vec::new();
        for y in rows {
            for x in columns.clone().filter(|&x| object.shape.coverage(x, y) >= 0.5) {
                object.area_px += 1;
                covered.extend(self.index(x, y));
            }
        }
        let enough = |visible: usize, area: usize| to_f32(visible) >= LEAST_VISIBLE * to_f32(area);
        if object.area_px == 0 || !enough(covered.len(), object.area_px) {
            return false;
        }
        let mut visible = self.visible();
        for &pixel in &covered {
            if let Some(below) = usize::from(self.owner[pixel]).checked_sub(1) {
                visible[below] -= 1;
            }
        }
        if !self.objects.iter().zip(visible).all(|(other, visible)| enough(visible, other.area_px)) {
            return false;
        }
        self.objects.push(object);
        let id = u8::try_from(self.objects.len()).unwrap_or(u8::MAX);
        for pixel in covered {
            self.owner[pixel] = id;
        }
        true
    }

    fn index(&self, x: i32, y: i32) -> Option<usize> {
        let (x, y) = (usize::try_from(x).ok()?, usize::try_from(y).ok()?);
        (x < self.side_px && y < self.side_px).then_some(y * self.side_px + x)
    }

    /// Visible pixels of each object.
    fn visible(&self) -> Vec<usize> {
        let mut counts = vec![0; self.objects.len()];
        for &owner in self.owner.iter().filter(|&&owner| owner > 0) {
            counts[usize::from(owner) - 1] += 1;
        }
        counts
    }

    /// Tight boxes around what is visible of each object.
    pub fn boxes(&self) -> Vec<LabelBox> {
        let mut spans = vec![[usize::MAX, usize::MAX, 0, 0]; self.objects.len()];
        for (pixel, &owner) in self.owner.iter().enumerate().filter(|(_, owner)| **owner > 0) {
            let (x, y) = (pixel % self.side_px, pixel / self.side_px);
            let [x0, y0, x1, y1] = &mut spans[usize::from(owner) - 1];
            (*x0, *y0) = ((*x0).min(x), (*y0).min(y));
            (*x1, *y1) = ((*x1).max(x + 1), (*y1).max(y + 1));
        }
        let side = to_f32(self.side_px);
        let label = |(object, [x0, y0, x1, y1]): (&Object, [usize; 4])| LabelBox {
            class: object.class,
            cx: to_f32(x0 + x1) / 2.0 / side,
            cy: to_f32(y0 + y1) / 2.0 / side,
            w: to_f32(x1 - x0) / side,
            h: to_f32(y1 - y0) / side,
        };
        self.objects.iter().zip(spans).map(label).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn every_object_stays_visible_and_boxed() {
        for seed in 0..20 {
            let scene = Scene::random(160, &mut ChaCha8Rng::seed_from_u64(seed));
            for ((object, visible), label) in scene.objects.iter().zip(scene.visible()).zip(scene.boxes()) {
                assert!(to_f32(visible) >= LEAST_VISIBLE * to_f32(object.area_px));
                assert!(label.w * 160.0 >= 3.0 && label.h * 160.0 >= 3.0, "{label:?}");
                assert!(label.cx - label.w / 2.0 >= 0.0 && label.cx + label.w / 2.0 <= 1.0);
            }
        }
    }
}
