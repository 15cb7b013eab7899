//! The best class of neighboring cells, many cells at once, where the cells of a class lie side by side. Objects are seen by
//! cells next to each other, and a class after the other is read from the same few cache lines for all of them.

use multiversion::multiversion;

use super::real::Real;

/// Cells looked at together.
pub(super) const GROUP: usize = 32;

/// The highest value of each cell of a group, and whose it is; of equal ones the first class.
pub(super) struct Winners<T> {
    values: [T; GROUP],
    classes: [u32; GROUP],
}

impl<T: Copy> Winners<T> {
    /// Of no classes yet.
    pub(super) fn none<R: Real<T>>(_real: &R) -> Self {
        Self { values: [R::LOWEST; GROUP], classes: [0; GROUP] }
    }

    /// Of `cells` cells, at most [`GROUP`], whose values of class 0 begin at `values[0]`, and those of each further class
    /// `class_step` later. Cells without any value above [`Real::LOWEST`] have class 0.
    pub(super) fn of<R: Real<T>>(
        values: &[T],
        class_step: usize,
        classes: usize,
        cells: usize,
        real: &R,
    ) -> Self {
        let mut winners = Self::none(real);
        match cells {
            GROUP => find_all(&mut winners, values, class_step, classes, real),
            _ => winners.find_some(values, class_step, classes, cells, real),
        }
        winners
    }

    /// Class and value of one cell of the group.
    pub(super) fn at(&self, lane: usize) -> (usize, T) {
        (self.classes[lane] as usize, self.values[lane])
    }

    /// Takes in values of one cell for the classes from `first` on, which lie side by side.
    pub(super) fn offer_run<R: Real<T>>(&mut self, lane: usize, first: usize, run: &[T], real: &R)
    where
        T: PartialEq,
    {
        let (class, value) = better_of_run(self.at(lane), first, run, real);
        self.values[lane] = value;
        self.classes[lane] = u32::try_from(class).unwrap_or(u32::MAX);
    }

    fn find_some<R: Real<T>>(
        &mut self,
        values: &[T],
        class_step: usize,
        classes: usize,
        cells: usize,
        real: &R,
    ) {
        for (class, values) in (0..).zip(values.chunks(class_step).take(classes)) {
            for (lane, &value) in values[..cells].iter().enumerate() {
                if real.exceeds(value, self.values[lane]) {
                    (self.values[lane], self.classes[lane]) = (value, class);
                }
            }
        }
    }
}

/// The better of `best` and the first of the highest values of `run`, whose classes begin at `first`.
pub(super) fn better_of_run<T: Copy + PartialEq, R: Real<T>>(
    best: (usize, T),
    first: usize,
    run: &[T],
    real: &R,
) -> (usize, T) {
    let highest = real.highest(run);
    if !real.exceeds(highest, best.1) {
        return best;
    }
    (first + run.iter().position(|&value| value == highest).unwrap_or(0), highest)
}

/// As `find_some`, of a whole group: selections and no branch, in loops that the compiler takes many cells at once of.
#[multiversion(targets("x86_64+avx2"))]
fn find_all<T: Copy, R: Real<T>>(
    winners: &mut Winners<T>,
    values: &[T],
    class_step: usize,
    classes: usize,
    real: &R,
) {
    let Winners { values: mut best, classes: mut best_classes } = *winners;
    for (class, values) in (0..).zip(values.chunks(class_step).take(classes)) {
        let values = &values.as_chunks::<GROUP>().0[0];
        let better: [bool; GROUP] = std::array::from_fn(|lane| real.exceeds(values[lane], best[lane]));
        best = std::array::from_fn(|lane| if better[lane] { values[lane] } else { best[lane] });
        best_classes = std::array::from_fn(|lane| if better[lane] { class } else { best_classes[lane] });
    }
    *winners = Winners { values: best, classes: best_classes };
}

#[cfg(test)]
mod tests {
    use artifact::Quant;
    use proptest::prelude::*;

    use super::*;
    use crate::decode::real::Floats;

    /// By the definition: class by class for one cell.
    fn plain<T: Copy, R: Real<T>>(values: impl Iterator<Item = T>, real: &R) -> (usize, T) {
        values.enumerate().fold((0, R::LOWEST), |best, (class, value)| {
            if real.exceeds(value, best.1) { (class, value) } else { best }
        })
    }

    proptest! {
        #[test]
        fn each_cell_has_the_first_of_its_highest_classes(
            cells in 1..=GROUP,
            gap in 0_usize..5,
            classes in 1_usize..90,
            seed in any::<u32>(),
        ) {
            let step = cells + gap;
            let mut state = seed;
            let stored: Vec<i8> = (0..step * classes).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0].cast_signed() / 16
            }).collect();
            let floats: Vec<f32> = stored.iter().map(|&v| if v == 3 { f32::NAN } else { f32::from(v) }).collect();
            let quant = Quant { scale: 0.1, zero_point: 3 };
            let winners = Winners::of(&stored, step, classes, cells, &quant);
            let float_winners = Winners::of(&floats, step, classes, cells, &Floats);
            for cell in 0..cells {
                let of_cell = (0..classes).map(|class| class * step + cell);
                prop_assert_eq!(winners.at(cell), plain(of_cell.clone().map(|at| stored[at]), &quant));
                prop_assert_eq!(float_winners.at(cell), plain(of_cell.map(|at| floats[at]), &Floats));
            }
        }
    }
}
