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

fn found(decode: &Decode, specs: &[TensorSpec], data: Vec<TensorData>) -> Vec<candidates::Candidate> {
    let mut decoder = Decoder::new(decode, CLASSES, specs, limits(Labels::Best)).unwrap();
    decoder.detect(&tensors(specs, data), &same_size()).unwrap();
    decoder.suppression.kept().to_vec()
}

fn floats(values: Vec<Vec<f32>>) -> Vec<TensorData> {
    values.into_iter().map(TensorData::F32).collect()
}

proptest! {
    #[test]
    fn stored_values_decode_as_the_logits_that_they_tell(
        stored in values(any::<i8>()),
        scale in 0.02_f32..0.06,
        zero_point in -60_i32..60,
    ) {
        let quant = Quant { scale, zero_point };
        let real = |values: &Vec<i8>| values.iter().map(|q| (i32::from(*q) - zero_point) as f32 * scale).collect();
        let real: Vec<Vec<f32>> = stored.iter().map(real).collect();
        let logits = with_boxes(&real, Spread::logit);
        let expected = found(&decode(), &float_specs(), floats(logits));
        let spread = spread_as(all_different());
        prop_assert_eq!(&found(&spread, &float_specs(), floats(real)), &expected);
        let int8 = specs(DType::I8, Layout::Nchw, Some(quant));
        prop_assert_eq!(&found(&spread, &int8, stored.into_iter().map(TensorData::I8).collect()), &expected);
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
}
