//! The model as users have it: in a bundle, from which the first frame's boxes come.

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use artifact::{BackendKind, Bundle, Decode, Manifest, Payload, Precision, Preprocess, TensorSpec};
use repedge::{Detector, Image, Options, Trust};

/// Values of a YOLOv5 anchor beside its classes.
const BOX_CHANNELS: usize = 5;
/// Anchors of each output.
const ANCHORS: usize = 3;

/// Writes the model as an unsigned bundle; boxes mean nothing, as its weights do.
///
/// # Errors
/// When it cannot be written, or is not shaped as a YOLOv5.
pub fn pack(out: &Path, onnx: &[u8], input: TensorSpec, outputs: Vec<TensorSpec>) -> Result<()> {
    let [_, channels, ..] = outputs.first().map_or([0; 4], |output| output.shape);
    let [_, _, height_px, width_px] = input.shape;
    let strides: Vec<usize> = outputs.iter().map(|output| height_px / output.shape[2]).collect();
    let manifest = Manifest {
        model: "timed".into(),
        classes: (0..(channels / ANCHORS).saturating_sub(BOX_CHANNELS))
            .map(|class| format!("class {class}"))
            .collect(),
        preprocess: Preprocess::yolo(width_px, height_px),
        decode: Decode::Yolov5 {
            anchors_px: vec![vec![[16.0; 2]; ANCHORS]; strides.len()],
            strides,
            spread: Vec::new(),
        },
        confidence: 0.25,
        iou: 0.45,
        producer: "cargo xtask bench".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads: vec![Payload::new(
            "host",
            BackendKind::Tract,
            "host",
            Precision::Fp32,
            input,
            outputs,
            onnx,
        )],
    };
    Bundle::write(out, &manifest, &[onnx])?;
    Ok(())
}

/// Prints the seconds from opening the bundle to the boxes of a first frame, a gray one.
///
/// # Errors
/// When the bundle cannot be run.
pub fn first(path: &Path) -> Result<()> {
    let frame = Image::filled(1280, 720, [114; 3]);
    let started = Instant::now();
    let options = Options { trust: Trust::anyone(), ..Options::default() };
    Detector::open(path, options)?.detect(frame.frame())?;
    println!("{}", started.elapsed().as_secs_f64());
    Ok(())
}
