//! The types both sides of RepEdge share: tensors and their quantization, the bundle and its manifest.
//! Light on purpose: no inference engine, no image code, nothing that a build script or a flashing tool
//! would not want to link. Never knows how a payload is executed.

pub mod atomic;
mod bundle;
mod digest;
mod error;
mod manifest;
pub mod rknn;
mod tensor;
pub mod trust;

pub use bundle::{Bundle, Signer, Written};
pub use error::{Error, Fault};
pub use manifest::{
    BackendKind, CheckImage, Color, Decode, ExpectedBox, MAX_BINS, MAX_SIDE_PX, Manifest, Payload, Precision,
    Preprocess, RawOutput, Spread,
};
pub use tensor::{DType, Layout, Quant, Tensor, TensorData, TensorSpec, TensorView, ViewData};
pub use trust::{Device, KeyRing, Origin, Trust};
