//! The manifest: what a bundle's model is, how pixels become its input and how its outputs become boxes, and which
//! payloads run it where. Plain data that says whether it makes sense; never touches files (see `bundle`).

mod spread;
mod validate;

use serde::{Deserialize, Serialize};

use crate::{TensorSpec, digest};
pub use spread::Spread;

/// Largest side of a model input in pixels that a manifest may ask for.
pub const MAX_SIDE_PX: usize = 8192;

/// Order of the color channels of the model input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Color {
    /// Red, green, blue.
    Rgb,
}

/// How a frame becomes the model input: letterboxed to `width_px`×`height_px`, bars filled with `pad_value`, and,
/// for float inputs, `real = (pixel / 255 - mean) / std` for each channel.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocess {
    /// Width of the model input.
    pub width_px: usize,
    /// Height of the model input.
    pub height_px: usize,
    /// Value of every channel in the letterbox bars (YOLOv5: 114).
    pub pad_value: u8,
    /// Channel order of the model input.
    pub color: Color,
    /// Subtracted after scaling to 0..1 (YOLO: 0).
    pub mean: [f32; 3],
    /// Divides what remains (YOLO: 1).
    pub std: [f32; 3],
}

impl Preprocess {
    /// YOLOv5's: RGB scaled to 0..1, bars of 114.
    pub fn yolo(width_px: usize, height_px: usize) -> Self {
        Self { width_px, height_px, pad_value: 114, color: Color::Rgb, mean: [0.0; 3], std: [1.0; 3] }
    }
}

/// How raw outputs become boxes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Decode {
    /// YOLOv5's anchors over raw convolution outputs `[1, anchors * (5 + classes), height / stride, width / stride]`:
    /// `xy = (2σ - 0.5 + cell) * stride`, `wh = (2σ)² * anchor`, `score = objectness * class`.
    Yolov5 {
        /// Pixels of the input a cell of each output covers.
        strides: Vec<usize>,
        /// Width and height of the anchors of each output.
        anchors_px: Vec<Vec<[f32; 2]>>,
        /// How the four box channels of each anchor of each output tell their logits; empty where they are those.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        spread: Vec<Vec<[Spread; 4]>>,
    },
    /// YOLOv8's and YOLO11's split heads, anchor-free: for each stride the raw box output
    /// `[1, 4 * reg_max, height / stride, width / stride]` and after it the raw class output
    /// `[1, classes, height / stride, width / stride]`. A box's left, top, right and bottom lie at their distances,
    /// in cells, from the middle of its cell; `score = σ(class)`. A distance is the expectation of its `reg_max` bins
    /// 0, 1, … after a softmax (Li et al. 2020, Generalized Focal Loss, arXiv 2006.04388); a single bin is the
    /// distance itself.
    Yolov8 {
        /// Pixels of the input a cell of each pair of outputs covers.
        strides: Vec<usize>,
        /// Bins of a distance.
        reg_max: usize,
    },
}

/// Largest `reg_max` of [`Decode::Yolov8`].
pub const MAX_BINS: usize = 64;

/// What a decoder expects of one raw output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawOutput {
    /// Pixels of the input a cell covers.
    pub stride: usize,
    /// Channels.
    pub channels: usize,
}

impl Decode {
    /// The raw outputs it takes from a model of `classes` classes, in order.
    pub fn raw_outputs(&self, classes: usize) -> Vec<RawOutput> {
        match self {
            Self::Yolov5 { strides, anchors_px, .. } => strides
                .iter()
                .zip(anchors_px)
                .map(|(&stride, anchors)| RawOutput {
                    stride,
                    channels: anchors.len().saturating_mul(classes.saturating_add(5)),
                })
                .collect(),
            Self::Yolov8 { strides, reg_max } => strides
                .iter()
                .flat_map(|&stride| {
                    [reg_max.saturating_mul(4), classes].map(|channels| RawOutput { stride, channels })
                })
                .collect(),
        }
    }

