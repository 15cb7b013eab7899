//! Operators that store new values: each against real arithmetic in f64 from the stored values alone. What is stored has to
//! be the nearest code, or the code at the end that the result lies beyond; the slack beside half a step is what f32
//! rounds on the way.

use super::*;
use crate::int8::{mish, silu, table};

/// What f32 may move a result by, in steps, where nothing cancels: some of its roundings of at most 256 steps.
const SLACK: f64 = 1e-3;

/// The real value of a stored one: exact, as an integer of 9 bits times a scale of 24.
fn real(stored: i8, quant: Quant) -> f64 {
    f64::from(i32::from(stored) - quant.zero_point) * f64::from(quant.scale)
}

/// How far `stored` is from the code of `exact`, in steps.
fn distance(stored: i8, exact: f64, to: Quant) -> f64 {
    let code = exact / f64::from(to.scale) + f64::from(to.zero_point);
    (f64::from(stored) - code.clamp(-128.0, 127.0)).abs()
}

/// Some planes of one height and width and of the channels that `channels` gives each, with a scale of its own each.
fn several(channels: impl Strategy<Value = Vec<usize>>) -> impl Strategy<Value = Vec<Planes>> {
    (channels, 1..6_usize, 1..6_usize).prop_flat_map(|(channels, height, width)| {
        channels.into_iter().map(|channels| planes([channels, height, width])).collect::<Vec<_>>()
    })
}

fn functions() -> impl Strategy<Value = fn(f64) -> f64> {
    let all: [fn(f64) -> f64; 4] = [silu, mish, |x| x.max(0.0), |x| -x];
    prop::sample::select(all.to_vec())
}

proptest! {
    #[test]
    fn sums_are_real_sums_to_the_nearest_code(
        inputs in several((1..5_usize, 1..4_usize).prop_map(|(count, channels)| vec![channels; count])),
        to in quants(),
    ) {
        let output = add(&inputs.iter().collect::<Vec<_>>(), to).unwrap();
        prop_assert_eq!((output.shape, output.quant), (inputs[0].shape, to));
        prop_assert_eq!(output.data.len(), inputs[0].data.len());
        for (at, &stored) in output.data.iter().enumerate() {
            let terms = || inputs.iter().map(|input| real(input.data[at], input.quant));
            // Where large terms cancel, what f32 rounds of each is left over.
            let magnitude: f64 = terms().map(f64::abs).sum();
            let lost = magnitude * f64::from(f32::EPSILON) * 4.0 / f64::from(to.scale);
            prop_assert!(distance(stored, terms().sum(), to) <= 0.5 + SLACK + lost);
        }
    }

    #[test]
    fn a_concatenation_keeps_order_and_real_values(
        inputs in several(prop::collection::vec(1..4_usize, 1..5)),
        to in quants(),
        kept in any::<prop::sample::Index>(),
    ) {
        // One of them has the result's scale already: its values are not to move at all.
        let mut inputs = inputs;
        let kept = kept.index(inputs.len());
        inputs[kept].quant = to;
        let output = concat(&inputs.iter().collect::<Vec<_>>(), to).unwrap();
        let [_, height, width] = inputs[0].shape;
        prop_assert_eq!(output.shape, [inputs.iter().map(|input| input.shape[0]).sum(), height, width]);
        prop_assert_eq!(output.quant, to);
        let mut first = 0;
        for (which, input) in inputs.iter().enumerate() {
            for (at, &value) in input.data.iter().enumerate() {
                let [c, y, x] = place_of(at, input.shape);
                let stored = output.at(first + c, y, x);
                prop_assert!(distance(stored, real(value, input.quant), to) <= 0.5 + SLACK);
                prop_assert!(which != kept || stored == value);
            }
            first += input.shape[0];
        }
    }

    #[test]
    fn a_change_of_scale_gives_the_nearest_code(input in planes([2, 3, 5]), to in quants()) {
        let output = rescale(&input, to);
        prop_assert_eq!((output.shape, output.quant), (input.shape, to));
        for (&value, &stored) in input.data.iter().zip(&output.data) {
            prop_assert!(distance(stored, real(value, input.quant), to) <= 0.5 + SLACK);
        }
    }

    #[test]
    fn an_activation_is_its_function_to_the_nearest_code(
        input in planes([3, 2, 4]),
        to in quants(),
        function in functions(),
    ) {
        let output = map(&input, &table(input.quant, to, function), to);
        prop_assert_eq!((output.shape, output.quant), (input.shape, to));
        for (&value, &stored) in input.data.iter().zip(&output.data) {
            prop_assert!(distance(stored, function(real(value, input.quant)), to) <= 0.5 + SLACK);
        }
    }
}

/// The real value of a convolution's sum at a place.
fn real_sum(case: &Case, [c, y, x]: [usize; 3]) -> f64 {
    let unit = f64::from(case.input.quant.scale) * f64::from(case.scales[c]);
    #[expect(clippy::cast_precision_loss, reason = "sums are far below 2^53")]
    let sum = sum_at(case, c, y, x) as f64;
    sum * unit
}

proptest! {
    // Each case makes a table of thousands of entries.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn an_activation_behind_a_convolution_reads_sums_to_a_sixteenth(case in cases()) {
        let activated = SumTable::new(case.to, silu);
        let output = conv_activated(&case.input, &case.shape, &case.kernel(), &activated).unwrap();
        let sums = conv_sums(&case.input, &case.shape, &case.kernel()).unwrap();
        prop_assert_eq!((output.shape, output.quant), (sums.shape, case.to));
        for (at, &stored) in output.data.iter().enumerate() {
            let exact = silu(real_sum(&case, place_of(at, output.shape)));
            // Half a sixteenth of a step away from where it should be read, at a slope of 1.1 at most.
            prop_assert!(distance(stored, exact, case.to) <= 0.5 + 1.1 / 32.0 + 2.0 * SLACK);
        }
    }
}
