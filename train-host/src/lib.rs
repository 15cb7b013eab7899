//! The host side of RepEdge: dataset → trained model → fused model → bundle, and the measurements in between.
//! Everything but `train` builds and runs without libtorch. Never contains device code: pre-processing, decode
//! and NMS come from `repedge`, so that what is measured here is what ships.

pub mod cli;
pub mod dataset;
pub mod error;
pub mod evaluate;
pub mod export;
pub mod fuse;
pub mod import;
pub mod model;
pub mod report;
#[cfg(feature = "torch")]
pub mod train;

pub use error::{Error, Result};
