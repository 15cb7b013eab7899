//! Packs a fused model for a board: ONNX payload, pre-processing, decode and classes behind one manifest. Takes no
//! other form of a model.

use std::path::{Path, PathBuf};

use artifact::{
    BackendKind, Bundle, Decode, Manifest, Payload, Precision, Preprocess, Signer, TensorSpec, Written,
};
use boards::Board;

use super::check_images::{self, CheckImages};
use super::{onnx, qdq};
use crate::model::{Architecture, FusedModel, Head};
use crate::quantize::QuantizedModel;
use crate::{Error, Result};

/// Score below which a device drops a box, unless told otherwise (YOLOv5's default for detection).
pub const CONFIDENCE: f32 = 0.25;
/// Overlap above which a device drops the weaker box of a class, unless told otherwise (YOLOv5's default).
pub const IOU: f32 = 0.45;
/// Precisions that are made for CPUs; a board may run more.
const MADE: [boards::Precision; 2] = [boards::Precision::Fp32, boards::Precision::Int8];
/// Precisions that are made for NPUs.
const MADE_FOR_NPUS: [boards::Precision; 2] = [boards::Precision::Int8, boards::Precision::Fp16];
/// Target of what any CPU runs.
const ANY_CPU: &str = "host";

/// Whether a bundle for an NPU also runs without one.
#[derive(Debug, Clone, Copy)]
pub enum Fallback<'a> {
    /// On any CPU, in this form.
    Cpu(Deployed<'a>),
    /// Not at all. The model tells what the bundle says of classes and boxes.
    None(Deployed<'a>),
}

/// How a bundle goes out to devices.
#[derive(Clone, Copy, Default)]
pub struct Release<'a> {
    /// Rises with each release that mends a flaw.
    pub security_version: u32,
    /// Pictures to take check images from.
    pub check_images: &'a [PathBuf],
    /// Who signs it; none for a bundle that devices accept only when told to.
    pub signer: Option<&'a dyn Signer>,
}

impl std::fmt::Debug for Release<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { security_version, check_images, signer } = self;
        f.debug_struct("Release")
            .field("security_version", security_version)
            .field("check_images", &check_images.len())
            .field("is_signed", &signer.is_some())
            .finish()
    }
}

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

/// A model that can be bundled.
#[derive(Debug, Clone, Copy)]
pub enum Deployed<'a> {
    /// In floats.
    Fused(&'a FusedModel),
    /// In int8.
    Quantized(&'a QuantizedModel),
}

impl Deployed<'_> {
    /// Number format of its arithmetic.
    pub fn precision(&self) -> boards::Precision {
        match self {
            Self::Fused(_) => boards::Precision::Fp32,
            Self::Quantized(_) => boards::Precision::Int8,
        }
    }

    /// Side of the square images it runs on, in pixels.
    pub fn imgsz(&self) -> usize {
        match self {
            Self::Fused(model) => model.imgsz,
            Self::Quantized(model) => model.imgsz,
        }
    }

    /// Its ONNX file.
    ///
    /// # Errors
    /// As [`onnx::write`] and [`qdq::write`].
    pub fn onnx(&self) -> Result<Vec<u8>> {
        match self {
            Self::Fused(model) => onnx::write(model),
            Self::Quantized(model) => qdq::write(model),
        }
    }

    pub(super) fn architecture(&self) -> &Architecture {
        match self {
            Self::Fused(model) => &model.architecture,
            Self::Quantized(model) => &model.architecture,
        }
    }

    /// What a device has to know of the file's input and outputs.
    fn specs(&self) -> Result<onnx::Specs> {
        match self {
            Self::Fused(model) => onnx::model_specs(&model.architecture, model.imgsz),
            Self::Quantized(model) => qdq::device_specs(model),
        }
    }
}

/// A compiled model for an NPU.
#[derive(Debug, Clone, PartialEq)]
pub struct NpuPayload<'a> {
    /// The `.rknn` file.
    pub rknn: &'a [u8],
    /// Chip it is compiled for.
    pub chip: &'a str,
    /// Its arithmetic.
    pub precision: boards::Precision,
    /// What it takes.
    pub input: TensorSpec,
    /// What it gives.
    pub outputs: Vec<TensorSpec>,
}

