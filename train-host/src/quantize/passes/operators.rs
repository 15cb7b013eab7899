//! The float operators of a graph on bare planes, for walking two models side by side. Convolutions and attention are left
//! to tract, one session each.

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use rayon::prelude::*;
use repedge::backend::Session;
use repedge::backend::tract::TractSession;
use repedge::int8;

use crate::export::onnx;
use crate::model::{Conv, Graph, Op, Shape, Weights};
use crate::quantize::scheme::function;
use crate::{Error, Result};

/// Name of a [`Layer`]'s node.
const LAYER: &str = "layer";

/// Values of `[channels, height, width]`, row-major.
pub(crate) type Plane = Vec<f32>;

/// An operator of one input that tract runs, on planes of one shape.
pub(crate) struct Layer {
    session: TractSession,
    input: Tensor,
    outputs: Vec<Tensor>,
}

impl Layer {
    /// The convolution `conv` with float weights over square planes of `input` shape.
    pub fn convolution(conv: &Conv, input: Shape, values: Vec<f32>, bias: Vec<f32>) -> Result<Self> {
        let mut weights = Weights::default();
        let shape = [conv.cout, conv.cin / conv.groups, conv.kernel, conv.kernel];
        weights.insert(format!("{LAYER}.weight"), &shape, values);
        weights.insert(format!("{LAYER}.bias"), &[conv.cout], bias);
        Self::new(Op::Conv(Conv { bias: true, ..*conv }), input, &weights)
    }

    /// `op` over square planes of `input` shape.
    pub fn new(op: Op, input: Shape, weights: &Weights) -> Result<Self> {
        let [channels, side, _] = input;
        let mut graph = Graph::default();
        let image = graph.push(onnx::INPUT_NAME, Op::Input { channels }, &[]);
        let node = graph.push(LAYER, op, &[image]);
        graph.outputs = vec![node];
        let bytes = onnx::write_graph(&graph, weights, side)?;
        let specs = onnx::specs(&graph, &[LAYER.to_owned()], side)?;
        let session = TractSession::from_onnx(&bytes, specs.input, specs.outputs)?;
        let (input, outputs) = (zeroed(session.input()), session.outputs().iter().map(zeroed).collect());
        Ok(Self { session, input, outputs })
    }

    /// Its result for `plane`.
    pub fn run(&mut self, plane: &[f32]) -> Result<Plane> {
        self.run_on(|input| input.copy_from_slice(plane))
    }

    /// Its result for what `fill` makes of its input, which is zeros at first and what was left of it later.
    pub fn run_on(&mut self, fill: impl FnOnce(&mut [f32])) -> Result<Plane> {
        if let TensorData::F32(values) = &mut self.input.data {
            fill(values);
        }
        self.session.run(&self.input, &mut self.outputs)?;
        match self.outputs.first().map(|output| &output.data) {
            Some(TensorData::F32(values)) => Ok(values.clone()),
            _ => Ok(Vec::new()),
        }
    }
}

fn zeroed(spec: &TensorSpec) -> Tensor {
    debug_assert_eq!((spec.dtype, spec.layout), (DType::F32, Layout::Nchw));
    Tensor::zeroed(spec)
}

/// `values` as they come back from being stored as `quant`.
pub(super) fn stored(mut values: Plane, quant: Option<Quant>) -> Plane {
    if let Some(quant) = quant {
        values
            .par_iter_mut()
            .for_each(|value| *value = int8::dequantize(int8::quantize(*value, quant), quant));
    }
    values
}

/// `values` through `function`.
fn map(values: &[f32], function: fn(f64) -> f64) -> Plane {
    #[expect(clippy::cast_possible_truncation, reason = "activations are f32")]
    values.par_iter().map(|&value| function(f64::from(value)) as f32).collect()
}

/// The result of an operator without weights for `operands`, of which the first has `shape`.
///
/// # Errors
/// [`Error::Model`] for an operator that has weights, or none of this kind.
pub(crate) fn apply(op: &Op, operands: &[&Plane], shape: Shape) -> Result<Plane> {
    Ok(match *op {
        Op::Act(activation) => map(operands[0], function(activation)),
        Op::Add => add(operands),
        Op::Concat => operands.iter().flat_map(|plane| plane.iter().copied()).collect(),
        Op::MaxPool { kernel, stride, pad } => max_pool(operands[0], shape, kernel, stride, pad),
        Op::Upsample { factor } => upsample(operands[0], shape, factor),
        Op::SpaceToDepth => space_to_depth(operands[0], shape),
        Op::Slice { start, len } => {
            let [_, height, width] = shape;
            operands[0][start * height * width..][..len * height * width].to_vec()
        }
        Op::Input { .. } | Op::Conv(_) | Op::BatchNorm { .. } | Op::Attention(_) => {
            return Err(Error::model(format!("an operator {op:?}"), "a fused model", "fuse it first"));
        }
    })
}

