//! Packs weights into the order in which kernels read them, once, when a plan is made.
//!
//! Output channels are taken in pairs of blocks, or one block where it is the last; lanes beyond the channels are zero.

use crate::layout::BLOCK;
use crate::network::Convolution;
use crate::simd::winograd::{Filtering, GROUP, LargeStride1, Scheme, Stride1, Stride2};

/// Output channels as kernels take them: the first of each pair of blocks, and how many lanes it has.
fn pairs(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let blocks = channels.div_ceil(BLOCK);
    (0..blocks).step_by(2).map(move |block| (block * BLOCK, (blocks - block).min(2) * BLOCK))
}

/// A number for each lane of the output's blocks.
pub fn bias(conv: &Convolution) -> Vec<f32> {
    let mut bias = conv.bias.clone();
    bias.resize(bias.len().div_ceil(BLOCK) * BLOCK, 0.0);
    bias
}

/// For [`crate::simd::direct`]: pair of blocks, block of input channels, tap, input channel, output channel.
pub fn direct(conv: &Convolution, channels: usize) -> Vec<f32> {
    let taps = conv.windows.taps();
    let mut packed = Vec::new();
    for (first, lanes) in pairs(conv.bias.len()) {
        for block in 0..channels.div_ceil(BLOCK) {
            for tap in 0..taps {
                for input in block * BLOCK..(block + 1) * BLOCK {
                    for output in first..first + lanes {
                        let there = input < channels && output < conv.bias.len();
                        let weight = || conv.weights[(output * channels + input) * taps + tap];
                        packed.push(if there { weight() } else { 0.0 });
                    }
                }
            }
        }
    }
    packed
}

/// For [`crate::simd::planes`]: pair of blocks, row of the kernel in a plane, column, output channel.
pub fn from_planes(conv: &Convolution, channels: usize) -> Vec<f32> {
    let values = channels * conv.windows.taps();
    let mut packed = Vec::new();
    for (first, lanes) in pairs(conv.bias.len()) {
        for value in 0..values {
            let lanes = first..first + lanes;
            packed.extend(
                lanes.map(|output| conv.weights.get(output * values + value).copied().unwrap_or(0.0)),
            );
        }
    }
    packed
}

/// For [`crate::simd::winograd`]: group, position, pair of blocks, input channel, output channel.
pub fn winograd(conv: &Convolution, channels: usize, filtering: Filtering) -> Vec<f32> {
    match filtering {
        Filtering::Stride1 => transformed::<Stride1, _, _>(conv, channels),
        Filtering::LargeStride1 => transformed::<LargeStride1, _, _>(conv, channels),
        Filtering::Stride2 => transformed::<Stride2, _, _>(conv, channels),
    }
}

fn transformed<F: Scheme<N, T>, const N: usize, const T: usize>(
    conv: &Convolution,
    channels: usize,
) -> Vec<f32> {
    let inputs = channels.div_ceil(BLOCK) * BLOCK;
    let lanes = conv.bias.len().div_ceil(BLOCK) * BLOCK;
    let mut packed = vec![0.0; N * N * inputs * lanes];
    for (first, width) in pairs(conv.bias.len()) {
        let group = first / (GROUP * BLOCK) * GROUP * BLOCK;
        let group_lanes = (lanes - group).min(GROUP * BLOCK);
        let packed = &mut packed[group * N * N * inputs..];
        for output in first..(first + width).min(conv.bias.len()) {
            for input in 0..channels {
                let start = (output * channels + input) * 9;
                let kernel: [f64; 9] = std::array::from_fn(|tap| f64::from(conv.weights[start + tap]));
                for (position, weight) in transform::<F, N, T>(&kernel).into_iter().enumerate() {
                    let pair = (position * group_lanes + first - group) * inputs;
                    packed[pair + input * width + output - first] = weight;
                }
            }
        }
    }
    packed
}

/// The weights at each position, rows first.
fn transform<F: Scheme<N, T>, const N: usize, const T: usize>(kernel: &[f64; 9]) -> Vec<f32> {
    let mut positions = Vec::with_capacity(N * N);
    for rows in F::WEIGHTS {
        let line: [f64; 3] =
            std::array::from_fn(|x| (0..3).map(|y| rows[y] * kernel[y * 3 + x]).sum::<f64>());
        for columns in F::WEIGHTS {
            let weight: f64 = line.iter().zip(columns).map(|(value, factor)| value * factor).sum();
            #[expect(clippy::cast_possible_truncation, reason = "to the nearest f32")]
            positions.push(weight as f32);
        }
    }
    positions
}
