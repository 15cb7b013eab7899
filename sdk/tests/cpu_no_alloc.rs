//! A model that our kernels compute from end to end allocates nothing for a frame, in floats and in int8, on one thread and on two.
//! Alone in its file, because the allocator counts for the whole process.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "counting/ffi.rs"]
mod ffi;
mod writer;

use std::num::NonZero;

use artifact::{BackendKind, Bundle, DType, Layout, Tensor, TensorSpec, Trust};
use repedge::backend::Session;
use repedge::backend::tract::{CpuOptions, Kernels, TractSession};
use writer::Writer;

/// The small model that is shipped, in int8.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/models/repyolov5p.bundle");
const FRAMES: u64 = 50;

/// A model as ONNX, what it takes in and what it gives.
struct Model {
    onnx: Vec<u8>,
    input: TensorSpec,
    outputs: Vec<TensorSpec>,
}

fn shipped() -> Model {
    let mut bundle = Bundle::open(SHIPPED.as_ref(), &Trust::anyone()).unwrap();
    let payloads = &bundle.manifest().payloads;
    let at = payloads.iter().position(|payload| payload.backend == BackendKind::Tract).unwrap();
    let (input, outputs) = (payloads[at].input.clone(), payloads[at].outputs.clone());
    Model { onnx: bundle.read_payload(at).unwrap(), input, outputs }
}

fn spec(name: &str, channels: usize, side: usize) -> TensorSpec {
    let shape = [1, channels, side, side];
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// Convolutions of each kind, with the outputs of two strides, the last made first.
fn floats() -> Model {
    let mut writer = Writer::default();
    let stem = writer.conv("images", [3, 16], [6, 2, 2]);
    let stem = writer.silu(&stem);
    let fine = writer.conv(&stem, [16, 32], [3, 1, 1]);
    let fine = writer.node("Relu", &[&fine], vec![]);
    let coarse = writer.conv(&fine, [32, 32], [3, 2, 1]);
    let heads =
        [(&fine, 32), (&coarse, 16)].map(|(value, side)| (writer.conv(value, [32, 21], [1, 1, 0]), side));
    let outputs: Vec<TensorSpec> = heads.iter().rev().map(|(name, side)| spec(name, 21, *side)).collect();
    let input = spec("images", 3, 64);
    Model { onnx: writer.write(&input, &outputs), input, outputs }
}

/// Allocations of the first frame, and of those behind it.
fn allocations(model: &Model, threads: usize) -> [u64; 2] {
    let options = CpuOptions { threads: NonZero::new(threads).unwrap(), kernels: Kernels::Ours };
    let (input, outputs) = (model.input.clone(), model.outputs.clone());
    let mut session = TractSession::from_onnx_with(&model.onnx, input, outputs, options).unwrap();
    let image = Tensor::zeroed(session.input());
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    let mut run = || {
        let before = ffi::allocations();
        session.run(&image, &mut outputs).unwrap();
        ffi::allocations() - before
    };
    [run(), (1..FRAMES).map(|_| run()).sum()]
}

/// One test for all, because others would count along.
#[test]
fn a_frame_allocates_nothing() {
    for (name, model) in [("int8", shipped()), ("floats", floats())] {
        for count in [1, 2] {
            let [first, later] = allocations(&model, count);
            assert!(first > 0, "the counter does not count");
            assert_eq!(later, 0, "{name}: allocations of {} frames on {count} threads", FRAMES - 1);
        }
    }
}
