//! Operators of int8 models in plain loops.

use super::{Image, each, inside};
use crate::layout::Shape;
use crate::network::{Codes, Ending, IntegerConvolution, Quant};

pub fn convolution(conv: &IntegerConvolution, image: &[i8], shape: Shape, output: Shape) -> Image {
    let [height, width] = conv.windows.kernel;
    let sum = |channel: usize, y: usize, x: usize| {
        let mut sum = 0_i32;
        let [rows, columns] = inside(&conv.windows, [y, x], shape);
        for (ky, y) in rows {
            for (kx, x) in columns.clone() {
                for input in 0..shape.channels {
                    let weight =
                        conv.weights[((channel * shape.channels + input) * height + ky) * width + kx];
                    let value = image[(input * shape.height + y) * shape.width + x];
                    let steps = i32::from(value) - i32::from(conv.zero_point);
                    sum = sum.wrapping_add(steps * i32::from(weight));
                }
            }
        }
        sum
    };
    match &conv.ending {
        Ending::Stored { bias, multipliers, codes } => Image::Stored(each(output, |channel, y, x| {
            stored(codes, real(sum(channel, y, x).wrapping_add(bias[channel])) * multipliers[channel])
        })),
        Ending::Real { scales, bias } => Image::Real(each(output, |channel, y, x| {
            real(sum(channel, y, x)) * scales[channel] + bias[channel]
        })),
    }
}

#[expect(clippy::cast_precision_loss, reason = "to the nearest float, as stated")]
fn real(sum: i32) -> f32 {
    sum as f32
}

/// `steps` of an output as `codes` says.
#[expect(clippy::cast_possible_truncation, reason = "saturating, as stated")]
fn stored(codes: &Codes, steps: f32) -> i8 {
    let steps = steps.round_ties_even();
    match codes {
        Codes::Shifted { zero_point } => (f64::from(steps) + f64::from(*zero_point)) as i8,
        Codes::Table { first, entries } => {
            let place = usize::try_from((steps as i32).saturating_sub(*first)).unwrap_or(0);
            entries[place.min(entries.len() - 1)]
        }
    }
}

pub fn quantize(reals: &[f32], factor: f32, zero_point: i8) -> Image {
    let code = |real: &f32| {
        if real.is_nan() { zero_point } else { stored(&Codes::Shifted { zero_point }, real * factor) }
    };
    Image::Stored(reals.iter().map(code).collect())
}

pub fn map(codes: &[i8], table: &[i8; 256]) -> Image {
    Image::Stored(codes.iter().map(|code| table[usize::from(code.cast_unsigned())]).collect())
}

fn meaning(code: i8, quant: Quant) -> f32 {
    real(i32::from(code) - quant.zero_point) * quant.scale
}

pub fn add(images: [&[i8]; 2], from: [Quant; 2], to: Quant) -> Image {
    let sum = |(&a, &b): (&i8, &i8)| {
        let steps = ((meaning(a, from[0]) + meaning(b, from[1])) / to.scale).round_ties_even();
        #[expect(clippy::cast_possible_truncation, reason = "saturating, as stated")]
        let code = (f64::from(steps) + f64::from(to.zero_point)) as i8;
        code
    };
    Image::Stored(images[0].iter().zip(images[1]).map(sum).collect())
}

pub fn dequantize(codes: &[i8], quant: Quant) -> Image {
    Image::Real(codes.iter().map(|&code| meaning(code, quant)).collect())
}
