//! Where the time of a run goes, operator by operator. For benchmarks: timing each operator slows the small ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use artifact::Tensor;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan;

use super::{Runner, TractSession, taken, without_panic};
use crate::Error;

/// What one operator took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorTime {
    /// Its name: the ONNX node's that it came from, perhaps with `.something` behind; what our kernels do has names of its own.
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
        match &mut self.runner {
            Runner::Whole(whole) => {
                let mut outputs: Vec<Tensor> = self.outputs.iter().map(Tensor::zeroed).collect();
                let steps = without_panic(|| Ok(whole.profile(data, taken(&mut outputs))))?;
                let took = |(name, seconds)| OperatorTime { name, took: Duration::from_secs_f64(seconds) };
                Ok(steps.into_iter().map(took).collect())
            }
            Runner::Engine(plan) => profile(plan, input, data),
        }
    }
}

fn profile(plan: &Arc<TypedSimplePlan>, input: &Tensor, data: &[f32]) -> Result<Vec<OperatorTime>, Error> {
    let mut times = Vec::with_capacity(plan.model().nodes().len());
    without_panic(|| {
        let tensor = tract_onnx::prelude::Tensor::from_shape(&input.shape, data)?;
        plan.spawn()?.run_plan_with_eval(tvec!(tensor.into()), |context, state, node, inputs| {
            let started = Instant::now();
            let result = plan::eval(context, state, node, inputs);
            times.push(OperatorTime { name: node.name.clone(), took: started.elapsed() });
            result
        })
    })?;
    Ok(times)
}
