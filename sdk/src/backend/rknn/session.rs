//! The NPU as a [`Session`]: one frame at a time through a [`Pool`].

use std::time::Duration;

use artifact::{Tensor, TensorSpec};

use super::options::RknnOptions;
use super::pool::{Pool, PoolReport};
use super::slot::wrong_tensors;
use crate::Error;
use crate::backend::Session;

/// A `.rknn` model ready to run one frame after another on the NPU.
pub struct RknnSession {
    pool: Pool,
}

impl RknnSession {
    /// Loads `model`, as [`Pool::open`] does; one frame at a time needs one set of buffers only.
    ///
    /// # Errors
    /// As [`Pool::open`].
    pub fn from_rknn(
        model: Vec<u8>,
        input: TensorSpec,
        outputs: Vec<TensorSpec>,
        options: &RknnOptions,
    ) -> Result<Self, Error> {
        let options = RknnOptions { frames_per_core: 1, ..options.clone() };
        Ok(Self { pool: Pool::open(model, input, outputs, &options)? })
    }

    /// The pool behind it, for its report and its queries.
    pub fn pool(&mut self) -> &mut Pool {
        &mut self.pool
    }
}

impl Session for RknnSession {
    fn npu_time(&mut self) -> Option<Duration> {
        self.pool.usage().ok()?.last_run_us.map(Duration::from_micros)
    }

    fn npu_report(&self) -> Option<PoolReport> {
        Some(self.pool.report())
    }

    fn npu_runtime(&self) -> Option<String> {
        let [_toolkit, (_, runtime), _driver] = self.pool.versions();
        runtime
    }

    fn input(&self) -> &TensorSpec {
        self.pool.input()
    }

    fn outputs(&self) -> &[TensorSpec] {
        self.pool.outputs()
    }

    fn run(&mut self, input: &Tensor, outputs: &mut [Tensor]) -> Result<(), Error> {
        let Some(mut slot) = self.pool.slot()? else { return Err(wrong_tensors()) };
        slot.write(input)?;
        self.pool.submit(slot);
        match self.pool.next() {
            Some(completed) => completed.result?.copy_to(outputs),
            None => Err(wrong_tensors()),
        }
    }
}
