//! Packs a fused model for a board: ONNX payload, pre-processing, decode and classes behind one manifest. Takes no
//! other form of a model.

use std::path::Path;

use artifact::{BackendKind, Bundle, Decode, Manifest, Payload, Precision, Preprocess, Written};
use boards::Board;

use super::onnx;
use crate::model::{FusedModel, Head};
use crate::{Error, Result};

/// Score below which a device drops a box, unless told otherwise (YOLOv5's default for detection).
pub const CONFIDENCE: f32 = 0.25;
/// Overlap above which a device drops the weaker box of a class, unless told otherwise (YOLOv5's default).
pub const IOU: f32 = 0.45;
/// Precisions that [`onnx::write`] makes; a board may run more.
const MADE: [boards::Precision; 1] = [boards::Precision::Fp32];

/// What a bundle was made of.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The manifest, verified to read back.
    pub manifest: Manifest,
    /// Size of the file.
    pub bytes: u64,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
}

/// Writes `model` as a bundle for `board` to `path`. What does not read back as it was written never gets that name.
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
    let manifest = manifest(model, board, precision, &onnx)?;
    let Written { bytes, sha256 } = Bundle::write(path, &manifest, &[&onnx])?;
    Ok(Packed { manifest, bytes, sha256 })
}

/// The device's pre-processing for square images of `imgsz` pixels; also what the host evaluates with.
pub fn preprocess(imgsz: usize) -> Preprocess {
    Preprocess::yolo(imgsz, imgsz)
}

/// The device's decoding of the raw outputs; also what the host evaluates with.
pub fn decode(head: &Head) -> Decode {
    head.decode()
}

/// Checks that `board` runs models of this precision, and that they can be made.
///
/// # Errors
/// [`Error::Input`] listing what the board offers.
pub fn check_offer(board: &Board, precision: boards::Precision) -> Result<()> {
    let offers: Vec<_> = board.precisions.iter().filter(|offer| MADE.contains(offer)).collect();
    if offers.contains(&&precision) && board.backends.contains(&boards::Backend::Tract) {
        return Ok(());
    }
    let offers: Vec<String> = offers.iter().map(ToString::to_string).collect();
    Err(Error::input(
        format!("precision {precision} is not available for board {:?}", board.name),
        format!("one of: {}", offers.join(", ")),
        "choose with --precision and --target",
    ))
}

fn manifest(
    model: &FusedModel,
    board: &Board,
    precision: boards::Precision,
    onnx: &[u8],
) -> Result<Manifest> {
    let head = &model.architecture.head;
    let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    let payload = Payload::new(
        "cpu",
        BackendKind::Tract,
        &board.name,
        stated(precision),
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

/// `precision` as a manifest states it.
fn stated(precision: boards::Precision) -> Precision {
    match precision {
        boards::Precision::Fp32 => Precision::Fp32,
        boards::Precision::Fp16 => Precision::Fp16,
        boards::Precision::Int8 => Precision::Int8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_is_refused_even_where_the_board_runs_it() {
        let mut board = Board::find("host").unwrap();
        board.precisions = vec![boards::Precision::Int8, boards::Precision::Fp32];
        check_offer(&board, boards::Precision::Fp32).unwrap();
        let error = check_offer(&board, boards::Precision::Int8).unwrap_err().to_string();
        assert!(error.contains("int8") && error.contains("one of: fp32"), "{error}");
    }
}
