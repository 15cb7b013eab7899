//! Operators that only move stored values or choose among them: each against its definition value by value, written the
//! other way round where there is one (where does a value go, instead of where does it come from).

use super::*;

/// Planes, and a pool over them: windows that just fit among them, and strides that leave values out.
fn pools() -> impl Strategy<Value = (Planes, [usize; 3])> {
    let pool = (1..6_usize, 1..5_usize)
        .prop_flat_map(|(kernel, stride)| (0..=kernel / 2).prop_map(move |pad| [kernel, stride, pad]));
    (pool, 1..4_usize, 0..6_usize, 0..6_usize).prop_flat_map(|([kernel, stride, pad], channels, dy, dx)| {
        let least = kernel.saturating_sub(2 * pad).max(1);
        planes([channels, least + dy, least + dx]).prop_map(move |input| (input, [kernel, stride, pad]))
    })
}

fn any_planes() -> impl Strategy<Value = Planes> {
    (1..5_usize, 1..8_usize, 1..8_usize)
        .prop_flat_map(|(channels, height, width)| planes([channels, height, width]))
}

/// The largest value of `input` that the window at `y`, `x` covers: a place is inside when, counted from the padding's
/// edge, it lies less than a kernel behind the window's begin.
fn largest(input: &Planes, [kernel, stride, pad]: [usize; 3], [c, y, x]: [usize; 3]) -> Option<i8> {
    let covers = |at: usize, place: usize| (at * stride..at * stride + kernel).contains(&(place + pad));
    let values = input.data.iter().enumerate().map(|(at, &value)| (place_of(at, input.shape), value));
    let inside =
        values.filter(|([channel, row, column], _)| *channel == c && covers(y, *row) && covers(x, *column));
    inside.map(|(_, value)| value).max()
}

/// How many windows fit into a padded side.
fn windows(side: usize, [kernel, stride, pad]: [usize; 3]) -> usize {
    (0..).take_while(|at| at * stride + kernel <= side + 2 * pad).count()
}

proptest! {
    #[test]
    fn a_pool_gives_the_largest_that_each_window_covers((input, pool) in pools()) {
        let [kernel, stride, pad] = pool;
        let output = max_pool(&input, kernel, stride, pad).unwrap();
        let [channels, height, width] = input.shape;
        prop_assert_eq!(output.shape, [channels, windows(height, pool), windows(width, pool)]);
        prop_assert_eq!(output.quant, input.quant);
        prop_assert_eq!(output.data.len(), output.shape.iter().product::<usize>());
        for (at, &value) in output.data.iter().enumerate() {
            prop_assert_eq!(Some(value), largest(&input, pool, place_of(at, output.shape)), "at {}", at);
        }
    }

    #[test]
    fn upsampling_puts_each_value_into_its_own_square(input in any_planes(), factor in 1..5_usize) {
        let output = upsample(&input, factor).unwrap();
        let [channels, height, width] = input.shape;
        let mut expected = vec![None; channels * height * factor * width * factor];
        for (at, &value) in input.data.iter().enumerate() {
            let [c, y, x] = place_of(at, input.shape);
            for (dy, dx) in (0..factor).flat_map(|dy| (0..factor).map(move |dx| (dy, dx))) {
                let row = c * height * factor + y * factor + dy;
                expected[row * width * factor + x * factor + dx] = Some(value);
            }
        }
        prop_assert_eq!(output.shape, [channels, height * factor, width * factor]);
        prop_assert_eq!(output.quant, input.quant);
        prop_assert_eq!(output.data.into_iter().map(Some).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn blocks_become_channels_rows_before_columns(
        input in (1..4_usize, 1..5_usize, 1..5_usize)
            .prop_flat_map(|(channels, rows, columns)| planes([channels, 2 * rows, 2 * columns])),
    ) {
        let output = space_to_depth(&input).unwrap();
        let [channels, height, width] = input.shape;
        prop_assert_eq!(output.shape, [4 * channels, height / 2, width / 2]);
        prop_assert_eq!(output.quant, input.quant);
        prop_assert_eq!(output.data.len(), input.data.len());
        for (at, &value) in input.data.iter().enumerate() {
            let [c, y, x] = place_of(at, input.shape);
            let block = match (y % 2, x % 2) {
                (0, 0) => 0,
                (1, 0) => 1,
                (0, 1) => 2,
                _ => 3,
            };
            prop_assert_eq!(output.at(block * channels + c, y / 2, x / 2), value);
        }
    }

    #[test]
    fn a_slice_is_its_channels_and_slices_put_together_are_the_whole(
        input in any_planes(),
        ends in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let all = input.shape[0];
        let start = ends.0.index(all);
        let end = start + 1 + ends.1.index(all - start);
        let part = slice(&input, start..end).unwrap();
        prop_assert_eq!(part.shape, [end - start, input.shape[1], input.shape[2]]);
        prop_assert_eq!(part.quant, input.quant);
        for (at, &value) in part.data.iter().enumerate() {
            let [c, y, x] = place_of(at, part.shape);
            prop_assert_eq!(value, input.at(start + c, y, x));
        }
        let parts = [0..start, start..end, end..all].into_iter().filter(|part| !part.is_empty());
        let parts: Vec<Planes> = parts.map(|part| slice(&input, part).unwrap()).collect();
        prop_assert_eq!(concat(&parts.iter().collect::<Vec<_>>(), input.quant).unwrap(), input);
    }

    #[test]
    fn channels_that_are_not_there_are_an_error(input in any_planes(), start in 0..9_usize, len in 0..9_usize) {
        let fits = len > 0 && start + len <= input.shape[0];
        prop_assert_eq!(slice(&input, start..start + len).is_ok(), fits);
    }
}
