//! A region of a graph as one operator of tract's, run by our kernels.

use std::sync::{Arc, Mutex};

use kernels::{Plan, Shape, Workspace};
use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// A region, planned.
#[derive(Debug, Clone)]
pub(super) struct RegionOp(Arc<Region>);

#[derive(Debug)]
struct Region {
    plan: Plan,
    inputs: Vec<Shape>,
    outputs: Vec<Shape>,
    /// Memory of runs that have ended, for those to come.
    idle: Mutex<Vec<Workspace>>,
}

impl RegionOp {
    pub fn new(plan: Plan, inputs: Vec<Shape>, outputs: Vec<Shape>) -> Self {
        Self(Arc::new(Region { plan, inputs, outputs, idle: Mutex::default() }))
    }
}

/// A region is itself only: what its kernels compute is not compared.
impl PartialEq for RegionOp {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for RegionOp {}

impl Region {
    fn run(&self, inputs: &[TValue]) -> TractResult<TVec<TValue>> {
        let images: Vec<_> = inputs.iter().map(|input| input.try_as_plain_ram()).try_collect()?;
        let images: Vec<&[f32]> = images.iter().map(|image| image.as_slice::<f32>()).try_collect()?;
        ensure!(images.len() == self.inputs.len(), "{} images for a region", images.len());
        for (image, shape) in images.iter().zip(&self.inputs) {
            ensure!(image.len() == shape.len(), "{} values for {shape}", image.len());
        }
        let mut results: Vec<Vec<f32>> = self.outputs.iter().map(|shape| vec![0.0; shape.len()]).collect();
        let mut slices: Vec<&mut [f32]> = results.iter_mut().map(Vec::as_mut_slice).collect();
        let mut workspace = self.take();
        self.plan.run(&mut workspace, &images, &mut slices);
        self.give_back(workspace);
        let tensors = results.into_iter().zip(&self.outputs);
        tensors.map(|(values, shape)| Ok(tensor(values, *shape)?.into_tvalue())).collect()
    }

    fn take(&self) -> Workspace {
        let idle = self.idle.lock().ok().and_then(|mut idle| idle.pop());
        idle.unwrap_or_else(|| self.plan.workspace())
    }

    fn give_back(&self, workspace: Workspace) {
        if let Ok(mut idle) = self.idle.lock() {
            idle.push(workspace);
        }
    }
}

/// `values` without a copy.
fn tensor(values: Vec<f32>, shape: Shape) -> TractResult<Tensor> {
    let array =
        tract_ndarray::Array4::from_shape_vec((1, shape.channels, shape.height, shape.width), values)?;
    Ok(array.into_tensor())
}

impl Op for RegionOp {
    fn name(&self) -> StaticName {
        "RepedgeRegion".into()
    }

    op_as_typed_op!();
}

impl EvalOp for RegionOp {
    fn eval(&self, _: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        self.0.run(&inputs)
    }

    fn eval_out_of_plan(&self, inputs: TVec<TValue>) -> TractResult<Option<TVec<TValue>>> {
        Ok(Some(self.0.run(&inputs)?))
    }
}

impl TypedOp for RegionOp {
    as_op!();

    fn output_facts(&self, _: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        let facts = self.0.outputs.iter();
        Ok(facts.map(|shape| f32::fact([1, shape.channels, shape.height, shape.width])).collect())
    }
}
