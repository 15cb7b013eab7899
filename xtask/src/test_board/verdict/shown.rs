//! Whether a display shows what the page shows of the same frame: the same picture as large as it fits, black beside, and the
//! boxes of what was found, each in a color of its own. The display's picture is qemu's, without loss; the page's is a JPEG.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use serde_json::{Value, json};

use super::super::picture::{Color, Picture};

/// What a color may be off from the page's: JPEG blurs what is small and bright, such as the overlay.
const OFF: u8 = 32;
/// The least part of a frame whose colors are the page's, in percent. Other pictures have hardly any of them, red for blue has half.
const LEAST_ALIKE: usize = 80;
/// The least part of a box's edge that has one and the same bright color, in percent: labels and other boxes lie over it.
const LEAST_EDGE: usize = 50;

/// What a picture of a display must show.
#[derive(Debug)]
pub struct Expected {
    /// The page's picture.
    pub page: Picture,
    /// What was found, as x0, y0, x1 and y1 on the page's picture.
    pub boxes: Vec<[f64; 4]>,
}

/// How a display's picture compares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likeness {
    size: [usize; 2],
    alike_percent: usize,
    black_percent: usize,
    /// Of each box, how much of its edge has one bright color.
    edge_percent: Vec<usize>,
}

impl Likeness {
    /// Compares.
    pub fn of(display: &Picture, expected: &Expected) -> Self {
        let Expected { page, boxes } = expected;
        let place = Place::of(page.size, display.size);
        let frame = || places([0..=page.size[0] - 1, 0..=page.size[1] - 1]);
        let alike = frame().filter(|at| is_like(display.at(place.middle(*at)), page.at(*at))).count();
        let beside =
            || places([0..=display.size[0] - 1, 0..=display.size[1] - 1]).filter(|at| !place.has(*at));
        let black = beside().filter(|at| display.at(*at) == [0; 3]).count();
        let edge = |corners| edge_percent(corners, page.size, |at| display.at(place.middle(at)));
        Self {
            size: display.size,
            alike_percent: percent(alike, frame().count()),
            black_percent: percent(black, beside().count()),
            edge_percent: boxes.iter().map(edge).collect(),
        }
    }

    /// What is not as it must be.
    pub fn failures(&self) -> Vec<String> {
        let mut failures = Vec::new();
        let mut least = |what: String, found: usize, least: usize| {
            if found < least {
                failures.push(format!("{found} % of {what}, expected {least} % or more"));
            }
        };
        least("the frame has the colors of the page's picture".into(), self.alike_percent, LEAST_ALIKE);
        least("what lies beside the frame is black".into(), self.black_percent, 100);
        for (number, found) in self.edge_percent.iter().enumerate() {
            least(format!("the edge of box {number} has one bright color"), *found, LEAST_EDGE);
        }
        if self.edge_percent.is_empty() {
            failures.push("nothing was found on the frame, expected boxes to look for on the display".into());
        }
        failures
    }

    /// For reports.
    pub fn document(&self) -> Value {
        json!({
            "size": self.size, "alike_percent": self.alike_percent, "black_beside_percent": self.black_percent,
            "edge_percent": self.edge_percent,
        })
    }
}

/// Where a frame lies on a display: in the middle, as large as it fits.
struct Place {
    corner: [usize; 2],
    covered: [usize; 2],
    frame: [usize; 2],
}

impl Place {
    fn of(frame: [usize; 2], display: [usize; 2]) -> Self {
        let is_wide = frame[0] * display[1] > frame[1] * display[0];
        let full = usize::from(!is_wide);
        let covered = [0, 1].map(|side| frame[side] * display[full] / frame[full]);
        let corner = [0, 1].map(|side| (display[side] - covered[side]) / 2);
        Self { corner, covered, frame }
    }

    /// The middle of a frame's pixel on the display.
    fn middle(&self, at: [usize; 2]) -> [usize; 2] {
        [0, 1]
            .map(|side| self.corner[side] + (2 * at[side] + 1) * self.covered[side] / (2 * self.frame[side]))
    }

    fn has(&self, at: [usize; 2]) -> bool {
        (0..2).all(|side| (self.corner[side]..self.corner[side] + self.covered[side]).contains(&at[side]))
    }
}

/// How much of the edge of a box has its most frequent color, in percent; none of it where that is not as bright as colors of
/// classes are, which are hues at their full.
fn edge_percent(corners: &[f64; 4], size: [usize; 2], color_at: impl Fn([usize; 2]) -> Color) -> usize {
    let [x0, y0, x1, y1] = corners.map(f64::round);
    let [columns, rows] = [within(x0, x1, size[0]), within(y0, y1, size[1])];
    let (left, right, top, bottom) = (*columns.start(), *columns.end(), *rows.start(), *rows.end());
    let is_edge = |at: &[usize; 2]| [left, right].contains(&at[0]) || [top, bottom].contains(&at[1]);
    let mut counts = BTreeMap::<Color, usize>::new();
    for at in places([columns, rows]).filter(is_edge) {
        *counts.entry(color_at(at)).or_default() += 1;
    }
    let all = counts.values().sum();
    let bright = counts.iter().filter(|(color, _)| color.contains(&0) && color.contains(&u8::MAX));
    percent(bright.map(|(_, count)| *count).max().unwrap_or_default(), all)
}

