//! Networks of random shapes, on every instruction set of this processor and several threads, against plain loops.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::num::NonZero;

use kernels::reference::{self, Image};
use kernels::{Activation, Convolution, Given, Isa, Network, Operator, Plan, Shape, Taken, Value, Windows};
use proptest::prelude::*;

/// Numbers between −1 and 1 that look random.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        f32::from(u16::try_from(state >> 48).unwrap()) / 32_768.0 - 1.0
    };
    (0..count).map(step).collect()
}

/// Runs `network` everywhere and compares.
fn check(network: &Network, seed: u64) {
    let images: Vec<Vec<f32>> =
        network.input_forms().iter().map(|(shape, _)| numbers(seed, shape.len())).collect();
    let inputs: Vec<Given<'_>> = images.iter().map(|image| Given::Real(image)).collect();
    let real = |image| match image {
        Image::Real(values) => values,
        other => panic!("{other:?}"),
    };
    let expected: Vec<Vec<f32>> = reference::run(network, &inputs).into_iter().map(real).collect();
    for isa in Isa::available() {
        for threads in [1, 3] {
            let plan = Plan::new(network.clone(), isa, NonZero::new(threads).unwrap()).unwrap();
            let mut workspace = plan.workspace();
            for _ in 0..2 {
                let mut outputs: Vec<Vec<f32>> =
                    expected.iter().map(|output| vec![f32::NAN; output.len()]).collect();
                let taken = outputs.iter_mut().map(|output| Taken::Real(output));
                plan.run(&mut workspace, &inputs, taken);
                for (output, expected) in outputs.iter().zip(&expected) {
                    compare(output, expected, isa);
                }
            }
        }
    }
}

fn compare(output: &[f32], expected: &[f32], isa: Isa) {
    let largest = expected.iter().fold(1.0_f32, |largest, value| largest.max(value.abs()));
    for (at, (value, exact)) in output.iter().zip(expected).enumerate() {
        let error = (value - exact).abs();
        assert!(
            error <= 1e-4 * largest,
            "{} of {}, {isa:?}: {value} where {exact} is right",
            at,
            output.len()
        );
    }
}

fn convolution(channels: usize, outputs: usize, kernel: [usize; 2], seed: u64) -> Convolution {
    Convolution {
        weights: numbers(seed, outputs * channels * kernel[0] * kernel[1]),
        bias: numbers(seed + 1, outputs),
        windows: Windows {
            kernel,
            stride: [1, 1],
            pad: [kernel[0] / 2, kernel[1] / 2],
            pad_end: [kernel[0] / 2, kernel[1] / 2],
        },
        activation: Activation::None,
    }
}

fn activations() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::Relu),
        Just(Activation::Silu),
        (0.0_f32..0.5).prop_map(Activation::Leaky),
    ]
}

fn shapes(channels: usize, side: usize) -> impl Strategy<Value = Shape> {
    (1..=channels, 1..=side, 1..=side).prop_map(|(channels, height, width)| Shape { channels, height, width })
}

/// Behind a 1×1 convolution, so that the one in question reads blocks of channels rather than a caller's image.
fn behind_a_point(network: &mut Network, shape: Shape, seed: u64) -> Value {
    let image = network.input(Shape { channels: 2, ..shape });
    network.node(Operator::Convolution(convolution(2, shape.channels, [1, 1], seed)), &[image]).unwrap()
}

