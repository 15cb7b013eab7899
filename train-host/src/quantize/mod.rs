//! Int8 that keeps its accuracy: `FusedModel → QuantizedModel`. Observes the float model on images, finds a scale for
//! every tensor, rounds the kernels, and measures what that costs. Passes that win accuracy back lie in `passes`. Never
//! trains; never runs anything but tract and its own arithmetic.

mod agreement;
mod backward;
pub mod calibrate;
mod calibration;
mod choose;
mod compare;
pub mod error;
pub mod file;
mod focus;
mod histogram;
mod images;
mod integer;
mod judge;
mod objects;
mod observe;
pub mod passes;
mod pipeline;
mod ptq;
mod ranges;
mod rules;
mod scheme;
mod speed;
mod spread;
mod stakes;
mod tune;
mod weights;

pub use calibrate::Method;
pub use calibration::Calibration;
pub use choose::Candidate;
pub use compare::{Comparison, Judged, Row, compare};
pub use histogram::Histogram;
pub use images::{Content, Images, Shown, input_spec};
pub use integer::run as run_integer;
pub use judge::Verdict;
pub use observe::{Channel, Observations, Stats, observe};
pub use pipeline::{Outcome, PassRecord, Recipe, Record, Switch, Variant, run};
pub use ptq::{Plan, dead_channels, quantize, unquantizable};
pub use ranges::PIXELS;
pub use rules::expect_kept;
pub use scheme::{Int8Kernel, MacCount, Origin, QuantizedModel, Scheme, function, sole_activation, sums_fit};
pub use speed::{LayerSpeed, Speed, speed};
pub use spread::spread;
pub use tune::{Trained, Trainer, tune};
pub use weights::{quantize_kernel, quantize_with};
