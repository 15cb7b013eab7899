//! What the benches run: the ends of YOLOv5s at 640 px in int8, as NPUs have them, and outputs that hold boxes at chosen places.

use artifact::{DType, Decode, Layout, Quant, TensorSpec};
use stand_in::{Element, Input, Mode, Order, Output, Scenario};

pub const SIDE_PX: usize = 640;
pub const CLASSES: usize = 80;
const STRIDES: [usize; 3] = [8, 16, 32];
pub const QUANT: Quant = Quant { scale: 0.1, zero_point: 20 };
/// Width and height of three anchors for each stride.
pub const ANCHORS: [f32; 18] = [
    10.0, 13.0, 16.0, 30.0, 33.0, 23.0, 30.0, 61.0, 62.0, 45.0, 59.0, 119.0, 116.0, 90.0, 156.0, 198.0,
    373.0, 326.0,
];
/// Cells along each side of the finest output.
pub const CELLS: usize = SIDE_PX / STRIDES[0];

pub fn input() -> TensorSpec {
    let shape = [1, SIDE_PX, SIDE_PX, 3];
    TensorSpec { name: "images".into(), dtype: DType::U8, layout: Layout::Nhwc, shape, quant: None }
}

pub fn outputs() -> Vec<TensorSpec> {
    let output = |stride: usize| TensorSpec {
        name: format!("output{stride}"),
        dtype: DType::I8,
        layout: Layout::Nchw,
        shape: [1, 3 * (5 + CLASSES), SIDE_PX / stride, SIDE_PX / stride],
        quant: Some(QUANT),
    };
    STRIDES.map(output).to_vec()
}

pub fn decode() -> Decode {
    let anchors_px = ANCHORS.as_chunks::<6>().0.iter().map(|head| head.as_chunks::<2>().0.to_vec()).collect();
    Decode::Yolov5 { strides: STRIDES.to_vec(), anchors_px, spread: Vec::new() }
}

/// What the stand-in is told of a model that replays outputs, each after `latency_us`. It keeps its counters by `name`.
pub fn scenario(name: &str, latency_us: u64) -> Scenario {
    let element = Element::I8(QUANT);
    let order = Order::Nc1hwc2 { c2: 16, align: 1 };
    let described =
        outputs().into_iter().map(|spec| Output { name: spec.name, shape: spec.shape, element, order });
    let input = Input { name: "images".into(), shape: [1, 3, SIDE_PX, SIDE_PX], element, row_stride: 0 };
    Scenario {
        mode: Mode::Replay { latencies_us: vec![latency_us] },
        ..Scenario::new(name, input, described.collect())
    }
}

/// Outputs in which nothing is found: logits from -14.8 to -2, of which none passes a threshold of a quarter.
pub fn low_scores() -> Vec<Vec<i8>> {
    let low = |byte: u8| (byte | 0x80).cast_signed();
    outputs().iter().map(|spec| noise(1, spec.len()).into_iter().map(low).collect()).collect()
}

/// Puts a box of `class` into a cell of the finest of `outputs`, with `objectness` as stored.
pub fn put_box(outputs: &mut [Vec<i8>], [row, column]: [usize; 2], class: usize, objectness: i8) {
    let cell = row * CELLS + column;
    for (channel, value) in [(0, 20), (1, 20), (2, 40), (3, 40), (4, objectness), (5 + class, 100)] {
        outputs[0][(5 + CLASSES + channel) * CELLS * CELLS + cell] = value;
    }
}

/// Outputs as the stand-in takes them.
pub fn stored(outputs: Vec<Vec<i8>>) -> Vec<Vec<u8>> {
    outputs.into_iter().map(|output| output.into_iter().map(i8::cast_unsigned).collect()).collect()
}

/// Pseudo-random bytes, others for each seed.
pub fn noise(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