/// Writes `model` as a bundle for `board` to `path`. What does not read back as it was written never gets that name.
///
/// # Errors
/// [`Error::Input`] as [`check_offer`]; [`Error::Model`] as [`Deployed::onnx`] and when the model is not a single path;
/// [`Error::Artifact`] when the file cannot be written or does not read back.
pub fn write(model: Deployed<'_>, board: &Board, release: Release<'_>, path: &Path) -> Result<Packed> {
    check_offer(board, model.precision())?;
    let (payload, onnx) = cpu_payload(model, &board.name)?;
    pack(model, vec![payload], &[&onnx], release, path)
}

/// Writes `npu` and what `fallback` says as a bundle to `path`, as [`write`] does.
///
/// # Errors
/// As [`write`].
pub fn write_npu(
    npu: &NpuPayload<'_>,
    fallback: Fallback<'_>,
    board: &Board,
    release: Release<'_>,
    path: &Path,
) -> Result<Packed> {
    check_offer(board, npu.precision)?;
    let compiled = Payload::new(
        "npu",
        BackendKind::Rknn,
        npu.chip,
        stated(npu.precision),
        npu.input.clone(),
        npu.outputs.clone(),
        npu.rknn,
    );
    match fallback {
        Fallback::None(model) => pack(model, vec![compiled], &[npu.rknn], release, path),
        Fallback::Cpu(model) => {
            let (payload, onnx) = cpu_payload(model, ANY_CPU)?;
            pack(model, vec![compiled, payload], &[npu.rknn, &onnx], release, path)
        }
    }
}

fn cpu_payload(model: Deployed<'_>, target: &str) -> Result<(Payload, Vec<u8>)> {
    let onnx = model.onnx()?;
    let specs = model.specs()?;
    let payload = Payload::new(
        "cpu",
        BackendKind::Tract,
        target,
        stated(model.precision()),
        specs.input,
        specs.outputs,
        &onnx,
    );
    Ok((payload, onnx))
}

fn pack(
    model: Deployed<'_>,
    payloads: Vec<Payload>,
    bytes: &[&[u8]],
    release: Release<'_>,
    path: &Path,
) -> Result<Packed> {
    let Architecture { name, head, .. } = model.architecture();
    if model.architecture().has_batch_norm() {
        return Err(Error::model("a model with batch norms", "a fused model", "fuse it: `train-host fuse`"));
    }
    let CheckImages { described, bytes: pictures } = check_images::choose(model, release.check_images)?;
    let manifest = Manifest {
        model: name.clone(),
        classes: head.classes.clone(),
        preprocess: preprocess(model.imgsz()),
        decode: decode(head),
        confidence: CONFIDENCE,
        iou: IOU,
        producer: concat!("train-host ", env!("CARGO_PKG_VERSION")).to_owned(),
        security_version: release.security_version,
        payloads,
        check_images: described,
    };
    let parts: Vec<&[u8]> = bytes.iter().copied().chain(pictures.iter().map(Vec::as_slice)).collect();
    let Written { bytes, sha256 } = match release.signer {
        Some(signer) => Bundle::write_signed(path, &manifest, &parts, signer)?,
        None => Bundle::write(path, &manifest, &parts)?,
    };
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
    let made = if board.npu.is_some() { MADE_FOR_NPUS } else { MADE };
    let offers: Vec<_> = board.precisions.iter().filter(|offer| made.contains(offer)).collect();
    if offers.contains(&&precision) {
        return Ok(());
    }
    let offers: Vec<String> = offers.iter().map(ToString::to_string).collect();
    Err(Error::input(
        format!("precision {precision} is not available for board {:?}", board.name),
        format!("one of: {}", offers.join(", ")),
        "choose with --precision and --target",
    ))
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
        board.precisions = vec![boards::Precision::Fp16, boards::Precision::Fp32];
        check_offer(&board, boards::Precision::Fp32).unwrap();
        let error = check_offer(&board, boards::Precision::Fp16).unwrap_err().to_string();
        assert!(error.contains("fp16") && error.contains("one of: fp32"), "{error}");
    }
}
