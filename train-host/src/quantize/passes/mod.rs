//! Passes that win back accuracy: each a function of its own, each switchable, each measured. Never needs labels, never
//! trains.

mod bias;
mod equalize;
mod knapsack;
mod layerwise;
mod operators;
mod rounding;
mod samples;
mod sensitivity;

pub use equalize::{Equalized, equalize};
pub use layerwise::{Bias, Refinement, Rounding, refine};
pub(super) use operators::{Layer, Plane, apply};
pub use sensitivity::{Sensitivity, bound_by_weights, sensitivities, worth_floats};
