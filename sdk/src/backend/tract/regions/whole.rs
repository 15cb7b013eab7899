//! A model that is one region from end to end: it runs without tract, from the caller's image into the caller's outputs, and
//! nothing is copied or allocated on the way.

use std::num::NonZero;

use kernels::{Given, Isa, Plan, Taken, Workspace};
use tract_onnx::prelude::*;

use super::{build, regions};

/// A whole model, planned.
pub(crate) struct Whole {
    plan: Plan,
    workspace: Workspace,
    /// For each output of the plan, which of the model's it is.
    order: Vec<usize>,
}

impl Whole {
    /// Plans `model`; none where a part of it is not ours.
    pub fn of(model: &TypedModel, threads: NonZero<usize>) -> TractResult<Option<Self>> {
        let mut regions = regions(model)?;
        let (Some(region), None) = (regions.pop(), regions.pop()) else { return Ok(None) };
        let Some(built) = build(model, region) else { return Ok(None) };
        let places = built.outputs.iter().map(|made| model.outputs.iter().position(|output| output == made));
        let Some(order) = places.collect::<Option<Vec<usize>>>() else { return Ok(None) };
        if built.inputs != model.inputs || order.len() != model.outputs.len() {
            return Ok(None);
        }
        let plan = Plan::new(built.network, Isa::detect(), threads).ok();
        Ok(plan.map(|plan| Self { workspace: plan.workspace(), plan, order }))
    }

    /// Runs the model on `image`, into its `outputs` in order.
    pub fn run(&mut self, image: &[f32], outputs: Vec<Taken<'_>>) {
        let mut outputs = self.ordered(outputs);
        self.plan.run(&mut self.workspace, &[Given::Real(image)], &mut outputs);
    }

    /// As [`Whole::run`]; gives what each step is called and how many seconds it took on one thread.
    pub fn profile(&mut self, image: &[f32], outputs: Vec<Taken<'_>>) -> Vec<(String, f64)> {
        let mut outputs = self.ordered(outputs);
        let steps = self.plan.profile(&mut self.workspace, &[Given::Real(image)], &mut outputs);
        steps.into_iter().map(|(name, seconds, _)| (name, seconds)).collect()
    }

    /// `outputs` in the order of the plan's.
    fn ordered<'a>(&self, outputs: Vec<Taken<'a>>) -> Vec<Taken<'a>> {
        let mut outputs: Vec<Option<Taken<'a>>> = outputs.into_iter().map(Some).collect();
        self.order.iter().filter_map(|&at| outputs.get_mut(at)?.take()).collect()
    }
}
