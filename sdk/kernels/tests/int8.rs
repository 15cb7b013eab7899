//! Networks over stored values, on every instruction set of this processor and several threads: bit for bit what plain loops
//! give.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::num::NonZero;

use kernels::reference::{self, Image};
use kernels::{
    Codes, Ending, Given, IntegerConvolution, Isa, Kind, Network, Operator, Plan, Quant, Shape, Taken, Value,
    Windows,
};
use proptest::prelude::*;

/// Bytes that look random.
fn bytes(seed: u64, count: usize) -> Vec<i8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let step = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[6].cast_signed()
    };
    (0..count).map(step).collect()
}

/// As [`bytes`], or of those the least and the largest only, which weigh on sums of products most.
fn codes(seed: u64, count: usize) -> Vec<i8> {
    let extreme = |byte: i8| if byte < 0 { i8::MIN } else { i8::MAX };
    let bytes = bytes(seed, count);
    if seed.is_multiple_of(3) { bytes.into_iter().map(extreme).collect() } else { bytes }
}

fn reals(seed: u64, count: usize, size: f32) -> Vec<f32> {
    bytes(seed, count).into_iter().map(|byte| f32::from(byte) / 128.0 * size).collect()
}

/// Runs `network` everywhere and compares.
fn check(network: &Network, seed: u64) {
    let images: Vec<Image> = network
        .input_forms()
        .iter()
        .map(|(shape, kind)| match kind {
            Kind::Real => Image::Real(reals(seed, shape.len(), 3.0)),
            Kind::Stored => Image::Stored(codes(seed, shape.len())),
        })
        .collect();
    let inputs: Vec<Given<'_>> = images
        .iter()
        .map(|image| match image {
            Image::Real(values) => Given::Real(values),
            Image::Stored(values) => Given::Stored(values),
        })
        .collect();
    let expected = reference::run(network, &inputs);
    for isa in Isa::available() {
        for threads in [1, 3] {
            let plan = Plan::new(network.clone(), isa, NonZero::new(threads).unwrap()).unwrap();
            let mut workspace = plan.workspace();
            for _ in 0..2 {
                let mut outputs: Vec<Image> = expected.iter().map(blank).collect();
                let taken = outputs.iter_mut().map(|output| match output {
                    Image::Real(values) => Taken::Real(values),
                    Image::Stored(values) => Taken::Stored(values),
                });
                plan.run(&mut workspace, &inputs, taken);
                for (output, expected) in outputs.iter().zip(&expected) {
                    assert!(output == expected, "{}: {:?}", isa.name(), first_difference(output, expected));
                }
            }
        }
    }
}

fn blank(image: &Image) -> Image {
    match image {
        Image::Real(values) => Image::Real(vec![f32::NAN; values.len()]),
        Image::Stored(values) => Image::Stored(vec![77; values.len()]),
    }
}

fn first_difference(a: &Image, b: &Image) -> Option<(usize, f32, f32)> {
    let values = |image: &Image| match image {
        Image::Real(values) => values.clone(),
        Image::Stored(values) => values.iter().map(|&value| f32::from(value)).collect::<Vec<f32>>(),
    };
    let (a, b) = (values(a), values(b));
    a.iter().zip(&b).enumerate().find(|(_, (a, b))| a != b).map(|(at, (a, b))| (at, *a, *b))
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Shifted,
    /// With sums and multipliers that leave no room.
    Loud,
    Table,
    Real,
}

