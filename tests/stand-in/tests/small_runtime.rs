//! The backend of `repedge` over the runtime of RV110x, which replays: little enough to compile that it also runs for
//! 32-bit Arm (`cargo xtask test --armhf`), where handles and structs of the interface are smaller.
#![allow(clippy::unwrap_used, reason = "test code")]

use artifact::{DType, Layout, Quant, Tensor, TensorData, TensorSpec};
use repedge::backend::Session;
use repedge::backend::rknn::{Chip, RknnOptions, RknnSession};
use stand_in::control::{Control, Counters, library};
use stand_in::{Element, Input, Kind, Mode, Model, Order, Output, Recording, Scenario, digest};

const QUANT: Quant = Quant { scale: 0.5, zero_point: 1 };
const INPUT: [usize; 4] = [1, 3, 4, 8];
const PIXELS: usize = 3 * 4 * 8;
/// More channels than a block of the NPU's order has, and rows that it fills up.
const OUTPUT: [usize; 4] = [1, 21, 2, 3];
const ELEMENTS: usize = 21 * 2 * 3;
const FRAMES: u8 = 40;

/// Replays [`stored`] of the color of an image of one color.
fn model(name: &str) -> Model {
    let element = Element::I8(QUANT);
    let input = Input { name: "images".into(), shape: INPUT, element, row_stride: 16 };
    let order = Order::Nc1hwc2 { c2: 16, align: 4 };
    let output = Output { name: "raw".into(), shape: OUTPUT, element, order };
    let scenario = Scenario {
        mode: Mode::Replay { latencies_us: vec![0] },
        ..Scenario::new(name, input, vec![output]).on_rv1106()
    };
    let recording = |color: u8| Recording {
        input: digest(&[color; PIXELS]),
        outputs: vec![stored(color).map(i8::cast_unsigned).collect()],
    };
    Model { scenario, onnx: Vec::new(), recordings: (0..FRAMES).map(recording).collect() }
}

/// The output for a color: another value for each element.
fn stored(color: u8) -> impl Iterator<Item = i8> {
    let first = color.wrapping_mul(3).cast_signed();
    (0..ELEMENTS).scan(first, |next, _| {
        *next = next.wrapping_add(1);
        Some(*next)
    })
}

fn input() -> TensorSpec {
    let [n, channels, height, width] = INPUT;
    let shape = [n, height, width, channels];
    TensorSpec { name: "images".into(), dtype: DType::U8, layout: Layout::Nhwc, shape, quant: None }
}

fn outputs() -> Vec<TensorSpec> {
    let (dtype, quant) = (DType::I8, Some(QUANT));
    vec![TensorSpec { name: "raw".into(), dtype, layout: Layout::Nchw, shape: OUTPUT, quant }]
}

/// The values that mean something, channels outermost: outputs stay in the NPU's order.
fn planes(output: &Tensor) -> impl Iterator<Item = i8> {
    let (TensorData::I8(values), Layout::Nc1hwc2 { c2, plane }) = (&output.data, output.layout) else {
        panic!("{output:?}")
    };
    let [_, channels, height, width] = OUTPUT;
    let cells = height * width;
    (0..channels * cells).map(move |at| {
        let (channel, cell) = (at / cells, at % cells);
        values[(channel / c2 * plane + cell) * c2 + channel % c2]
    })
}

fn counters(name: &str) -> Counters {
    Control::new(&library(Kind::Rv), name).counters()
}

#[test]
fn every_frame_has_its_own_outputs_and_nothing_is_left() {
    let name = "small runtime";
    let chip = Chip::Named("rv1106".into());
    let options = RknnOptions { library: Some(library(Kind::Rv)), chip, ..RknnOptions::default() };
    let mut session = RknnSession::from_rknn(model(name).pack(), input(), outputs(), &options).unwrap();
    assert!(session.pool().is_zero_copy());
    let mut found = vec![Tensor::zeroed(&session.outputs()[0])];
    for color in 0..FRAMES {
        let image = Tensor { data: TensorData::U8(vec![color; PIXELS]), ..Tensor::zeroed(&input()) };
        session.run(&image, &mut found).unwrap();
        assert!(planes(&found[0]).eq(stored(color)), "frame {color}: {:?}", found[0]);
        assert_eq!(found[0].quant, Some(QUANT));
    }
    assert_eq!(counters(name).runs, u64::from(FRAMES));
    drop(session);
    let left = counters(name);
    assert_eq!((left.contexts, left.memories, left.violations), (0, 0, Vec::new()));
}
