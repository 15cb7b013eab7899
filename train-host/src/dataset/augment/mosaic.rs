//! Puts scaled images onto a canvas: four around a random point, or one in the middle.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

use super::{FILL, PixelBox, Scaled};

/// A square canvas with the boxes of what was pasted, clipped to it.
pub(super) struct Canvas {
    pub side: usize,
    pub rgb: Vec<u8>,
    pub boxes: Vec<PixelBox>,
}

impl Canvas {
    fn new(side: usize) -> Self {
        Self { side, rgb: vec![FILL; side * side * 3], boxes: Vec::new() }
    }

    /// Pastes the image with its top-left corner at (`left`, `top`), which may lie outside, clipped to `window`
    /// (x0, y0, x1, y1).
    fn paste(&mut self, scaled: &Scaled, left: i64, top: i64, window: [i64; 4]) {
        let (width, height) = (to_i64(scaled.image.width_px), to_i64(scaled.image.height_px));
        let (x0, x1) = (window[0].max(left), window[2].min(left + width));
        let (y0, y1) = (window[1].max(top), window[3].min(top + height));
        if x0 >= x1 || y0 >= y1 {
            return;
        }
        let bytes = to_usize(x1 - x0) * 3;
        for y in y0..y1 {
            let from = to_usize((y - top) * width + (x0 - left)) * 3;
            let to = (to_usize(y) * self.side + to_usize(x0)) * 3;
            self.rgb[to..to + bytes].copy_from_slice(&scaled.image.rgb[from..from + bytes]);
        }
        self.add_boxes(scaled, left, top);
    }

    #[expect(clippy::cast_precision_loss, reason = "pixel positions are far below 2^24")]
    fn add_boxes(&mut self, scaled: &Scaled, left: i64, top: i64) {
        let limit = self.side as f32;
        let (dx, dy) = (left as f32, top as f32);
        self.boxes.extend(scaled.boxes.iter().map(|b| PixelBox {
            class: b.class,
            x0: (b.x0 + dx).clamp(0.0, limit),
            y0: (b.y0 + dy).clamp(0.0, limit),
            x1: (b.x1 + dx).clamp(0.0, limit),
            y1: (b.y1 + dy).clamp(0.0, limit),
        }));
    }
}

/// Four images around a random center of a canvas twice the training side.
pub(super) fn compose(four: &[Arc<Scaled>], side: usize, rng: &mut ChaCha8Rng) -> Canvas {
    let mut canvas = Canvas::new(side * 2);
    let full = to_i64(side * 2);
    let yc = to_i64(rng.random_range(side / 2..=side * 3 / 2));
    let xc = to_i64(rng.random_range(side / 2..=side * 3 / 2));
    for (corner, scaled) in four.iter().enumerate() {
        let (w, h) = (to_i64(scaled.image.width_px), to_i64(scaled.image.height_px));
        let left = if corner % 2 == 0 { xc - w } else { xc };
        let top = if corner < 2 { yc - h } else { yc };
        canvas.paste(scaled, left, top, [0, 0, full, full]);
    }
    canvas
}

/// One image in the middle of a canvas of the training side.
pub(super) fn center(scaled: &Scaled, side: usize) -> Canvas {
    let mut canvas = Canvas::new(side);
    let left = (to_i64(side) - to_i64(scaled.image.width_px)) / 2;
    let top = (to_i64(side) - to_i64(scaled.image.height_px)) / 2;
    canvas.paste(scaled, left, top, [0, 0, to_i64(side), to_i64(side)]);
    canvas
}

fn to_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn to_usize(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}
