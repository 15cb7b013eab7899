use artifact::{DType, Decode, Layout, Preprocess, Quant, Tensor, TensorData};
use proptest::prelude::*;

use super::*;
use crate::decode::candidates::Candidate;
use crate::decode::{Decoder, Detection};
use crate::preprocess::LetterboxMap;

const CLASSES: usize = 3;
const BINS: usize = 4;
/// Height and width in cells at strides 8 and 16 of an image of 64x48 pixels, with more cells than a group holds.
const GRIDS: [(usize, usize); 2] = [(6, 8), (3, 4)];

fn decode(reg_max: usize) -> Decode {
    Decode::Yolov8 { strides: vec![8, 16], reg_max }
}

fn specs(reg_max: usize, dtype: DType, layout: Layout, quant: Option<Quant>) -> Vec<TensorSpec> {
    let spec = |(height, width), channels| {
        let shape = match layout {
            Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, channels, height, width],
            Layout::Nhwc => [1, height, width, channels],
        };
        TensorSpec { name: "o".into(), dtype, layout, shape, quant }
    };
    GRIDS.iter().flat_map(|&grid| [spec(grid, 4 * reg_max), spec(grid, CLASSES)]).collect()
}

fn floats(reg_max: usize) -> Vec<TensorSpec> {
    specs(reg_max, DType::F32, Layout::Nchw, None)
}

fn limits(labels: Labels) -> Limits {
    Limits { labels, ..Limits::device(0.25, 0.45) }
}

fn same_size() -> LetterboxMap {
    LetterboxMap::fit(64, 48, &Preprocess::yolo(64, 48))
}

/// Outputs whose every class logit is far below any threshold.
fn quiet(reg_max: usize) -> Vec<Tensor> {
    let mut outputs: Vec<Tensor> = floats(reg_max).iter().map(Tensor::zeroed).collect();
    for scores in outputs.iter_mut().skip(1).step_by(2) {
        let TensorData::F32(data) = &mut scores.data else { unreachable!() };
        data.fill(-20.0);
    }
    outputs
}

/// Sets the channels of a cell.
fn set(output: &mut Tensor, (column, row): (usize, usize), values: &[f32]) {
    let (cells, width) = (output.shape[2] * output.shape[3], output.shape[3]);
    let TensorData::F32(data) = &mut output.data else { unreachable!() };
    for (channel, &value) in values.iter().enumerate() {
        data[channel * cells + row * width + column] = value;
    }
}

fn detect(reg_max: usize, outputs: &[Tensor], limits: Limits) -> Vec<Detection> {
    let mut decoder = Decoder::new(&decode(reg_max), CLASSES, &floats(reg_max), limits).unwrap();
    decoder.detect(outputs, &same_size()).unwrap().to_vec()
}

/// What remains before boxes are clipped, in input pixels.
fn unclipped(reg_max: usize, outputs: &[Tensor], specs: &[TensorSpec], limits: Limits) -> Vec<Candidate> {
    let mut decoder = Decoder::new(&decode(reg_max), CLASSES, specs, limits).unwrap();
    decoder.detect(outputs, &same_size()).unwrap();
    decoder.suppression.kept().to_vec()
}

#[test]
fn distances_are_the_expectation_of_their_bins() {
    let mut outputs = quiet(2);
    // Weights 1 and 3 of bins 0 and 1: 3/4 of a cell; the other way round 1/4; equal weights: 1/2.
    let ln3 = 3_f32.ln();
    set(&mut outputs[0], (2, 1), &[0.0, ln3, ln3, 0.0, 0.0, 0.0, -50.0, 50.0]);
    set(&mut outputs[1], (2, 1), &[-20.0, 0.0, -1.0]);
    let found = detect(2, &outputs, limits(Labels::Best));
    // The middle of the cell is (2.5, 1.5) cells of 8 px.
    let [Detection { class: 1, score: 0.5, x0, y0, x1, y1 }] = found[..] else { panic!("{found:?}") };
    for (got, expected) in [(x0, 20.0 - 6.0), (y0, 12.0 - 2.0), (x1, 20.0 + 4.0), (y1, 12.0 + 8.0)] {
        assert!((got - expected).abs() < 1e-5, "{got} is not {expected}");
    }
}

#[test]
fn a_single_bin_is_the_distance() {
    let mut outputs = quiet(1);
    set(&mut outputs[2], (1, 1), &[0.5, 1.0, 1.5, 0.25]);
    set(&mut outputs[3], (1, 1), &[2.0, 3.0, 1.0]);
    // Turned inside out: no box.
    set(&mut outputs[2], (2, 2), &[-1.0, 1.0, 0.5, 1.0]);
    set(&mut outputs[3], (2, 2), &[9.0, 9.0, 9.0]);
    let found = detect(1, &outputs, limits(Labels::Best));
    let [Detection { class: 1, x0: 16.0, y0: 8.0, x1: 48.0, y1: 28.0, .. }] = found[..] else {
        panic!("{found:?}")
    };
}

