//! Convolutions, batch norms, max pools, and arithmetic with one number a channel, which is a batch norm too.

use super::super::fault::{broken, unsupported};
use super::super::inferred::Inferred;
use super::super::net::{Step, TensorId};
use super::super::ops::Window;
use super::{From, Outcome, Piece, Plan, input, naming};
use crate::model::{Conv, Op};

/// ONNX's epsilon of batch norms where a node states none.
const ONNX_EPSILON: f32 = 1e-5;
/// Epsilon of batch norms that are made of plain arithmetic: it has to be positive and to change nothing.
const NO_EPSILON: f64 = 1e-12;

pub(super) fn plan(model: &Inferred, step: &Step) -> Outcome<Plan> {
    let (source, weight) = (input(step, 0)?, input(step, 1)?);
    let [cin, height, width] = map(model, source)?;
    let kernel = model.value(weight).filter(|kernel| kernel.as_floats().is_some());
    let kernel = kernel.ok_or_else(|| unsupported("a kernel that is not stored in the file"))?;
    let &[cout, depth, rows, columns] = &kernel.shape[..] else {
        return Err(broken("a kernel of other than 4 axes"));
    };
    let window = Window::read(step.node, Some([rows, columns]), [height, width])?;
    let (kernel_side, stride, pad) = square(&window)?;
    let [dilation, other] = window.dilations;
    if dilation != other {
        return Err(unsupported(format!("dilations {:?}: only equal ones are supported", window.dilations)));
    }
    let bias = match step.inputs.get(2).copied().flatten() {
        Some(bias) => Some(channel_values(model, bias, cout)?),
        None => None,
    };
    let groups = cin.checked_div(depth).unwrap_or(0);
    let conv = Conv { cin, cout, kernel: kernel_side, stride, pad, dilation, groups, bias: bias.is_some() };
    let values = kernel.as_floats().unwrap_or_default().to_vec();
    let mut weights = vec![("weight", kernel.shape.clone(), values)];
    weights.extend(bias.map(|bias| ("bias", vec![cout], bias)));
    let name = naming::of_weight(model, step, weight);
    Ok(Plan::Pieces(vec![Piece { op: Op::Conv(conv), name, inputs: vec![From::Tensor(source)], weights }]))
}

pub(super) fn plan_max_pool(model: &Inferred, step: &Step) -> Outcome<Plan> {
    let source = input(step, 0)?;
    let [_, height, width] = map(model, source)?;
    let window = Window::read(step.node, None, [height, width])?;
    let (kernel, stride, pad) = square(&window)?;
    if window.dilations != [1; 2] || pad > kernel / 2 {
        return Err(unsupported("dilations, or padding beyond half the window"));
    }
    Ok(Plan::one(Op::MaxPool { kernel, stride, pad }, naming::of_step(model, step), source))
}

/// Kernel, stride and padding of a window that is the same along both axes.
fn square(window: &Window) -> Outcome<(usize, usize, usize)> {
    let ([kernel, b], [stride, d]) = (window.kernel, window.strides);
    let [[pad, e], [f, g]] = window.pads;
    if kernel == b && stride == d && [e, f, g] == [pad; 3] {
        return Ok((kernel, stride, pad));
    }
    Err(unsupported(format!(
        "a window of {:?} with strides {:?} and padding {:?}: only square ones, padded alike on all sides, are supported",
        window.kernel, window.strides, window.pads
    )))
}

pub(super) fn plan_batch_norm(model: &Inferred, step: &Step, result: TensorId) -> Outcome<Plan> {
    let source = input(step, 0)?;
    let [channels, ..] = map(model, source)?;
    let mut fields = Vec::with_capacity(4);
    for (place, name) in (1..).zip(["weight", "bias", "running_mean", "running_var"]) {
        fields.push((name, vec![channels], channel_values(model, input(step, place)?, channels)?));
    }
    let eps = f64::from(step.node.float("epsilon").unwrap_or(ONNX_EPSILON));
    let name = naming::of_weight(model, step, input(step, 1)?);
    let norm = Norm { eps, fields, name };
    norm.plan(model, source, result)
}

/// `x + c`, `x − c`, `x · c`, `x / c` with one number, or one a channel.
pub(super) fn plan_affine(model: &Inferred, step: &Step, result: TensorId) -> Outcome<Plan> {
    let [a, b] = [input(step, 0)?, input(step, 1)?];
    let reversed = model.is_known(a);
    let (source, constant) = if reversed { (b, a) } else { (a, b) };
    if step.inputs.len() != 2 || model.is_known(source) {
        return Err(unsupported("arithmetic of constants where a feature map is expected"));
    }
    let [channels, ..] = map(model, source)?;
    if model.map_shape(result) != model.map_shape(source) {
        return Err(unsupported("a constant that widens the feature map"));
    }
    if source == model.net.input {
        return Err(unsupported(
            "it scales the image, which the device does itself: images come as RGB from 0 to 1",
        ));
    }
    let values = spread(model, constant, channels)?;
    let ones = || vec![1.0; channels];
    let (scale, shift) = match (step.node.op, reversed) {
        ("Add", _) => (ones(), values),
        ("Sub", false) => (ones(), values.into_iter().map(|value| -value).collect()),
        ("Sub", true) => (vec![-1.0; channels], values),
        ("Mul", _) => (values, vec![0.0; channels]),
        ("Div", false) => (values.into_iter().map(f32::recip).collect(), vec![0.0; channels]),
        _ => return Err(unsupported("a constant divided by a feature map")),
    };
    let field = |name, values| (name, vec![channels], values);
    let fields = vec![
        field("weight", scale),
        field("bias", shift),
        field("running_mean", vec![0.0; channels]),
        field("running_var", ones()),
    ];
    let norm = Norm { eps: NO_EPSILON, fields, name: naming::of_step(model, step) };
    norm.plan(model, source, result)
}

