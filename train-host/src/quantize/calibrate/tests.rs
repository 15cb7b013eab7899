use proptest::prelude::*;

use super::*;

fn histogram(values: &[f32]) -> Histogram {
    let mut histogram = Histogram::default();
    histogram.add(values).unwrap();
    histogram
}

/// `count` values spread evenly over −1..1, and the given others.
fn even(count: u16, others: &[f32]) -> Histogram {
    let values = (0..count).map(|i| 2.0 * (f32::from(i) + 0.5) / f32::from(count) - 1.0);
    histogram(&values.chain(others.iter().copied()).collect::<Vec<f32>>())
}

#[test]
fn ranges_store_zero_exactly_and_reach_their_ends() {
    for (low, high) in [(-1.0, 1.0), (0.0, 6.0), (-3.0, 0.0), (-0.278, 12.5), (-1e-6, 1e-3)] {
        let quant = Range { low, high }.quant().unwrap();
        assert_eq!(int8::dequantize(int8::quantize(0.0, quant), quant), 0.0);
        let step = f64::from(quant.scale);
        for (end, stored) in [(low, i8::MIN), (high, i8::MAX)] {
            assert!((f64::from(int8::dequantize(stored, quant)) - end).abs() <= 0.51 * step, "{low} {high}");
        }
    }
    for (low, high) in [(0.0, 0.0), (0.0, f64::NAN), (0.0, f64::INFINITY), (0.0, 1e-44)] {
        assert_eq!(Range { low, high }.quant(), None, "{high}");
    }
}

#[test]
fn values_at_the_ends_of_f32_have_a_sound_scale_or_none() {
    let sets: [&[f32]; 10] = [
        &[1e30],
        &[-1e30, 1e30],
        &[1.0, 1.0, 1e30],
        &[70_000.0, -3.0],
        &[f32::MAX],
        &[f32::MIN, f32::MAX],
        &[1e-30],
        &[1e-36],
        &[f32::MIN_POSITIVE],
        &[1e-42, -1e-42],
    ];
    for (set, method) in sets.iter().flat_map(|set| Method::ALL.map(|method| (set, method))) {
        let largest = set.iter().fold(0.0_f32, |largest, value| largest.max(value.abs()));
        let Some(quant) = range(method, &histogram(set), View::Plain).quant() else {
            assert!(!(1e-30..=1e30).contains(&largest), "{method}: no scale for {set:?}");
            continue;
        };
        assert!(quant.scale.is_normal() && quant.scale > 0.0, "{method}: {quant:?} for {set:?}");
        assert!((int8::MIN..=int8::MAX).contains(&quant.zero_point), "{method}: {quant:?} for {set:?}");
        let ends = [i8::MIN, i8::MAX].map(|end| int8::dequantize(end, quant));
        assert!(ends.iter().all(|end| end.is_finite()), "{method}: {ends:?} for {set:?}");
    }
}

#[test]
fn even_values_are_best_covered_whole() {
    let values = even(10_000, &[]);
    for method in Method::ALL {
        let Range { low, high } = range(method, &values, View::Plain);
        assert!(low < -0.9 && high > 0.9, "{method}: {low} to {high}");
    }
}

#[test]
fn one_outlier_stretches_only_min_max() {
    let values = even(60_000, &[8.0]);
    assert_eq!(range(Method::MinMax, &values, View::Plain).high, 8.0);
    let high = range(Method::Percentile, &values, View::Plain).high;
    assert!((0.9..3.0).contains(&high), "{high}");
    // Coarse steps tell all there is of an even distribution; this one has a peak.
    let peaked = (0..60_000).map(|i| (i as f32 / 30_000.0 - 1.0).powi(3)).chain([8.0]).collect::<Vec<_>>();
    let high = range(Method::Kl, &histogram(&peaked), View::Plain).high;
    assert!((0.3..3.0).contains(&high), "{high}");
    // 60 000 values in steps of 9/255 cost (9/255)²/12 each, 6.2 together; clipping 8 to 1 alone would cost 49.
    let high = range(Method::Mse, &values, View::Plain).high;
    assert!(high > 4.0, "one value far out is worth more than finer steps here: {high}");
}

#[test]
fn what_an_activation_flattens_gets_no_codes() {
    let values: Vec<f32> = (-4000..1000).map(|i| i as f32 / 200.0).collect();
    let silu = histogram(&values);
    let post = Range { low: -0.279, high: 5.0 }.quant().unwrap();
    let Range { low, high } = range(Method::Mse, &silu, View::Stored(int8::silu, post));
    assert!((-10.0..-4.0).contains(&low), "of values from -20 on: {low}");
    assert!(high > 4.8, "{high}");
    let relu = range(
        Method::Mse,
        &silu,
        View::Stored(|x| x.max(0.0), Range { low: 0.0, high: 5.0 }.quant().unwrap()),
    );
    assert!(relu.low > -1.0, "{}", relu.low);
}

#[test]
fn values_that_count_more_are_stored_better() {
    // A few large values stretch the range; whether that is worth it is a question of what they count.
    let values: Vec<f32> = (0..4000).map(|i| i as f32 / 4000.0).chain([6.0; 4]).collect();
    let high = |of_large: f32| {
        let weights: Vec<f32> =
            values.iter().map(|value| if *value > 1.0 { of_large } else { 1.0 }).collect();
        let mut histogram = Histogram::default();
        histogram.add_weighted(&values, &weights).unwrap();
        range(Method::Mse, &histogram, View::Plain).high
    };
    assert!(high(1.0) > 4.0 && high(1e-4) < 1.5, "{} and {}", high(1.0), high(1e-4));
}

proptest! {
    #[test]
    fn every_method_gives_a_range_inside_the_full_one(
        values in prop::collection::vec(prop_oneof![-100.0_f32..100.0, -1.0_f32..1.0, Just(0.0)], 1..200),
    ) {
        prop_assume!(values.iter().any(|&value| value != 0.0));
        let histogram = histogram(&values);
        let full = Range::of(&histogram);
        for method in Method::ALL {
            let found = range(method, &histogram, View::Plain);
            prop_assert!(full.low <= found.low && found.low <= 0.0, "{method}: {found:?}");
            prop_assert!(full.high >= found.high && found.high >= 0.0, "{method}: {found:?}");
            prop_assert!(found.quant().is_some(), "{method}: {found:?}");
        }
    }

    #[test]
    fn least_squares_is_never_worse_than_the_full_range(
        values in prop::collection::vec(-100.0_f32..100.0, 1..200),
    ) {
        let histogram = histogram(&values);
        let cost = Cost::new(&histogram, View::Plain);
        let of = |method| cost.of(range(method, &histogram, View::Plain).quant().unwrap());
        prop_assert!(of(Method::Mse) <= of(Method::MinMax));
    }
}
