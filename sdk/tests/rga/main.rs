//! RGA, played by a stand-in of librga over files in memory: pixels against the CPU's, what cannot be done, and the pipeline that
//! goes on with the CPU then. What the real one does is not tested here.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/npu.rs"]
mod npu;

mod device;
mod frames;
mod pipeline;
