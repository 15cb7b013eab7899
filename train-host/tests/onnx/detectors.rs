//! The detectors that most suites here begin with: YOLOv5's head and YOLOv8's, raw and decoded, right on the image.

use crate::file::{Onnx, SIDE_PX, axis, perm};

pub const STRIDES: [usize; 3] = [8, 16, 32];
pub const CLASSES: usize = 2;
/// Bins of the split heads made here.
pub const BINS: usize = 4;
/// Anchors in pixels that are nobody's defaults.
pub const ANCHORS_PX: [[[f32; 2]; 3]; 3] = [
    [[3.0, 4.5], [5.0, 6.0], [7.0, 2.0]],
    [[9.0, 11.0], [8.0, 13.0], [14.0, 6.0]],
    [[20.0, 21.0], [30.0, 17.0], [28.0, 31.0]],
];

/// One convolution of `channels` a stride, right from the image.
fn raw(onnx: &mut Onnx, channels: usize) -> Vec<String> {
    STRIDES.iter().map(|&stride| onnx.conv("images", [3, channels], stride, stride)).collect()
}

/// YOLOv5's three raw outputs.
pub fn raw_anchors() -> Onnx {
    let mut onnx = Onnx::new();
    onnx.outputs = raw(&mut onnx, 3 * (5 + CLASSES));
    onnx
}

/// YOLOv5's decoding behind three raw outputs, `[1, boxes, 5 + classes]`.
pub fn decoded_anchors() -> Onnx {
    let mut onnx = raw_anchors();
    let numbers = 5 + CLASSES;
    let mut rows = Vec::new();
    for (level, raw) in onnx.outputs.clone().into_iter().enumerate() {
        let (stride, side) = (STRIDES[level], SIDE_PX / STRIDES[level]);
        let shape = onnx.ints(&[1, 3, numbers as i64, side as i64, side as i64]);
        let split = onnx.add("Reshape", &[&raw, &shape], &[]);
        let split = onnx.add("Transpose", &[&split], &perm(&[0, 1, 3, 4, 2]));
        let scores = onnx.add("Sigmoid", &[&split], &[]);
        let sizes = onnx.ints(&[2, 2, numbers as i64 - 4]);
        let parts = onnx.add_all("Split", &[&scores, &sizes], 3, &axis(4));
        let cells: Vec<f32> = (0..side * side)
            .flat_map(|cell| [(cell % side) as f32 - 0.5, (cell / side) as f32 - 0.5])
            .collect();
        let cells = onnx.floats(&[1, 1, side, side, 2], &cells);
        let anchors = onnx.floats(&[1, 3, 1, 1, 2], ANCHORS_PX[level].as_flattened());
        let (two, scale) = (onnx.floats(&[], &[2.0]), onnx.floats(&[], &[stride as f32]));
        let xy = onnx.add("Mul", &[&parts[0], &two], &[]);
        let xy = onnx.add("Add", &[&xy, &cells], &[]);
        let xy = onnx.add("Mul", &[&xy, &scale], &[]);
        let wh = onnx.add("Mul", &[&parts[1], &two], &[]);
        let wh = onnx.add("Pow", &[&wh, &two], &[]);
        let wh = onnx.add("Mul", &[&wh, &anchors], &[]);
        let boxes = onnx.add("Concat", &[&xy, &wh, &parts[2]], &axis(-1));
        let shape = onnx.ints(&[1, -1, numbers as i64]);
        rows.push(onnx.add("Reshape", &[&boxes, &shape], &[]));
    }
    let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
    onnx.outputs = vec![onnx.add("Concat", &rows, &axis(1))];
    onnx
}

/// The pairs of raw outputs of a split head: distances, classes.
pub fn raw_split() -> Onnx {
    let mut onnx = Onnx::new();
    let (boxes, scores) = (raw(&mut onnx, 4 * BINS), raw(&mut onnx, CLASSES));
    onnx.outputs = boxes.into_iter().zip(scores).flat_map(|(boxes, scores)| [boxes, scores]).collect();
    onnx
}

/// YOLOv8's decoding behind a split head, `[1, 4 + classes, boxes]`.
pub fn decoded_split() -> Onnx {
    let mut onnx = raw_split();
    let channels = (4 * BINS + CLASSES) as i64;
    let mut levels = Vec::new();
    for pair in onnx.outputs.clone().chunks_exact(2) {
        let joined = onnx.add("Concat", &[&pair[0], &pair[1]], &axis(1));
        let shape = onnx.ints(&[1, channels, -1]);
        levels.push(onnx.add("Reshape", &[&joined, &shape], &[]));
    }
    let levels: Vec<&str> = levels.iter().map(String::as_str).collect();
    let joined = onnx.add("Concat", &levels, &axis(2));
    let sizes = onnx.ints(&[4 * BINS as i64, CLASSES as i64]);
    let parts = onnx.add_all("Split", &[&joined, &sizes], 2, &axis(1));
    let shape = onnx.ints(&[1, 4, BINS as i64, -1]);
    let bins = onnx.add("Reshape", &[&parts[0], &shape], &[]);
    let bins = onnx.add("Transpose", &[&bins], &perm(&[0, 2, 1, 3]));
    let bins = onnx.add("Softmax", &[&bins], &axis(1));
    let counts: Vec<f32> = (0..BINS).map(|bin| bin as f32).collect();
    let counts = onnx.floats(&[1, BINS, 1, 1], &counts);
    let distances = onnx.add("Conv", &[&bins, &counts], &[]);
    let shape = onnx.ints(&[1, 4, -1]);
    let distances = onnx.add("Reshape", &[&distances, &shape], &[]);
    let sizes = onnx.ints(&[2, 2]);
    let sides = onnx.add_all("Split", &[&distances, &sizes], 2, &axis(1));
    let cells: Vec<(usize, usize, usize)> = STRIDES
        .iter()
        .flat_map(|&stride| {
            let side = SIDE_PX / stride;
            (0..side * side).map(move |cell| (cell % side, cell / side, stride))
        })
        .collect();
    let middles: Vec<f32> = cells
        .iter()
        .map(|(x, ..)| *x)
        .chain(cells.iter().map(|(_, y, _)| *y))
        .map(|at| at as f32 + 0.5)
        .collect();
    let middles = onnx.floats(&[1, 2, cells.len()], &middles);
    let strides: Vec<f32> = cells.iter().map(|(.., stride)| *stride as f32).collect();
    let strides = onnx.floats(&[1, cells.len()], &strides);
    let two = onnx.floats(&[], &[2.0]);
    let corner = onnx.add("Sub", &[&middles, &sides[0]], &[]);
    let other = onnx.add("Add", &[&middles, &sides[1]], &[]);
    let center = onnx.add("Add", &[&corner, &other], &[]);
    let center = onnx.add("Div", &[&center, &two], &[]);
    let size = onnx.add("Sub", &[&other, &corner], &[]);
    let boxes = onnx.add("Concat", &[&center, &size], &axis(1));
    let boxes = onnx.add("Mul", &[&boxes, &strides], &[]);
    let scores = onnx.add("Sigmoid", &[&parts[1]], &[]);
    onnx.outputs = vec![onnx.add("Concat", &[&boxes, &scores], &axis(1))];
    onnx
}
