//! What every operator computes, in plain loops and f64: what the kernels are tested against. Never fast.

mod int8;

use std::ops::Range;

use crate::layout::Shape;
use crate::network::{Convolution, Network, Operator, Windows};
use crate::plan::Given;

/// An image, plane by plane.
#[derive(Debug, Clone, PartialEq)]
pub enum Image {
    /// Floats.
    Real(Vec<f32>),
    /// Stored values of an int8 model.
    Stored(Vec<i8>),
}

impl Image {
    fn reals(&self) -> &[f32] {
        if let Self::Real(values) = self { values } else { &[] }
    }

    fn codes(&self) -> &[i8] {
        if let Self::Stored(values) = self { values } else { &[] }
    }
}

/// Runs `network` on images that lie plane by plane, and gives its outputs.
pub fn run(network: &Network, inputs: &[Given<'_>]) -> Vec<Image> {
    let mut values = vec![Image::Real(Vec::new()); network.shapes.len()];
    for (value, input) in network.inputs.iter().zip(inputs) {
        values[value.0] = match input {
            Given::Real(values) => Image::Real(values.to_vec()),
            Given::Stored(values) => Image::Stored(values.to_vec()),
        };
    }
    for node in &network.nodes {
        let images: Vec<(&Image, Shape)> =
            node.inputs.iter().map(|&input| (&values[input.0], network.shape(input))).collect();
        values[node.output.0] = compute(&node.operator, &images, network.shape(node.output));
    }
    network.outputs.iter().map(|output| values[output.0].clone()).collect()
}

fn compute(operator: &Operator, inputs: &[(&Image, Shape)], output: Shape) -> Image {
    let (image, shape) = inputs[0];
    let reals = || inputs.iter().map(|(image, _)| image.reals());
    match operator {
        Operator::Convolution(conv) => {
            Image::Real(convolution(conv, image.reals(), shape, reals().nth(1), output))
        }
        Operator::Add => {
            Image::Real(image.reals().iter().zip(inputs[1].0.reals()).map(|(a, b)| a + b).collect())
        }
        Operator::Activate(activation) => {
            Image::Real(image.reals().iter().map(|&x| rounded(activation.of(f64::from(x)))).collect())
        }
        Operator::Integer(conv) => int8::convolution(conv, image.codes(), shape, output),
        Operator::Quantize { factor, zero_point } => int8::quantize(image.reals(), *factor, *zero_point),
        Operator::Map(table) => int8::map(image.codes(), table),
        Operator::AddStored { from, to } => int8::add([image.codes(), inputs[1].0.codes()], *from, *to),
        Operator::Dequantize(quant) => int8::dequantize(image.codes(), *quant),
        Operator::Concat | Operator::MaxPool(_) | Operator::Upsample { .. } | Operator::Slice(_) => {
            match image {
                Image::Real(_) => {
                    let images: Vec<(&[f32], Shape)> =
                        reals().zip(inputs.iter().map(|input| input.1)).collect();
                    Image::Real(moved(operator, &images, output, f32::NEG_INFINITY))
                }
                Image::Stored(_) => {
                    let images: Vec<(&[i8], Shape)> =
                        inputs.iter().map(|(image, shape)| (image.codes(), *shape)).collect();
                    Image::Stored(moved(operator, &images, output, i8::MIN))
                }
            }
        }
        Operator::Enter { factor, quantize, border } => match (image, quantize) {
            (Image::Real(reals), None) => {
                Image::Real(deeper(reals, shape, *factor, output, f32::from(*border)))
            }
            (Image::Stored(codes), _) => Image::Stored(deeper(codes, shape, *factor, output, *border)),
            (Image::Real(reals), Some((scale, zero_point))) => {
                let codes = int8::quantize(reals, *scale, *zero_point);
                Image::Stored(deeper(codes.codes(), shape, *factor, output, *border))
            }
        },
    }
}

/// Operators that move values without changing them.
fn moved<T: Copy + PartialOrd>(
    operator: &Operator,
    images: &[(&[T], Shape)],
    output: Shape,
    least: T,
) -> Vec<T> {
    let (image, shape) = images[0];
    let at = |channel: usize, y: usize, x: usize| image[(channel * shape.height + y) * shape.width + x];
    match operator {
        Operator::MaxPool(windows) => each(output, |channel, y, x| {
            let [rows, columns] = inside(windows, [y, x], shape);
            let places = rows.flat_map(|(_, y)| columns.clone().map(move |(_, x)| (y, x)));
            let values = places.map(|(y, x)| at(channel, y, x));
            values.fold(least, |a, b| if b > a { b } else { a })
        }),
        Operator::Upsample { factors } => {
            each(output, |channel, y, x| at(channel, y / factors[0], x / factors[1]))
        }
        Operator::Slice(channels) => image[of_channels(channels, shape)].to_vec(),
        _ => images.iter().flat_map(|(image, _)| image.iter().copied()).collect(),
    }
}

fn of_channels(channels: &Range<usize>, shape: Shape) -> Range<usize> {
    channels.start * shape.pixels()..channels.end * shape.pixels()
}

fn deeper<T: Copy>(image: &[T], shape: Shape, factor: usize, output: Shape, border: T) -> Vec<T> {
    each(output, |channel, y, x| {
        let (plane, part) = (channel / (factor * factor), channel % (factor * factor));
        let (y, x) = (y * factor + part / factor, x * factor + part % factor);
        let inside = y < shape.height && x < shape.width;
        if inside { image[(plane * shape.height + y) * shape.width + x] } else { border }
    })
}

fn convolution(
    conv: &Convolution,
    image: &[f32],
    shape: Shape,
    plus: Option<&[f32]>,
    output: Shape,
) -> Vec<f32> {
    let [rows, columns] = conv.windows.kernel;
    let sums = each(output, |channel, y, x| {
        let mut sum = f64::from(conv.bias[channel]);
        let [inside_rows, inside_columns] = inside(&conv.windows, [y, x], shape);
        for (ky, y) in inside_rows {
            for (kx, x) in inside_columns.clone() {
                for input in 0..shape.channels {
                    let weight =
                        conv.weights[((channel * shape.channels + input) * rows + ky) * columns + kx];
                    let value = image[(input * shape.height + y) * shape.width + x];
                    sum += f64::from(weight) * f64::from(value);
                }
            }
        }
        rounded(conv.activation.of(sum))
    });
    match plus {
        Some(plus) => sums.iter().zip(plus).map(|(a, b)| a + b).collect(),
        None => sums,
    }
}

/// The rows and columns of a window that lie inside, each with its place in the window.
fn inside(
    windows: &Windows,
    at: [usize; 2],
    shape: Shape,
) -> [impl Iterator<Item = (usize, usize)> + Clone + use<>; 2] {
    let sides = [shape.height, shape.width];
    [0, 1].map(|axis: usize| {
        let (first, pad, side) = (at[axis] * windows.stride[axis], windows.pad[axis], sides[axis]);
        let place = move |k: usize| (first + k).checked_sub(pad).filter(|&i| i < side).map(|i| (k, i));
        (0..windows.kernel[axis]).filter_map(place)
    })
}

fn each<T>(shape: Shape, value: impl Fn(usize, usize, usize) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(shape.len());
    for channel in 0..shape.channels {
        for y in 0..shape.height {
            for x in 0..shape.width {
                values.push(value(channel, y, x));
            }
        }
    }
    values
}

#[expect(clippy::cast_possible_truncation, reason = "to the nearest f32")]
fn rounded(value: f64) -> f32 {
    value as f32
}
