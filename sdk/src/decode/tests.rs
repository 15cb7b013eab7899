mod groups;
mod spread;

use artifact::{DType, Layout, Preprocess, Quant, TensorData};
use proptest::prelude::*;

use super::*;

const CLASSES: usize = 2;
const CHANNELS: usize = 2 * (5 + CLASSES);

/// Two anchors at stride 8 over 4x3 cells, and one output more of 2x1 cells at stride 16.
fn decode() -> Decode {
    Decode::Yolov5 {
        strides: vec![8, 16],
        anchors_px: vec![vec![[10.0, 13.0], [16.0, 30.0]], vec![[30.0, 61.0], [62.0, 45.0]]],
        spread: Vec::new(),
    }
}

fn specs(dtype: DType, layout: Layout, quant: Option<Quant>) -> Vec<TensorSpec> {
    let shape = |height, width| match layout {
        Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, CHANNELS, height, width],
        Layout::Nhwc => [1, height, width, CHANNELS],
    };
    let sizes = [(3, 4), (1, 2)];
    let spec =
        |(height, width)| TensorSpec { name: "o".into(), dtype, layout, shape: shape(height, width), quant };
    sizes.map(spec).to_vec()
}

fn float_specs() -> Vec<TensorSpec> {
    specs(DType::F32, Layout::Nchw, None)
}

/// A frame of 64x48 pixels that fills the input.
fn same_size() -> LetterboxMap {
    LetterboxMap::fit(64, 48, &Preprocess::yolo(64, 48))
}

fn limits(labels: Labels) -> Limits {
    Limits { labels, ..Limits::device(0.25, 0.45) }
}

/// Outputs whose every objectness is far below any threshold.
fn quiet() -> Vec<Tensor> {
    let mut outputs: Vec<Tensor> = float_specs().iter().map(Tensor::zeroed).collect();
    for output in &mut outputs {
        let cells = output.shape[2] * output.shape[3];
        let TensorData::F32(data) = &mut output.data else { unreachable!() };
        for anchor in 0..2 {
            let objectness = (anchor * (5 + CLASSES) + 4) * cells;
            data[objectness..objectness + cells].fill(-20.0);
        }
    }
    outputs
}

/// Sets all channels of an anchor at a cell.
fn set(output: &mut Tensor, anchor: usize, (column, row): (usize, usize), values: [f32; 5 + CLASSES]) {
    let (cells, width) = (output.shape[2] * output.shape[3], output.shape[3]);
    let TensorData::F32(data) = &mut output.data else { unreachable!() };
    for (channel, value) in values.into_iter().enumerate() {
        data[(anchor * (5 + CLASSES) + channel) * cells + row * width + column] = value;
    }
}

fn detect(outputs: &[Tensor], specs: &[TensorSpec], limits: Limits) -> Vec<Detection> {
    let mut decoder = Decoder::new(&decode(), CLASSES, specs, limits).unwrap();
    decoder.detect(outputs, &same_size()).unwrap().to_vec()
}

#[test]
fn zero_logits_are_the_anchor_on_the_middle_of_its_cell() {
    let mut outputs = quiet();
    set(&mut outputs[0], 1, (2, 1), [0.0, 0.0, 0.0, 0.0, 20.0, -20.0, 0.0]);
    let found = detect(&outputs, &float_specs(), limits(Labels::Best));
    // Center (2.5, 1.5) cells of 8 px = (20, 12); 16x30 px, cut at the top edge; score 1 * 0.5.
    assert_eq!(found, [Detection { class: 1, score: 0.5, x0: 12.0, y0: 0.0, x1: 28.0, y1: 27.0 }]);
}

#[test]
fn offsets_and_sizes_follow_the_formulas() {
    let mut outputs = quiet();
    // σ(ln 3) = 3/4: center 2 * 3/4 - 1/2 = 1 cell to the right, size (3/2)² = 9/4 of the anchor;
    // σ(-ln 3) = 1/4: center at 0, size 1/4.
    let ln3 = 3_f32.ln();
    set(&mut outputs[1], 0, (0, 0), [ln3, ln3, -ln3, -ln3, 30.0, 30.0, -30.0]);
    let found = detect(&outputs, &float_specs(), limits(Labels::Best));
    let [Detection { class: 0, score, x0, y0, x1, y1 }] = found[..] else { panic!("{found:?}") };
    assert_eq!(score, 1.0);
    for (got, expected) in [(x0, 16.0 - 3.75), (x1, 16.0 + 3.75), (y0, 16.0 - 7.625), (y1, 16.0 + 7.625)] {
        assert!((got - expected).abs() < 1e-4, "{got} is not {expected}");
    }
}

