//! Which plan a context may follow: the first one of a pool the best there is, every other one the same. Callers fill slots
//! and read outputs by one plan, whichever context runs the frame. Never calls the runtime.

use std::sync::Arc;

use artifact::Fault;

use super::{InputPlan, OutputPlan, Path, Plan};
use crate::Error;

/// What a context's plan is to be.
#[derive(Clone)]
pub(in crate::backend::rknn) enum Wanted {
    /// Over the first of these paths that library and model allow.
    First(Vec<Path>),
    /// As this one.
    Same(Arc<Plan>),
}

impl Wanted {
    /// The paths that may be taken, the one that is wanted most first.
    pub(in crate::backend::rknn) fn paths(&self) -> &[Path] {
        match self {
            Self::First(paths) => paths,
            Self::Same(plan) => std::slice::from_ref(&plan.path),
        }
    }

    /// Refuses `plan` where frames would lie otherwise in its buffers than in those of the others.
    pub(super) fn check(&self, plan: &Plan) -> Result<(), Error> {
        match self {
            Self::Same(first) if !first.lies_as(plan) => Err(Error::Backend(Fault::new(
                "the NPU runtime tells of another context of the same model that its tensors lie otherwise in memory",
                "what it told of the first one",
                "if this repeats, restart the program, and report it with the model",
            ))),
            Self::First(_) | Self::Same(_) => Ok(()),
        }
    }
}

impl Plan {
    /// Whether frames lie in the buffers of one plan as in those of the other.
    fn lies_as(&self, other: &Self) -> bool {
        let are_alike = |(one, other): (&OutputPlan, &OutputPlan)| one.lies_as(other);
        self.path == other.path
            && self.input.lies_as(&other.input)
            && self.outputs.len() == other.outputs.len()
            && self.outputs.iter().zip(&other.outputs).all(are_alike)
    }
}

impl InputPlan {
    fn lies_as(&self, other: &Self) -> bool {
        // What is bound to a context is its own affair.
        let Self { spec, attr: _, bytes, row_elements, form } = self;
        (spec, bytes, row_elements, form) == (&other.spec, &other.bytes, &other.row_elements, &other.form)
    }
}

impl OutputPlan {
    fn lies_as(&self, other: &Self) -> bool {
        let Self { spec, attr: _, bytes, reading } = self;
        (spec, bytes, reading) == (&other.spec, &other.bytes, &other.reading)
    }
}
