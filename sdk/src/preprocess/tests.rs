use proptest::prelude::*;

use super::*;
use crate::{Image, Quant};

fn spec(dtype: DType, layout: Layout, shape: [usize; 4]) -> TensorSpec {
    TensorSpec { name: "images".into(), dtype, layout, shape, quant: None }
}

fn planes_spec(width: usize, height: usize) -> TensorSpec {
    spec(DType::F32, Layout::Nchw, [1, 3, height, width])
}

fn pixels_spec(width: usize, height: usize) -> TensorSpec {
    spec(DType::U8, Layout::Nhwc, [1, height, width, 3])
}

fn run(recipe: &Preprocess, spec: &TensorSpec, image: &Image) -> (Tensor, LetterboxMap) {
    let mut input = Tensor::zeroed(spec);
    let map = Preprocessor::new(recipe, spec).unwrap().run(image.frame(), &mut input).unwrap();
    (input, map)
}

fn floats(tensor: &Tensor) -> &[f32] {
    let TensorData::F32(data) = &tensor.data else { panic!("not floats") };
    data
}

fn bytes(tensor: &Tensor) -> &[u8] {
    let TensorData::U8(data) = &tensor.data else { panic!("not bytes") };
    data
}

#[test]
fn floats_are_planes_scaled_to_one_between_gray_bars() {
    let (input, _) = run(&Preprocess::yolo(4, 4), &planes_spec(4, 4), &Image::filled(8, 4, [255, 51, 0]));
    let gray = 114.0 / 255.0;
    for (plane, real) in floats(&input).chunks(16).zip([1.0, 0.2, 0.0]) {
        assert_eq!(plane[..4], [gray; 4]);
        assert_eq!(plane[4..12], [real; 8]);
        assert_eq!(plane[12..], [gray; 4]);
    }
}

#[test]
fn mean_and_std_apply_to_bars_too() {
    let recipe = Preprocess { mean: [0.5, 0.0, 0.2], std: [0.5, 1.0, 0.1], ..Preprocess::yolo(2, 1) };
    let (input, _) = run(&recipe, &planes_spec(2, 1), &Image::filled(1, 1, [255, 255, 255]));
    let bar = |mean: f32, std: f32| (114.0 / 255.0 - mean) / std;
    let expected = [1.0, bar(0.5, 0.5), 1.0, bar(0.0, 1.0), (1.0 - 0.2) / 0.1, bar(0.2, 0.1)];
    assert_eq!(floats(&input), expected);
}

#[test]
fn bytes_are_interleaved_pixels() {
    let (input, map) = run(&Preprocess::yolo(4, 2), &pixels_spec(4, 2), &Image::filled(1, 1, [1, 2, 3]));
    assert_eq!((map.left_px, map.top_px), (1, 0));
    let row = [114, 114, 114, 1, 2, 3, 1, 2, 3, 114, 114, 114];
    assert_eq!(bytes(&input), [row, row].concat());
}

#[test]
fn a_smaller_frame_leaves_nothing_of_the_last_one() {
    let (recipe, spec) = (Preprocess::yolo(8, 8), planes_spec(8, 8));
    let mut preprocessor = Preprocessor::new(&recipe, &spec).unwrap();
    let mut reused = Tensor::zeroed(&spec);
    preprocessor.run(Image::filled(8, 8, [9, 9, 9]).frame(), &mut reused).unwrap();
    let tall = Image::filled(2, 8, [200, 100, 50]);
    preprocessor.run(tall.frame(), &mut reused).unwrap();
    assert_eq!(reused, run(&recipe, &spec, &tall).0);
}

#[test]
fn other_inputs_are_refused() {
    let recipe = Preprocess::yolo(4, 2);
    for (dtype, layout, shape) in [
        (DType::F32, Layout::Nhwc, [1, 2, 4, 3]),
        (DType::I8, Layout::Nhwc, [1, 2, 4, 3]),
        (DType::F32, Layout::Nchw, [1, 3, 4, 2]),
        (DType::F32, Layout::Nchw, [2, 3, 2, 4]),
        (DType::F32, Layout::Nchw, [1, 1, 2, 4]),
    ] {
        assert!(Preprocessor::new(&recipe, &spec(dtype, layout, shape)).is_err(), "{dtype:?} {shape:?}");
    }
}

#[test]
fn frames_and_tensors_that_do_not_fit_are_refused() {
    let spec = planes_spec(4, 2);
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(4, 2), &spec).unwrap();
    let mut input = Tensor::zeroed(&spec);
    for (width_px, height_px, len) in [(0, 0, 0), (2, 2, 11), (usize::MAX, 2, 6)] {
        let rgb = vec![0; len];
        assert!(preprocessor.run(Frame { width_px, height_px, rgb: &rgb }, &mut input).is_err());
    }
    let image = Image::filled(2, 2, [0; 3]);
    input.data = TensorData::F32(Vec::new());
    assert!(preprocessor.run(image.frame(), &mut input).is_err());
    let quant = Some(Quant { scale: 1.0, zero_point: 0 });
    let mut other = Tensor::zeroed(&TensorSpec { dtype: DType::I8, quant, ..spec });
    assert!(preprocessor.run(image.frame(), &mut other).is_err());
}

proptest! {
    #[test]
    fn both_layouts_hold_the_same_pixels(
        source in (1_usize..30, 1_usize..30),
        size in (1_usize..30, 1_usize..30),
        seed in any::<u8>(),
    ) {
        let rgb = (0..source.0 * source.1 * 3).map(|i| (i * 83 + usize::from(seed)).to_le_bytes()[0]);
        let image = Image { width_px: source.0, height_px: source.1, rgb: rgb.collect() };
        let recipe = Preprocess::yolo(size.0, size.1);
        let (planes, map) = run(&recipe, &planes_spec(size.0, size.1), &image);
        let (pixels, same_map) = run(&recipe, &pixels_spec(size.0, size.1), &image);
        prop_assert_eq!(map, same_map);
        for (i, &byte) in bytes(&pixels).iter().enumerate() {
            let real = floats(&planes)[i % 3 * size.0 * size.1 + i / 3];
            prop_assert_eq!(real, f32::from(byte) / 255.0);
        }
    }
}
