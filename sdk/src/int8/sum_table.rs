//! An activation applied to the sums of a convolution, without storing them in 8 bits first: that would round twice, and
//! spend half of the codes where the activation is flat. What NPUs do when they fuse convolution and activation.

use artifact::Quant;

use super::quantize_exact;

/// Steps of the table in one step of the output.
const PARTS: f32 = 16.0;
/// Farthest entry from 0 on each side: an output step is never finer than 1/65536 of what is looked at.
const REACH: i32 = 1 << 20;
/// Nearer to 0 than this, every entry is looked at to find where the stored output no longer changes.
const DENSE: i32 = 1 << 13;
/// Farther out every 256th is: a 32nd of the way from 0 at most, and no activation is as wild as that.
const STRIDE: i32 = 256;

/// What an activation stores for each sum, in sixteenths of the output's step.
#[derive(Debug, Clone, PartialEq)]
pub struct SumTable {
    to: Quant,
    /// Index of the first entry.
    first: i32,
    entries: Vec<i8>,
}

impl SumTable {
    /// The table of `function` for outputs stored as `to`. It ends on each side where the stored output no longer
    /// changes, at 1048576 entries from 0 at the latest.
    pub fn new(to: Quant, function: impl Fn(f64) -> f64) -> Self {
        let unit = f64::from(to.scale / PARTS);
        let entry = |index: i32| quantize_exact(function(f64::from(index) * unit), to);
        let last = Self::end(&entry, 1);
        let first = Self::end(&entry, -1).min(last);
        Self { to, first, entries: (first..=last).map(entry).collect() }
    }

    /// The entry in direction `sign` from which on none differs from the last within reach.
    fn end(entry: &impl Fn(i32) -> i8, sign: i32) -> i32 {
        let stored = entry(sign * REACH);
        let changes = |&at: &i32| entry(sign * at) != stored;
        let coarse = (0..(REACH - DENSE) / STRIDE).map(|step| step * STRIDE);
        let outer = coarse.clone().map(|step| REACH - step);
        let far_side = coarse.map(|step| -DENSE - step);
        let Some(inner) = outer.chain((-DENSE..=DENSE).rev()).chain(far_side).find(changes) else {
            return -sign * REACH;
        };
        // The last change lies between this entry and the one looked at before.
        let last = (inner..inner + STRIDE).rev().find(changes).unwrap_or(inner);
        sign * (last + 1)
    }

    /// The real value of one step of the index: sums are requantized with it as the output scale.
    pub fn unit(&self) -> f32 {
        self.to.scale / PARTS
    }

    /// How the results are stored.
    pub fn to(&self) -> Quant {
        self.to
    }

    /// Index of the first entry; what lies before it gives the same.
    pub fn first(&self) -> i32 {
        self.first
    }

    /// The stored results from [`SumTable::first`] on; what lies behind the last gives the same.
    pub fn entries(&self) -> &[i8] {
        &self.entries
    }

    /// The index of a sum, `multiplier` being [`super::multiplier`]'s for the output scale [`SumTable::unit`].
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "as stated, and saturating"
    )]
    pub fn index(sum: i32, multiplier: f32) -> i32 {
        (sum as f32 * multiplier).round_ties_even() as i32
    }

    /// The stored result for an index.
    pub fn at(&self, index: i32) -> i8 {
        let place = usize::try_from(index.saturating_sub(self.first)).unwrap_or(0);
        self.entries[place.min(self.entries.len() - 1)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::int8::{quantize, silu};

    #[test]
    fn a_table_ends_where_nothing_changes() {
        let to = Quant { scale: 0.02, zero_point: -114 };
        let table = SumTable::new(to, silu);
        // silu stays within half a step of 0 below -6.6…, and 127 - -114 = 241 steps above 0 saturate.
        assert!((-7.0..-6.0).contains(&(f64::from(table.first()) * 0.02 / 16.0)), "{}", table.first());
        let last = table.first() + i32::try_from(table.entries().len()).unwrap() - 1;
        assert!((4.8..5.0).contains(&(f64::from(last) * 0.02 / 16.0)), "{last}");
        assert_eq!([table.at(i32::MIN), table.at(0), table.at(i32::MAX)], [-114, -114, 127]);
    }

    #[test]
    fn a_constant_has_a_table_of_one() {
        let table = SumTable::new(Quant { scale: 1.0, zero_point: 0 }, |_| 3.0);
        assert_eq!(table.entries(), [3]);
        assert_eq!([table.at(i32::MIN), table.at(i32::MAX)], [3, 3]);
    }

    proptest! {
        #[test]
        fn results_are_those_of_the_function_within_a_sixteenth(
            scale in 1e-3_f32..0.5,
            zero_point in -128..=-60_i32,
            x in -20.0_f64..20.0,
        ) {
            let to = Quant { scale, zero_point };
            let table = SumTable::new(to, silu);
            #[expect(clippy::cast_possible_truncation, reason = "in range")]
            let index = (x / f64::from(table.unit())).round() as i32;
            let exact = (silu(x) / f64::from(scale) + f64::from(zero_point)).clamp(-128.0, 127.0);
            // The slope of silu is at most 1.1, half a sixteenth of a step away.
            prop_assert!((f64::from(table.at(index)) - exact).abs() <= 0.5 + 1.1 / 32.0 + 1e-3);
        }
    }

    #[test]
    fn an_identity_is_a_quantization() {
        let to = Quant { scale: 0.25, zero_point: 3 };
        let table = SumTable::new(to, |x| x);
        for index in [-9000, -100, -8, 7, 8, 9, 24, 1000] {
            #[expect(clippy::cast_precision_loss, reason = "small")]
            let real = index as f32 * table.unit();
            assert_eq!(table.at(index), quantize(real, to), "{index}");
        }
    }
}
