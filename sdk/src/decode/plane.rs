//! Looks for the cells of one channel whose values are above a threshold, many at once and in place, whatever the layout.
//! Most groups of cells hold none; work without a branch is what the compiler does for many values at a time.

use super::real::Real;
use super::steps::Steps;

/// Cells looked at together.
const GROUP: usize = 32;

/// One channel of an output.
pub(super) struct Plane<'a, T> {
    /// From the block of the channel on.
    values: &'a [T],
    /// The channel's place in its block.
    lane: usize,
    /// Channels of the block, which lie side by side in every cell.
    block: usize,
    cells: usize,
}

impl<'a, T: Copy> Plane<'a, T> {
    /// The channel of `values`, whose elements lie as `steps` says.
    pub(super) fn of(values: &'a [T], steps: &Steps, channel: usize, cells: usize) -> Self {
        let block = steps.block();
        let lane = channel % block;
        Self { values: &values[steps.channel(channel - lane)..], lane, block, cells }
    }

    /// Calls `hit` for each cell above the threshold, in order.
    pub(super) fn for_cells_above<R: Real<T>>(
        &self,
        real: &R,
        threshold: R::Threshold,
        hit: impl FnMut(usize),
    ) {
        match self.block {
            1 => self.scan::<R, 1>(real, threshold, hit),
            4 => self.scan::<R, 4>(real, threshold, hit),
            8 => self.scan::<R, 8>(real, threshold, hit),
            16 => self.scan::<R, 16>(real, threshold, hit),
            32 => self.scan::<R, 32>(real, threshold, hit),
            _ => self.scan_far_apart(real, threshold, hit),
        }
    }

    /// Over blocks of so many channels. The highest value of a group is found for all of its channels, because whole
    /// blocks fit the instructions for many values, and looked at for one.
    fn scan<R: Real<T>, const LANES: usize>(
        &self,
        real: &R,
        threshold: R::Threshold,
        mut hit: impl FnMut(usize),
    ) {
        let cells = &self.values.as_chunks::<LANES>().0[..self.cells];
        for (group, cells) in cells.chunks(GROUP).enumerate() {
            if real.above(highest(cells, real)[self.lane % LANES], threshold) {
                let values = cells.iter().map(|cell| cell[self.lane % LANES]).enumerate();
                let above = values.filter(|&(_, value)| real.above(value, threshold));
                above.for_each(|(cell, _)| hit(group * GROUP + cell));
            }
        }
    }

    /// Over blocks of any other number of channels, such as all of an output: cells that far apart share no instruction, so their
    /// values are gathered first and looked at as a plane of their own.
    fn scan_far_apart<R: Real<T>>(&self, real: &R, threshold: R::Threshold, mut hit: impl FnMut(usize)) {
        let mut gathered = [R::LOWEST; GROUP];
        for first in (0..self.cells).step_by(GROUP) {
            let cells = GROUP.min(self.cells - first);
            let far_apart = self.values[first * self.block + self.lane..].iter().step_by(self.block);
            gathered[..cells].iter_mut().zip(far_apart).for_each(|(to, from)| *to = *from);
            let near = Plane { values: &gathered[..cells], lane: 0, block: 1, cells };
            near.scan::<R, 1>(real, threshold, |cell| hit(first + cell));
        }
    }
}

/// The highest value of each lane, NaN passed over.
fn highest<T: Copy, R: Real<T>, const LANES: usize>(cells: &[[T; LANES]], real: &R) -> [T; LANES] {
    // A lane alone would be a chain of comparisons: cells side by side are taken in parallel.
    let (rows, rest) = cells.as_chunks::<4>();
    let mut parts = [[R::LOWEST; LANES]; 4];
    for row in rows {
        for (part, cell) in parts.iter_mut().zip(row) {
            keep_higher(part, cell, real);
        }
    }
    let [mut all, others @ ..] = parts;
    others.iter().chain(rest).for_each(|cell| keep_higher(&mut all, cell, real));
    all
}

