//! What the raw outputs mean: anchors, strides and classes of YOLOv5's Detect layer.

use serde::{Deserialize, Serialize};

/// YOLOv5 detection head. Output `i` of the graph is `[N, anchors·(5 + classes), H/stride_i, W/stride_i]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// Class names in the order of the class scores.
    pub classes: Vec<String>,
    /// Stride in pixels of each output.
    pub strides: Vec<usize>,
    /// Anchor width and height in pixels, for each output.
    pub anchors_px: Vec<Vec<[f32; 2]>>,
}
