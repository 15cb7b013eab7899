//! ONNX's operators as far as detectors use them: the shape of every result, and its elements where those of the inputs
//! are known. Convolutions are left to engines, but for the one that sums the bins of a distribution. Opsets 11 to 21.

mod arithmetic;
mod layout;
mod matrix;
mod sources;
mod view;
mod window;

use artifact::Fault;

use super::fault::{broken, unsupported};
use super::proto::Node;
use super::tensor::{Value, elements};

pub(super) use window::{Window, nearest_factors};

/// Most elements of a computed tensor; the scores of attention at 1280 px are about as many.
const MAX_COMPUTED: usize = 1 << 24;

/// What may still be computed, in elements and products: bounds memory and time for any file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work {
    left: u64,
}

impl Work {
    pub fn new(steps: u64) -> Self {
        Self { left: steps }
    }

    /// Claims the computing of a result of `shape`.
    fn claim(&mut self, shape: &[usize]) -> Result<(), Fault> {
        match elements(shape) {
            Some(count) if count <= MAX_COMPUTED => self.claim_steps(count as u64),
            _ => Err(unsupported(format!(
                "a computed tensor of shape {shape:?}, which is beyond any detector"
            ))),
        }
    }

    fn claim_steps(&mut self, steps: u64) -> Result<(), Fault> {
        let left = self.left.checked_sub(steps);
        self.left = left.ok_or_else(|| unsupported("more arithmetic than any detector needs"))?;
        Ok(())
    }
}

/// An operator about to be evaluated.
pub(super) struct Call<'c> {
    pub node: &'c Node<'c>,
    pub inputs: Vec<Option<&'c Value>>,
    /// Version of the operators.
    pub opset: i64,
    pub work: &'c mut Work,
}

type Outcome<T> = Result<T, Fault>;

/// The results of an operator.
///
/// # Errors
/// When the operator or this use of it is not supported, or its inputs do not fit.
pub(super) fn evaluate(call: &mut Call) -> Outcome<Vec<Value>> {
    if !matches!(call.node.domain, "" | "ai.onnx") {
        return Err(unsupported(format!("an operator of {:?}", call.node.domain)));
    }
    let results = match call.node.op {
        "Split" => return layout::split(call),
        "Constant" => sources::constant(call),
        "ConstantOfShape" => sources::constant_of_shape(call),
        "Range" => sources::range(call),
        "Shape" => sources::shape(call),
        "Identity" | "Dropout" => call.input(0).cloned(),
        "Cast" => sources::cast(call),
        "Reshape" => layout::reshape(call),
        "Flatten" => layout::flatten(call),
        "Squeeze" => layout::squeeze(call),
        "Unsqueeze" => layout::unsqueeze(call),
        "Transpose" => layout::transpose(call),
        "Slice" => layout::slice(call),
        "Concat" => layout::concat(call),
        "Expand" => layout::expand(call),
        "Gather" => layout::gather(call),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Equal" | "Greater" | "Less" | "Sum" => {
            arithmetic::fold(call)
        }
        "Where" => arithmetic::choose(call),
        "Sigmoid" | "Relu" | "LeakyRelu" | "HardSigmoid" | "HardSwish" | "Tanh" | "Softplus" | "Mish"
        | "Elu" | "Gelu" | "Clip" | "PRelu" | "Exp" | "Log" | "Sqrt" | "Neg" | "Abs" | "Floor" | "Ceil"
        | "Round" | "Reciprocal" | "Not" => arithmetic::each(call),
        "MatMul" => matrix::product(call),
        "Softmax" => matrix::softmax(call),
        "Conv" => window::convolution(call),
        "BatchNormalization" => window::batch_norm(call),
        "MaxPool" => window::max_pool(call),
        "Resize" => window::resize(call),
        other => return Err(refuse(other)),
    };
    Ok(vec![results?])
}

/// Says what an operator outside of the list above usually means.
fn refuse(op: &str) -> Fault {
    let found = "an operator that is not supported";
    let expected = "a YOLOv5, YOLOv8 or YOLO11 detector as their exporters print it";
    let hint = match op {
        "QuantizeLinear" | "DequantizeLinear" | "QLinearConv" | "ConvInteger" => {
            "this is a quantized model: export the float model"
        }
        "NonMaxSuppression" | "TopK" | "GatherElements" | "GatherND" | "ReduceMax" | "ArgMax" | "Mod" => {
            "this looks like non-maximum suppression within the model: export it without (nms=False, end2end=False)"
        }
        "If" | "Loop" | "Scan" => {
            "simplify the model first, for example with onnxsim, or export it with a fixed size"
        }
        "ConvTranspose" => "this looks like a segmentation model: export a detector",
        "ScatterND" => "export YOLOv5 without --inplace",
        _ => "export the model as plain float ONNX, or report the operator with the model",
    };
    Fault::new(found, expected, hint)
}

impl<'c> Call<'c> {
    /// The input in this place.
    pub fn input(&self, place: usize) -> Outcome<&'c Value> {
        self.optional(place).ok_or_else(|| broken(format!("input {place} is left out")))
    }

    pub fn optional(&self, place: usize) -> Option<&'c Value> {
        self.inputs.get(place).copied().flatten()
    }

    /// An input of integers that do not depend on the image.
    pub fn ints(&self, place: usize) -> Outcome<&'c [i64]> {
        self.input(place)?.as_ints().ok_or_else(|| {
            unsupported(format!("input {place} is no list of integers known without an image"))
        })
    }

    /// A list that is an input in newer opsets and an attribute in older ones.
    pub fn ints_or_attribute(&self, place: usize, name: &str) -> Outcome<Option<Vec<i64>>> {
        match self.optional(place) {
            Some(_) => self.ints(place).map(|ints| Some(ints.to_vec())),
            None => Ok(self.node.ints(name).map(<[i64]>::to_vec)),
        }
    }

    /// The attribute `axis` as an index into `rank` axes.
    pub fn axis(&self, rank: usize, default: i64) -> Outcome<usize> {
        axis(self.node.int("axis").unwrap_or(default), rank)
    }
}

/// An axis, which counts from the end where it is negative.
fn axis(axis: i64, rank: usize) -> Outcome<usize> {
    let from_end =
        |back: i64| usize::try_from(back.unsigned_abs()).ok().and_then(|back| rank.checked_sub(back));
    let index = usize::try_from(axis).ok().or_else(|| from_end(axis));
    index.filter(|&index| index < rank).ok_or_else(|| broken(format!("axis {axis} of {rank}")))
}

#[cfg(test)]
mod tests;
