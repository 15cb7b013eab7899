//! The types both sides of RepEdge share: tensors and their quantization, the bundle and its manifest.
//! Light on purpose: no inference engine, no image code, nothing that a build script or a flashing tool
//! would not want to link. Never knows how a payload is executed.

pub mod atomic;
mod error;
mod tensor;

pub use error::{Error, Fault};
pub use tensor::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