#[test]
fn multi_reports_each_class_and_best_only_one() {
    let mut outputs = quiet();
    set(&mut outputs[0], 0, (1, 1), [0.0, 0.0, 0.0, 0.0, 20.0, 1.0, 2.0]);
    let best = detect(&outputs, &float_specs(), limits(Labels::Best));
    assert_eq!(best.iter().map(|d| d.class).collect::<Vec<_>>(), [1]);
    let multi = detect(&outputs, &float_specs(), limits(Labels::Multi));
    assert_eq!(multi.iter().map(|d| d.class).collect::<Vec<_>>(), [1, 0], "another class is no overlap");
}

#[test]
fn the_weaker_of_two_overlapping_boxes_of_a_class_goes() {
    let mut outputs = quiet();
    let values = |objectness, class: usize| {
        let mut values = [0.0, 0.0, 0.0, 0.0, objectness, -20.0, -20.0];
        values[5 + class] = 20.0;
        values
    };
    // Neighbors 8 px apart with 16x30 boxes overlap by a third; with 62x45 boxes 16 px apart by 46/78.
    set(&mut outputs[0], 1, (1, 1), values(1.0, 0));
    set(&mut outputs[0], 1, (2, 1), values(2.0, 0));
    set(&mut outputs[1], 1, (0, 0), values(1.0, 1));
    set(&mut outputs[1], 1, (1, 0), values(3.0, 1));
    let found = detect(&outputs, &float_specs(), limits(Labels::Best));
    let classes: Vec<usize> = found.iter().map(|d| d.class).collect();
    assert_eq!(classes, [1, 0, 0]);
    let strict = detect(&outputs, &float_specs(), Limits { iou: 0.3, ..limits(Labels::Best) });
    assert_eq!(strict.len(), 2);
    let lenient = detect(&outputs, &float_specs(), Limits { iou: 0.9, ..limits(Labels::Best) });
    assert_eq!(lenient.len(), 4);
}

#[test]
fn equal_scores_keep_the_order_of_output_anchor_cell_and_class() {
    let mut outputs = quiet();
    let values = [0.0, 0.0, -3.0, -3.0, 20.0, 20.0, 20.0];
    set(&mut outputs[1], 0, (0, 0), values);
    set(&mut outputs[0], 1, (0, 0), values);
    set(&mut outputs[0], 0, (3, 2), values);
    set(&mut outputs[0], 0, (0, 2), values);
    let found = detect(&outputs, &float_specs(), limits(Labels::Multi));
    let order: Vec<_> = found.iter().map(|d| (d.class, ((d.x0 + d.x1) / 2.0).round(), d.y0 < 16.0)).collect();
    let expected = [(4.0, false), (28.0, false), (4.0, true), (8.0, true)];
    let expected: Vec<_> = expected.iter().flat_map(|&(x, top)| [(0, x, top), (1, x, top)]).collect();
    assert_eq!(order, expected);
    let first = detect(&outputs, &float_specs(), Limits { max_detections: 3, ..limits(Labels::Multi) });
    assert_eq!(first, found[..3]);
    let few = detect(&outputs, &float_specs(), Limits { max_candidates: 3, ..limits(Labels::Multi) });
    assert_eq!(few, found[..3]);
}

#[test]
fn boxes_in_the_bars_are_dropped_and_others_are_mapped_back() {
    let mut outputs = quiet();
    set(&mut outputs[0], 0, (0, 0), [0.0, 0.0, -3.0, -3.0, 20.0, 20.0, -20.0]);
    set(&mut outputs[0], 0, (2, 1), [0.0, 0.0, 0.0, 0.0, 20.0, 20.0, -20.0]);
    // 128x32 pixels become 64x16 with bars of 16 px.
    let map = LetterboxMap::fit(128, 32, &Preprocess::yolo(64, 48));
    let mut decoder = Decoder::new(&decode(), CLASSES, &float_specs(), limits(Labels::Best)).unwrap();
    // Center (20, 12), 10x13 px: from row 5.5 to 18.5 of the input, rows -21 to 5 of the source.
    let found = decoder.detect(&outputs, &map).unwrap();
    let expected = Detection { class: 0, score: found[0].score, x0: 30.0, y0: 0.0, x1: 50.0, y1: 5.0 };
    assert_eq!(found, [expected]);
}

#[test]
fn thresholds_at_the_ends_of_their_range_work() {
    let outputs = quiet();
    let all = detect(&outputs, &float_specs(), Limits { confidence: 0.0, iou: 1.0, ..limits(Labels::Best) });
    assert_eq!(all.len(), 2 * 12 + 2 * 2);
    let none = detect(&outputs, &float_specs(), Limits { confidence: 1.0, ..limits(Labels::Best) });
    assert_eq!(none, []);
}

