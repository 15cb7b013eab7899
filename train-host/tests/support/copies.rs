//! Altered copies of labeled photographs (mirrored, cropped, padded), to measure on more than the few that are held.

#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    reason = "sides of pictures are small"
)]

use std::path::Path;

use repedge::Image;
use repedge::frame::{read_image, write_png};
use train_host::dataset::{Dataset, LabelBox, Sample};

/// Gray around a padded picture, as letterboxing has it.
const GRAY: [u8; 3] = [114; 3];
/// Part of an object that has to be left in a copy, so that it is still labeled.
const LEFT: f32 = 0.3;

/// Copies of each photograph: mirrored or not, and how much of it is seen.
const VIEWS: [(bool, f32); 3] = [(true, 1.0), (false, 0.7), (true, 1.4)];

/// `dataset` and, written into `folder`, three altered copies of each of its images, in the order of the images.
pub fn with_copies(dataset: &Dataset, folder: &Path) -> Dataset {
    let mut samples = dataset.samples.clone();
    for (at, sample) in dataset.samples.iter().enumerate() {
        let image = read_image(&sample.image).unwrap();
        let place = [0.0, 0.25, 0.5, 0.75, 1.0_f32][at % 5];
        for (kind, (mirrored, size)) in VIEWS.into_iter().enumerate() {
            let window = Window::of(&image, size, [place, 1.0 - place]);
            let path = folder.join(format!("{at}-{kind}.png"));
            let (seen, boxes) = view(&image, &sample.boxes, mirrored, window);
            write_png(&path, &seen).unwrap();
            let [width_px, height_px] = [seen.width_px, seen.height_px].map(|px| u32::try_from(px).unwrap());
            samples.push(Sample { image: path, width_px, height_px, boxes });
        }
    }
    Dataset { samples, ..dataset.clone() }
}

/// Of each of the images that [`with_copies`] makes of `photographs`, the photograph.
pub fn photographs_of(photographs: usize) -> Vec<usize> {
    let copies = (0..photographs).flat_map(|photograph| [photograph; VIEWS.len()]);
    (0..photographs).chain(copies).collect()
}

/// A part of a picture, or more than all of it.
struct Window {
    left: i64,
    top: i64,
    width: usize,
    height: usize,
}

impl Window {
    /// Of `size` times the sides of `image`, moved to `place` of the way from one end to the other.
    fn of(image: &Image, size: f32, place: [f32; 2]) -> Self {
        let side = |px: usize| (px as f32 * size).round() as usize;
        let (width, height) = (side(image.width_px), side(image.height_px));
        let start = |px: usize, side: usize, place: f32| ((px as f32 - side as f32) * place).round() as i64;
        Self {
            left: start(image.width_px, width, place[0]),
            top: start(image.height_px, height, place[1]),
            width,
            height,
        }
    }
}

fn view(image: &Image, boxes: &[LabelBox], mirrored: bool, window: Window) -> (Image, Vec<LabelBox>) {
    let mut seen = Image::filled(window.width, window.height, GRAY);
    for y in 0..window.height {
        for x in 0..window.width {
            let (from_x, from_y) = (x as i64 + window.left, y as i64 + window.top);
            let inside =
                (0..image.width_px as i64).contains(&from_x) && (0..image.height_px as i64).contains(&from_y);
            if inside {
                let from_x = from_x as usize;
                let column = if mirrored { image.width_px - 1 - from_x } else { from_x };
                let from = 3 * (from_y as usize * image.width_px + column);
                let to = 3 * (y * window.width + x);
                seen.rgb[to..to + 3].copy_from_slice(&image.rgb[from..from + 3]);
            }
        }
    }
    let boxes = boxes.iter().filter_map(|object| moved(object, image, mirrored, &window)).collect();
    (seen, boxes)
}

/// `object` as it lies in `window`; none where too little of it does.
fn moved(object: &LabelBox, image: &Image, mirrored: bool, window: &Window) -> Option<LabelBox> {
    let along = |center: f32, size: f32, px: usize, start: i64, side: usize| {
        let (px, start, side) = (px as f32, start as f32, side as f32);
        let ends = [center - size / 2.0, center + size / 2.0].map(|end| (end * px - start).clamp(0.0, side));
        let left = ends[1] - ends[0];
        ((ends[0] + ends[1]) / 2.0 / side, left / side, left / (size * px))
    };
    let cx = if mirrored { 1.0 - object.cx } else { object.cx };
    let (cx, w, of_width) = along(cx, object.w, image.width_px, window.left, window.width);
    let (cy, h, of_height) = along(object.cy, object.h, image.height_px, window.top, window.height);
    (of_width * of_height >= LEFT).then_some(LabelBox { class: object.class, cx, cy, w, h })
}