/// The sum of `inputs`.
fn add(inputs: &[&Plane]) -> Plane {
    let mut sum = inputs[0].clone();
    for input in &inputs[1..] {
        sum.iter_mut().zip(*input).for_each(|(sum, value)| *sum += value);
    }
    sum
}

/// The largest of each window; padding never wins.
fn max_pool(input: &[f32], shape: Shape, kernel: usize, stride: usize, pad: usize) -> Plane {
    let [channels, height, width] = shape;
    let out = |side: usize| (side + 2 * pad - kernel) / stride + 1;
    let span =
        |at: usize, side: usize| (at * stride).saturating_sub(pad)..(at * stride + kernel - pad).min(side);
    let mut result = Vec::with_capacity(channels * out(height) * out(width));
    for plane in input.chunks(height * width) {
        for y in 0..out(height) {
            for x in 0..out(width) {
                let rows = span(y, height).map(|row| &plane[row * width..][span(x, width)]);
                result.push(rows.flatten().fold(f32::NEG_INFINITY, |most, &value| most.max(value)));
            }
        }
    }
    result
}

/// Each value repeated `factor` times along both axes.
fn upsample(input: &[f32], shape: Shape, factor: usize) -> Plane {
    let [_, height, width] = shape;
    let mut result = Vec::with_capacity(input.len() * factor * factor);
    for plane in input.chunks(height * width) {
        for y in 0..height * factor {
            let row = &plane[y / factor * width..][..width];
            result.extend((0..width * factor).map(|x| row[x / factor]));
        }
    }
    result
}

/// 2×2 blocks to channels, in the order of [`Op::SpaceToDepth`].
fn space_to_depth(input: &[f32], shape: Shape) -> Plane {
    let [_, height, width] = shape;
    let mut result = Vec::with_capacity(input.len());
    for (row, column) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
        for plane in input.chunks(height * width) {
            for y in (row..height).step_by(2) {
                result.extend(plane[y * width..][..width].iter().skip(column).step_by(2));
            }
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use artifact::Quant;
    use repedge::int8::reference::{self, Planes};

    use super::*;

    const ONE: Quant = Quant { scale: 1.0, zero_point: 0 };

    fn planes(shape: Shape) -> (Planes, Plane) {
        let mut next = 0_i8;
        let planes = Planes::fill(shape, ONE, |_, _, _| {
            next = next.wrapping_mul(37).wrapping_add(11);
            next
        });
        let floats = planes.data.iter().map(|&value| f32::from(value)).collect();
        (planes, floats)
    }

    #[test]
    fn moving_operators_are_those_of_the_reference() {
        let shape = [3, 6, 8];
        let (stored, floats) = planes(shape);
        let same = |expected: Planes, found: Plane| {
            let expected: Plane = expected.data.iter().map(|&value| f32::from(value)).collect();
            assert_eq!(found, expected);
        };
        same(reference::max_pool(&stored, 5, 1, 2).unwrap(), max_pool(&floats, shape, 5, 1, 2));
        same(reference::max_pool(&stored, 2, 2, 0).unwrap(), max_pool(&floats, shape, 2, 2, 0));
        same(reference::max_pool(&stored, 3, 2, 1).unwrap(), max_pool(&floats, shape, 3, 2, 1));
        same(reference::upsample(&stored, 2).unwrap(), upsample(&floats, shape, 2));
        same(reference::space_to_depth(&stored).unwrap(), space_to_depth(&floats, shape));
    }

    #[test]
    fn a_convolution_is_computed_with_its_bias() {
        let conv = Conv { cin: 1, cout: 1, kernel: 3, stride: 1, pad: 1, dilation: 1, groups: 1, bias: true };
        let mut convolution = Layer::convolution(&conv, [1, 4, 4], vec![1.0; 9], vec![0.5]).unwrap();
        let result = convolution.run(&[1.0; 16]).unwrap();
        assert_eq!([result[0], result[1], result[5]], [4.5, 6.5, 9.5]);
    }
}