#[test]
fn multi_reports_each_class_and_best_only_one() {
    let mut outputs = quiet(BINS);
    set(&mut outputs[1], (7, 5), &[1.0, -2.0, 2.0]);
    let classes = |labels| -> Vec<usize> {
        detect(BINS, &outputs, limits(labels)).iter().map(|found| found.class).collect()
    };
    assert_eq!(classes(Labels::Best), [2]);
    assert_eq!(classes(Labels::Multi), [2, 0]);
}

#[test]
fn what_does_not_fit_is_refused() {
    let new = |reg_max, specs: &[TensorSpec], classes| {
        Decoder::new(&decode(reg_max), classes, specs, limits(Labels::Best)).map(drop)
    };
    let good = floats(BINS);
    new(BINS, &good, CLASSES).unwrap();
    for (reg_max, specs, classes) in [
        (BINS, &good[..3], CLASSES),
        (BINS, &good[..2], CLASSES),
        (BINS, &[], CLASSES),
        (BINS + 1, &good, CLASSES),
        (BINS, &good, CLASSES + 1),
        (BINS, &good, 0),
        (0, &good, CLASSES),
        (usize::MAX, &good, CLASSES),
        (MAX_BINS + 1, &floats(MAX_BINS + 1), CLASSES),
    ] {
        assert!(new(reg_max, specs, classes).is_err(), "{reg_max} bins, {classes} classes, {}", specs.len());
    }
    let swapped = [good[0].clone(), good[3].clone(), good[2].clone(), good[1].clone()];
    assert!(new(BINS, &swapped, CLASSES).is_err(), "grids of one pair differ");
    let bare = specs(BINS, DType::I8, Layout::Nchw, None);
    let mut decoder = Decoder::new(&decode(BINS), CLASSES, &bare, limits(Labels::Best)).unwrap();
    let outputs: Vec<Tensor> = bare.iter().map(Tensor::zeroed).collect();
    assert!(decoder.detect(&outputs, &same_size()).is_err(), "int8 without scale");
}

/// The formulas written down plainly: every box, every class, in f64, then quadratic NMS.
fn plain(reg_max: usize, real: &[Vec<f32>], limits: &Limits) -> Vec<(usize, f64, [f64; 4])> {
    let mut boxes = Vec::new();
    for (level, (pair, (height, width))) in real.chunks_exact(2).zip(GRIDS).enumerate() {
        let (cells, stride) = (height * width, [8.0, 16.0][level]);
        for cell in 0..cells {
            let distance = |side: usize| {
                let at = |bin: usize| f64::from(pair[0][(side * reg_max + bin) * cells + cell]);
                let sum: f64 = (0..reg_max).map(|bin| at(bin).exp()).sum();
                (0..reg_max).map(|bin| at(bin).exp() / sum * bin as f64).sum::<f64>()
            };
            let (x, y) = ((cell % width) as f64 + 0.5, (cell / width) as f64 + 0.5);
            let corners = [x - distance(0), y - distance(1), x + distance(2), y + distance(3)];
            let mut scores: Vec<(usize, f32)> =
                (0..CLASSES).map(|c| (c, pair[1][c * cells + cell])).collect();
            if limits.labels == Labels::Best {
                scores.sort_by(|a, b| b.1.total_cmp(&a.1));
                scores.truncate(1);
            }
            for (class, logit) in scores {
                // In f32, as the threshold is compared.
                let score = 1.0 / (1.0 + (-logit).exp());
                if score > limits.confidence {
                    boxes.push((class, f64::from(score), corners.map(|edge| edge * stride)));
                }
            }
        }
    }
    boxes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(usize, f64, [f64; 4])> = Vec::new();
    for candidate in boxes {
        if !kept.iter().any(|k| k.0 == candidate.0 && overlap(k.2, candidate.2) > f64::from(limits.iou)) {
            kept.push(candidate);
        }
    }
    kept
}

fn overlap(a: [f64; 4], b: [f64; 4]) -> f64 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |r: [f64; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    width * height / (area(a) + area(b) - width * height)
}

