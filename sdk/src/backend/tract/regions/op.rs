//! A region of a graph as one operator of tract's, run by our kernels.

use std::sync::{Arc, Mutex};

use kernels::{Given, Kind, Plan, Shape, Taken, Workspace};
use tract_onnx::prelude::tract_itertools::Itertools;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::internal::*;

/// Size of an image and what it holds.
type Form = (Shape, Kind);

/// A region, planned.
#[derive(Debug, Clone)]
pub(super) struct RegionOp(Arc<Region>);

#[derive(Debug)]
struct Region {
    plan: Plan,
    inputs: Vec<Form>,
    outputs: Vec<Form>,
    /// Memory and threads of runs that have ended, for those to come.
    idle: Mutex<Vec<Workspace>>,
}

impl RegionOp {
    pub fn new(plan: Plan, inputs: Vec<Form>, outputs: Vec<Form>) -> Self {
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
        ensure!(inputs.len() == self.inputs.len(), "{} images for a region", inputs.len());
        let views: Vec<_> = inputs.iter().map(|input| input.try_as_plain_ram()).try_collect()?;
        let mut images = Vec::with_capacity(views.len());
        for (view, (shape, kind)) in views.iter().zip(&self.inputs) {
            let (image, len) = match kind {
                Kind::Real => (Given::Real(view.as_slice()?), view.as_slice::<f32>()?.len()),
                Kind::Stored => (Given::Stored(view.as_slice()?), view.as_slice::<i8>()?.len()),
            };
            ensure!(len == shape.len(), "{len} values for {shape}");
            images.push(image);
        }
        let mut results: Vec<Made> = self.outputs.iter().map(Made::blank).collect();
        let mut workspace = self.take();
        self.plan.run(&mut workspace, &images, results.iter_mut().map(Made::taken));
        self.give_back(workspace);
        let tensors = results.into_iter().zip(&self.outputs);
        tensors.map(|(values, (shape, _))| Ok(values.tensor(*shape)?.into_tvalue())).collect()
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

/// An image that a region makes.
enum Made {
    Real(Vec<f32>),
    Stored(Vec<i8>),
}

impl Made {
    fn blank((shape, kind): &Form) -> Self {
        match kind {
            Kind::Real => Self::Real(vec![0.0; shape.len()]),
            Kind::Stored => Self::Stored(vec![0; shape.len()]),
        }
    }

    fn taken(&mut self) -> Taken<'_> {
        match self {
            Self::Real(values) => Taken::Real(values),
            Self::Stored(values) => Taken::Stored(values),
        }
    }

    fn tensor(self, shape: Shape) -> TractResult<Tensor> {
        match self {
            Self::Real(values) => tensor(values, shape),
            Self::Stored(values) => tensor(values, shape),
        }
    }
}

/// `values` without a copy.
fn tensor<T: Datum>(values: Vec<T>, shape: Shape) -> TractResult<Tensor> {
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
        let fact = |(shape, kind): &Form| {
            let sides = [1, shape.channels, shape.height, shape.width];
            match kind {
                Kind::Real => f32::fact(sides),
                Kind::Stored => i8::fact(sides),
            }
        };
        Ok(self.0.outputs.iter().map(fact).collect())
    }
}