#[test]
fn what_does_not_fit_is_refused() {
    let new =
        |specs: &[TensorSpec], classes, limits| Decoder::new(&decode(), classes, specs, limits).map(drop);
    let good = limits(Labels::Best);
    assert!(new(&float_specs(), CLASSES, good).is_ok());
    assert!(new(&float_specs()[..1], CLASSES, good).is_err());
    assert!(new(&float_specs(), CLASSES + 1, good).is_err());
    assert!(new(&float_specs(), usize::MAX, good).is_err());
    for bad in [
        Limits { confidence: -0.1, ..good },
        Limits { confidence: f32::NAN, ..good },
        Limits { iou: 1.1, ..good },
        Limits { max_detections: 0, ..good },
        Limits { max_candidates: 0, ..good },
    ] {
        assert!(new(&float_specs(), CLASSES, bad).is_err(), "{bad:?}");
    }
    let mut decoder = Decoder::new(&decode(), CLASSES, &float_specs(), good).unwrap();
    let mut outputs = quiet();
    assert!(decoder.detect(&outputs[..1], &same_size()).is_err());
    outputs[0].data = TensorData::F32(vec![0.0; 5]);
    assert!(decoder.detect(&outputs, &same_size()).is_err());
    let bare = specs(DType::I8, Layout::Nchw, None);
    let mut decoder = Decoder::new(&decode(), CLASSES, &bare, good).unwrap();
    let outputs: Vec<Tensor> = bare.iter().map(Tensor::zeroed).collect();
    assert!(decoder.detect(&outputs, &same_size()).is_err(), "int8 without scale");
}

/// The formulas written down plainly: every box, every class, in f32, then quadratic NMS.
fn plain(real: &[Vec<f32>], limits: &Limits) -> Vec<(usize, f32, [f32; 4])> {
    let Decode::Yolov5 { strides, anchors_px, .. } = decode() else { unreachable!() };
    let sigmoid = |x: f32| 1.0 / (1.0 + (-x).exp());
    let mut boxes = Vec::new();
    for (output, values) in real.iter().enumerate() {
        let (width, height) = [(4, 3), (2, 1)][output];
        let cells = width * height;
        for (anchor, cell) in (0..2).flat_map(|anchor| (0..cells).map(move |cell| (anchor, cell))) {
            let at = |channel: usize| values[(anchor * (5 + CLASSES) + channel) * cells + cell];
            let mut scores: Vec<(usize, f32)> = (0..CLASSES).map(|c| (c, at(5 + c))).collect();
            if limits.labels == Labels::Best {
                scores.sort_by(|a, b| b.1.total_cmp(&a.1));
                scores.truncate(1);
            }
            let stride = strides[output] as f32;
            let x = (2.0 * sigmoid(at(0)) - 0.5 + (cell % width) as f32) * stride;
            let y = (2.0 * sigmoid(at(1)) - 0.5 + (cell / width) as f32) * stride;
            let w = (2.0 * sigmoid(at(2))).powi(2) * anchors_px[output][anchor][0] / 2.0;
            let h = (2.0 * sigmoid(at(3))).powi(2) * anchors_px[output][anchor][1] / 2.0;
            for (class, logit) in scores {
                let score = sigmoid(at(4)) * sigmoid(logit);
                if score > limits.confidence {
                    boxes.push((class, score, [x - w, y - h, x + w, y + h]));
                }
            }
        }
    }
    boxes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut kept: Vec<(usize, f32, [f32; 4])> = Vec::new();
    for candidate in boxes {
        if !kept.iter().any(|k| k.0 == candidate.0 && overlap(k.2, candidate.2) > limits.iou) {
            kept.push(candidate);
        }
    }
    kept
}

fn overlap(a: [f32; 4], b: [f32; 4]) -> f32 {
    let width = (a[2].min(b[2]) - a[0].max(b[0])).max(0.0);
    let height = (a[3].min(b[3]) - a[1].max(b[1])).max(0.0);
    let area = |r: [f32; 4]| (r[2] - r[0]) * (r[3] - r[1]);
    width * height / (area(a) + area(b) - width * height)
}

/// Reorders channels-first values to channels-last.
fn interleave<T: Copy>(planes: &[T]) -> Vec<T> {
    let cells = planes.len() / CHANNELS;
    (0..planes.len()).map(|i| planes[i % CHANNELS * cells + i / CHANNELS]).collect()
}

