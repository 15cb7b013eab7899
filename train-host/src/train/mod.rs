//! Training with libtorch: the only place in the workspace that knows tch. Takes a dataset and an architecture, gives
//! a run folder with a `TrainedModel`. All randomness is keyed (see `keys`); a killed run resumes bit for bit.

mod assign;
pub mod bench;
mod config;
mod ffi;
mod hyper;
mod keys;
mod learner;
mod loader;
mod loss;
mod net;
mod ops;
mod optimizer;
mod qat;
mod run;
mod schedule;
mod session;
mod trainer;

pub use config::{Config, device};
pub(crate) use config::{MAX_BATCH, MAX_EPOCHS, MAX_THREADS};
pub use hyper::Hyper;
pub use net::{ConvFormat, Mode, Net};
pub use qat::{Qat, Settings as QatSettings};
pub use run::RunFolder;
pub use schedule::Decay;
pub use session::TorchSession;
pub use trainer::{Outcome, Start, train};

/// Sets how many threads libtorch computes with, in the whole process.
pub fn set_threads(count: usize) {
    tch::set_num_threads(i32::try_from(count).unwrap_or(i32::MAX));
}
