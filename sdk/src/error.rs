//! Errors of the runtime, by whose fault they are.

use artifact::Fault;

/// Everything that can go wrong on the device.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An image or argument that cannot be used.
    #[error("{0}")]
    Input(Fault),
    /// The bundle is damaged or does not fit, or a file cannot be written.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// The engine is missing or refused the model.
    #[error("{0}")]
    Backend(Fault),
    /// The NPU, its driver or its runtime is missing, refused the model, or failed at a frame.
    #[error("{fault}")]
    Npu {
        /// What happened, to match on.
        failure: crate::backend::rknn::NpuFailure,
        /// What to tell.
        fault: Fault,
    },
}
