//! Box logits that were spread over the range of the scores: what they tell is what counts, in floats and in int8.

use artifact::Spread;

use super::*;

fn spread_as(spread: Vec<Vec<[Spread; 4]>>) -> Decode {
    let Decode::Yolov5 { strides, anchors_px, .. } = decode() else { unreachable!() };
    Decode::Yolov5 { strides, anchors_px, spread }
}

/// A spread of its own for each box channel of each anchor and output.
fn all_different() -> Vec<Vec<[Spread; 4]>> {
    let one = |number: usize| Spread { gain: 1.0 + number as f32 / 4.0, offset: number as f32 / 2.0 - 4.0 };
    let of_anchor =
        |output: usize, anchor: usize| std::array::from_fn(|part| one(8 * output + 4 * anchor + part));
    (0..2).map(|output| (0..2).map(|anchor| of_anchor(output, anchor)).collect()).collect()
}

/// `values` with each box channel through `map`, which is given its spread.
fn with_boxes(values: &[Vec<f32>], map: impl Fn(Spread, f32) -> f32) -> Vec<Vec<f32>> {
    let spread = all_different();
    let of_output = |(output, values): (usize, &Vec<f32>)| {
        let cells = values.len() / CHANNELS;
        let mapped = values.iter().enumerate().map(|(at, &value)| {
            let (anchor, part) = (at / cells / (5 + CLASSES), at / cells % (5 + CLASSES));
            spread[output][anchor].get(part).map_or(value, |&spread| map(spread, value))
        });
        mapped.collect()
    };
    values.iter().enumerate().map(of_output).collect()
}

fn found(
    decode: &Decode,
    labels: Labels,
    specs: &[TensorSpec],
    data: Vec<TensorData>,
) -> Vec<candidates::Candidate> {
    let mut decoder = Decoder::new(decode, CLASSES, specs, limits(labels)).unwrap();
    decoder.detect(&tensors(specs, data), &same_size()).unwrap();
    decoder.suppression.kept().to_vec()
}

fn floats(values: Vec<Vec<f32>>) -> Vec<TensorData> {
    values.into_iter().map(TensorData::F32).collect()
}

/// Integers as an NPU may store them, channels first.
struct Integers<T> {
    dtype: DType,
    quant: Quant,
    values: Vec<Vec<T>>,
    /// What fills up blocks.
    most: T,
    data: fn(Vec<T>) -> TensorData,
}

impl<T: Copy> Integers<T> {
    /// What is found in them as planes, cell by cell, and in `blocks`.
    fn found(&self, labels: Labels, blocks: (usize, usize)) -> [Vec<candidates::Candidate>; 3] {
        let [planes, cells] = [Layout::Nchw, Layout::Nhwc].map(|it| specs(self.dtype, it, Some(self.quant)));
        let blocks = blocked_specs(self.dtype, blocks, self.quant);
        [
            self.found_in(&planes, labels, |values, _| values.to_vec()),
            self.found_in(&cells, labels, |values, _| interleave(values)),
            self.found_in(&blocks, labels, |values, spec| block(values, spec, self.most)),
        ]
    }

    fn found_in(
        &self,
        specs: &[TensorSpec],
        labels: Labels,
        order: impl Fn(&[T], &TensorSpec) -> Vec<T>,
    ) -> Vec<candidates::Candidate> {
        let data = self.values.iter().zip(specs).map(|(values, spec)| (self.data)(order(values, spec)));
        found(&spread_as(all_different()), labels, specs, data.collect())
    }
}

proptest! {
    #[test]
    fn stored_values_decode_as_the_logits_that_they_tell(
        stored in values(any::<i8>()),
        scale in 0.02_f32..0.06,
        zero_point in -60_i32..60,
        blocks in any_blocks(),
        labels in any_labels(),
    ) {
        let quant = Quant { scale, zero_point };
        let real = |values: &Vec<i8>| values.iter().map(|q| (i32::from(*q) - zero_point) as f32 * scale).collect();
        let real: Vec<Vec<f32>> = stored.iter().map(real).collect();
        let logits = with_boxes(&real, Spread::logit);
        let expected = found(&decode(), labels, &float_specs(), floats(logits));
        let spread = spread_as(all_different());
        prop_assert_eq!(&found(&spread, labels, &float_specs(), floats(real)), &expected);
        let expected = [(); 3].map(|()| expected.clone());

        let shift = |values: &Vec<i8>| values.iter().map(|q| q.cast_unsigned() ^ 0x80).collect();
        let unsigned = Integers {
            dtype: DType::U8,
            quant: Quant { scale, zero_point: zero_point + 128 },
            values: stored.iter().map(shift).collect(),
            most: u8::MAX,
            data: TensorData::U8,
        };
        prop_assert_eq!(unsigned.found(labels, blocks), expected.clone());
        let signed =
            Integers { dtype: DType::I8, quant, values: stored, most: i8::MAX, data: TensorData::I8 };
        prop_assert_eq!(signed.found(labels, blocks), expected);
    }
}

#[test]
fn a_spread_that_does_not_fit_the_anchors_is_refused() {
    let good = all_different();
    let refused = |spread: Vec<Vec<[Spread; 4]>>| {
        Decoder::new(&spread_as(spread), CLASSES, &float_specs(), limits(Labels::Best))
            .unwrap_err()
            .to_string()
    };
    assert!(Decoder::new(&spread_as(good.clone()), CLASSES, &float_specs(), limits(Labels::Best)).is_ok());
    for spoiled in [good[..1].to_vec(), vec![good[0].clone(), good[1][..1].to_vec()]] {
        let error = refused(spoiled);
        assert!(error.contains("spread for"), "{error}");
    }
    // Decoding divides by gains, whoever gave them.
    for (gain, offset) in [(0.0, 0.0), (-1.0, 0.0), (f32::NAN, 0.0), (1.0, f32::INFINITY)] {
        let mut spoiled = good.clone();
        spoiled[1][0][3] = Spread { gain, offset };
        let error = refused(spoiled);
        assert!(error.contains("finite gains above 0"), "{error}");
    }
}