    /// Pixels of the input a cell covers, at each level of the feature pyramid.
    pub fn strides(&self) -> &[usize] {
        match self {
            Self::Yolov5 { strides, .. } | Self::Yolov8 { strides, .. } => strides,
        }
    }
}

/// The engine a payload is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackendKind {
    /// ONNX run on the CPU by tract.
    Tract,
    /// Rockchip NPU model.
    Rknn,
}

impl std::fmt::Display for BackendKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tract => "tract",
            Self::Rknn => "rknn",
        })
    }
}

/// The arithmetic a payload runs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32-bit float.
    Fp32,
    /// 16-bit float.
    Fp16,
    /// 8-bit integer.
    Int8,
}

/// One executable form of the model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Payload {
    /// Unique name within the bundle.
    pub name: String,
    /// The engine that runs it.
    pub backend: BackendKind,
    /// The board or chip it is compiled for; `host` for any CPU.
    pub target: String,
    /// Its arithmetic.
    pub precision: Precision,
    /// Size in bytes.
    pub length: u64,
    /// SHA-256 of its bytes, 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// What it takes.
    pub input: TensorSpec,
    /// What it gives, in the order of [`Decode::raw_outputs`].
    pub outputs: Vec<TensorSpec>,
}

impl Payload {
    /// Describes `bytes`, filling in length and digest.
    pub fn new(
        name: impl Into<String>,
        backend: BackendKind,
        target: impl Into<String>,
        precision: Precision,
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
        bytes: &[u8],
    ) -> Self {
        Self {
            name: name.into(),
            backend,
            target: target.into(),
            precision,
            length: bytes.len() as u64,
            sha256: digest::hex(&digest::sha256(bytes)),
            input,
            outputs,
        }
    }
}

/// A picture, and what the model is known to find on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CheckImage {
    /// Unique name within the bundle, such as `000001.jpg`.
    pub name: String,
    /// Size in bytes.
    pub length: u64,
    /// SHA-256 of its bytes, 64 lowercase hexadecimal digits.
    pub sha256: String,
    /// What the model found when the bundle was made, in floats on the host.
    pub expected: Vec<ExpectedBox>,
}

impl CheckImage {
    /// Describes `bytes`, an image file.
    pub fn new(name: impl Into<String>, expected: Vec<ExpectedBox>, bytes: &[u8]) -> Self {
        Self {
            name: name.into(),
            length: bytes.len() as u64,
            sha256: digest::hex(&digest::sha256(bytes)),
            expected,
        }
    }
}

/// A box that is known to be found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExpectedBox {
    /// Index into [`Manifest::classes`].
    pub class: usize,
    /// Score, 0..1.
    pub score: f32,
    /// Left, top, right and bottom in pixels of the picture.
    pub box_px: [f32; 4],
}

/// Everything a device needs to know about the model in a bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name of the model.
    pub model: String,
    /// Class names in the order of the class scores.
    pub classes: Vec<String>,
    /// Pixels to input.
    pub preprocess: Preprocess,
    /// Outputs to boxes.
    pub decode: Decode,
    /// Default score threshold, 0..1.
    pub confidence: f32,
    /// Default overlap above which the weaker box of a class is dropped, 0..1.
    pub iou: f32,
    /// Program and version that wrote the bundle.
    pub producer: String,
    /// Rises with each release that mends a flaw; a device refuses bundles below what it has moved on to.
    pub security_version: u32,
    /// Executable forms, in the order of their bytes in the file.
    pub payloads: Vec<Payload>,
    /// Pictures that a self-test shows the model; their bytes follow those of the payloads.
    pub check_images: Vec<CheckImage>,
}

impl Manifest {
    /// Name, length and digest of everything behind the manifest, in the order of the bytes in the file.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&str, u64, &str)> {
        let payloads = self.payloads.iter().map(|it| (it.name.as_str(), it.length, it.sha256.as_str()));
        let images = self.check_images.iter().map(|it| (it.name.as_str(), it.length, it.sha256.as_str()));
        payloads.chain(images)
    }
}

#[cfg(test)]
pub(crate) mod tests;
