//! What every operator computes, in plain loops and f64: what the kernels are tested against. Never fast.

use crate::layout::Shape;
use crate::network::{Convolution, Network, Operator};

/// Runs `network` on images that lie plane by plane, and gives its outputs.
pub fn run(network: &Network, inputs: &[&[f32]]) -> Vec<Vec<f32>> {
    let mut values: Vec<Vec<f32>> = vec![Vec::new(); network.shapes.len()];
    for (value, input) in network.inputs.iter().zip(inputs) {
        values[value.0] = input.to_vec();
    }
    for node in &network.nodes {
        let images: Vec<(&[f32], Shape)> =
            node.inputs.iter().map(|&input| (values[input.0].as_slice(), network.shape(input))).collect();
        values[node.output.0] = compute(&node.operator, &images, network.shape(node.output));
    }
    network.outputs.iter().map(|output| values[output.0].clone()).collect()
}

fn compute(operator: &Operator, inputs: &[(&[f32], Shape)], output: Shape) -> Vec<f32> {
    let (image, shape) = inputs[0];
    let at =
        |channel: usize, y: usize, x: usize| f64::from(image[(channel * shape.height + y) * shape.width + x]);
    match operator {
        Operator::Convolution(conv) => {
            convolution(conv, image, shape, inputs.get(1).map(|input| input.0), output)
        }
        Operator::Add => image.iter().zip(inputs[1].0).map(|(a, b)| a + b).collect(),
        Operator::Activate(activation) => {
            image.iter().map(|&x| rounded(activation.of(f64::from(x)))).collect()
        }
        Operator::Concat => inputs.iter().flat_map(|(image, _)| image.iter().copied()).collect(),
        Operator::MaxPool { kernel, stride, pad, .. } => each(output, |channel, y, x| {
            let rows = window(y, kernel[0], stride[0], pad[0], shape.height);
            let maxima = rows.flat_map(|(_, y)| {
                window(x, kernel[1], stride[1], pad[1], shape.width).map(move |(_, x)| (y, x))
            });
            maxima.map(|(y, x)| at(channel, y, x)).fold(f64::NEG_INFINITY, f64::max)
        }),
        Operator::Upsample { factors } => {
            each(output, |channel, y, x| at(channel, y / factors[0], x / factors[1]))
        }
        Operator::SpaceToDepth { factor } => each(output, |channel, y, x| {
            let (plane, part) = (channel / (factor * factor), channel % (factor * factor));
            let (y, x) = (y * factor + part / factor, x * factor + part % factor);
            if y < shape.height && x < shape.width { at(plane, y, x) } else { 0.0 }
        }),
    }
}

fn convolution(
    conv: &Convolution,
    image: &[f32],
    shape: Shape,
    plus: Option<&[f32]>,
    output: Shape,
) -> Vec<f32> {
    let [rows, columns] = conv.kernel;
    let sums = each(output, |channel, y, x| {
        let mut sum = f64::from(conv.bias[channel]);
        for (ky, y) in window(y, rows, conv.stride[0], conv.pad[0], shape.height) {
            for (kx, x) in window(x, columns, conv.stride[1], conv.pad[1], shape.width) {
                for input in 0..shape.channels {
                    let weight =
                        conv.weights[((channel * shape.channels + input) * rows + ky) * columns + kx];
                    let value = image[(input * shape.height + y) * shape.width + x];
                    sum += f64::from(weight) * f64::from(value);
                }
            }
        }
        conv.activation.of(sum)
    });
    match plus {
        Some(plus) => sums.iter().zip(plus).map(|(a, b)| a + b).collect(),
        None => sums,
    }
}

/// The places of window number `at` that lie inside, each with its place in the window.
fn window(
    at: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
    side: usize,
) -> impl Iterator<Item = (usize, usize)> {
    (0..kernel).filter_map(move |k| (at * stride + k).checked_sub(pad).filter(|&i| i < side).map(|i| (k, i)))
}

fn each(shape: Shape, value: impl Fn(usize, usize, usize) -> f64) -> Vec<f32> {
    let mut values = Vec::with_capacity(shape.len());
    for channel in 0..shape.channels {
        for y in 0..shape.height {
            for x in 0..shape.width {
                values.push(rounded(value(channel, y, x)));
            }
        }
    }
    values
}

#[expect(clippy::cast_possible_truncation, reason = "to the nearest f32")]
fn rounded(value: f64) -> f32 {
    value as f32
}