/// The outputs, channels first, with `element` for values of the boxes and `score` for those of the classes.
fn values<T: Clone + std::fmt::Debug>(
    element: impl Strategy<Value = T> + Clone,
    score: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<Vec<T>>> {
    let pair = |(height, width): (usize, usize)| {
        let cells = height * width;
        let boxes = proptest::collection::vec(element.clone(), 4 * BINS * cells);
        (boxes, proptest::collection::vec(score.clone(), CLASSES * cells))
    };
    (pair(GRIDS[0]), pair(GRIDS[1])).prop_map(|((a, b), (c, d))| vec![a, b, c, d])
}

fn tensors(specs: &[TensorSpec], data: Vec<TensorData>) -> Vec<Tensor> {
    let tensor = |(spec, data): (&TensorSpec, TensorData)| Tensor { data, ..Tensor::zeroed(spec) };
    specs.iter().zip(data).map(tensor).collect()
}

/// Reorders channels-first values to channels-last.
fn interleave<T: Copy>(spec: &TensorSpec, planes: &[T]) -> Vec<T> {
    let cells = planes.len() / spec.channels();
    (0..planes.len()).map(|i| planes[i % spec.channels() * cells + i / spec.channels()]).collect()
}

/// Reorders channels-first values to blocks of channels; what fills them up would be found if it were read.
fn block(spec: &TensorSpec, planes: &[i8]) -> Vec<i8> {
    let Layout::Nc1hwc2 { c2, plane } = spec.layout else { unreachable!() };
    let cells = planes.len() / spec.channels();
    let mut blocks = vec![i8::MAX; spec.len()];
    for (index, &value) in planes.iter().enumerate() {
        let (channel, cell) = (index / cells, index % cells);
        blocks[(channel / c2 * plane + cell) * c2 + channel % c2] = value;
    }
    blocks
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop_oneof![Just(Labels::Best), Just(Labels::Multi)]
}

proptest! {
    #[test]
    fn floats_decode_as_the_plain_formulas(
        real in values(-4.0_f32..4.0, -8.0_f32..3.0),
        labels in any_labels(),
        confidence in 0.01_f32..0.9,
        // Boxes are made so that no overlap is near: two formulas may round it to either side.
        iou in prop_oneof![Just(0.0_f32), Just(1.0)],
    ) {
        let limits = Limits { labels, ..Limits::device(confidence, iou) };
        let expected = plain(BINS, &real, &limits);
        let nchw = floats(BINS);
        let outputs = tensors(&nchw, real.iter().cloned().map(TensorData::F32).collect());
        let found = unclipped(BINS, &outputs, &nchw, limits);
        prop_assert_eq!(found.len(), expected.len());
        for (found, (class, score, corners)) in found.iter().zip(&expected) {
            prop_assert_eq!((found.class, f64::from(found.score)), (*class, *score));
            for (got, expected) in [found.x0, found.y0, found.x1, found.y1].iter().zip(corners) {
                prop_assert!((f64::from(*got) - expected).abs() < 1e-3, "{} is not {}", got, expected);
            }
        }
        let nhwc = specs(BINS, DType::F32, Layout::Nhwc, None);
        let data = nhwc.iter().zip(&real).map(|(spec, v)| TensorData::F32(interleave(spec, v))).collect();
        prop_assert_eq!(unclipped(BINS, &tensors(&nhwc, data), &nhwc, limits), found);
    }

    #[test]
    fn quantized_outputs_decode_as_their_real_values(
        stored in values(any::<i8>(), any::<i8>()),
        scale in 0.001_f32..0.2,
        zero_point in -128_i32..128,
        labels in any_labels(),
        confidence in 0.001_f32..0.9,
    ) {
        let limits = Limits { labels, ..Limits::device(confidence, 0.5) };
        let real = |q: &i8| (i32::from(*q) - zero_point) as f32 * scale;
        let floated = stored.iter().map(|v| TensorData::F32(v.iter().map(real).collect())).collect();
        let expected = unclipped(BINS, &tensors(&floats(BINS), floated), &floats(BINS), limits);
        let signed = specs(BINS, DType::I8, Layout::Nchw, Some(Quant { scale, zero_point }));
        let outputs = tensors(&signed, stored.iter().cloned().map(TensorData::I8).collect());
        prop_assert_eq!(&unclipped(BINS, &outputs, &signed, limits), &expected);
        let mut blocked = signed;
        for spec in &mut blocked {
            let (height, width) = spec.height_width();
            spec.layout = Layout::Nc1hwc2 { c2: 16, plane: height * width + 3 };
        }
        let data = blocked.iter().zip(&stored).map(|(spec, v)| TensorData::I8(block(spec, v))).collect();
        prop_assert_eq!(&unclipped(BINS, &tensors(&blocked, data), &blocked, limits), &expected);
        let quant = Some(Quant { scale, zero_point: zero_point + 128 });
        let unsigned = specs(BINS, DType::U8, Layout::Nhwc, quant);
        let shifted = |spec: &TensorSpec, v: &[i8]| -> TensorData {
            TensorData::U8(interleave(spec, v).into_iter().map(|q| q.cast_unsigned() ^ 0x80).collect())
        };
        let data = unsigned.iter().zip(&stored).map(|(spec, v)| shifted(spec, v)).collect();
        prop_assert_eq!(&unclipped(BINS, &tensors(&unsigned, data), &unsigned, limits), &expected);
    }

    #[test]
    fn no_number_harms(
        real in values(any::<f32>(), any::<f32>()),
        labels in any_labels(),
        confidence in 0.0_f32..=1.0,
    ) {
        let limits = Limits { labels, ..Limits::device(confidence, 0.5) };
        let outputs = tensors(&floats(BINS), real.into_iter().map(TensorData::F32).collect());
        for found in detect(BINS, &outputs, limits) {
            prop_assert!(found.class < CLASSES && found.score > confidence && found.score <= 1.0);
            prop_assert!(0.0 <= found.x0 && found.x0 < found.x1 && found.x1 <= 64.0);
            prop_assert!(0.0 <= found.y0 && found.y0 < found.y1 && found.y1 <= 48.0);
        }
    }
}
