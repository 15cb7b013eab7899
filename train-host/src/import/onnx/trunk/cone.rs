//! What lies between a feature map and the maps it is made of by rearranging or by attention. Finds the nodes, and leaves
//! what they do to those who run them.

use std::collections::HashSet;

use super::super::inferred::{Inferred, copies};
use super::super::net::{Step, TensorId};

/// What lies between a map and the maps it is made of.
pub(super) struct Cone {
    /// Maps made by other nodes than those that rearrange and multiply.
    pub sources: Vec<TensorId>,
    /// Whether there is a matrix product.
    pub multiplies: bool,
    /// What a softmax between reads.
    pub weights: Option<TensorId>,
}

impl Cone {
    /// Walks back from `tensor`.
    pub fn above(model: &Inferred, tensor: TensorId) -> Self {
        let mut cone = Self { sources: Vec::new(), multiplies: false, weights: None };
        let mut open = vec![tensor];
        let mut seen = HashSet::new();
        while let Some(tensor) = open.pop() {
            if !seen.insert(tensor) || model.is_known(tensor) {
                continue;
            }
            match model.net.step_of(tensor).filter(|step| passes(model, step)) {
                None => cone.sources.push(tensor),
                Some(step) => {
                    match step.node.op {
                        "MatMul" => cone.multiplies = true,
                        "Softmax" => cone.weights = step.inputs.first().copied().flatten(),
                        _ => {}
                    }
                    open.extend(step.inputs.iter().flatten());
                }
            }
        }
        cone
    }
}

/// Whether an operator rearranges the elements of one tensor and changes none.
pub(super) fn rearranges(op: &str) -> bool {
    matches!(
        op,
        "Reshape"
            | "Transpose"
            | "Slice"
            | "Split"
            | "Squeeze"
            | "Unsqueeze"
            | "Flatten"
            | "Gather"
            | "Expand"
    )
}

/// Whether a step only rearranges, or belongs to attention; between maps other steps are nodes of their own.
fn passes(model: &Inferred, step: &Step) -> bool {
    match step.node.op {
        op if rearranges(op) || copies(step.node) => true,
        "MatMul" | "Softmax" => true,
        "Concat" => step.inputs.iter().flatten().all(|&part| is_slice(model, part)),
        "Mul" | "Div" => scales_scores(model, step),
        _ => false,
    }
}

/// Whether a slice makes `tensor`.
pub(super) fn is_slice(model: &Inferred, tensor: TensorId) -> bool {
    model.net.step_of(tensor).is_some_and(|step| step.node.op == "Slice")
}

/// Whether a product scales what attention multiplies or has multiplied.
fn scales_scores(model: &Inferred, step: &Step) -> bool {
    let is = |step: &Step| matches!(step.node.op, "MatMul" | "Softmax");
    let made = step.inputs.iter().flatten().any(|&input| model.net.step_of(input).is_some_and(is));
    let users = step.outputs.iter().flatten().flat_map(|&output| &model.net.users[output]);
    made || users.into_iter().any(|&user| is(&model.net.steps[user]))
}
