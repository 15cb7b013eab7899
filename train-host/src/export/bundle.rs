//! Packs a fused model for a board: ONNX payload, pre-processing, decode and classes behind one manifest. Takes no
//! other form of a model, and reads every bundle back before it says it is done.

use std::path::Path;

use artifact::{BackendKind, Bundle, Decode, Manifest, Payload, Precision, Preprocess};
use boards::Board;
use sha2::{Digest, Sha256};

use super::onnx;
use crate::model::{FusedModel, Head};
use crate::{Error, Result};

/// Score below which a device drops a box, unless told otherwise (YOLOv5's default for detection).
const CONFIDENCE: f32 = 0.25;
/// Overlap above which a device drops the weaker box of a class, unless told otherwise (YOLOv5's default).
const IOU: f32 = 0.45;

/// What a bundle was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The manifest as read back from the file.
    pub manifest: Manifest,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Writes `model` as a bundle for `board` to `path`, opens it again and compares.
///
/// # Errors
/// [`Error::Input`] as [`check_offer`]; [`Error::Model`] as [`onnx::write`] and when the model is not a single path;
/// [`Error::Artifact`] when the file cannot be written or does not read back.
pub fn write(model: &FusedModel, board: &Board, precision: boards::Precision, path: &Path) -> Result<Packed> {
    check_offer(board, precision)?;
    if model.architecture.has_batch_norm() {
        return Err(Error::model("a model with batch norms", "a fused model", "fuse it: `train-host fuse`"));
    }
    let onnx = onnx::write(model)?;
    let manifest = manifest(model, board, &onnx)?;
    Bundle::write(path, &manifest, &[&onnx])?;
    let mut reopened = Bundle::open(path)?;
    if *reopened.manifest() != manifest || reopened.read_payload(0)? != onnx {
        return Err(Error::Artifact(artifact::Error::Artifact(artifact::Fault::new(
            format!("{} does not hold what was written", path.display()),
            "the same manifest and payload",
            "another program wrote to the file, or the disk is failing: convert again",
        ))));
    }
    let file = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let sha256 = Sha256::digest(&file).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Packed { manifest, bytes: file.len() as u64, sha256 })
}

/// The device's pre-processing for square images of `imgsz` pixels; also what the host evaluates with.
pub fn preprocess(imgsz: usize) -> Preprocess {
    Preprocess::yolo(imgsz, imgsz)
}

/// The device's decoding of the raw outputs; also what the host evaluates with.
pub fn decode(head: &Head) -> Decode {
    Decode::Yolov5 { strides: head.strides.clone(), anchors_px: head.anchors_px.clone() }
}

/// Checks that `board` runs models of this precision.
///
/// # Errors
/// [`Error::Input`] listing what the board offers.
pub fn check_offer(board: &Board, precision: boards::Precision) -> Result<()> {
    if board.precisions.contains(&precision) && board.backends.contains(&boards::Backend::Tract) {
        return Ok(());
    }
    let offers: Vec<String> = board.precisions.iter().map(ToString::to_string).collect();
    Err(Error::input(
        format!("precision {precision} is not available for board {:?}", board.name),
        format!("one of: {}", offers.join(", ")),
        "choose with --precision and --target",
    ))
}

fn manifest(model: &FusedModel, board: &Board, onnx: &[u8]) -> Result<Manifest> {
    let head = &model.architecture.head;
    let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    let payload = Payload::new(
        "cpu",
        BackendKind::Tract,
        &board.name,
        Precision::Fp32,
        specs.input,
        specs.outputs,
        onnx,
    );
    Ok(Manifest {
        model: model.architecture.name.clone(),
        classes: head.classes.clone(),
        preprocess: preprocess(model.imgsz),
        decode: decode(head),
        confidence: CONFIDENCE,
        iou: IOU,
        producer: concat!("train-host ", env!("CARGO_PKG_VERSION")).to_owned(),
        payloads: vec![payload],
    })
}
