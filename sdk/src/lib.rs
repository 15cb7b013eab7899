//! RepEdge's device runtime: opens a bundle, runs it on the NPU or the CPU, and turns pixels into detections in
//! source coordinates. Never trains, converts or quantizes.
//!
//! ```no_run
//! use repedge::{Detector, KeyRing, Options, Trust, draw, frame};
//!
//! let trust = Trust::keys(KeyRing::read("/etc/repedge/keys".as_ref())?);
//! let options = Options { trust, ..Options::default() };
//! let mut detector = Detector::open("blood.bundle".as_ref(), options)?;
//! let mut image = frame::read_image("smear.jpg".as_ref())?;
//! let found = detector.detect(image.frame())?;
//! println!("{} objects, inference took {} µs", found.boxes.len(), found.times.inference_us);
//! let boxes = found.boxes.to_vec();
//! draw::draw_detections(&mut image, &boxes, detector.classes());
//! frame::write_png("smear-detected.png".as_ref(), &image)?;
//! # Ok::<(), repedge::Error>(())
//! ```

pub mod backend;
pub mod decode;
pub mod detector;
pub mod draw;
mod error;
pub mod frame;
pub mod int8;
mod model;
mod pace;
pub mod pipeline;
pub mod preprocess;
pub mod selftest;
pub mod sink;
pub mod source;
pub mod track;

pub use artifact::{DType, Device, KeyRing, Layout, Origin, Quant, Tensor, TensorData, TensorSpec, Trust};
pub use backend::BackendChoice;
pub use decode::{Detection, Labels, Limits};
pub use detector::{Detections, Detector, Options, StageTimes};
pub use error::Error;
pub use frame::{Frame, Image, Picture, YuvFrame};
pub use model::Model;
