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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fit(source_px: (usize, usize), input_px: (usize, usize)) -> [usize; 4] {
        let map = LetterboxMap::fit(source_px.0, source_px.1, &Preprocess::yolo(input_px.0, input_px.1));
        [map.resized_width_px, map.resized_height_px, map.left_px, map.top_px]
    }

    #[test]
    fn sizes_and_bars_are_those_of_yolov5() {
        assert_eq!(fit((1280, 720), (640, 640)), [640, 360, 0, 140]);
        assert_eq!(fit((500, 375), (640, 640)), [640, 480, 0, 80]);
        assert_eq!(fit((375, 500), (640, 640)), [480, 640, 80, 0]);
        assert_eq!(fit((64, 64), (640, 640)), [640, 640, 0, 0], "small frames are enlarged");
        // 640 - 427 = 213 rows of bars: 106.5 - 0.1 rounds to 106 above, 107 below.
        assert_eq!(fit((640, 427), (640, 640)), [640, 427, 0, 106]);
        // 5 / 2 = 2.5 and 7 / 2 = 3.5: halves go to the even neighbor, as Python rounds.
        assert_eq!(fit((10, 5), (5, 5))[1], 2);
        assert_eq!(fit((10, 7), (5, 5))[1], 4);
        assert_eq!(fit((10_000, 1), (640, 640)), [640, 1, 0, 319], "thin frames keep a row");
    }

    #[test]
    fn corners_of_the_frame_map_to_corners_of_the_source() {
        let map = LetterboxMap::fit(1280, 720, &Preprocess::yolo(640, 640));
        assert_eq!(map.to_source(0.0, 140.0), (0.0, 0.0));
        assert_eq!(map.to_source(640.0, 500.0), (1280.0, 720.0));
        assert_eq!(map.to_input(640.0, 360.0), (320.0, 320.0));
    }

    proptest! {
        #[test]
        fn the_frame_lies_within_the_input_and_maps_back(
            source in (1_usize..5000, 1_usize..5000),
            input in (1_usize..1000, 1_usize..1000),
            at in (0.0_f32..1.0, 0.0_f32..1.0),
        ) {
            let map = LetterboxMap::fit(source.0, source.1, &Preprocess::yolo(input.0, input.1));
            prop_assert!(map.left_px + map.resized_width_px <= input.0);
            prop_assert!(map.top_px + map.resized_height_px <= input.1);
            let right_px = input.0 - map.left_px - map.resized_width_px;
            prop_assert!(map.left_px.abs_diff(right_px) <= 1);
            let (width, height) = map.source_size();
            let (x, y) = (at.0 * width, at.1 * height);
            let (input_x, input_y) = map.to_input(x, y);
            let (back_x, back_y) = map.to_source(input_x, input_y);
            // Half a unit in the last place of an input coordinate, seen through the scale.
            prop_assert!((back_x - x).abs() <= 1e-4 * width.max(1.0), "{} {}", x, back_x);
            prop_assert!((back_y - y).abs() <= 1e-4 * height.max(1.0), "{} {}", y, back_y);
        }
    }
}
