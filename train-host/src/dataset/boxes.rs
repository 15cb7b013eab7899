//! The checks every label passes, whatever its format: finite, ordered, inside the image. Knows no file format.

use super::{LabelBox, Notes};

/// How far a corner given in pixels may lie outside the image: labeling tools round and count from 0 or 1.
pub(super) const SLACK_PX: f64 = 1.0;

/// A box by its corners, in any unit; `extent` of the image in the same unit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Corners {
    pub x0: f64,
    pub y0: f64,
    pub x1: f64,
    pub y1: f64,
}

/// Boxes of one image, with what happened to them.
#[derive(Debug, Default)]
pub(super) struct Boxes {
    pub kept: Vec<LabelBox>,
    pub notes: Notes,
}

impl Boxes {
    /// Checks one label of an image of `width` × `height` (unit of `corners`) and keeps it, cut to the image.
    /// `slack_x`/`slack_y` is one pixel in that unit: a larger overhang is counted as clipped.
    ///
    /// # Errors
    /// What is wrong with the label: not finite, corners swapped, or outside the image.
    pub fn push(
        &mut self,
        class: usize,
        corners: Corners,
        size: [f64; 2],
        slack: [f64; 2],
    ) -> Result<(), String> {
        let Corners { x0, y0, x1, y1 } = corners;
        if ![x0, y0, x1, y1].iter().all(|v| v.is_finite()) {
            return Err(format!("box {x0} {y0} {x1} {y1} is not made of finite numbers"));
        }
        if x1 < x0 || y1 < y0 {
            return Err(format!("box {x0} {y0} {x1} {y1} ends before it begins"));
        }
        if x1 <= 0.0 && x0 < 0.0
            || y1 <= 0.0 && y0 < 0.0
            || x0 >= size[0] + slack[0]
            || y0 >= size[1] + slack[1]
        {
            return Err(format!(
                "box {x0} {y0} {x1} {y1} lies outside the image ({} × {})",
                size[0], size[1]
            ));
        }
        let cut = Corners {
            x0: x0.clamp(0.0, size[0]),
            y0: y0.clamp(0.0, size[1]),
            x1: x1.clamp(0.0, size[0]),
            y1: y1.clamp(0.0, size[1]),
        };
        let overhang_x = (cut.x0 - x0).max(x1 - cut.x1);
        let overhang_y = (cut.y0 - y0).max(y1 - cut.y1);
        let label = to_label(class, cut, size);
        if label.w <= 0.0 || label.h <= 0.0 {
            self.notes.zero_area += 1;
        } else if self.kept.contains(&label) {
            self.notes.duplicate += 1;
        } else {
            self.notes.clipped += usize::from(overhang_x > slack[0] || overhang_y > slack[1]);
            self.kept.push(label);
        }
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "fractions of an image need no more than f32")]
fn to_label(class: usize, corners: Corners, size: [f64; 2]) -> LabelBox {
    let Corners { x0, y0, x1, y1 } = corners;
    LabelBox {
        class,
        cx: ((x0 + x1) / 2.0 / size[0]) as f32,
        cy: ((y0 + y1) / 2.0 / size[1]) as f32,
        w: ((x1 - x0) / size[0]) as f32,
        h: ((y1 - y0) / size[1]) as f32,
    }
}

/// Refuses a corner more than [`SLACK_PX`] outside an image of `size` pixels.
///
/// # Errors
/// Names the box and the image's size.
pub(super) fn inside(corners: Corners, size: [f64; 2]) -> Result<(), String> {
    let Corners { x0, y0, x1, y1 } = corners;
    let fits = x0 >= -SLACK_PX && y0 >= -SLACK_PX && x1 <= size[0] + SLACK_PX && y1 <= size[1] + SLACK_PX;
    if fits || [x0, y0, x1, y1].iter().any(|v| v.is_nan()) {
        Ok(())
    } else {
        Err(format!("box {x0} {y0} {x1} {y1} reaches outside the image ({} × {} pixels)", size[0], size[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(corners: [f64; 4]) -> (Result<(), String>, Boxes) {
        let mut boxes = Boxes::default();
        let [x0, y0, x1, y1] = corners;
        let outcome = boxes.push(3, Corners { x0, y0, x1, y1 }, [100.0, 50.0], [1.0, 1.0]);
        (outcome, boxes)
    }

    #[test]
    fn a_box_becomes_fractions() {
        let (outcome, boxes) = push([10.0, 10.0, 30.0, 20.0]);
        outcome.unwrap();
        assert_eq!(boxes.kept, [LabelBox { class: 3, cx: 0.2, cy: 0.3, w: 0.2, h: 0.2 }]);
        assert_eq!(boxes.notes, Notes::default());
    }

    #[test]
    fn overhang_is_cut_and_counted_beyond_a_pixel() {
        assert_eq!(push([-0.5, 0.0, 10.0, 10.0]).1.notes.clipped, 0);
        let (_, boxes) = push([-5.0, 0.0, 10.0, 10.0]);
        assert_eq!(boxes.notes.clipped, 1);
        assert_eq!(boxes.kept[0], LabelBox { class: 3, cx: 0.05, cy: 0.1, w: 0.1, h: 0.2 });
    }

    #[test]
    fn no_area_and_repeats_are_dropped_and_counted() {
        assert_eq!(push([5.0, 5.0, 5.0, 9.0]).1.notes.zero_area, 1);
        let (_, mut boxes) = push([1.0, 1.0, 5.0, 9.0]);
        boxes.push(3, Corners { x0: 1.0, y0: 1.0, x1: 5.0, y1: 9.0 }, [100.0, 50.0], [1.0; 2]).unwrap();
        assert_eq!((boxes.kept.len(), boxes.notes.duplicate), (1, 1));
    }

    #[test]
    fn impossible_boxes_are_refused() {
        for corners in [
            [f64::NAN, 0.0, 1.0, 1.0],
            [0.0, 0.0, f64::INFINITY, 1.0],
            [9.0, 0.0, 1.0, 1.0],
            [200.0, 0.0, 210.0, 1.0],
            [-9.0, 0.0, -1.0, 1.0],
        ] {
            let (outcome, boxes) = push(corners);
            assert!(outcome.is_err(), "{corners:?}");
            assert!(boxes.kept.is_empty());
        }
    }
}
