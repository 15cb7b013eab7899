//! Packs weights of int8 models into the order in which kernels read them, once, when a plan is made: as bytes, those of four input
//! channels beside each other, and Winograd's as 16-bit integers, those of two. Lanes beyond the channels are zero.

use crate::network::IntegerConvolution;
use crate::simd::int8::LANES;
use crate::simd::int8::tile::HALF;
use crate::simd::int8::winograd::{GROUP, POSITIONS, WEIGHTS};

/// Where the weight of `input` and `output`, both within a block, lies among those of the two blocks: groups of `N` input
/// channels beside each other.
fn place<const N: usize>(input: usize, output: usize) -> usize {
    (input / N * LANES + output) * N + input % N
}

/// For [`crate::simd::int8::direct`]: block of output channels, block of input channels, tap, quad of input channels, output
/// channel, input channel of the quad. Where weights of a sign in a pair add up to more than `limit`, the rest stands behind all others, for
/// eight output channels: the numbers of these halves of quads come with it.
pub fn direct(conv: &IntegerConvolution, [inputs, outputs]: [usize; 2], limit: i32) -> (Vec<i8>, Vec<usize>) {
    let taps = conv.windows.taps();
    let blocks = inputs.div_ceil(LANES);
    let mut bytes = vec![0; outputs.div_ceil(LANES) * blocks * taps * LANES * LANES];
    for (index, &weight) in conv.weights.iter().enumerate() {
        let (tap, input, output) = (index % taps, index / taps % inputs, index / (taps * inputs));
        let block = (output / LANES * blocks + input / LANES) * taps + tap;
        bytes[block * LANES * LANES + place::<4>(input % LANES, output % LANES)] = weight;
    }
    let (mut rest, mut halves) = (Vec::new(), Vec::new());
    for (number, row) in bytes.as_chunks_mut::<HALF>().0.iter_mut().enumerate() {
        if let Some(weights) = split(row, limit) {
            rest.extend(weights);
            halves.push(number);
        }
    }
    bytes.extend(rest);
    (bytes, halves)
}

/// Takes from pairs of `row` what their weights of a sign add up to beyond `limit`.
fn split(row: &mut [i8; HALF], limit: i32) -> Option<[i8; HALF]> {
    let mut rest = [0; HALF];
    for (pair, rest) in row.as_chunks_mut::<2>().0.iter_mut().zip(rest.as_chunks_mut::<2>().0) {
        let sum = i32::from(pair[0]) + i32::from(pair[1]);
        let excess = (sum.abs() - limit).max(0) * sum.signum();
        #[expect(clippy::cast_possible_truncation, reason = "two bytes less at least one of them")]
        let excess = excess as i8;
        pair[0] -= excess;
        rest[0] = excess;
    }
    (rest != [0; HALF]).then_some(rest)
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
            packed[start + place::<2>(input % LANES, output % LANES)] = weight;
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