/// Specifications of outputs in blocks of `c2` channels, planes filled up to a multiple of `align` cells.
fn blocked_specs(dtype: DType, (c2, align): (usize, usize), quant: Quant) -> Vec<TensorSpec> {
    let mut specs = specs(dtype, Layout::Nchw, Some(quant));
    for spec in &mut specs {
        let plane = (spec.shape[2] * spec.shape[3]).next_multiple_of(align);
        spec.layout = Layout::Nc1hwc2 { c2, plane };
    }
    specs
}

/// Reorders channels-first values to blocks of channels, filled up with `most`, which would be found if it were read.
fn block<T: Copy>(planes: &[T], spec: &TensorSpec, most: T) -> Vec<T> {
    let Layout::Nc1hwc2 { c2, plane } = spec.layout else { unreachable!() };
    let cells = spec.shape[2] * spec.shape[3];
    let mut blocks = vec![most; spec.len()];
    for (index, &value) in planes.iter().enumerate() {
        let (channel, cell) = (index / cells, index % cells);
        blocks[(channel / c2 * plane + cell) * c2 + channel % c2] = value;
    }
    blocks
}

/// One output each of [`decode`], channels first.
fn values<T: Clone + std::fmt::Debug>(
    element: impl Strategy<Value = T> + Clone,
) -> impl Strategy<Value = Vec<Vec<T>>> {
    let of = |cells: usize| proptest::collection::vec(element.clone(), CHANNELS * cells);
    (of(12), of(2)).prop_map(|(first, second)| vec![first, second])
}

fn tensors(specs: &[TensorSpec], data: Vec<TensorData>) -> Vec<Tensor> {
    let tensor = |(spec, data): (&TensorSpec, TensorData)| Tensor { data, ..Tensor::zeroed(spec) };
    specs.iter().zip(data).map(tensor).collect()
}

/// A frame so large that nothing is clipped: compares the boxes themselves, in input pixels.
fn unclipped(outputs: &[Tensor], specs: &[TensorSpec], limits: Limits) -> Vec<candidates::Candidate> {
    let mut decoder = Decoder::new(&decode(), CLASSES, specs, limits).unwrap();
    decoder.detect(outputs, &same_size()).unwrap();
    decoder.suppression.kept().to_vec()
}

fn assert_same(
    found: &[candidates::Candidate],
    expected: &[(usize, f32, [f32; 4])],
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (found, (class, score, corners)) in found.iter().zip(expected) {
        prop_assert_eq!(found.class, *class);
        prop_assert_eq!(found.score, *score);
        for (got, expected) in [found.x0, found.y0, found.x1, found.y1].iter().zip(corners) {
            prop_assert!((got - expected).abs() < 1e-3, "{} is not {}", got, expected);
        }
    }
    Ok(())
}

/// Channels of a block, and the number of cells that planes are filled up to a multiple of.
fn any_blocks() -> impl Strategy<Value = (usize, usize)> {
    let c2 = prop_oneof![Just(1_usize), Just(3), Just(4), Just(8), Just(16), Just(32)];
    (c2, 1_usize..6)
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop_oneof![Just(Labels::Best), Just(Labels::Multi)]
}