/// Two selections a lane and no branch.
fn keep_higher<T: Copy, R: Real<T>, const LANES: usize>(
    highest: &mut [T; LANES],
    cell: &[T; LANES],
    real: &R,
) {
    for (highest, &value) in highest.iter_mut().zip(cell) {
        *highest = if real.exceeds(value, *highest) { value } else { *highest };
    }
}

#[cfg(test)]
mod tests {
    use artifact::{DType, Layout, Quant, TensorSpec};
    use proptest::prelude::*;

    use super::*;
    use crate::decode::real::Floats;

    fn layouts(channels: usize, cells: usize) -> Vec<Layout> {
        let blocks = [1, 3, 4, 8, 16, 32, 64].map(|c2| Layout::Nc1hwc2 { c2, plane: cells + channels % 3 });
        blocks.into_iter().chain([Layout::Nchw, Layout::Nhwc]).collect()
    }

    /// Cells of `channel` above `real` in an output of `at(channel, cell)`, laid out as `layout` with `padding` between.
    fn found<T: Copy, R: Real<T>>(
        layout: Layout,
        (channels, cells): (usize, usize),
        at: impl Fn(usize, usize) -> T,
        (real, threshold, padding): (&R, f32, T),
        channel: usize,
    ) -> Vec<usize> {
        let shape = if layout == Layout::Nhwc { [1, 1, cells, channels] } else { [1, channels, 1, cells] };
        let spec = TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape, quant: None };
        let steps = Steps::of(&spec);
        let mut values = vec![padding; spec.len()];
        for (channel, cell) in (0..channels).flat_map(|channel| (0..cells).map(move |cell| (channel, cell))) {
            values[steps.channel(channel) + steps.cell(cell)] = at(channel, cell);
        }
        let mut hits = Vec::new();
        let plane = Plane::of(&values, &steps, channel, cells);
        plane.for_cells_above(real, real.threshold(threshold), |cell| hits.push(cell));
        hits
    }

    proptest! {
        #[test]
        fn int8_cells_are_found_as_their_real_values_are(
            stored in proptest::collection::vec(any::<i8>(), 1..500),
            channels in 1_usize..40,
            pick in any::<usize>(),
            scale in 0.01_f32..0.5,
            zero_point in -128_i32..128,
            threshold in -20.0_f32..20.0,
        ) {
            let cells = stored.len().div_ceil(channels);
            let at = |channel: usize, cell: usize| stored.get(channel * cells + cell).copied().unwrap_or(0);
            let (quant, channel) = (Quant { scale, zero_point }, pick % channels);
            let value = |stored: i8| Real::<i8>::value(&quant, stored);
            let expected: Vec<usize> = (0..cells).filter(|&cell| value(at(channel, cell)) > threshold).collect();
            let real = |channel: usize, cell: usize| value(at(channel, cell));
            for layout in layouts(channels, cells) {
                let int8 = found(layout, (channels, cells), at, (&quant, threshold, i8::MAX), channel);
                prop_assert_eq!(&int8, &expected, "{:?}", layout);
                let float = found(layout, (channels, cells), real, (&Floats, threshold, f32::NAN), channel);
                prop_assert_eq!(&float, &expected, "{:?}", layout);
            }
        }

        #[test]
        fn no_float_is_overlooked(
            real in proptest::collection::vec(any::<f32>(), 1..200),
            threshold in prop_oneof![any::<f32>(), Just(f32::NEG_INFINITY), Just(f32::INFINITY)],
        ) {
            let expected: Vec<usize> = (0..real.len()).filter(|&cell| real[cell] > threshold).collect();
            for layout in layouts(1, real.len()) {
                let hits = found(layout, (1, real.len()), |_, cell| real[cell], (&Floats, threshold, 0.0), 0);
                prop_assert_eq!(&hits, &expected, "{:?}", layout);
            }
        }
    }
}
