//! Packs weights of int8 models into the order in which kernels read them, once, when a plan is made: as 16-bit integers, those
//! of two input channels beside each other. Lanes beyond the channels are zero.

use crate::network::IntegerConvolution;
use crate::simd::int8::LANES;
use crate::simd::int8::winograd::{GROUP, POSITIONS, WEIGHTS};

/// Where the weight of `input` and `output`, both within a block, lies among those of the two blocks.
fn place(input: usize, output: usize) -> usize {
    (input / 2 * LANES + output) * 2 + input % 2
}

/// For [`crate::simd::int8::direct`]: block of output channels, block of input channels, tap, pair of input channels, output
/// channel, input channel of the pair.
pub fn direct(conv: &IntegerConvolution, inputs: usize, outputs: usize) -> Vec<i16> {
    let taps = conv.windows.taps();
    let blocks = inputs.div_ceil(LANES);
    let mut packed = vec![0; outputs.div_ceil(LANES) * blocks * taps * LANES * LANES];
    for (index, &weight) in conv.weights.iter().enumerate() {
        let (tap, input, output) = (index % taps, index / taps % inputs, index / (taps * inputs));
        let block = (output / LANES * blocks + input / LANES) * taps + tap;
        packed[block * LANES * LANES + place(input % LANES, output % LANES)] = i16::from(weight);
    }
    packed
}

/// For [`crate::simd::int8::winograd`]: group, position, block of output channels, block of input channels, pair of input channels,
/// output channel, input channel of the pair.
pub fn winograd(conv: &IntegerConvolution, inputs: usize, outputs: usize) -> Vec<i16> {
    let (blocks, all) = (inputs.div_ceil(LANES), outputs.div_ceil(LANES));
    let mut packed = vec![0; POSITIONS * all * blocks * LANES * LANES];
    for (number, kernel) in conv.weights.as_chunks::<9>().0.iter().enumerate() {
        let (input, output) = (number % inputs, number / inputs);
        let group = output / LANES / GROUP * GROUP;
        let in_group = (all - group).min(GROUP);
        for (position, weight) in transform(kernel).into_iter().enumerate() {
            let block = group * POSITIONS + position * in_group + output / LANES - group;
            let start = (block * blocks + input / LANES) * LANES * LANES;
            packed[start + place(input % LANES, output % LANES)] = weight;
        }
    }
    packed
}

/// The weights at each position, rows first: below 144 · 128.
fn transform(kernel: &[i8; 9]) -> [i16; POSITIONS] {
    let line = |rows: [i32; 3], x: usize| (0..3).map(|y| rows[y] * i32::from(kernel[y * 3 + x])).sum::<i32>();
    std::array::from_fn(|position| {
        let (rows, columns) = (WEIGHTS[position / WEIGHTS.len()], WEIGHTS[position % WEIGHTS.len()]);
        let weight: i32 = (0..3).map(|x| line(rows, x) * columns[x]).sum();
        #[expect(clippy::cast_possible_truncation, reason = "16 bits hold it, as stated")]
        let weight = weight as i16;
        weight
    })
}
