//! One frame at a time: what goes in, what tract gives for it, and what came out.

use artifact::{Layout, Tensor, TensorData, TensorView, ViewData};
use prost::Message;
use repedge::Error;
use repedge::backend::Session;
use repedge::backend::rknn::RknnOptions;
use repedge::backend::tract::TractSession;
use stand_in::{Element, Order, Scenario};

use crate::common;
use crate::npu::{self, QUANT};

/// Pixels that give every value a chance.
pub fn pixels() -> Tensor {
    let mut input = Tensor::zeroed(&npu::input());
    let TensorData::U8(data) = &mut input.data else { unreachable!() };
    for (at, byte) in data.iter_mut().enumerate() {
        *byte = u8::try_from((at * 7 + at / 192 * 31) % 256).unwrap();
    }
    input
}

/// The same pixels as tract takes them.
pub fn floats(pixels: &Tensor) -> Tensor {
    let TensorData::U8(data) = &pixels.data else { unreachable!() };
    let cells = data.len() / 3;
    let real = |at: usize| f32::from(data[at % cells * 3 + at / cells]) / 255.0;
    Tensor { data: TensorData::F32((0..data.len()).map(real).collect()), ..Tensor::zeroed(&common::input()) }
}

/// What tract gives for these pixels.
pub fn expected(pixels: &Tensor) -> Vec<Vec<f32>> {
    let onnx = common::onnx().encode_to_vec();
    let mut session = TractSession::from_onnx(&onnx, common::input(), common::outputs()).unwrap();
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(&floats(pixels), &mut outputs).unwrap();
    outputs.iter().map(|output| planes(output.view())).collect()
}

/// The real values of an output, channels outermost, whatever its layout.
pub fn planes(output: TensorView<'_>) -> Vec<f32> {
    let real = |at: usize| match (output.data, output.quant) {
        (ViewData::F32(values), _) => values[at],
        (ViewData::I8(values), Some(q)) => (f32::from(values[at]) - q.zero_point as f32) * q.scale,
        (ViewData::U8(values), Some(q)) => (f32::from(values[at]) - q.zero_point as f32) * q.scale,
        _ => panic!("{output:?}"),
    };
    let (channels, height, width) = match output.layout {
        Layout::Nhwc => (output.shape[3], output.shape[1], output.shape[2]),
        _ => (output.shape[1], output.shape[2], output.shape[3]),
    };
    let cells = height * width;
    let at = |channel: usize, cell: usize| match output.layout {
        Layout::Nchw => channel * cells + cell,
        Layout::Nhwc => cell * channels + channel,
        Layout::Nc1hwc2 { c2, plane } => (channel / c2 * plane + cell) * c2 + channel % c2,
    };
    (0..channels * cells).map(|index| real(at(index / cells, index % cells))).collect()
}

/// The value that an int8 output with [`QUANT`] has for a real one.
pub fn quantized(real: f32) -> f32 {
    (real / QUANT.scale).round_ties_even().clamp(-128.0, 127.0) * QUANT.scale
}

pub fn half(real: f32) -> f32 {
    half::f16::from_f32(real).to_f32()
}

pub fn run(session: &mut dyn Session, input: &Tensor) -> Result<Vec<Vec<f32>>, Error> {
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    session.run(input, &mut outputs)?;
    Ok(outputs.iter().map(|output| planes(output.view())).collect())
}

/// Asserts that a session of `scenario` gives `expected` twice, and leaves nothing behind in the stand-in.
pub fn assert_gives(scenario: &Scenario, options: &RknnOptions, real: impl Fn(f32) -> f32) {
    let (input, expected) = (pixels(), expected(&pixels()));
    let mut session = npu::session(scenario, options).unwrap();
    for _ in 0..2 {
        let found = run(&mut session, &input).unwrap();
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - real(*expected)).abs() < 1e-3, "{}: {found}, not {expected}", scenario.name);
            }
        }
    }
    drop(session);
    let counters = npu::counters(scenario);
    assert_eq!(counters.violations, [""; 0]);
    assert_eq!((counters.contexts, counters.memories, counters.outputs), (0, 0, 0), "{}", scenario.name);
    assert_eq!(counters.runs, 2);
}

pub fn with_order(name: &str, order: Order) -> Scenario {
    let mut scenario = npu::scenario(name);
    scenario.outputs.iter_mut().for_each(|output| output.order = order);
    scenario
}

pub fn with_element(name: &str, element: Element) -> Scenario {
    let mut scenario = npu::scenario(name);
    scenario.outputs.iter_mut().for_each(|output| output.element = element);
    scenario
}

pub fn refusal(scenario: &Scenario, options: &RknnOptions) -> Error {
    npu::session(scenario, options).map(drop).expect_err("was opened")
}
