//! From a fused or quantized model to files that run: ONNX and bundles, and sessions over them for measuring. The
//! training form has a diagnostic ONNX and cannot be bundled.

pub mod bundle;
pub mod check_images;
pub mod onnx;
mod onnx_proto;
pub mod qdq;

use repedge::backend::tract::{CpuOptions, TractSession};

use crate::Result;
use crate::model::{FusedModel, TrainedModel};
use crate::quantize::QuantizedModel;

/// The fused model in the tract engine, from the same ONNX that a bundle holds.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) as [`onnx::write`], [`Error::Runtime`](crate::Error::Runtime) when tract
/// refuses it.
pub fn session(model: &FusedModel) -> Result<TractSession> {
    session_with(model, CpuOptions::default())
}

/// As [`session`], run as `options` say.
///
/// # Errors
/// As [`session`].
pub fn session_with(model: &FusedModel, options: CpuOptions) -> Result<TractSession> {
    let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    Ok(TractSession::from_onnx_with(&onnx::write(model)?, specs.input, specs.outputs, options)?)
}

/// The training form in the tract engine.
///
/// # Errors
/// As [`session`].
pub fn diagnostic_session(model: &TrainedModel) -> Result<TractSession> {
    let specs = onnx::model_specs(&model.architecture, model.imgsz)?;
    Ok(TractSession::from_onnx(&onnx::write_diagnostic(model)?, specs.input, specs.outputs)?)
}

/// The quantized model in the tract engine, from the same ONNX and with the same int8 outputs that a bundle has.
///
/// # Errors
/// [`Error::Model`](crate::Error::Model) as [`qdq::write`], [`Error::Runtime`](crate::Error::Runtime) when tract
/// refuses it.
pub fn quantized_session(model: &QuantizedModel) -> Result<TractSession> {
    quantized_session_with(model, CpuOptions::default())
}

/// As [`quantized_session`], run as `options` say.
///
/// # Errors
/// As [`quantized_session`].
pub fn quantized_session_with(model: &QuantizedModel, options: CpuOptions) -> Result<TractSession> {
    let specs = qdq::device_specs(model)?;
    Ok(TractSession::from_onnx_with(&qdq::write(model)?, specs.input, specs.outputs, options)?)
}
