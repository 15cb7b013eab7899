//! Recognizes activations, of one node or of several.

use artifact::Fault;

use super::super::fault::unsupported;
use super::super::inferred::Inferred;
use super::super::net::{Step, TensorId};
use super::{Outcome, Plan, input, naming};
use crate::model::{Activation, LEAKY_SLOPE, Op};

/// ONNX's slope of LeakyRelu where a node states none.
const ONNX_SLOPE: f32 = 0.01;

/// An operator of its own that should be an activation.
pub(super) fn plan(model: &Inferred, step: &Step) -> Outcome<Plan> {
    let activation = match step.node.op {
        "Relu" => Activation::Relu,
        "Mish" => Activation::Mish,
        "LeakyRelu" => {
            let slope = step.node.float("alpha").unwrap_or(ONNX_SLOPE);
            if (f64::from(slope) - LEAKY_SLOPE).abs() > 1e-6 {
                return Err(Fault::new(
                    format!("a slope of {slope}"),
                    format!("{LEAKY_SLOPE}, the slope of YOLOv5's LeakyReLU"),
                    "train the model with one of these activations: SiLU, ReLU, LeakyReLU(0.1), Mish",
                ));
            }
            Activation::LeakyRelu
        }
        "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh" | "Softplus" | "Elu" | "Gelu" | "Clip" | "PRelu" => {
            return Err(unknown(step.node.op));
        }
        other => return Err(unsupported(format!("{other} between feature maps"))),
    };
    Ok(Plan::one(Op::Act(activation), naming::of_step(model, step), input(step, 0)?))
}

/// `x · f(x)`, where it is one.
pub(super) fn plan_product(model: &Inferred, step: &Step) -> Outcome<Option<Plan>> {
    if step.node.op != "Mul" {
        return Ok(None);
    }
    let [a, b] = [input(step, 0)?, input(step, 1)?];
    for (x, factor) in [(a, b), (b, a)] {
        let Some(gate) = model.net.step_of(model.behind_copies(factor)) else { continue };
        let gates_itself = |gate: &Step| -> Outcome<bool> {
            Ok(model.behind_copies(input(gate, 0)?) == model.behind_copies(x))
        };
        match gate.node.op {
            "Sigmoid" if gates_itself(gate)? => {
                return Ok(Some(Plan::one(Op::Act(Activation::Silu), naming::of_step(model, step), x)));
            }
            "HardSigmoid" if gates_itself(gate)? => return Err(unknown("HardSwish")),
            "Tanh" if is_softplus_of(model, gate, x) => {
                return Ok(Some(Plan::one(Op::Act(Activation::Mish), naming::of_step(model, step), x)));
            }
            _ => {}
        }
    }
    Ok(None)
}

fn is_softplus_of(model: &Inferred, gate: &Step, x: TensorId) -> bool {
    let inner = input(gate, 0).ok().and_then(|inner| model.net.step_of(model.behind_copies(inner)));
    inner.is_some_and(|inner| {
        let source = input(inner, 0).ok().map(|source| model.behind_copies(source));
        inner.node.op == "Softplus" && source == Some(model.behind_copies(x))
    })
}

fn unknown(op: &str) -> Fault {
    let fault = unsupported(format!("{op} as an activation"));
    Fault { expected: "SiLU, ReLU, LeakyReLU(0.1) or Mish after a convolution".into(), ..fault }
}
