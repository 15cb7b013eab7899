//! Which anchors and cells must predict which object: YOLOv5's shape-ratio assignment with two neighbor cells.
//! Plain Rust, no tensors: the loss turns the result into index tensors.

use crate::dataset::augment::PixelBox;

/// Neighbor cells are used when the center lies within this fraction of a cell's edge.
const NEIGHBOR_REACH: f32 = 0.5;

/// Grid and anchors of one output.
#[derive(Debug, Clone)]
pub struct Level {
    /// Cells across.
    pub width: usize,
    /// Cells down.
    pub height: usize,
    /// Stride in pixels.
    pub stride: f32,
    /// Anchors in cells.
    pub anchors: Vec<[f32; 2]>,
}

/// One (object, anchor, cell) pair; boxes are in cells, the center relative to the cell's corner.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Match {
    /// Image in the batch.
    pub image: usize,
    /// Anchor index.
    pub anchor: usize,
    /// Row of the cell.
    pub row: usize,
    /// Column of the cell.
    pub column: usize,
    /// Class of the object.
    pub class: usize,
    /// Center x and y relative to the cell, width and height, in cells.
    pub target: [f32; 4],
}

impl Match {
    /// Row of this match in predictions flattened as `[image, anchor, row, column]`.
    pub fn flat_index(&self, level: &Level) -> usize {
        ((self.image * level.anchors.len() + self.anchor) * level.height + self.row) * level.width
            + self.column
    }
}

/// Assigns every object of the batch on one output.
///
/// Order (it decides which of two objects in one cell sets the objectness target): own cells first, then the left,
/// upper, right and lower neighbors; within each by anchor, then by object.
pub fn assign(batch: &[Vec<PixelBox>], level: &Level, anchor_t: f32) -> Vec<Match> {
    let mut own = Vec::new();
    for (anchor, shape) in level.anchors.iter().enumerate() {
        for (image, boxes) in batch.iter().enumerate() {
            for b in boxes {
                let center = [(b.x0 + b.x1) / 2.0 / level.stride, (b.y0 + b.y1) / 2.0 / level.stride];
                let size = [(b.x1 - b.x0) / level.stride, (b.y1 - b.y0) / level.stride];
                if fits(size, *shape, anchor_t) {
                    own.push((image, anchor, b.class, center, size));
                }
            }
        }
    }
    let offsets = [
        [0.0, 0.0],
        [NEIGHBOR_REACH, 0.0],
        [0.0, NEIGHBOR_REACH],
        [-NEIGHBOR_REACH, 0.0],
        [0.0, -NEIGHBOR_REACH],
    ];
    let mut matches = Vec::with_capacity(own.len() * 3);
    for (side, offset) in offsets.into_iter().enumerate() {
        for &(image, anchor, class, center, size) in &own {
            if !reaches(side, center, level) {
                continue;
            }
            let (column, row) =
                (cell(center[0] - offset[0], level.width), cell(center[1] - offset[1], level.height));
            #[expect(clippy::cast_precision_loss, reason = "grids are far below 2^24 cells")]
            let target = [center[0] - column as f32, center[1] - row as f32, size[0], size[1]];
            matches.push(Match { image, anchor, row, column, class, target });
        }
    }
    matches
}

fn fits(size: [f32; 2], anchor: [f32; 2], anchor_t: f32) -> bool {
    let ratio = |a: f32, b: f32| (a / b).max(b / a);
    ratio(size[0], anchor[0]).max(ratio(size[1], anchor[1])) < anchor_t
}

/// Whether the object also claims the neighbor on `side` (0 own cell, 1 left, 2 above, 3 right, 4 below).
fn reaches(side: usize, center: [f32; 2], level: &Level) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "grids are far below 2^24 cells")]
    let mirrored = [level.width as f32 - center[0], level.height as f32 - center[1]];
    let near = |v: f32| v % 1.0 < NEIGHBOR_REACH && v > 1.0;
    match side {
        0 => true,
        1 => near(center[0]),
        2 => near(center[1]),
        3 => near(mirrored[0]),
        _ => near(mirrored[1]),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the grid")]
fn cell(position: f32, cells: usize) -> usize {
    (position.max(0.0) as usize).min(cells - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level() -> Level {
        Level { width: 10, height: 10, stride: 8.0, anchors: vec![[2.0, 2.0], [9.0, 9.0]] }
    }

    fn square(cx: f32, cy: f32, side: f32) -> PixelBox {
        PixelBox {
            class: 3,
            x0: cx - side / 2.0,
            y0: cy - side / 2.0,
            x1: cx + side / 2.0,
            y1: cy + side / 2.0,
        }
    }

    #[test]
    fn object_claims_its_cell_and_the_two_nearest() {
        // Center at cell (5.25, 5.75): left and lower neighbors are nearest.
        let found = assign(&[vec![], vec![square(42.0, 46.0, 16.0)]], &level(), 4.0);
        let cells: Vec<_> = found.iter().map(|m| (m.image, m.anchor, m.column, m.row)).collect();
        assert_eq!(cells, [(1, 0, 5, 5), (1, 0, 4, 5), (1, 0, 5, 6)]);
        assert_eq!(found[1].target, [1.25, 0.75, 2.0, 2.0]);
        assert_eq!(found[0].flat_index(&level()), (2 * 10 + 5) * 10 + 5);
    }

    #[test]
    fn shapes_too_far_from_an_anchor_are_left_out() {
        let found = assign(&[vec![square(44.0, 44.0, 40.0)]], &level(), 2.0);
        assert!(found.iter().all(|m| m.anchor == 1));
        assert!(!found.is_empty());
    }

    #[test]
    fn corner_objects_stay_inside_the_grid() {
        let found = assign(&[vec![square(0.5, 79.9, 16.0), square(80.0, 0.0, 16.0)]], &level(), 4.0);
        assert!(found.iter().all(|m| m.row < 10 && m.column < 10));
    }
}