/// A batch norm in evaluation mode.
struct Norm {
    eps: f64,
    /// γ, β, mean and variance.
    fields: Vec<(&'static str, Vec<usize>, Vec<f32>)>,
    name: String,
}

impl Norm {
    /// A batch norm where it follows a convolution or stands beside one, so that it will be folded; elsewhere a
    /// convolution of each channel on its own, which computes the same.
    fn plan(self, model: &Inferred, source: TensorId, result: TensorId) -> Outcome<Plan> {
        let channels = self.fields[0].2.len();
        if follows_linear(model, source) || joins_linear(model, result) {
            let op = Op::BatchNorm { channels, eps: self.eps };
            let inputs = vec![From::Tensor(source)];
            return Ok(Plan::Pieces(vec![Piece { op, name: self.name, inputs, weights: self.fields }]));
        }
        let values = |field: usize, channel: usize| f64::from(self.fields[field].2[channel]);
        let scale = |channel| values(0, channel) / (values(3, channel) + self.eps).sqrt();
        #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
        let kernel = (0..channels).map(|channel| scale(channel) as f32).collect();
        #[expect(clippy::cast_possible_truncation, reason = "weights are stored as f32")]
        let bias = (0..channels)
            .map(|channel| (values(1, channel) - values(2, channel) * scale(channel)) as f32)
            .collect();
        let conv = Conv {
            cin: channels,
            cout: channels,
            kernel: 1,
            stride: 1,
            pad: 0,
            dilation: 1,
            groups: channels,
            bias: true,
        };
        let weights = vec![("weight", vec![channels, 1, 1, 1], kernel), ("bias", vec![channels], bias)];
        let inputs = vec![From::Tensor(source)];
        Ok(Plan::Pieces(vec![Piece { op: Op::Conv(conv), name: self.name, inputs, weights }]))
    }
}

/// Whether `tensor` is a convolution or a sum of some, which nothing else reads.
fn follows_linear(model: &Inferred, tensor: TensorId) -> bool {
    let tensor = model.behind_copies(tensor);
    let alone = model.net.users[tensor].len() == 1;
    alone
        && model.net.step_of(tensor).is_some_and(|step| is_linear(model, step) || is_linear_sum(model, step))
}

/// Whether `tensor` goes into a sum of convolutions and batch norms of one input.
fn joins_linear(model: &Inferred, tensor: TensorId) -> bool {
    let sums = &model.net.users[tensor];
    sums.len() == 1 && sums.iter().any(|&user| is_linear_sum(model, &model.net.steps[user]))
}

/// Whether a node is a convolution, a batch norm or arithmetic with a constant.
fn is_linear(model: &Inferred, step: &Step) -> bool {
    match step.node.op {
        "Conv" | "BatchNormalization" => true,
        "Add" | "Sub" | "Mul" | "Div" => step.inputs.iter().flatten().any(|&input| model.is_known(input)),
        _ => false,
    }
}

/// Whether a node adds convolutions and batch norms, perhaps in turn sums, or what they read.
fn is_linear_sum(model: &Inferred, step: &Step) -> bool {
    if !matches!(step.node.op, "Add" | "Sum") {
        return false;
    }
    let maker = |tensor: TensorId| model.net.step_of(model.behind_copies(tensor));
    let branches: Vec<TensorId> = step.inputs.iter().copied().flatten().collect();
    let sources: Vec<TensorId> = branches
        .iter()
        .filter_map(|&branch| {
            maker(branch).filter(|maker| is_linear(model, maker))?.inputs.first().copied().flatten()
        })
        .collect();
    branches.iter().all(|&branch| {
        sources.contains(&branch)
            || maker(branch)
                .is_some_and(|maker| is_linear(model, maker) || matches!(maker.node.op, "Add" | "Sum"))
    })
}

fn map(model: &Inferred, tensor: TensorId) -> Outcome<[usize; 3]> {
    model.map_shape(tensor).ok_or_else(|| unsupported("it reads what is no feature map of one image"))
}

/// Stored values, one a channel.
fn channel_values(model: &Inferred, tensor: TensorId, channels: usize) -> Outcome<Vec<f32>> {
    let values =
        model.floats(tensor).ok_or_else(|| unsupported("weights that are not stored in the file"))?;
    if values.len() == channels {
        Ok(values.to_vec())
    } else {
        Err(broken(format!("{} values for {channels} channels", values.len())))
    }
}

/// A constant as one number a channel.
fn spread(model: &Inferred, tensor: TensorId, channels: usize) -> Outcome<Vec<f32>> {
    let value = model.value(tensor);
    let values = value
        .and_then(|value| value.as_floats())
        .ok_or_else(|| unsupported("a constant that is no float"))?;
    let shape = value.map(|value| value.shape.clone()).unwrap_or_default();
    let by_channel = matches!(shape[..], [count, 1, 1] | [1, count, 1, 1] if count == channels);
    match values {
        [one] => Ok(vec![*one; channels]),
        values if by_channel => Ok(values.to_vec()),
        _ => Err(unsupported(format!("a constant of shape {shape:?}, which is not one number a channel"))),
    }
}
