//! Every operator of an int8 model in plain loops over i8, with i32 sums: slow, obvious, and bit for bit what `int8`
//! states. Engines, kernels and the stand-in NPU are tested against it; nothing ships that runs on it.

use std::ops::Range;

use artifact::{Fault, Quant};

use super::{SumTable, Table, dequantize, index, multiplier, quantize, real, requantize};
use crate::Error;

/// Stored values of `[channels, height, width]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Planes {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// What the values mean.
    pub quant: Quant,
    /// The values.
    pub data: Vec<i8>,
}

/// Shape of a convolution: square kernel, symmetric padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Output channels.
    pub cout: usize,
    /// Kernel side.
    pub kernel: usize,
    /// Stride, both axes.
    pub stride: usize,
    /// Padding on each side, which holds the input's zero point.
    pub pad: usize,
    /// Distance between kernel taps.
    pub dilation: usize,
    /// Channel groups.
    pub groups: usize,
}

/// Weights of a convolution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Kernel<'a> {
    /// `[cout, cin / groups, kernel, kernel]`.
    pub values: &'a [i8],
    /// Real value of one step of each output channel's weights.
    pub scales: &'a [f32],
    /// In units of the input's scale times the channel's scale.
    pub bias: &'a [i32],
}

impl Planes {
    /// Planes whose value at channel, row, column is `value(c, y, x)`.
    pub fn fill(shape: [usize; 3], quant: Quant, mut value: impl FnMut(usize, usize, usize) -> i8) -> Self {
        let [channels, height, width] = shape;
        let mut data = Vec::with_capacity(channels * height * width);
        for c in 0..channels {
            for y in 0..height {
                data.extend((0..width).map(|x| value(c, y, x)));
            }
        }
        Self { shape, quant, data }
    }

    /// The value at channel, row, column.
    pub fn at(&self, c: usize, y: usize, x: usize) -> i8 {
        self.data[(c * self.shape[1] + y) * self.shape[2] + x]
    }

    /// The value at a position that may lie in the padding.
    fn padded(&self, c: usize, y: Option<usize>, x: Option<usize>) -> Option<i8> {
        let (y, x) = (y?, x?);
        (y < self.shape[1] && x < self.shape[2]).then(|| self.at(c, y, x))
    }
}

/// The convolution of `input`, stored as `to`.
///
/// # Errors
/// [`Error::Input`] when kernel, shape and input do not fit each other.
pub fn conv(input: &Planes, shape: &ConvShape, kernel: &Kernel<'_>, to: Quant) -> Result<Planes, Error> {
    let sums = conv_sums(input, shape, kernel)?;
    let plane = sums.shape[1] * sums.shape[2];
    let factors: Vec<f32> =
        kernel.scales.iter().map(|&scale| multiplier(input.quant.scale, scale, to.scale)).collect();
    let stored = |(at, &sum): (usize, &i32)| requantize(sum, factors[at / plane], to.zero_point);
    let data = sums.data.iter().enumerate().map(stored).collect();
    Ok(Planes { shape: sums.shape, quant: to, data })
}

/// The convolution of `input` and the activation of `table` behind it.
///
/// # Errors
/// As [`conv`].
pub fn conv_activated(
    input: &Planes,
    shape: &ConvShape,
    kernel: &Kernel<'_>,
    table: &SumTable,
) -> Result<Planes, Error> {
    let sums = conv_sums(input, shape, kernel)?;
    let plane = sums.shape[1] * sums.shape[2];
    let factors: Vec<f32> =
        kernel.scales.iter().map(|&scale| multiplier(input.quant.scale, scale, table.unit())).collect();
    let stored = |(at, &sum): (usize, &i32)| table.at(SumTable::index(sum, factors[at / plane]));
    let data = sums.data.iter().enumerate().map(stored).collect();
    Ok(Planes { shape: sums.shape, quant: table.to(), data })
}

/// Real values of `[channels, height, width]`, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Reals {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The values.
    pub data: Vec<f32>,
}