fn convolution(
    channels: usize,
    outputs: usize,
    windows: Windows,
    style: Style,
    seed: u64,
) -> IntegerConvolution {
    let taps = channels * windows.kernel[0] * windows.kernel[1];
    // Sums of about 40 · 74 · √taps; a third of them saturates.
    #[expect(clippy::cast_precision_loss, reason = "a number of taps")]
    let unit = 60.0 / (3000.0 * (taps as f32).sqrt());
    let factors: Vec<f32> = reals(seed + 1, outputs, 0.3).iter().map(|part| unit * (1.0 + part)).collect();
    let bias: Vec<i32> = bytes(seed + 2, outputs).into_iter().map(|bias| i32::from(bias) * 100).collect();
    let entries =
        || (0..1200).map(|step: i32| i8::try_from((step - 500).clamp(-300, 500) / 5).unwrap()).collect();
    let stored =
        |factors: Vec<f32>, codes| Ending::Stored { bias: bias.clone(), multipliers: factors, codes };
    let ending = match style {
        Style::Shifted => stored(factors, Codes::Shifted { zero_point: bytes(seed + 3, 1)[0] }),
        Style::Loud => {
            let largest = if seed.is_multiple_of(2) { 0.49 } else { 1e30 };
            let factors = [0.49, 0.5, largest, -0.49, 1e-9].into_iter().cycle().take(outputs).collect();
            let ends = [i32::MAX, i32::MIN, 0, i32::MAX - 70_000, i32::MIN + 70_000];
            let bias = ends
                .into_iter()
                .rev()
                .cycle()
                .skip(usize::try_from(seed % 5).unwrap())
                .take(outputs)
                .collect();
            let codes = Codes::Shifted { zero_point: bytes(seed + 3, 1)[0] };
            Ending::Stored { bias, multipliers: factors, codes }
        }
        Style::Table => stored(
            factors.iter().map(|factor| factor * 16.0).collect(),
            Codes::Table { first: -600, entries: entries() },
        ),
        Style::Real => Ending::Real { scales: factors, bias: reals(seed + 4, outputs, 2.0) },
    };
    let weights = bytes(seed, outputs * taps);
    IntegerConvolution { weights, windows, zero_point: bytes(seed + 5, 1)[0], ending }
}

fn styles() -> impl Strategy<Value = Style> {
    prop_oneof![Just(Style::Shifted), Just(Style::Loud), Just(Style::Table), Just(Style::Real)]
}

fn shapes(channels: usize, side: usize) -> impl Strategy<Value = Shape> {
    (1..=channels, 1..=side, 1..=side).prop_map(|(channels, height, width)| Shape { channels, height, width })
}

/// An image of stored values: the caller's, or one that is quantized on the way in.
fn image(network: &mut Network, shape: Shape, quantized: bool) -> Value {
    if quantized {
        let image = network.input(shape);
        return network.node(Operator::Quantize { factor: 37.5, zero_point: -5 }, &[image]).unwrap();
    }
    network.input_of(shape, Kind::Stored)
}

