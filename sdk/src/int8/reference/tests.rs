//! Convolutions against the textbook, analytic cases by hand, and what does not fit. Other operators by property:
//! `moving` and `storing`.

mod moving;
mod storing;

use proptest::prelude::*;

use super::*;
use crate::int8::{MAX, MIN, WEIGHT_MAX};

/// A convolution over random values, its parts owned.
#[derive(Debug)]
struct Case {
    input: Planes,
    shape: ConvShape,
    values: Vec<i8>,
    scales: Vec<f32>,
    bias: Vec<i32>,
    to: Quant,
}

impl Case {
    fn kernel(&self) -> Kernel<'_> {
        Kernel { values: &self.values, scales: &self.scales, bias: &self.bias }
    }
}

fn quants() -> impl Strategy<Value = Quant> {
    (1e-3_f32..0.2, MIN..=MAX).prop_map(|(scale, zero_point)| Quant { scale, zero_point })
}

/// Random values of `shape`.
fn planes(shape: [usize; 3]) -> impl Strategy<Value = Planes> {
    (prop::collection::vec(any::<i8>(), shape.iter().product::<usize>()), quants())
        .prop_map(move |(data, quant)| Planes { shape, quant, data })
}

/// Channel, row and column of value `at`.
fn place_of(at: usize, [_, height, width]: [usize; 3]) -> [usize; 3] {
    [at / (height * width), at / width % height, at % width]
}

/// Shapes with every kind of stride, padding, dilation and grouping, sides that the window just fits and others.
fn cases() -> impl Strategy<Value = Case> {
    let shape = (1..4_usize, 1..4_usize, 1..4_usize, 1..5_usize, 1..4_usize, 0..3_usize, 1..3_usize);
    let size = (0..5_usize, 0..5_usize);
    (shape, size, quants(), quants()).prop_flat_map(|(shape, (dy, dx), from, to)| {
        let (groups, cin, cout, kernel, stride, pad, dilation) = shape;
        let window = dilation * (kernel - 1) + 1;
        let least = window.saturating_sub(2 * pad).max(1);
        let planes = [cin * groups, least + dy, least + dx];
        let cout = cout * groups;
        let shape = ConvShape { cout, kernel, stride, pad, dilation, groups };
        let weight = i8::try_from(-WEIGHT_MAX).unwrap()..=i8::MAX;
        (
            prop::collection::vec(any::<i8>(), planes.iter().product::<usize>()),
            prop::collection::vec(weight, cout * cin * kernel * kernel),
            prop::collection::vec(1e-3_f32..0.1, cout),
            prop::collection::vec(-5000..5000_i32, cout),
        )
            .prop_map(move |(data, values, scales, bias)| Case {
                input: Planes { shape: planes, quant: from, data },
                shape,
                values,
                scales,
                bias,
                to,
            })
    })
}

/// The sum at one place as the textbook writes it, in i64, over an input that is padded first.
fn sum_at(case: &Case, c: usize, y: usize, x: usize) -> i64 {
    let ConvShape { cout, kernel, stride, pad, dilation, groups } = case.shape;
    let [channels, height, width] = case.input.shape;
    let per_group = channels / groups;
    let group = c * groups / cout;
    let padded = |channel: usize, y: usize, x: usize| {
        let inside = (pad..pad + height).contains(&y) && (pad..pad + width).contains(&x);
        let zero_point = i64::from(case.input.quant.zero_point);
        if inside { i64::from(case.input.at(channel, y - pad, x - pad)) - zero_point } else { 0 }
    };
    let mut sum = i64::from(case.bias[c]);
    for i in 0..per_group {
        for dy in 0..kernel {
            for dx in 0..kernel {
                let weight = case.values[((c * per_group + i) * kernel + dy) * kernel + dx];
                let value =
                    padded(group * per_group + i, y * stride + dy * dilation, x * stride + dx * dilation);
                sum += value * i64::from(weight);
            }
        }
    }
    sum
}