/// The pixels of a side from the first that a box has to the last.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates; pixels of a picture"
)]
fn within(first: f64, end: f64, side: usize) -> RangeInclusive<usize> {
    (first as usize).min(side - 1)..=(end as usize).clamp(1, side) - 1
}

fn places([columns, rows]: [RangeInclusive<usize>; 2]) -> impl Iterator<Item = [usize; 2]> {
    rows.flat_map(move |y| columns.clone().map(move |x| [x, y]))
}

fn is_like(one: Color, other: Color) -> bool {
    one.iter().zip(other).all(|(one, other)| one.abs_diff(other) <= OFF)
}

/// All of nothing.
fn percent(part: usize, all: usize) -> usize {
    (100 * part).checked_div(all).unwrap_or(100)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [40, 40];
    const BOX: [f64; 4] = [10.2, 5.0, 30.4, 25.0];

    /// A frame with a drawing and, where a color is given, a box.
    fn frame(color: Option<Color>) -> Picture {
        let bytes: Vec<u8> = places([0..=39, 0..=39])
            .flat_map(|[x, y]| {
                let is_inside = (10..30).contains(&x) && (5..25).contains(&y);
                let is_inner = (11..29).contains(&x) && (6..24).contains(&y);
                let drawing = [u8::try_from(x * 6).unwrap(), u8::try_from(y * 6).unwrap(), 90];
                color.filter(|_| is_inside && !is_inner).unwrap_or(drawing)
            })
            .collect();
        Picture::of_rgb(SIZE, &bytes).unwrap()
    }

    /// A display of 100x80 pixels that shows a frame at twice its size, and this beside.
    fn display(shown: &Picture, beside: Color) -> Picture {
        let color_at = |[x, y]: [usize; 2]| match x.checked_sub(10) {
            Some(x) if x < 80 => shown.at([x / 2, y / 2]),
            _ => beside,
        };
        let bytes: Vec<u8> = places([0..=99, 0..=79]).flat_map(color_at).collect();
        Picture::of_rgb([100, 80], &bytes).unwrap()
    }

    fn judged(display: &Picture) -> Vec<String> {
        let expected = Expected { page: frame(Some([255, 40, 0])), boxes: vec![BOX] };
        Likeness::of(display, &expected).failures()
    }

    #[test]
    fn a_display_that_shows_the_frame_is_believed() {
        assert_eq!(judged(&display(&frame(Some([255, 40, 0])), [0; 3])), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_is_told() {
        let only = |display: &Picture| {
            let failures = judged(display);
            assert_eq!(failures.len(), 1, "{failures:?}");
            failures[0].clone()
        };
        assert!(only(&display(&frame(Some([255, 40, 0])), [1, 0, 0])).contains("0 % of what lies beside"));
        assert!(only(&display(&frame(None), [0; 3])).contains("0 % of the edge of box 0"));
        // Dark, mirrored, red for blue.
        assert!(judged(&Picture::of_rgb([100, 80], &[0; 24_000]).unwrap()).len() > 1);
        let mirrored: Vec<u8> =
            places([0..=39, 0..=39]).flat_map(|[x, y]| frame(Some([255, 40, 0])).at([39 - x, y])).collect();
        assert!(!judged(&display(&Picture::of_rgb(SIZE, &mirrored).unwrap(), [0; 3])).is_empty());
        let swapped = |picture: &Picture| -> Vec<u8> {
            let at = |at| {
                let [r, g, b] = picture.at(at);
                [b, g, r]
            };
            places([0..=99, 0..=79]).flat_map(at).collect()
        };
        let swapped = swapped(&display(&frame(Some([255, 40, 0])), [0; 3]));
        assert!(!judged(&Picture::of_rgb([100, 80], &swapped).unwrap()).is_empty());
    }

    #[test]
    fn boxes_that_reach_out_and_frames_of_any_shape_can_be_compared() {
        let page = frame(None);
        let boxes = vec![[-9.0, -9.0, 99.0, 99.0], [99.0, 99.0, 200.0, 200.0], [5.0, 5.0, 5.0, 5.0]];
        for size in [[3, 80], [80, 3], [1, 1]] {
            let shown = Picture::of_rgb(size, &vec![0; size[0] * size[1] * 3]).unwrap();
            let expected = Expected { page: page.clone(), boxes: boxes.clone() };
            assert!(!Likeness::of(&shown, &expected).failures().is_empty(), "{size:?}");
        }
    }
}
