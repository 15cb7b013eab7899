//! From a model to a bundle for a board with an NPU, and the build record beside it. Never quantizes: it is given int8
//! models, or leaves their numbers to the toolkit.

use std::path::{Path, PathBuf};
use std::time::Duration;

use boards::Board;

use super::adapt::{computable, declared};
use super::compile::{Job, Quantizer, compile};
use super::protocol::Algorithm;
use super::record::{Calibrated, Numbers, Record, Who};
use super::toolkit::Toolkit;
use crate::evaluate::Progress;
use crate::export::bundle::{self, Fallback, NpuPayload, Packed, Release};
use crate::export::onnx::Specs;
use crate::export::{onnx, qdq};
use crate::model::FusedModel;
use crate::quantize::QuantizedModel;
use crate::{Error, Result};

/// What the NPU is to run.
#[derive(Debug, Clone, Copy)]
pub enum NpuModel<'a> {
    /// Our int8, number by number.
    Quantized(&'a QuantizedModel),
    /// The toolkit's int8, calibrated on the delivery's images.
    Calibrated(&'a FusedModel, Algorithm),
    /// Half floats.
    Half(&'a FusedModel),
}

/// What to deliver.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// For whom.
    pub board: &'a Board,
    /// What the NPU runs.
    pub npu: NpuModel<'a>,
    /// What the CPU runs.
    pub fallback: Fallback<'a>,
    /// Images that scales are or were found on; none of a quantized model that does not name them.
    pub images: &'a [PathBuf],
    /// How the bundle goes out.
    pub release: Release<'a>,
    /// The bundle to write.
    pub out: &'a Path,
    /// The longest that one step of the toolkit may take.
    pub limit: Duration,
    /// Whether progress is shown.
    pub progress: Progress,
}

/// What was delivered.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivered {
    /// The bundle.
    pub packed: Packed,
    /// The build record.
    pub record: PathBuf,
    /// Tensors that an int8 model computes in half floats.
    pub half_tensors: Vec<String>,
    /// Images that a quantized model was calibrated on, where the record cannot name them.
    pub unnamed_images: Option<usize>,
}

/// Compiles, and writes bundle and build record. Where compiling or writing fails, an older bundle and its record stay as
/// they were.
///
/// # Errors
/// [`Error::Input`] when the board has no NPU or does not offer the precision, or cannot compute in half floats what the
/// model leaves in floats, or something that is no record has the record's name; else as [`compile()`] and
/// [`bundle::write_npu`].
pub fn deliver(toolkit: &Toolkit, delivery: &Delivery<'_>) -> Result<Delivered> {
    let Delivery { board, out, limit, progress, .. } = *delivery;
    let Some(npu) = &board.npu else { return Err(no_npu(board)) };
    bundle::check_offer(board, delivery.npu.precision())?;
    check_floats(board, delivery.npu)?;
    let (onnx, specs) = delivery.npu.onnx()?;
    let numbers = delivery.numbers()?;
    let unnamed_images = numbers.unnamed_images();
    let preprocess = bundle::preprocess(delivery.npu.imgsz());
    let quantizer = match delivery.npu {
        NpuModel::Quantized(_) | NpuModel::Half(_) => Quantizer::Model,
        NpuModel::Calibrated(_, algorithm) => Quantizer::Toolkit { algorithm, images: delivery.images },
    };
    let job = Job { onnx: &onnx, platform: &npu.chip, quantizer, preprocess, outputs: &specs.outputs, limit };
    let compiled = compile(toolkit, &job, progress)?;
    let record = Record::of(&compiled, &onnx, &npu.chip, preprocess, numbers);
    let payload = NpuPayload {
        rknn: &compiled.rknn,
        chip: &npu.chip,
        precision: delivery.npu.precision(),
        input: compiled.input,
        outputs: compiled.outputs,
    };
    // All that takes long and may fail comes before the first of the two is replaced.
    let staged = record.stage(out, &onnx)?;
    let packed = bundle::write_npu(&payload, delivery.fallback, board, delivery.release, out)?;
    Ok(Delivered { packed, record: staged.put()?, half_tensors: compiled.half_tensors, unnamed_images })
}

impl Delivery<'_> {
    /// How the NPU's numbers are or were found.
    fn numbers(&self) -> Result<Numbers> {
        let (who, origin) = match self.npu {
            NpuModel::Quantized(model) => (Who::Ours, Some(model.scheme.origin.clone())),
            NpuModel::Half(_) => (Who::Half, None),
            NpuModel::Calibrated(_, algorithm) => (Who::Toolkit { algorithm }, None),
        };
        // A quantized model was calibrated on some, whether they are named or not.
        let is_known = origin.is_none() || !self.images.is_empty();
        let calibration = is_known.then(|| Calibrated::all(self.images)).transpose()?;
        Ok(Numbers { who, origin, calibration })
    }
}

impl NpuModel<'_> {
    /// Number format of its arithmetic.
    pub fn precision(&self) -> boards::Precision {
        match self {
            Self::Quantized(_) | Self::Calibrated(..) => boards::Precision::Int8,
            Self::Half(_) => boards::Precision::Fp16,
        }
    }

    fn imgsz(&self) -> usize {
        match self {
            Self::Quantized(model) => model.imgsz,
            Self::Calibrated(model, _) | Self::Half(model) => model.imgsz,
        }
    }

    /// The file for the toolkit, and what comes out of it.
    fn onnx(&self) -> Result<(Vec<u8>, Specs)> {
        match self {
            Self::Quantized(model) => {
                let computable = computable(model);
                Ok((qdq::write(&declared(&computable))?, qdq::device_specs(&computable)?))
            }
            Self::Calibrated(model, _) | Self::Half(model) => {
                Ok((onnx::write(model)?, onnx::model_specs(&model.architecture, model.imgsz)?))
            }
        }
    }
}

/// Checks that the board can compute what an int8 model leaves in floats.
fn check_floats(board: &Board, model: NpuModel<'_>) -> Result<()> {
    let NpuModel::Quantized(model) = model else { return Ok(()) };
    model.scheme.floats.iter().next().map_or(Ok(()), |(node, why)| expect_floats(board, node, why))
}

/// Checks that the board with an NPU computes floats, in which `node` of an int8 model stays.
///
/// # Errors
/// [`Error::Input`] naming the node, the board, and who quantizes it.
pub fn expect_floats(board: &Board, node: &str, why: &str) -> Result<()> {
    if board.precisions.contains(&boards::Precision::Fp16) {
        return Ok(());
    }
    Err(Error::input(
        format!("node {node:?} stays in floats: {why}"),
        format!("int8 throughout, all that {} computes in", board.name),
        "quantize with --float-macs 0, or for the board with --target; attention is computed in int8 only as \
         rknn-toolkit2 quantizes it: convert the model in floats with --quantizer toolkit",
    ))
}

fn no_npu(board: &Board) -> Error {
    Error::input(
        format!("board {:?} has no NPU", board.name),
        "a board with one",
        "convert for the CPU without --quantizer and --no-fallback",
    )
}
