#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sizes and samples of small test images"
)]

use proptest::prelude::*;

use super::*;
use crate::frame::{Matrix, Plane, Range, Samples, YuvColor};
use crate::{Frame, Image, Quant, YuvFrame};

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

/// Samples of an image, computed from `sample(component, x, y)`.
fn nv12(size: (usize, usize), sample: impl Fn(usize, usize, usize) -> u8) -> Vec<u8> {
    let (width, height) = size;
    let luma = (0..width * height).map(|at| sample(0, at % width, at / width));
    let chroma = (0..width * height / 2).map(|at| sample(1 + at % 2, at % width / 2, at / width));
    luma.chain(chroma).collect()
}

fn yuyv(size: (usize, usize), sample: impl Fn(usize, usize, usize) -> u8) -> Vec<u8> {
    let (width, height) = size;
    let row = |y: usize| {
        let sample = &sample;
        (0..width).flat_map(move |x| [sample(0, x, y), sample(1 + x % 2, x / 2, y)])
    };
    (0..height).flat_map(row).collect()
}

fn resized_yuv(input: (usize, usize), frame: YuvFrame<'_>) -> Vec<u8> {
    let spec = pixels_spec(input.0, input.1);
    let mut pixels = vec![0; spec.len()];
    let mut preprocessor = Preprocessor::new(&Preprocess::yolo(input.0, input.1), &spec).unwrap();
    preprocessor.run_pixels(frame, &mut pixels).unwrap();
    pixels
}

#[test]
fn colors_of_the_standards_come_out_as_they_went_in() {
    let full = |matrix| YuvColor { matrix, range: Range::Full };
    let video = |matrix| YuvColor { matrix, range: Range::Limited };
    // Y, U and V of black, white and the primaries, rounded, as BT.601 and BT.709 define them.
    for (color, samples, rgb) in [
        (video(Matrix::Bt601), [16, 128, 128], [0, 0, 0]),
        (video(Matrix::Bt601), [235, 128, 128], [255, 255, 255]),
        (video(Matrix::Bt601), [81, 90, 240], [255, 0, 0]),
        (video(Matrix::Bt601), [145, 54, 34], [0, 255, 0]),
        (video(Matrix::Bt709), [63, 102, 240], [255, 0, 0]),
        (video(Matrix::Bt709), [32, 240, 118], [0, 0, 255]),
        (full(Matrix::Bt601), [76, 85, 255], [254, 0, 0]),
        (full(Matrix::Bt601), [128, 128, 128], [128, 128, 128]),
    ] {
        let bytes = nv12((6, 4), |component, _, _| samples[component]);
        let found = resized_yuv((6, 4), YuvFrame::nv12(6, 4, &bytes, color).unwrap());
        for pixel in found.as_chunks::<3>().0 {
            let distance = pixel.iter().zip(rgb).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(distance <= 1, "{color:?} {samples:?}: {pixel:?} for {rgb:?}");
        }
    }
}

/// The value of component `component` at the center of resized pixel (x, y), interpolated in reals.
fn interpolated(
    plane: &dyn Fn(usize, usize) -> u8,
    size: (usize, usize),
    to: (usize, usize),
    at: (usize, usize),
) -> f64 {
    let position = |at: usize, size: usize, to: usize| {
        let center = ((at as f64 + 0.5) * size as f64 / to as f64 - 0.5).clamp(0.0, (size - 1) as f64);
        (center as usize, (center as usize + 1).min(size - 1), center.fract())
    };
    let (x0, x1, across) = position(at.0, size.0, to.0);
    let (y0, y1, down) = position(at.1, size.1, to.1);
    let row = |y| f64::from(plane(x0, y)) * (1.0 - across) + f64::from(plane(x1, y)) * across;
    row(y0) * (1.0 - down) + row(y1) * down
}

proptest! {
    #[test]
    fn cameras_frames_are_resized_and_colored_as_in_reals(
        half in (1_usize..12, 1_usize..12),
        input in (1_usize..16, 1_usize..16),
        seed in any::<u32>(),
    ) {
        let (width, height) = (half.0 * 2, half.1 * 2);
        let sample = |component: usize, x: usize, y: usize| {
            let hash = (seed ^ (component * 7919 + x * 104_729 + y * 1_299_709) as u32).wrapping_mul(0x9e37_79b9);
            hash.to_be_bytes()[0]
        };
        let map = LetterboxMap::fit(width, height, &Preprocess::yolo(input.0, input.1));
        let to = (map.resized_width_px, map.resized_height_px);
        let color = YuvColor { matrix: Matrix::Bt601, range: Range::Full };
        let (packed, planar) = (yuyv((width, height), sample), nv12((width, height), sample));
        for (frame, chroma_rows) in [
            (YuvFrame::yuyv(width, height, &packed, color).unwrap(), height),
            (YuvFrame::nv12(width, height, &planar, color).unwrap(), height / 2),
        ] {
            let found = resized_yuv(input, frame);
            for (x, y) in (0..to.1).flat_map(|y| (0..to.0).map(move |x| (x, y))) {
                let value = |component: usize, size: (usize, usize)| {
                    interpolated(&|x, y| sample(component, x, y), size, to, (x, y))
                };
                let luma = value(0, (width, height));
                let [u, v] = [1, 2].map(|component| value(component, (width / 2, chroma_rows)) - 128.0);
                let expected = [luma + 1.402 * v, luma - 0.344_136 * u - 0.714_136 * v, luma + 1.772 * u];
                let at = ((y + map.top_px) * input.0 + x + map.left_px) * 3;
                for (byte, expected) in found[at..at + 3].iter().zip(expected) {
                    // Half a level of each sample, as far as the matrix carries it, and half one of the result.
                    let distance = (f64::from(*byte) - expected.clamp(0.0, 255.0)).abs();
                    prop_assert!(distance <= 1.9, "{distance} at {x} {y}");
                }
            }
        }
    }

    #[test]
    fn padding_between_rows_is_passed_over(padding in 1_usize..9, seed in any::<u8>()) {
        let sample = |component: usize, x: usize, y: usize| seed.wrapping_add((component * 50 + x * 9 + y * 31) as u8);
        let dense = yuyv((6, 4), sample);
        let padded: Vec<u8> =
            dense.chunks(12).flat_map(|row| row.iter().copied().chain(std::iter::repeat_n(0xee, padding))).collect();
        let frame = |bytes, stride| YuvFrame {
            width_px: 6,
            height_px: 4,
            samples: Samples::Yuyv(Plane { bytes, stride }),
            color: YuvColor::default(),
        };
        prop_assert_eq!(resized_yuv((4, 4), frame(&dense, 12)), resized_yuv((4, 4), frame(&padded, 12 + padding)));
    }
}