proptest! {
    #[test]
    fn convolutions_are_the_textbook_sum(case in cases()) {
        let sums = conv_sums(&case.input, &case.shape, &case.kernel()).unwrap();
        let [cout, height, width] = sums.shape;
        let places = (0..cout).flat_map(|c| (0..height).flat_map(move |y| (0..width).map(move |x| (c, y, x))));
        for ((c, y, x), &sum) in places.zip(&sums.data) {
            prop_assert_eq!(i64::from(sum), sum_at(&case, c, y, x));
        }
    }

    #[test]
    fn stored_outputs_are_the_real_convolution_within_half_a_step(case in cases()) {
        let output = conv(&case.input, &case.shape, &case.kernel(), case.to).unwrap();
        for (at, &stored) in output.data.iter().enumerate() {
            let [c, y, x] = place_of(at, output.shape);
            let unit = f64::from(case.input.quant.scale) * f64::from(case.scales[c]);
            #[expect(clippy::cast_precision_loss, reason = "sums are far below 2^53")]
            let steps = sum_at(&case, c, y, x) as f64 * unit / f64::from(case.to.scale);
            let exact = (steps + f64::from(case.to.zero_point)).clamp(-128.0, 127.0);
            prop_assert!((f64::from(stored) - exact).abs() <= 0.5 + 1e-3, "{stored} for {exact}");
        }
    }
}

const ONE: Quant = Quant { scale: 1.0, zero_point: 0 };

/// 1, 2, 3 … in rows.
fn counted(shape: [usize; 3]) -> Planes {
    let mut next = 0;
    Planes::fill(shape, ONE, |_, _, _| {
        next += 1;
        next
    })
}

#[test]
fn a_convolution_by_hand() {
    // Two columns of 10 and 20 in units of 0.5 over a zero point of 4; a kernel of 3 and -2 in units of 0.25.
    let input = Planes { shape: [1, 1, 2], quant: Quant { scale: 0.5, zero_point: 4 }, data: vec![10, 20] };
    let shape = ConvShape { cout: 1, kernel: 1, stride: 1, pad: 0, dilation: 1, groups: 1 };
    let kernel = Kernel { values: &[3], scales: &[0.25], bias: &[-8] };
    assert_eq!(conv_sums(&input, &shape, &kernel).unwrap().data, [6 * 3 - 8, 16 * 3 - 8]);
    let to = Quant { scale: 0.5, zero_point: -3 };
    // 10 · 0.125 = 1.25 and 40 · 0.125 = 5: 2.5 and 10 steps, the half going to 2.
    assert_eq!(conv(&input, &shape, &kernel, to).unwrap().data, [-1, 7]);
}

#[test]
fn pools_upsampling_and_blocks_move_values_only() {
    let input = counted([1, 3, 3]);
    assert_eq!(max_pool(&input, 3, 1, 1).unwrap().data, [5, 6, 6, 8, 9, 9, 8, 9, 9]);
    assert_eq!(max_pool(&input, 2, 2, 0).unwrap().data, [5]);
    assert_eq!(upsample(&counted([1, 1, 2]), 2).unwrap().data, [1, 1, 2, 2, 1, 1, 2, 2]);
    assert_eq!(space_to_depth(&counted([1, 2, 2])).unwrap().data, [1, 3, 2, 4]);
}

#[test]
fn a_pool_over_negative_values_is_not_lifted_by_padding() {
    let input = Planes { shape: [1, 1, 1], quant: ONE, data: vec![-100] };
    assert_eq!(max_pool(&input, 3, 1, 1).unwrap().data, [-100]);
}

#[test]
fn what_does_not_fit_is_an_error() {
    let input = counted([2, 3, 3]);
    let shape = ConvShape { cout: 2, kernel: 3, stride: 1, pad: 0, dilation: 1, groups: 1 };
    let values = [1; 36];
    let kernel = Kernel { values: &values, scales: &[1.0; 2], bias: &[0; 2] };
    conv(&input, &shape, &kernel, ONE).unwrap();
    let wrong = |shape: ConvShape, kernel: Kernel<'_>| assert!(conv(&input, &shape, &kernel, ONE).is_err());
    wrong(ConvShape { groups: 0, ..shape }, kernel);
    wrong(ConvShape { groups: 3, ..shape }, kernel);
    wrong(ConvShape { stride: 0, ..shape }, kernel);
    wrong(ConvShape { kernel: 4, ..shape }, kernel);
    wrong(ConvShape { dilation: 2, ..shape }, kernel);
    wrong(shape, Kernel { bias: &[0; 1], ..kernel });
    wrong(shape, Kernel { scales: &[1.0; 3], ..kernel });
    assert!(add(&[], ONE).is_err() && concat(&[], ONE).is_err());
    assert!(add(&[&input, &counted([1, 3, 3])], ONE).is_err());
    assert!(concat(&[&input, &counted([1, 3, 2])], ONE).is_err());
    assert!(max_pool(&input, 3, 1, 2).is_err() && max_pool(&input, 9, 1, 0).is_err());
    assert!(upsample(&input, 0).is_err() && space_to_depth(&input).is_err());
}
