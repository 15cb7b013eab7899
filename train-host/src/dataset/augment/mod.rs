//! Training-time augmentation as YOLOv5 does it: mosaic, affine, HSV, flips, with all chance drawn from a generator
//! keyed by seed, epoch and index, so that a resumed run sees the same pictures. Never touches labels on disk.

mod affine;
mod hsv;
mod mosaic;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use repedge::frame::Image;

pub use affine::Affine;

/// Gray that fills what no image covers (YOLOv5's 114).
pub const FILL: u8 = 114;

/// How strongly to augment; names and defaults are YOLOv5's `hyp.scratch-low`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Strength {
    /// Hue gain, fraction.
    pub hsv_h: f32,
    /// Saturation gain, fraction.
    pub hsv_s: f32,
    /// Value gain, fraction.
    pub hsv_v: f32,
    /// Rotation, ± degrees.
    pub degrees: f32,
    /// Translation, ± fraction of the side.
    pub translate: f32,
    /// Scale gain, ± fraction.
    pub scale: f32,
    /// Shear, ± degrees.
    pub shear: f32,
    /// Probability of an upside-down flip.
    pub flipud: f32,
    /// Probability of a left-right flip.
    pub fliplr: f32,
    /// Probability of a mosaic of four images.
    pub mosaic: f32,
}

/// A box in pixels with its class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelBox {
    /// Class index.
    pub class: usize,
    /// Left, px.
    pub x0: f32,
    /// Top, px.
    pub y0: f32,
    /// Right, px.
    pub x1: f32,
    /// Bottom, px.
    pub y1: f32,
}

/// A decoded image, its long side scaled to the training size, with boxes in its own pixels.
#[derive(Debug, Clone)]
pub struct Scaled {
    /// Pixels.
    pub image: Image,
    /// Labeled boxes.
    pub boxes: Vec<PixelBox>,
}

/// A square training picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmented {
    /// `side × side × 3` bytes, RGB, row-major.
    pub rgb: Vec<u8>,
    /// Boxes in pixels of the square.
    pub boxes: Vec<PixelBox>,
}

/// Makes training picture `index`: a mosaic with three random others, or the image alone, then affine, HSV, flips.
///
/// `load` returns a scaled image by its index.
///
/// # Errors
/// Whatever `load` reports (a broken image).
pub fn augment<E>(
    index: usize,
    count: usize,
    side: usize,
    strength: &Strength,
    rng: &mut ChaCha8Rng,
    mut load: impl FnMut(usize) -> Result<std::sync::Arc<Scaled>, E>,
) -> Result<Augmented, E> {
    let canvas = if rng.random::<f32>() < strength.mosaic {
        let mut four = vec![load(index)?];
        for _ in 0..3 {
            four.push(load(rng.random_range(0..count))?);
        }
        mosaic::compose(&four, side, rng)
    } else {
        mosaic::center(load(index)?.as_ref(), side)
    };
    let mut picture = Affine::random(canvas.side, side, strength, rng).warp(&canvas, side);
    hsv::jitter(&mut picture.rgb, strength, rng);
    flip(&mut picture, side, strength, rng);
    Ok(picture)
}

fn flip(picture: &mut Augmented, side: usize, strength: &Strength, rng: &mut ChaCha8Rng) {
    #[expect(clippy::cast_precision_loss, reason = "image sides are far below 2^24")]
    let side_px = side as f32;
    if rng.random::<f32>() < strength.flipud {
        let row = side * 3;
        for y in 0..side / 2 {
            let (top, bottom) = picture.rgb.split_at_mut((side - 1 - y) * row);
            top[y * row..(y + 1) * row].swap_with_slice(&mut bottom[..row]);
        }
        for b in &mut picture.boxes {
            (b.y0, b.y1) = (side_px - b.y1, side_px - b.y0);
        }
    }
    if rng.random::<f32>() < strength.fliplr {
        for row in picture.rgb.chunks_exact_mut(side * 3) {
            for x in 0..side / 2 {
                for c in 0..3 {
                    row.swap(x * 3 + c, (side - 1 - x) * 3 + c);
                }
            }
        }
        for b in &mut picture.boxes {
            (b.x0, b.x1) = (side_px - b.x1, side_px - b.x0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use std::sync::Arc;

    fn none() -> Strength {
        Strength {
            hsv_h: 0.0,
            hsv_s: 0.0,
            hsv_v: 0.0,
            degrees: 0.0,
            translate: 0.0,
            scale: 0.0,
            shear: 0.0,
            flipud: 0.0,
            fliplr: 0.0,
            mosaic: 0.0,
        }
    }

    fn sample() -> Arc<Scaled> {
        let (width, height) = (8, 4);
        let rgb = (0..width * height * 3).map(|i| u8::try_from(i).unwrap()).collect();
        let image = Image { width_px: width, height_px: height, rgb };
        Arc::new(Scaled { image, boxes: vec![PixelBox { class: 1, x0: 1.0, y0: 0.0, x1: 5.0, y1: 3.0 }] })
    }

    fn run(strength: &Strength) -> Augmented {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        augment(0, 1, 8, strength, &mut rng, |_| Ok::<_, ()>(sample())).unwrap()
    }

    #[test]
    fn zero_strength_is_a_centered_letterbox() {
        let picture = run(&none());
        let row = 8 * 3;
        assert!(picture.rgb[..2 * row].iter().all(|&v| v == FILL));
        assert_eq!(&picture.rgb[2 * row..6 * row], &sample().image.rgb[..]);
        assert_eq!(picture.boxes, [PixelBox { class: 1, x0: 1.0, y0: 2.0, x1: 5.0, y1: 5.0 }]);
    }

    #[test]
    fn flips_move_pixels_and_boxes_together() {
        let plain = run(&none());
        let flipped = run(&Strength { fliplr: 1.0, flipud: 1.0, ..none() });
        for y in 0..8 {
            for x in 0..8 {
                let (a, b) = ((y * 8 + x) * 3, ((7 - y) * 8 + 7 - x) * 3);
                assert_eq!(plain.rgb[a..a + 3], flipped.rgb[b..b + 3]);
            }
        }
        assert_eq!(flipped.boxes, [PixelBox { class: 1, x0: 3.0, y0: 3.0, x1: 7.0, y1: 6.0 }]);
    }

    #[test]
    fn same_key_gives_the_same_mosaic() {
        let strong = Strength {
            mosaic: 1.0,
            scale: 0.5,
            translate: 0.1,
            degrees: 10.0,
            shear: 2.0,
            hsv_h: 0.1,
            ..none()
        };
        assert_eq!(run(&strong), run(&strong));
    }
}
