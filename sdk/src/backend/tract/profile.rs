//! Where the time of a run goes, operator by operator. For benchmarks: timing each operator slows the small ones.

use std::time::{Duration, Instant};

use artifact::Tensor;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan;

use super::{TractSession, without_panic};
use crate::Error;

/// What one operator took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTime {
    /// Its name: the ONNX node's that it came from, perhaps with `.something` behind.
    pub name: String,
    /// How long it ran.
    pub took: Duration,
}

impl TractSession {
    /// Runs the model on `input`, and returns what each operator took, in the order they ran. The outputs are dropped.
    ///
    /// # Errors
    /// As [`Session::run`](crate::backend::Session::run).
    pub fn profile(&mut self, input: &Tensor) -> Result<Vec<OperatorTime>, Error> {
        let data = self.input_values(input)?;
        let mut times = Vec::with_capacity(self.plan.model().nodes().len());
        without_panic(|| {
            let tensor = tract_onnx::prelude::Tensor::from_shape(&input.shape, data)?;
            self.plan.spawn()?.run_plan_with_eval(tvec!(tensor.into()), |context, state, node, inputs| {
                let started = Instant::now();
                let result = plan::eval(context, state, node, inputs);
                times.push(OperatorTime { name: node.name.clone(), took: started.elapsed() });
                result
            })
        })?;
        Ok(times)
    }
}
