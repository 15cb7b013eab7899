//! Where outputs come from: the model's ONNX run by tract, or recordings. Numbers only; knows nothing of the interface.

mod network;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use artifact::Quant;
use half::f16;
use rknn_sys::rknn_tensor_type as Type;

use self::network::Network;
use crate::layout::to_native;
use crate::model::{Model, digest};
use crate::scenario::{Element, Input, Mode, Output, Scenario};

/// Outputs of one frame, by index.
pub(crate) struct Frame {
    /// Stored elements, channels outermost.
    pub(crate) plain: Vec<Vec<u8>>,
    /// As they lie in the NPU's memory.
    pub(crate) native: Vec<Vec<u8>>,
}

impl Frame {
    /// The same with every bit turned over.
    pub(crate) fn garbled(&self) -> Self {
        let turned = |outputs: &[Vec<u8>]| {
            outputs.iter().map(|bytes| bytes.iter().map(|byte| !byte).collect()).collect()
        };
        Self { plain: turned(&self.plain), native: turned(&self.native) }
    }
}

/// A model made ready.
pub(crate) enum Engine {
    /// Computes, one frame at a time.
    Compute(Network),
    /// Gives what was recorded, by digest of the input.
    Replay(HashMap<u64, Arc<Frame>>, Vec<Duration>),
}

impl Engine {
    /// Makes `model` ready; none where its ONNX cannot be run.
    pub(crate) fn new(model: &Model) -> Option<Self> {
        let scenario = &model.scenario;
        match &scenario.mode {
            Mode::Replay { latencies_us } => {
                let frame = |plain: &Vec<Vec<u8>>| Arc::new(frame(&scenario.outputs, plain.clone()));
                let recorded = model.by_input().into_iter();
                let frames = recorded.map(|(input, recording)| (input, frame(&recording.outputs))).collect();
                let latencies = latencies_us.iter().map(|us| Duration::from_micros(*us));
                Some(Self::Replay(frames, latencies.collect()))
            }
            Mode::Compute => Network::open(model).map(Self::Compute),
        }
    }

    /// How long `core` works on a frame, where it is not computed.
    pub(crate) fn latency(&self, core: usize) -> Duration {
        match self {
            Self::Compute(_) => Duration::ZERO,
            Self::Replay(_, latencies) => {
                latencies.get(core).or(latencies.last()).copied().unwrap_or_default()
            }
        }
    }

    /// The outputs for an input of `bytes`, dense and channels innermost, of which `real` gives the real values, channels
    /// outermost; none for an input that was not recorded.
    pub(crate) fn run(
        &self,
        scenario: &Scenario,
        bytes: &[u8],
        real: impl FnOnce() -> Vec<f32>,
    ) -> Option<Arc<Frame>> {
        match self {
            Self::Replay(frames, _) => frames.get(&digest(bytes)).cloned(),
            Self::Compute(network) => {
                let outputs = network.run(real())?.into_iter().zip(&scenario.outputs);
                let stored = outputs.map(|(reals, output)| stored(&reals, output));
                Some(Arc::new(frame(&scenario.outputs, stored.collect())))
            }
        }
    }
}

fn frame(outputs: &[Output], plain: Vec<Vec<u8>>) -> Frame {
    let native = outputs.iter().zip(&plain).map(|(output, plain)| to_native(output, plain)).collect();
    Frame { plain, native }
}

fn stored(reals: &[f32], output: &Output) -> Vec<u8> {
    reals.iter().flat_map(|&real| store(real, output.element)).collect()
}

/// A real value as the element stores it.
pub(crate) fn store(real: f32, element: Element) -> Vec<u8> {
    match element {
        Element::I8(quant) => vec![quantize(real, quant, -128, 127).to_le_bytes()[0]],
        Element::U8(quant) => vec![quantize(real, quant, 0, 255).to_le_bytes()[0]],
        Element::F16 => f16::from_f32(real).to_le_bytes().to_vec(),
        Element::F32 => real.to_le_bytes().to_vec(),
        Element::I16 => vec![0, 0],
    }
}

/// The real value of a stored element.
pub(crate) fn real(stored: &[u8], element: Element) -> f32 {
    let affine = |q: i32, quant: Quant| {
        #[expect(clippy::cast_precision_loss, reason = "8-bit values and zero points are small")]
        let steps = (q - quant.zero_point) as f32;
        steps * quant.scale
    };
    match (element, stored) {
        (Element::I8(quant), &[q, ..]) => affine(q.cast_signed().into(), quant),
        (Element::U8(quant), &[q, ..]) => affine(q.into(), quant),
        (Element::F16, &[a, b, ..]) => f16::from_le_bytes([a, b]).to_f32(),
        (Element::F32, &[a, b, c, d, ..]) => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    }
}

fn quantize(real: f32, quant: Quant, low: i32, high: i32) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "the cast saturates, and the clamp follows")]
    let steps = (real / quant.scale).round_ties_even() as i32;
    steps.saturating_add(quant.zero_point).clamp(low, high)
}

/// What the stored elements of an input mean.
pub(crate) enum Meaning {
    /// 0 to 255 for 0 to 1.
    Pixel,
    Stored(Element),
}

/// What stored elements of this type mean as an input; none where the runtime does not take them.
pub(crate) fn element_of(input: &Input, kind: Type, pass_through: u8) -> Option<Meaning> {
    match (kind, pass_through) {
        (Type::RKNN_TENSOR_UINT8, 0) => Some(Meaning::Pixel),
        (Type::RKNN_TENSOR_FLOAT32, 0) => Some(Meaning::Stored(Element::F32)),
        (Type::RKNN_TENSOR_FLOAT16, 0) => Some(Meaning::Stored(Element::F16)),
        (Type::RKNN_TENSOR_INT8, 1) if matches!(input.element, Element::I8(_)) => {
            Some(Meaning::Stored(input.element))
        }
        _ => None,
    }
}

/// Real values, channels outermost.
pub(crate) fn reals(input: &Input, bytes: &[u8], meaning: &Meaning, is_planar: bool) -> Vec<f32> {
    let [_, channels, height, width] = input.shape;
    let cells = height * width;
    let size = match meaning {
        Meaning::Pixel => 1,
        Meaning::Stored(element) => element.bytes(),
    };
    let at = |index: usize| {
        let (channel, cell) = (index / cells, index % cells);
        let from = if is_planar { index } else { cell * channels + channel };
        let stored = &bytes[from * size..(from + 1) * size];
        match meaning {
            Meaning::Pixel => f32::from(stored[0]) / 255.0,
            Meaning::Stored(element) => real(stored, *element),
        }
    };
    (0..channels * cells).map(at).collect()
}

/// Bytes of an element of this type.
pub(crate) fn type_bytes(kind: Type) -> usize {
    match kind {
        Type::RKNN_TENSOR_FLOAT32 => 4,
        Type::RKNN_TENSOR_FLOAT16 | Type::RKNN_TENSOR_INT16 => 2,
        _ => 1,
    }
}
