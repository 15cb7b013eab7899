//! Which images are calibrated on and which judge what came of it: never the same, where there are enough. Reads none.

use std::collections::HashSet;
use std::path::PathBuf;

use super::images::Images;

/// For so many images one judges.
const HELD_OUT: usize = 4;
/// Most images that judge: what a float model gives for them is kept (at 640 pixels and 80 classes up to 8.6 MB of
/// each), and memory shall not grow with the images.
const MOST_JUDGES: usize = 32;

/// Images to calibrate on, and images to judge by.
#[derive(Debug, Clone)]
pub struct Calibration {
    chosen: Images,
    calibrated: Images,
    judges: Images,
}

impl Calibration {
    /// At most `most` of `images` are calibrated on, spread evenly, and of the others a quarter as many judge. Where there
    /// are fewer others, as many of the chosen as are missing judge instead; where there are none, as in
    /// [`all`](Self::all).
    pub fn of(images: &Images, most: usize) -> Self {
        let images = &distinct(images);
        let count = images.paths().len();
        let most = most.clamp(1, count);
        let chosen: Vec<usize> = spread(count, most).collect();
        let left: Vec<usize> = (0..count).filter(|at| chosen.binary_search(at).is_err()).collect();
        if left.is_empty() {
            return Self::all(images);
        }
        let wanted = (most / HELD_OUT).clamp(1, MOST_JUDGES);
        let missing = wanted.saturating_sub(left.len());
        let held: Vec<usize> = (1..=missing).map(|at| chosen[at * most / missing - 1]).collect();
        let calibrated = chosen.iter().copied().filter(|at| !held.contains(at)).collect();
        let judges: Vec<usize> = spread(left.len(), wanted).map(|at| left[at]).chain(held).collect();
        Self { calibrated: images.pick(calibrated), chosen: images.pick(chosen), judges: images.pick(judges) }
    }

    /// Every fourth of `images`, of many fewer, is held out to judge by. Of less than four none is: then all are both.
    pub fn all(images: &Images) -> Self {
        let images = &distinct(images);
        let count = images.paths().len();
        let every = count.div_ceil(MOST_JUDGES).max(HELD_OUT);
        let part =
            |judges: bool| images.pick((0..count).filter(|at| (at % every == every - 1) == judges).collect());
        let chosen = images.clone();
        if count < HELD_OUT {
            return Self { calibrated: chosen.clone(), judges: chosen.clone(), chosen };
        }
        Self { chosen, calibrated: part(false), judges: part(true) }
    }

    /// The images that were asked for: those calibrated on, and those held out of them.
    pub fn chosen(&self) -> &Images {
        &self.chosen
    }

    /// The images to calibrate on.
    pub fn calibrated(&self) -> &Images {
        &self.calibrated
    }

    /// The images to judge by.
    pub fn judges(&self) -> &Images {
        &self.judges
    }

    /// How many images judge that nothing else sees; 0 where there were too few images for that.
    pub fn held_out(&self) -> usize {
        let judges = self.judges.paths();
        if judges == self.calibrated.paths() { 0 } else { judges.len() }
    }

    /// Those of `paths` that do not judge.
    pub fn without_judges(&self, paths: &[PathBuf]) -> Vec<PathBuf> {
        let judges = if self.held_out() == 0 { &[] } else { self.judges.paths() };
        paths.iter().filter(|path| !judges.contains(path)).cloned().collect()
    }

    /// All of them.
    pub fn paths(&self) -> Vec<PathBuf> {
        let judges = if self.held_out() == 0 { &[] } else { self.judges.paths() };
        self.calibrated.paths().iter().chain(judges).cloned().collect()
    }
}

/// `images`, each once: of one that a list names twice, one copy would judge what the other was calibrated on.
fn distinct(images: &Images) -> Images {
    let paths = images.paths();
    let mut seen = HashSet::new();
    images.pick((0..paths.len()).filter(|&at| seen.insert(&paths[at])).collect())
}

/// At most `wanted` places among `count`, spread evenly.
fn spread(count: usize, wanted: usize) -> impl Iterator<Item = usize> {
    let wanted = wanted.min(count);
    (0..wanted).map(move |at| at * count / wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::evaluate::Progress;

    fn images(count: usize) -> Images {
        Images::new((0..count).map(|at| PathBuf::from(at.to_string())).collect(), Progress::Hidden).unwrap()
    }

    fn counts(calibration: &Calibration) -> [usize; 3] {
        let Calibration { chosen, calibrated, judges } = calibration;
        [chosen, calibrated, judges].map(|images| images.paths().len())
    }

    #[test]
    fn what_is_left_of_the_images_judges_and_a_quarter_where_nothing_is() {
        assert_eq!(counts(&Calibration::of(&images(205), 64)), [64, 64, 16]);
        assert_eq!(counts(&Calibration::of(&images(80), 64)), [64, 64, 16]);
        assert_eq!(counts(&Calibration::of(&images(79), 64)), [64, 63, 16], "one is missing");
        assert_eq!(counts(&Calibration::of(&images(10), 9)), [9, 8, 2]);
        assert_eq!(counts(&Calibration::of(&images(64), 64)), [64, 48, 16]);
        assert_eq!(counts(&Calibration::of(&images(1000), 400)), [400, 400, 32]);
        assert_eq!(counts(&Calibration::of(&images(400), usize::MAX)), [400, 370, 30]);
        assert_eq!(counts(&Calibration::of(&images(2), 1)), [1, 1, 1]);
    }

    #[test]
    fn too_few_images_do_both() {
        let few = Calibration::of(&images(3), 64);
        assert_eq!((counts(&few), few.held_out()), ([3, 3, 3], 0));
        assert_eq!(few.paths(), few.chosen().paths());
        assert_eq!(few.without_judges(few.chosen().paths()), few.chosen().paths(), "they are all there is");
        assert_eq!(Calibration::all(&images(4)).held_out(), 1);
    }

    #[test]
    fn an_image_that_is_named_twice_is_one() {
        let once: Vec<PathBuf> = images(10).paths().to_vec();
        let twice = Images::new([once.clone(), once.clone()].concat(), Progress::Hidden).unwrap();
        for calibration in [Calibration::of(&twice, 8), Calibration::of(&twice, 20), Calibration::all(&twice)]
        {
            let [calibrated, judges] = [calibration.calibrated().paths(), calibration.judges().paths()];
            assert!(calibrated.iter().all(|path| !judges.contains(path)), "{judges:?}");
        }
        assert_eq!(counts(&Calibration::of(&twice, 8)), [8, 8, 2], "two are left of ten");
        assert_eq!(Calibration::all(&twice).chosen().paths(), once);
    }

    proptest! {
        #[test]
        fn no_image_is_seen_and_judges(count in 4_usize..300, most in 1_usize..300) {
            let all = images(count);
            let calibration = Calibration::of(&all, most);
            let judges = calibration.judges().paths();
            let calibrated = calibration.calibrated().paths();
            prop_assert!(calibrated.iter().all(|path| !judges.contains(path) && all.paths().contains(path)));
            prop_assert!(judges.iter().all(|path| all.paths().contains(path)));
            prop_assert!(calibration.chosen().paths().iter().all(|path| calibration.paths().contains(path)));
            prop_assert!(calibration.chosen().paths().len() <= most && judges.len() <= MOST_JUDGES);
            prop_assert!(!calibration.calibrated().paths().is_empty() && !judges.is_empty());
            let rest = calibration.without_judges(all.paths());
            prop_assert_eq!(rest.len(), count - judges.len());
            prop_assert!(rest.iter().all(|path| !judges.contains(path)));
        }
    }
}
