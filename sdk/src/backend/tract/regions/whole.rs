//! A model that is one region from end to end: it runs without tract, from the caller's image into the caller's outputs; nothing is
//! copied on the way, and after the first run nothing is allocated.

use std::num::NonZero;

use kernels::{Given, Isa, Plan, Taken, Workspace};
use tract_onnx::prelude::*;

use super::{Built, build, regions};

/// A whole model, planned.
pub(crate) struct Whole {
    plan: Plan,
    workspace: Workspace,
}

/// Plans `model`; none where a part of it is not ours.
pub(crate) fn plan(model: &TypedModel, threads: NonZero<usize>) -> TractResult<Option<Plan>> {
    let mut regions = regions(model)?;
    let (Some(region), None) = (regions.pop(), regions.pop()) else { return Ok(None) };
    let Some(Built { mut network, inputs, outputs }) = build(model, region) else { return Ok(None) };
    if inputs != model.inputs || outputs.len() != model.outputs.len() {
        return Ok(None);
    }
    for output in &model.outputs {
        let Some((_, value)) = outputs.iter().find(|(made, _)| made == output) else { return Ok(None) };
        network.output(*value);
    }
    Ok(Plan::new(network, Isa::detect(), threads).ok())
}

impl Whole {
    /// Makes room for its runs.
    pub fn new(plan: Plan) -> Self {
        Self { workspace: plan.workspace(), plan }
    }

    /// Runs the model on `image`, into its `outputs` in order.
    pub fn run<'a>(&mut self, image: &[f32], outputs: impl Iterator<Item = Taken<'a>>) {
        self.plan.run(&mut self.workspace, &[Given::Real(image)], outputs);
    }

    /// As [`Whole::run`]; gives what each step is called and how many seconds it took on one thread.
    pub fn profile<'a>(
        &mut self,
        image: &[f32],
        outputs: impl Iterator<Item = Taken<'a>>,
    ) -> Vec<(String, f64)> {
        let steps = self.plan.profile(&mut self.workspace, &[Given::Real(image)], outputs);
        steps.into_iter().map(|(name, seconds, _)| (name, seconds)).collect()
    }
}
