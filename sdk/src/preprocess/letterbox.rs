//! Geometry of the letterbox: how a frame is scaled and centered in the model input, and the way back.

use artifact::Preprocess;

/// Where a frame lies in the model input. Coordinates are continuous: a pixel covers `x..x + 1`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LetterboxMap {
    /// Width of the frame.
    pub source_width_px: usize,
    /// Height of the frame.
    pub source_height_px: usize,
    /// Width of the frame within the input.
    pub resized_width_px: usize,
    /// Height of the frame within the input.
    pub resized_height_px: usize,
    /// Bar to the left of the frame.
    pub left_px: usize,
    /// Bar above the frame.
    pub top_px: usize,
}

impl LetterboxMap {
    /// The largest centered placement of a `width_px`×`height_px` frame that keeps its aspect, enlarging where needed:
    /// `scale = min(W / width, H / height)`, each side rounded half to even, the bar before the frame
    /// `round(bars / 2 - 0.1)` (YOLOv5's letterbox).
    pub fn fit(width_px: usize, height_px: usize, input: &Preprocess) -> Self {
        let (width, height) = (to_f64(width_px), to_f64(height_px));
        let scale = (to_f64(input.width_px) / width).min(to_f64(input.height_px) / height);
        let resized_width_px = resized_side(width * scale, input.width_px);
        let resized_height_px = resized_side(height * scale, input.height_px);
        Self {
            source_width_px: width_px,
            source_height_px: height_px,
            resized_width_px,
            resized_height_px,
            left_px: bar_before(input.width_px - resized_width_px),
            top_px: bar_before(input.height_px - resized_height_px),
        }
    }

    /// Width and height of the frame, as coordinates.
    pub(crate) fn source_size(&self) -> (f32, f32) {
        (to_f32(self.source_width_px), to_f32(self.source_height_px))
    }

    /// A point of the model input in source pixels; may lie outside of the frame.
    pub fn to_source(&self, x: f32, y: f32) -> (f32, f32) {
        let scale_x = to_f32(self.source_width_px) / to_f32(self.resized_width_px);
        let scale_y = to_f32(self.source_height_px) / to_f32(self.resized_height_px);
        ((x - to_f32(self.left_px)) * scale_x, (y - to_f32(self.top_px)) * scale_y)
    }

    /// A point of the source in pixels of the model input.
    pub fn to_input(&self, x: f32, y: f32) -> (f32, f32) {
        let scale_x = to_f32(self.resized_width_px) / to_f32(self.source_width_px);
        let scale_y = to_f32(self.resized_height_px) / to_f32(self.source_height_px);
        (x * scale_x + to_f32(self.left_px), y * scale_y + to_f32(self.top_px))
    }
}

/// Rounds, and keeps at least one pixel of the thinnest frame.
fn resized_side(exact_px: f64, limit_px: usize) -> usize {
    to_usize(exact_px.round_ties_even()).clamp(1, limit_px)
}

fn bar_before(bars_px: usize) -> usize {
    to_usize((to_f64(bars_px) / 2.0 - 0.1).round_ties_even().max(0.0))
}

#[expect(clippy::cast_precision_loss, reason = "sides are far below 2^24")]
fn to_f32(side_px: usize) -> f32 {
    side_px as f32
}

#[expect(clippy::cast_precision_loss, reason = "sides are far below 2^53")]
fn to_f64(side_px: usize) -> f64 {
    side_px as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded and not negative")]
fn to_usize(rounded_px: f64) -> usize {
    rounded_px as usize
}