/// Fewer where each instruction is emulated.
fn cases(usual: u32) -> u32 {
    if std::env::var_os("REPEDGE_EMULATED").is_some() { usual / 4 } else { usual }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(48)))]

    #[test]
    fn convolutions_of_any_size_and_stride(
        shape in shapes(40, 24),
        outputs in 1_usize..40,
        kernel in [1_usize..=6, 1..=6],
        stride in [1_usize..=3, 1..=3],
        pads in [0_usize..6, 0..6, 0..6, 0..6],
        activation in activations(),
        first in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut network = Network::new();
        let image = if first { network.input(shape) } else { behind_a_point(&mut network, shape, seed / 2) };
        let pad = [pads[0] % kernel[0], pads[1] % kernel[1]];
        let pad_end = [pads[2] % kernel[0], pads[3] % kernel[1]];
        let conv = convolution(shape.channels, outputs, kernel, seed / 2);
        let windows = Windows { kernel, stride, pad, pad_end };
        let conv = Convolution { windows, activation, ..conv };
        if let Ok(output) = network.node(Operator::Convolution(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn three_by_three(
        shape in shapes(48, 70),
        outputs in 1_usize..80,
        stride in 1_usize..=2,
        pads in [0_usize..3, 0..3, 0..3, 0..3],
        activation in activations(),
        first in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mut network = Network::new();
        let image = if first { network.input(shape) } else { behind_a_point(&mut network, shape, seed / 2) };
        let conv = convolution(shape.channels, outputs, [3, 3], seed / 2);
        let (pad, pad_end) = ([pads[0], pads[1]], [pads[2], pads[3]]);
        let windows = Windows { kernel: [3, 3], stride: [stride; 2], pad, pad_end };
        let conv = Convolution { windows, activation, ..conv };
        if let Ok(output) = network.node(Operator::Convolution(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn first_convolutions_over_pairs_of_pixels(
        shape in shapes(4, 60),
        outputs in 1_usize..33,
        kernel in [1_usize..=6, 1..=6],
        pads in [0_usize..3, 0..3, 0..3, 0..3],
        activation in activations(),
        seed in any::<u64>(),
    ) {
        let mut network = Network::new();
        let image = network.input(shape);
        let pad = [pads[0] % kernel[0], pads[1] % kernel[1]];
        let pad_end = [pads[2] % kernel[0], pads[3] % kernel[1]];
        let conv = convolution(shape.channels, outputs, kernel, seed / 2);
        let windows = Windows { kernel, stride: [2, 2], pad, pad_end };
        let conv = Convolution { windows, activation, ..conv };
        if let Ok(output) = network.node(Operator::Convolution(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn first_convolutions_over_planes(
        shape in shapes(4, 60),
        outputs in 1_usize..70,
        rows in 1_usize..=8,
        stride in [1_usize..=3, 1..=3],
        pads in [0_usize..8, 0..8, 0..8, 0..8],
        activation in activations(),
        seed in any::<u64>(),
    ) {
        let mut network = Network::new();
        let image = network.input(shape);
        let (pad, pad_end) = ([pads[0] % rows, pads[1] % 6], [pads[2] % rows, pads[3] % 6]);
        let windows = Windows { kernel: [rows, 6], stride, pad, pad_end };
        let conv = convolution(shape.channels, outputs, [rows, 6], seed / 2);
        let conv = Convolution { windows, activation, ..conv };
        if let Ok(output) = network.node(Operator::Convolution(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn pooling_and_enlarging(
        shape in shapes(20, 20),
        kernel in [1_usize..=5, 1..=5],
        stride in [1_usize..=3, 1..=3],
        pads in [0_usize..5, 0..5, 0..5, 0..5],
        factors in [1_usize..=3, 1..=3],
        seed in any::<u64>(),
    ) {
        let mut network = Network::new();
        let image = network.input(shape);
        let pad = [pads[0] % kernel[0], pads[1] % kernel[1]];
        let pad_end = [pads[2] % kernel[0], pads[3] % kernel[1]];
        if let Ok(pooled) = network.node(Operator::MaxPool(Windows { kernel, stride, pad, pad_end }), &[image]) {
            let large = network.node(Operator::Upsample { factors }, &[pooled]).unwrap();
            network.output(pooled);
            network.output(large);
            check(&network, seed);
        }
    }

    #[test]
    fn bottlenecks_and_concatenations(
        blocks in 1_usize..4,
        side in [4_usize..40, 4..40],
        activation in activations(),
        seed in any::<u64>(),
    ) {
        let channels = 8 * blocks;
        let seed = seed / 2;
        let mut network = Network::new();
        let image = network.input(Shape { channels: 3, height: side[0], width: side[1] });
        let layer = |network: &mut Network, input: Value, outputs: usize, kernel: usize| {
            let conv = convolution(network.shape(input).channels, outputs, [kernel; 2], seed);
            let sums = network.node(Operator::Convolution(conv), &[input]).unwrap();
            network.node(Operator::Activate(activation), &[sums]).unwrap()
        };
        let first = layer(&mut network, image, channels, 3);
        let inner = layer(&mut network, first, channels, 1);
        let deep = layer(&mut network, inner, channels, 3);
        let sum = network.node(Operator::Add, &[first, deep]).unwrap();
        let twice = network.node(Operator::Concat, &[sum, first, sum]).unwrap();
        let nested = network.node(Operator::Concat, &[twice, inner]).unwrap();
        let last = layer(&mut network, nested, 5, 1);
        let alone = network.node(Operator::Activate(Activation::Relu), &[sum]).unwrap();
        let doubled = network.node(Operator::Add, &[alone, alone]).unwrap();
        for value in [last, doubled, twice, deep] {
            network.output(value);
        }
        check(&network, seed);
    }
}

#[test]
fn images_that_meet_within_a_block_are_refused() {
    let mut network = Network::new();
    let image = network.input(Shape { channels: 3, height: 4, width: 4 });
    let both = network.node(Operator::Concat, &[image, image]).unwrap();
    network.output(both);
    let error = Plan::new(network, Isa::detect(), NonZero::<usize>::MIN).unwrap_err();
    assert_eq!(error.to_string(), "no kernel for images that meet at channel 3");
}

/// Both plans need the same memory, since enlarging takes none for each worker; only the number of threads tells them apart.
#[test]
#[should_panic(expected = "the workspace of another plan")]
fn a_workspace_of_another_number_of_threads_is_refused() {
    let shape = Shape { channels: 8, height: 4, width: 4 };
    let mut network = Network::new();
    let image = network.input(shape);
    let large = network.node(Operator::Upsample { factors: [2, 2] }, &[image]).unwrap();
    network.output(large);
    let plan = |threads| Plan::new(network.clone(), Isa::detect(), NonZero::new(threads).unwrap()).unwrap();
    let mut workspace = plan(3).workspace();
    let (image, mut output) = (vec![0.5; shape.len()], vec![0.0; 4 * shape.len()]);
    plan(2).run(&mut workspace, &[Given::Real(&image)], [Taken::Real(&mut output)]);
}
