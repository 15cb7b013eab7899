//! RepEdge's device runtime: opens a bundle, runs it on the NPU or the CPU, and turns pixels into detections in
//! source coordinates. Never trains, converts or quantizes.

pub mod backend;
mod error;

pub use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
pub use error::Error;
