//! The overlay: boxes and labels over images and live frames, through embedded-graphics. Never decides what to show.

mod canvas;
mod overlay;

use embedded_graphics::mono_font::iso_8859_1::{FONT_6X10, FONT_9X15, FONT_10X20};
use embedded_graphics::mono_font::{MonoFont, MonoTextStyleBuilder};
use embedded_graphics::pixelcolor::Rgb888;
use embedded_graphics::prelude::*;
use embedded_graphics::primitives::{PrimitiveStyleBuilder, Rectangle, StrokeAlignment};
use embedded_graphics::text::{Baseline, Text};

use crate::{Detection, Image};
use canvas::Canvas;

pub use overlay::Overlay;

/// Draws each detection's box in the color of its class, with its name and score above it. A class without a name
/// shows its number.
pub fn draw_detections(image: &mut Image, detections: &[Detection], classes: &[String]) {
    // The best last, so that it lies on top.
    for detection in detections.iter().rev() {
        draw_detection(image, detection, &label(detection, classes));
    }
}

/// Draws one box in the color of its class, with `text` above it.
pub fn draw_detection(image: &mut Image, detection: &Detection, text: &str) {
    let look = Look::for_side(image.width_px.min(image.height_px));
    mark(&mut Canvas::of_image(image), detection, text, &look);
}

/// Writes `text` into the image's upper left corner, black on white.
pub fn draw_caption(image: &mut Image, text: &str) {
    let look = Look::for_side(image.width_px.min(image.height_px));
    caption(&mut Canvas::of_image(image), text, &look);
}

/// The color of class `class`: hues a golden ratio apart, so that neighbors differ and a class never changes.
pub fn class_color(class: usize) -> Rgb888 {
    /// (√5 - 1) / 2 of a full turn of 65536, made odd so that the hues repeat as late as possible.
    const GOLDEN: usize = 40_503;
    hue_color(class.wrapping_mul(GOLDEN) % 65_536)
}

/// Thickness and font that suit an image.
struct Look {
    stroke_px: u32,
    font: &'static MonoFont<'static>,
}

impl Look {
    fn for_side(side_px: usize) -> Self {
        match side_px {
            0..=399 => Self { stroke_px: 1, font: &FONT_6X10 },
            400..=799 => Self { stroke_px: 2, font: &FONT_9X15 },
            _ => Self { stroke_px: 3, font: &FONT_10X20 },
        }
    }
}

fn label(detection: &Detection, classes: &[String]) -> String {
    match classes.get(detection.class) {
        Some(name) => format!("{name} {:.2}", detection.score),
        None => format!("class {} {:.2}", detection.class, detection.score),
    }
}

fn mark(canvas: &mut Canvas<'_>, detection: &Detection, text: &str, look: &Look) {
    let color = class_color(detection.class);
    let corners = Rectangle::with_corners(
        clamped(detection.x0, detection.y0, canvas),
        clamped(detection.x1 - 1.0, detection.y1 - 1.0, canvas),
    );
    draw_box(canvas, &corners, color, look);
    draw_label(canvas, text, corners.top_left, color, look);
}

fn caption(canvas: &mut Canvas<'_>, text: &str, look: &Look) {
    draw_label(canvas, text, Point::zero(), Rgb888::WHITE, look);
}

fn draw_box(canvas: &mut Canvas<'_>, corners: &Rectangle, color: Rgb888, look: &Look) {
    let style = PrimitiveStyleBuilder::new()
        .stroke_color(color)
        .stroke_width(look.stroke_px)
        .stroke_alignment(StrokeAlignment::Inside)
        .build();
    let Ok(()) = corners.into_styled(style).draw(canvas);
}

/// Puts the label above the box's corner, or below where the image ends, and within the right edge where it can.
fn draw_label(canvas: &mut Canvas<'_>, text: &str, corner: Point, color: Rgb888, look: &Look) {
    let style = MonoTextStyleBuilder::new()
        .font(look.font)
        .text_color(text_color(color))
        .background_color(color)
        .build();
    let label = Text::with_baseline(text, corner, style, Baseline::Top);
    let size = label.bounding_box().size;
    let (width, height) = (size.width.cast_signed(), size.height.cast_signed());
    let rightmost = (canvas.size().width.cast_signed() - width).max(0);
    let above = corner.y - height;
    let at = Point::new(corner.x.clamp(0, rightmost), if above >= 0 { above } else { corner.y });
    let Ok(_) = Text::with_baseline(text, at, style, Baseline::Top).draw(canvas);
}

/// Black on bright colors, white on dark ones (Rec. 601 luma).
fn text_color(background: Rgb888) -> Rgb888 {
    let [r, g, b] = [background.r(), background.g(), background.b()].map(u32::from);
    if 299 * r + 587 * g + 114 * b > 128_000 { Rgb888::BLACK } else { Rgb888::WHITE }
}

/// A saturated color of a hue, a full turn of which is 65536.
fn hue_color(hue: usize) -> Rgb888 {
    let position = hue * 6;
    let (sector, within) = (position / 65_536, position % 65_536);
    let rising = u8::try_from(within >> 8).unwrap_or(u8::MAX);
    let falling = u8::MAX - rising;
    match sector {
        0 => Rgb888::new(255, rising, 0),
        1 => Rgb888::new(falling, 255, 0),
        2 => Rgb888::new(0, 255, rising),
        3 => Rgb888::new(0, falling, 255),
        4 => Rgb888::new(rising, 0, 255),
        _ => Rgb888::new(255, 0, falling),
    }
}

/// The nearest pixel, at most a little outside of the image: drawing takes time for every pixel of an edge.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and makes NaN 0")]
fn clamped(x: f32, y: f32, canvas: &Canvas<'_>) -> Point {
    const OUTSIDE_PX: i32 = 8;
    let size = canvas.size();
    let clamp = |px: f32, side: u32| {
        (px.round() as i32).clamp(-OUTSIDE_PX, side.cast_signed().saturating_add(OUTSIDE_PX))
    };
    Point::new(clamp(x, size.width), clamp(y, size.height))
}

#[cfg(test)]
mod tests;
