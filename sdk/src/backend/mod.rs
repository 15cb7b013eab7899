//! Engines behind one trait. Engine types never leave their own file; a missing engine is an error that says how to
//! get it, never a silent fallback.

use artifact::{Tensor, TensorSpec};

use crate::Error;

/// A model loaded into an engine, ready to run frame after frame. Not shared between threads.
pub trait Session: Send {
    /// What [`Session::run`] expects.
    fn input(&self) -> &TensorSpec;

    /// What [`Session::run`] fills, in order.
    fn outputs(&self) -> &[TensorSpec];

    /// Runs one frame. `outputs` holds one tensor for each of [`Session::outputs`] (see [`Tensor::zeroed`]) and is
    /// overwritten in place; int8 outputs stay quantized and carry their scale and zero point.
    ///
    /// # Errors
    /// [`Error::Backend`] when the engine fails or `input` has another type or shape than [`Session::input`].
    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error>;
}