/// The convolution of `input` as real values: what an output is that is not stored. See [`real`].
///
/// # Errors
/// As [`conv`].
pub fn conv_real(input: &Planes, shape: &ConvShape, kernel: &Kernel<'_>) -> Result<Reals, Error> {
    let biased = conv_sums(input, shape, kernel)?;
    let plane = biased.shape[1] * biased.shape[2];
    let of_sum = |(at, &sum): (usize, &i32)| {
        let channel = at / plane;
        let bias = kernel.bias[channel];
        real(sum.wrapping_sub(bias), bias, kernel.scales[channel] * input.quant.scale)
    };
    let data = biased.data.iter().enumerate().map(of_sum).collect();
    Ok(Reals { shape: biased.shape, data })
}

/// Sums of a convolution before requantization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sums {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// The sums, row-major; they wrap where 32 bits do not hold them, which no quantizer lets happen.
    pub data: Vec<i32>,
}

/// The i32 sums of a convolution, bias included.
///
/// # Errors
/// As [`conv`].
pub fn conv_sums(input: &Planes, shape: &ConvShape, kernel: &Kernel<'_>) -> Result<Sums, Error> {
    let [channels, height, width] = input.shape;
    let ConvShape { cout, kernel: side, stride, pad, dilation, groups } = *shape;
    let positive = [cout, side, stride, dilation, groups].iter().all(|&value| value > 0);
    require(positive && channels.is_multiple_of(groups) && cout.is_multiple_of(groups), || {
        format!("a convolution of {shape:?} over {channels} channels")
    })?;
    let per_group = channels / groups;
    let fits = kernel.values.len() == cout * per_group * side * side
        && kernel.scales.len() == cout
        && kernel.bias.len() == cout;
    require(fits, || {
        format!("{} weights and {} biases for {shape:?}", kernel.values.len(), kernel.bias.len())
    })?;
    let window = dilation * (side - 1) + 1;
    let height = slide(height, window, stride, pad)?;
    let width = slide(width, window, stride, pad)?;
    let mut data = Vec::with_capacity(cout * height * width);
    for c in 0..cout {
        let first = c / (cout / groups) * per_group;
        for y in 0..height {
            for x in 0..width {
                let mut sum = kernel.bias[c];
                for i in 0..per_group {
                    for tap in 0..side * side {
                        let (dy, dx) = (tap / side * dilation, tap % side * dilation);
                        let at = (y * stride + dy).checked_sub(pad);
                        let Some(value) = input.padded(first + i, at, (x * stride + dx).checked_sub(pad))
                        else {
                            continue;
                        };
                        let weight = kernel.values[(c * per_group + i) * side * side + tap];
                        let steps = i32::from(value) - input.quant.zero_point;
                        sum = sum.wrapping_add(steps * i32::from(weight));
                    }
                }
                data.push(sum);
            }
        }
    }
    Ok(Sums { shape: [cout, height, width], data })
}

/// `input` through `table`, stored as `to`.
pub fn map(input: &Planes, table: &Table, to: Quant) -> Planes {
    Planes { shape: input.shape, quant: to, data: input.data.iter().map(|&q| table[index(q)]).collect() }
}

/// `input` stored as `to`.
pub fn rescale(input: &Planes, to: Quant) -> Planes {
    if input.quant == to {
        return input.clone();
    }
    map(input, &super::table(input.quant, to, |x| x), to)
}

/// The element-wise sum, stored as `to`: real values are summed in f32, in the order of the inputs.
///
/// # Errors
/// [`Error::Input`] when there is no input, or shapes differ.
pub fn add(inputs: &[&Planes], to: Quant) -> Result<Planes, Error> {
    let Some((first, rest)) = inputs.split_first() else { return Err(misfit("a sum of nothing".into())) };
    let equal = rest.iter().all(|input| input.shape == first.shape);
    require(equal, || format!("a sum of {:?}", shapes(inputs)))?;
    let at = |i: usize| {
        let mut sum = dequantize(first.data[i], first.quant);
        for input in rest {
            sum += dequantize(input.data[i], input.quant);
        }
        quantize(sum, to)
    };
    Ok(Planes { shape: first.shape, quant: to, data: (0..first.data.len()).map(at).collect() })
}

