//! After the first run, a plan allocates nothing, on any of its threads. Alone in its file, because the allocator counts for the
//! whole process.
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../../tests/counting/ffi.rs"]
mod ffi;

use std::num::NonZero;

use kernels::{
    Activation, Codes, Convolution, Ending, Given, IntegerConvolution, Isa, Network, Operator, Plan, Shape,
    Taken, Windows,
};

/// Small, so that the test ends on an emulator within the minute after which the test harness prints that it has not, for which it
/// allocates.
const IMAGE: Shape = Shape { channels: 3, height: 20, width: 28 };
const CHANNELS: usize = 32;
const RUNS: usize = 50;

fn windows(kernel: usize) -> Windows {
    let pad = [kernel / 2; 2];
    Windows { kernel: [kernel; 2], stride: [1; 2], pad, pad_end: pad }
}

/// Convolutions with and without minimal filtering, a pooling, and two outputs.
fn floats() -> Network {
    let mut network = Network::new();
    let mut value = network.input(IMAGE);
    for kernel in [5, 3, 1] {
        let channels = network.shape(value).channels;
        let conv = Convolution {
            weights: vec![0.01; CHANNELS * channels * kernel * kernel],
            bias: vec![0.5; CHANNELS],
            windows: windows(kernel),
            activation: Activation::Silu,
        };
        value = network.node(Operator::Convolution(conv), &[value]).unwrap();
    }
    let pool = network.node(Operator::MaxPool(windows(5)), &[value]).unwrap();
    network.output(value);
    network.output(pool);
    network
}

/// The same in stored values.
fn stored_values() -> Network {
    let mut network = Network::new();
    let image = network.input(IMAGE);
    let mut value = network.node(Operator::Quantize { factor: 100.0, zero_point: -128 }, &[image]).unwrap();
    for kernel in [5, 3, 1] {
        let channels = network.shape(value).channels;
        let ending = Ending::Stored {
            bias: vec![100; CHANNELS],
            multipliers: vec![0.01; CHANNELS],
            codes: Codes::Shifted { zero_point: -128 },
        };
        let weights = vec![3; CHANNELS * channels * kernel * kernel];
        let conv = IntegerConvolution { weights, windows: windows(kernel), zero_point: -128, ending };
        value = network.node(Operator::Integer(conv), &[value]).unwrap();
    }
    let pool = network.node(Operator::MaxPool(windows(5)), &[value]).unwrap();
    network.output(value);
    network.output(pool);
    network
}

/// Memory for an output.
enum Image {
    Real(Vec<f32>),
    Stored(Vec<i8>),
}

impl Image {
    fn taken(&mut self) -> Taken<'_> {
        match self {
            Self::Real(values) => Taken::Real(values),
            Self::Stored(values) => Taken::Stored(values),
        }
    }
}

/// Allocations of the first run, and of those behind it.
fn allocations(plan: &Plan, mut outputs: [Image; 2]) -> [u64; 2] {
    let mut workspace = plan.workspace();
    let image = vec![0.5; IMAGE.len()];
    let mut run = || {
        let before = ffi::allocations();
        plan.run(&mut workspace, &[Given::Real(&image)], outputs.iter_mut().map(Image::taken));
        ffi::allocations() - before
    };
    [run(), (0..RUNS).map(|_| run()).sum()]
}

/// One test for all, because others would count along.
#[test]
fn only_the_first_run_allocates() {
    let len = Shape { channels: CHANNELS, ..IMAGE }.len();
    for threads in 1..=3 {
        let plan = |network| Plan::new(network, Isa::detect(), NonZero::new(threads).unwrap()).unwrap();
        let reals = allocations(&plan(floats()), [0; 2].map(|_| Image::Real(vec![0.0; len])));
        let codes = allocations(&plan(stored_values()), [0; 2].map(|_| Image::Stored(vec![0; len])));
        for [first, later] in [reals, codes] {
            assert!(first > 0, "the counter does not count");
            assert_eq!(later, 0, "allocations of {RUNS} runs on {threads} threads");
        }
    }
}
