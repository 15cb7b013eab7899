//! The host side of RepEdge: dataset → trained model → fused model → bundle, and the measurements in between.
//! Everything but `train` and `ablate` builds and runs without libtorch. Never contains device code: pre-processing, decode
//! and NMS come from `repedge`, so that what is measured here is what ships.

#![deny(clippy::print_stdout, clippy::print_stderr)]

#[cfg(feature = "torch")]
pub mod ablate;
pub mod cli;
mod clock;
pub mod console;
pub mod dataset;
mod digest;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod fuse;
pub mod import;
pub mod model;
pub mod quantize;
pub mod report;
pub mod rknn;
pub mod statistics;
#[cfg(feature = "torch")]
pub mod train;
mod yaml;

pub use error::{Error, Result};