/// Fewer where each instruction is emulated.
fn cases(usual: u32) -> u32 {
    if std::env::var_os("REPEDGE_EMULATED").is_some() { usual / 4 } else { usual }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(64)))]

    #[test]
    fn convolutions_of_any_size_and_stride(
        shape in shapes(40, 24),
        outputs in 1_usize..40,
        kernel in [1_usize..=6, 1..=6],
        stride in [1_usize..=3, 1..=3],
        pads in [0_usize..6, 0..6, 0..6, 0..6],
        style in styles(),
        quantized in any::<bool>(),
        seed in 0..u64::MAX / 2,
    ) {
        let pad = [pads[0] % kernel[0], pads[1] % kernel[1]];
        let pad_end = [pads[2] % kernel[0], pads[3] % kernel[1]];
        let windows = Windows { kernel, stride, pad, pad_end };
        let mut network = Network::new();
        let image = image(&mut network, shape, quantized);
        let conv = convolution(shape.channels, outputs, windows, style, seed);
        if let Ok(output) = network.node(Operator::Integer(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn three_by_three(
        shape in shapes(70, 40),
        outputs in 1_usize..90,
        stride in 1_usize..=2,
        pads in [0_usize..3, 0..3, 0..3, 0..3],
        style in styles(),
        extreme in any::<bool>(),
        seed in 0..u64::MAX / 2,
    ) {
        let (pad, pad_end) = ([pads[0], pads[1]], [pads[2], pads[3]]);
        let windows = Windows { kernel: [3, 3], stride: [stride; 2], pad, pad_end };
        let mut network = Network::new();
        let image = image(&mut network, shape, false);
        let mut conv = convolution(shape.channels, outputs, windows, style, seed);
        if extreme {
            conv.weights.iter_mut().for_each(|weight| *weight = if *weight < 40 { -128 } else { 127 });
        }
        if let Ok(output) = network.node(Operator::Integer(conv), &[image]) {
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
        style in styles(),
        quantized in any::<bool>(),
        seed in 0..u64::MAX / 2,
    ) {
        let pad = [pads[0] % kernel[0], pads[1] % kernel[1]];
        let pad_end = [pads[2] % kernel[0], pads[3] % kernel[1]];
        let windows = Windows { kernel, stride: [2, 2], pad, pad_end };
        let mut network = Network::new();
        let image = image(&mut network, shape, quantized);
        let conv = convolution(shape.channels, outputs, windows, style, seed);
        if let Ok(output) = network.node(Operator::Integer(conv), &[image]) {
            network.output(output);
            check(&network, seed);
        }
    }

    #[test]
    fn what_moves_maps_and_adds(
        blocks in 1_usize..4,
        side in [1_usize..20, 1..20],
        kernel in [1_usize..=5, 1..=5],
        stride in [1_usize..=3, 1..=3],
        factors in [1_usize..=3, 1..=3],
        scales in [0.01_f32..0.3, 0.01..0.3, 0.01..0.3],
        seed in 0..u64::MAX / 2,
    ) {
        let mut network = Network::new();
        let channels = 16 * blocks;
        let first = network.input_of(Shape { channels, height: side[0], width: side[1] }, Kind::Stored);
        let table: [i8; 256] = bytes(seed + 1, 256).try_into().unwrap();
        let mapped = network.node(Operator::Map(Box::new(table)), &[first]).unwrap();
        let quant = |at: usize| Quant { scale: scales[at], zero_point: i32::from(bytes(seed + 2, 3)[at]) };
        let add = Operator::AddStored { from: [quant(0), quant(1)], to: quant(2) };
        let sum = network.node(add, &[first, mapped]).unwrap();
        let twice = network.node(Operator::Concat, &[sum, first, sum]).unwrap();
        let middle = network.node(Operator::Slice(16..3 * channels - 5), &[twice]).unwrap();
        let of_middle = network.node(Operator::Slice(0..channels), &[middle]).unwrap();
        let nested = network.node(Operator::Concat, &[of_middle, middle]).unwrap();
        let windows = Windows { kernel, stride, pad: kernel.map(|k| k / 2), pad_end: kernel.map(|k| k / 2) };
        if let Ok(pooled) = network.node(Operator::MaxPool(windows), &[nested]) {
            network.output(pooled);
        }
        let large = network.node(Operator::Upsample { factors }, &[of_middle]).unwrap();
        let real = network.node(Operator::Dequantize(quant(1)), &[middle]).unwrap();
        let again = network.node(Operator::Quantize { factor: 21.0, zero_point: 3 }, &[real]).unwrap();
        for value in [first, sum, twice, middle, nested, large, real, again] {
            network.output(value);
        }
        check(&network, seed);
    }
}

#[test]
fn reals_that_are_no_numbers_are_the_zero_point() {
    let mut network = Network::new();
    let image = network.input(Shape { channels: 1, height: 1, width: 4 });
    let codes = network.node(Operator::Quantize { factor: 10.0, zero_point: 9 }, &[image]).unwrap();
    network.output(codes);
    let plan = Plan::new(network, Isa::detect(), NonZero::<usize>::MIN).unwrap();
    let mut result = [0; 4];
    let image = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.25];
    plan.run(&mut plan.workspace(), &[Given::Real(&image)], [Taken::Stored(&mut result)]);
    assert_eq!(result, [9, 127, -128, 9 + 2]);
}

#[test]
fn endings_that_do_not_fit_are_refused() {
    let refused = |spoil: fn(&mut IntegerConvolution)| {
        let mut network = Network::new();
        let image = network.input_of(Shape { channels: 1, height: 2, width: 2 }, Kind::Stored);
        let mut conv = convolution(1, 2, Windows::POINT, Style::Table, 1);
        spoil(&mut conv);
        network.node(Operator::Integer(conv), &[image]).is_err()
    };
    assert!(!refused(|_| {}));
    assert!(refused(|conv| conv.ending = Ending::Real { scales: vec![1.0], bias: vec![0.0; 2] }));
    assert!(refused(|conv| {
        let codes = Codes::Table { first: i32::MIN, entries: vec![0; 4] };
        conv.ending = Ending::Stored { bias: vec![0; 2], multipliers: vec![1.0; 2], codes };
    }));
    assert!(refused(|conv| {
        let codes = Codes::Shifted { zero_point: 0 };
        conv.ending = Ending::Stored { bias: vec![0; 2], multipliers: vec![f32::INFINITY; 2], codes };
    }));
}
