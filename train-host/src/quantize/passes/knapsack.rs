//! Which of many things, each with a worth and two costs, are worth most together within both budgets.

/// Parts that each budget is divided into. What a thing costs is rounded up to whole ones, so that a choice never
/// exceeds a budget, and a table of all parts stays small.
const PARTS: usize = 200;

/// A thing to take or to leave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thing {
    /// What taking it is worth.
    pub worth: f64,
    /// What it takes of each budget, as a part of it: 1 is all.
    pub costs: [f64; 2],
}

impl Thing {
    /// Its costs in whole parts; none where it exceeds a budget by itself.
    fn parts(&self) -> Option<[usize; 2]> {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let parts = |cost: f64| (cost.max(0.0) * PARTS as f64).ceil() as usize;
        let [first, second] = self.costs.map(parts);
        (first <= PARTS && second <= PARTS).then_some([first, second])
    }
}

/// Places of those of `things` that fit together and are worth most, in rising order.
pub fn worth_most(things: &[Thing]) -> Vec<usize> {
    let fitting: Vec<(usize, f64, [usize; 2])> = (0..things.len())
        .filter_map(|at| things[at].parts().map(|parts| (at, things[at].worth, parts)))
        .collect();
    let cell = |[first, second]: [usize; 2]| first * (PARTS + 1) + second;
    // Worth of the best choice among the things so far, for whatever is left of both budgets.
    let mut best = vec![0.0; cell([PARTS, PARTS]) + 1];
    let mut taken = Vec::with_capacity(fitting.len());
    for &(_, worth, costs) in &fitting {
        let mut takes = vec![false; best.len()];
        for first in (costs[0]..=PARTS).rev() {
            for second in (costs[1]..=PARTS).rev() {
                let with = best[cell([first - costs[0], second - costs[1]])] + worth;
                let at = cell([first, second]);
                if with > best[at] {
                    (best[at], takes[at]) = (with, true);
                }
            }
        }
        taken.push(takes);
    }
    let mut left = [PARTS, PARTS];
    let mut chosen = Vec::new();
    for (&(at, _, costs), takes) in fitting.iter().zip(&taken).rev() {
        if takes[cell(left)] {
            left = [left[0] - costs[0], left[1] - costs[1]];
            chosen.push(at);
        }
    }
    chosen.reverse();
    chosen
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn thing(worth: f64, first: f64, second: f64) -> Thing {
        Thing { worth, costs: [first, second] }
    }

    /// The best choice, by trying all; costs in whole parts.
    fn by_trying(things: &[Thing]) -> f64 {
        let worth = |set: usize| {
            let chosen =
                things.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1).map(|(_, thing)| thing);
            let (mut worth, mut costs) = (0.0, [0; 2]);
            for thing in chosen {
                let parts = thing.parts()?;
                worth += thing.worth;
                costs = [costs[0] + parts[0], costs[1] + parts[1]];
            }
            costs.iter().all(|&cost| cost <= PARTS).then_some(worth)
        };
        (0..1 << things.len()).filter_map(worth).fold(0.0, f64::max)
    }

    #[test]
    fn two_small_things_may_be_worth_more_than_the_densest() {
        let things = [thing(6.0, 0.6, 0.1), thing(4.5, 0.5, 0.1), thing(4.5, 0.5, 0.1)];
        assert_eq!(worth_most(&things), [1, 2], "by worth for its cost the first would be taken");
        assert_eq!(
            worth_most(&[thing(1.0, 0.1, 0.6), thing(2.0, 0.1, 0.6)]),
            [1],
            "the other budget counts too"
        );
        assert!(worth_most(&[thing(9.0, 1.1, 0.0), thing(9.0, f64::NAN, 2.0)]).is_empty(), "too dear alone");
        assert_eq!(worth_most(&[thing(1.0, 1.0, 1.0)]), [0], "all of both budgets");
        assert!(worth_most(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn nothing_that_fits_is_worth_more(
            list in prop::collection::vec((0.0..1.0_f64, 0.0..0.8_f64, 0.0..0.8_f64), 0..10)
        ) {
            let things: Vec<Thing> = list.into_iter().map(|(worth, a, b)| thing(worth, a, b)).collect();
            let chosen = worth_most(&things);
            let sum = |of: &dyn Fn(&Thing) -> f64| chosen.iter().map(|&at| of(&things[at])).sum::<f64>();
            prop_assert!(chosen.windows(2).all(|pair| pair[0] < pair[1]));
            prop_assert!(sum(&|thing| thing.costs[0]) <= 1.0 + 1e-9 && sum(&|thing| thing.costs[1]) <= 1.0 + 1e-9);
            prop_assert!((sum(&|thing| thing.worth) - by_trying(&things)).abs() < 1e-9);
        }
    }
}