/// The inputs behind each other along channels, stored as `to`.
///
/// # Errors
/// [`Error::Input`] when there is no input, or heights or widths differ.
pub fn concat(inputs: &[&Planes], to: Quant) -> Result<Planes, Error> {
    let Some(first) = inputs.first() else { return Err(misfit("a concatenation of nothing".into())) };
    let equal = inputs.iter().all(|input| input.shape[1..] == first.shape[1..]);
    require(equal, || format!("a concatenation of {:?}", shapes(inputs)))?;
    let channels = inputs.iter().map(|input| input.shape[0]).sum();
    let data = inputs.iter().flat_map(|input| rescale(input, to).data).collect();
    Ok(Planes { shape: [channels, first.shape[1], first.shape[2]], quant: to, data })
}

/// The largest of each window; padding never wins. Keeps the scale.
///
/// # Errors
/// [`Error::Input`] when the window does not fit, or lies in the padding alone.
pub fn max_pool(input: &Planes, kernel: usize, stride: usize, pad: usize) -> Result<Planes, Error> {
    require(kernel > 0 && stride > 0 && pad <= kernel / 2, || {
        format!("max pool {kernel}, stride {stride}, padding {pad}")
    })?;
    let [channels, height, width] = input.shape;
    let shape = [channels, slide(height, kernel, stride, pad)?, slide(width, kernel, stride, pad)?];
    Ok(Planes::fill(shape, input.quant, |c, y, x| {
        let taps = (0..kernel * kernel).filter_map(|tap| {
            let (dy, dx) = (tap / kernel, tap % kernel);
            input.padded(c, (y * stride + dy).checked_sub(pad), (x * stride + dx).checked_sub(pad))
        });
        taps.max().unwrap_or(i8::MIN)
    }))
}

/// Each value repeated `factor` times along both axes. Keeps the scale.
///
/// # Errors
/// [`Error::Input`] for a factor of 0.
pub fn upsample(input: &Planes, factor: usize) -> Result<Planes, Error> {
    require(factor > 0, || String::from("upsampling by 0"))?;
    let [channels, height, width] = input.shape;
    let shape = [channels, height * factor, width * factor];
    Ok(Planes::fill(shape, input.quant, |c, y, x| input.at(c, y / factor, x / factor)))
}

/// Some of the channels. Keeps the scale.
///
/// # Errors
/// [`Error::Input`] when there are no such channels.
pub fn slice(input: &Planes, channels: Range<usize>) -> Result<Planes, Error> {
    let [all, height, width] = input.shape;
    require(channels.start < channels.end && channels.end <= all, || {
        format!("channels {channels:?} of {all}")
    })?;
    let plane = height * width;
    let data = input.data[channels.start * plane..channels.end * plane].to_vec();
    Ok(Planes { shape: [channels.len(), height, width], quant: input.quant, data })
}

/// 2×2 blocks to channels, in the order (even row, even column), (odd row, even column), (even row, odd column), (odd
/// row, odd column). Keeps the scale.
///
/// # Errors
/// [`Error::Input`] when a side is odd.
pub fn space_to_depth(input: &Planes) -> Result<Planes, Error> {
    let [channels, height, width] = input.shape;
    require(height.is_multiple_of(2) && width.is_multiple_of(2), || format!("blocks of {height}x{width}"))?;
    let shape = [4 * channels, height / 2, width / 2];
    Ok(Planes::fill(shape, input.quant, |c, y, x| {
        let block = c / channels.max(1);
        input.at(c % channels, 2 * y + block % 2, 2 * x + block / 2)
    }))
}

fn slide(side: usize, window: usize, stride: usize, pad: usize) -> Result<usize, Error> {
    require(side + 2 * pad >= window, || format!("a window of {window} over {side}, padding {pad}"))?;
    Ok((side + 2 * pad - window) / stride + 1)
}

fn shapes(inputs: &[&Planes]) -> Vec<[usize; 3]> {
    inputs.iter().map(|input| input.shape).collect()
}

fn require(holds: bool, found: impl FnOnce() -> String) -> Result<(), Error> {
    if holds { Ok(()) } else { Err(misfit(found())) }
}

fn misfit(found: String) -> Error {
    Error::Input(Fault::new(
        found,
        "operands that fit each other",
        "check the graph before running it: `Graph::shapes`",
    ))
}

#[cfg(test)]
mod tests;