proptest! {
    #[test]
    fn floats_decode_as_the_plain_formulas(
        real in values(-4.0_f32..4.0),
        labels in any_labels(),
        confidence in 0.0_f32..0.9,
        iou in 0.05_f32..0.95,
    ) {
        let limits = Limits { labels, ..Limits::device(confidence, iou) };
        let expected = plain(&real, &limits);
        let nchw = float_specs();
        let outputs = tensors(&nchw, real.iter().cloned().map(TensorData::F32).collect());
        assert_same(&unclipped(&outputs, &nchw, limits), &expected)?;
        let nhwc = specs(DType::F32, Layout::Nhwc, None);
        let outputs = tensors(&nhwc, real.iter().map(|v| TensorData::F32(interleave(v))).collect());
        // Cells come in the same order, so even ties fall the same way.
        assert_same(&unclipped(&outputs, &nhwc, limits), &expected)?;
    }

    #[test]
    fn quantized_outputs_decode_as_their_real_values(
        stored in values(any::<i8>()),
        scale in 0.001_f32..0.3,
        zero_point in -128_i32..128,
        labels in any_labels(),
        confidence in 0.001_f32..0.9,
    ) {
        let limits = Limits { labels, max_candidates: 1000, ..Limits::device(confidence, 0.5) };
        let signed = specs(DType::I8, Layout::Nchw, Some(Quant { scale, zero_point }));
        let real = |q: &i8| (i32::from(*q) - zero_point) as f32 * scale;
        let floats: Vec<Vec<f32>> = stored.iter().map(|v| v.iter().map(real).collect()).collect();
        let outputs = tensors(&float_specs(), floats.iter().cloned().map(TensorData::F32).collect());
        let expected = unclipped(&outputs, &float_specs(), limits);
        let outputs = tensors(&signed, stored.iter().cloned().map(TensorData::I8).collect());
        prop_assert_eq!(&unclipped(&outputs, &signed, limits), &expected);
        let unsigned = specs(DType::U8, Layout::Nhwc, Some(Quant { scale, zero_point: zero_point + 128 }));
        let shifted = |q: i8| q.cast_unsigned() ^ 0x80;
        let shift = |v: &Vec<i8>| TensorData::U8(interleave(v).into_iter().map(shifted).collect());
        let outputs = tensors(&unsigned, stored.iter().map(shift).collect());
        prop_assert_eq!(&unclipped(&outputs, &unsigned, limits), &expected);
    }

    #[test]
    fn blocks_of_channels_decode_as_planes(
        stored in values(any::<i8>()),
        blocks in any_blocks(),
        labels in any_labels(),
        confidence in 0.001_f32..0.9,
    ) {
        let quant = Quant { scale: 0.05, zero_point: 10 };
        let limits = Limits { labels, max_candidates: 1000, ..Limits::device(confidence, 0.5) };
        let plain = specs(DType::I8, Layout::Nchw, Some(quant));
        let outputs = tensors(&plain, stored.iter().cloned().map(TensorData::I8).collect());
        let expected = unclipped(&outputs, &plain, limits);
        let blocked = blocked_specs(DType::I8, blocks, quant);
        let data =
            stored.iter().zip(&blocked).map(|(values, spec)| TensorData::I8(block(values, spec, i8::MAX)));
        prop_assert_eq!(&unclipped(&tensors(&blocked, data.collect()), &blocked, limits), &expected);
    }

    #[test]
    fn no_number_harms(real in values(any::<f32>()), labels in any_labels(), confidence in 0.0_f32..=1.0) {
        let limits = Limits { labels, ..Limits::device(confidence, 0.5) };
        let outputs = tensors(&float_specs(), real.into_iter().map(TensorData::F32).collect());
        for found in detect(&outputs, &float_specs(), limits) {
            prop_assert!(found.class < CLASSES && found.score > confidence && found.score <= 1.0);
            prop_assert!(0.0 <= found.x0 && found.x0 < found.x1 && found.x1 <= 64.0);
            prop_assert!(0.0 <= found.y0 && found.y0 < found.y1 && found.y1 <= 48.0);
        }
    }

    #[test]
    fn only_the_best_candidates_are_kept(scores in proptest::collection::vec(0_u8..50, 0..200), limit in 1_usize..40) {
        let mut candidates = Candidates::with_limit(limit);
        for (class, &score) in scores.iter().enumerate() {
            candidates.push(class, f32::from(score), [0.0; 2], [1.0; 2]);
        }
        let mut expected: Vec<(usize, u8)> = scores.into_iter().enumerate().collect();
        expected.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
        let expected: Vec<usize> = expected.into_iter().take(limit).map(|(class, _)| class).collect();
        let kept: Vec<usize> = candidates.best_first().iter().map(|kept| kept.class).collect();
        prop_assert_eq!(kept, expected);
    }
}

#[test]
fn planes_too_small_for_their_cells_are_refused() {
    for (c2, plane) in [(16, 11), (0, 12), (16, 0)] {
        let mut specs = specs(DType::I8, Layout::Nchw, Some(Quant { scale: 0.1, zero_point: 0 }));
        specs[0].layout = Layout::Nc1hwc2 { c2, plane };
        let error = Decoder::new(&decode(), CLASSES, &specs, limits(Labels::Best)).map(drop).unwrap_err();
        assert!(matches!(error, Error::Input(_)), "{error}");
    }
}

#[test]
fn no_zero_point_harms() {
    for zero_point in [i32::MIN, i32::MAX] {
        let specs = specs(DType::I8, Layout::Nchw, Some(Quant { scale: 0.1, zero_point }));
        let outputs: Vec<Tensor> = specs.iter().map(Tensor::zeroed).collect();
        let found = detect(&outputs, &specs, limits(Labels::Multi));
        assert_eq!(found.is_empty(), zero_point == i32::MAX);
    }
}

#[test]
fn names_are_counted_in_the_order_they_appear() {
    assert_eq!(count_names(["b", "a", "b"]), [("b", 2), ("a", 1)]);
    assert_eq!(count_names([]), []);
}
