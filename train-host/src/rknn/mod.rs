//! Rockchip's compiler and simulator, rknn-toolkit2: a Python package in an environment of its own that we drive as a
//! child process. Compiles ONNX models to `.rknn`, and runs them in the vendor's simulator as a
//! [`Session`](repedge::backend::Session). Never looks into a compiled model but for its trailer.

mod adapt;
mod check;
mod compile;
mod config;
mod deliver;
mod protocol;
mod rebuild;
mod record;
mod simulator;
mod toolkit;
mod worker;

pub use adapt::{computable, declared};
pub use compile::{Compiled, Job, Quantizer, compile, simulate};
pub use config::{Config, Method};
pub use deliver::{Delivered, Delivery, NpuModel, deliver, expect_floats};
pub use protocol::Algorithm;
pub use rebuild::{Rebuilt, rebuild};
pub use record::{Calibrated, Record, Who, record_path};
pub use simulator::Simulator;
pub use toolkit::{Toolkit, VARIABLE, VERSION, packages};
