//! After the first frame, pre-processing, decoding and NMS allocate nothing, however much there is to find.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "test code")]

use allocation_counter::measure;
use artifact::{DType, Decode, Layout, Preprocess, Quant, RawOutput, Tensor, TensorData, TensorSpec};
use repedge::decode::Decoder;
use repedge::frame::YuvColor;
use repedge::preprocess::{LetterboxMap, Preprocessor};
use repedge::{Image, Limits, YuvFrame};

const CLASSES: usize = 80;
const SIDE_PX: usize = 320;

fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn image(width_px: usize, height_px: usize, seed: u32) -> Image {
    Image { width_px, height_px, rgb: noise(width_px * height_px * 3, seed) }
}

fn yolo() -> Decode {
    let anchors = |side: f32| vec![[side, side], [side * 2.0, side], [side, side * 2.0]];
    Decode::Yolov5 {
        strides: vec![8, 16, 32],
        anchors_px: [10.0, 30.0, 90.0].map(anchors).to_vec(),
        spread: Vec::new(),
    }
}

fn split() -> Decode {
    Decode::Yolov8 { strides: vec![8, 16, 32], reg_max: 16 }
}

fn specs(decode: &Decode, dtype: DType, quant: Option<Quant>) -> Vec<TensorSpec> {
    let spec = |RawOutput { stride, channels }| TensorSpec {
        name: format!("stride{stride}"),
        dtype,
        layout: Layout::Nchw,
        shape: [1, channels, SIDE_PX / stride, SIDE_PX / stride],
        quant,
    };
    decode.raw_outputs(CLASSES).into_iter().map(spec).collect()
}

/// Outputs of noise around `middle`: the higher, the more is found.
fn outputs(specs: &[TensorSpec], middle: i16, seed: u32) -> Vec<Tensor> {
    let fill = |spec: &TensorSpec| {
        let noise = noise(spec.len(), seed);
        let centered = noise.into_iter().map(|byte| i16::from(byte) - 128 + middle);
        let data = match spec.dtype {
            DType::I8 => TensorData::I8(centered.map(|v| v.clamp(-128, 127) as i8).collect()),
            _ => TensorData::F32(centered.map(|v| f32::from(v) * 0.06).collect()),
        };
        Tensor { data, ..Tensor::zeroed(spec) }
    };
    specs.iter().map(fill).collect()
}

#[test]
fn preprocessing_allocates_for_the_first_frame_only() {
    let layouts = [
        (DType::F32, Layout::Nchw, [1, 3, SIDE_PX, SIDE_PX]),
        (DType::U8, Layout::Nhwc, [1, SIDE_PX, SIDE_PX, 3]),
    ];
    for (dtype, layout, shape) in layouts {
        let spec = TensorSpec { name: "images".into(), dtype, layout, shape, quant: None };
        let mut preprocessor = Preprocessor::new(&Preprocess::yolo(SIDE_PX, SIDE_PX), &spec).unwrap();
        let mut input = Tensor::zeroed(&spec);
        let (first, second) = (image(400, 300, 1), image(400, 300, 2));
        let mut run =
            |image: &Image| measure(|| assert!(preprocessor.run(image.frame(), &mut input).is_ok()));
        let warm_up = run(&first);
        assert!(warm_up.count_total > 0, "the counter does not count");
        let later = run(&second);
        assert_eq!(later.count_total, 0, "{layout:?}");
        let bytes = [90; 400 * 300 * 2];
        let camera = YuvFrame::yuyv(400, 300, &bytes, YuvColor::default()).unwrap();
        let mut run = || measure(|| assert!(preprocessor.run(camera, &mut input).is_ok()));
        run();
        assert_eq!(run().count_total, 0, "{layout:?}, from a camera");
    }
}

#[test]
fn decoding_and_nms_never_allocate() {
    let map = LetterboxMap::fit(400, 300, &Preprocess::yolo(SIDE_PX, SIDE_PX));
    let quant = Some(Quant { scale: 0.06, zero_point: 0 });
    for decode in [yolo(), split()] {
        for specs in [specs(&decode, DType::F32, None), specs(&decode, DType::I8, quant)] {
            for limits in [Limits::device(0.25, 0.45), Limits::evaluation()] {
                let mut decoder = Decoder::new(&decode, CLASSES, &specs, limits).unwrap();
                let quiet = outputs(&specs, -255, 1);
                let busy = outputs(&specs, 60, 2);
                let mut found = [0; 2];
                for (found, outputs) in found.iter_mut().zip([&quiet, &busy]) {
                    let info = measure(|| *found = decoder.detect(outputs, &map).unwrap().len());
                    assert_eq!(info.count_total, 0, "{decode:?} {limits:?}");
                }
                assert!(found[0] == 0 && found[1] > 0, "{found:?} detections in a quiet and a busy frame");
            }
        }
    }
}
