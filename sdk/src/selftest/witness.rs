//! Compares what the pipeline finds on each frame with what is known of the picture that it shows: a core that computes wrongly is
//! seen there alone. By the rule of `accuracy`; allocates nothing for a frame.

use artifact::{CheckImage, ExpectedBox};

use super::Accuracy;
use super::accuracy::{Scores, Tally};
use crate::decode::{Detection, MOST_DETECTIONS};

/// What is known of the pictures that are played, and how their frames did.
pub(super) struct Witness {
    pictures: Vec<Picture>,
    scores: Scores,
    /// Memory that is used again.
    taken: Vec<bool>,
}

/// A picture that is played.
struct Picture {
    expected: Vec<ExpectedBox>,
    /// Agreement of a frame that is right.
    least: f64,
    seen: Seen,
}

/// How the frames of a picture did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub frames: u64,
    pub wrong: u64,
}

impl Witness {
    /// For the pictures `checks` and a model whose boxes count above `confidence`, with what `accuracy` says of them one by one;
    /// where it says nothing, frames are not looked at.
    pub(super) fn new(checks: &[CheckImage], confidence: f32, accuracy: Option<&Accuracy>) -> Self {
        let one_by_one = accuracy.map_or(&[][..], |accuracy| &accuracy.pictures);
        let checks = checks.iter().zip(one_by_one);
        let pictures = checks.map(|(check, one_by_one)| Picture {
            expected: check.expected.clone(),
            least: one_by_one.least(),
            seen: Seen::default(),
        });
        let taken = Vec::with_capacity(MOST_DETECTIONS);
        Self { pictures: pictures.collect(), scores: Scores::above(confidence), taken }
    }

    /// Looks at what was found on a frame of the picture of this number.
    pub(super) fn look(&mut self, number: u64, found: &[Detection]) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let Some(picture) = self.pictures.get_mut(index) else { return };
        let tally = Tally::of(&picture.expected, found, self.scores, &mut self.taken);
        picture.seen.frames += 1;
        picture.seen.wrong += u64::from(tally.agreement() < picture.least);
    }

    /// How the frames of each picture did.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.pictures.iter().map(|picture| picture.seen).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selftest::PictureAccuracy;

    const SQUARE: [f32; 4] = [0.0, 0.0, 10.0, 10.0];

    fn check(class: usize) -> CheckImage {
        let expected = vec![ExpectedBox { class, score: 0.9, box_px: SQUARE }];
        CheckImage::new(format!("{class}.png"), expected, b"picture")
    }

    /// A picture on which one box had to be found, and so many were.
    fn one_by_one(found: usize) -> PictureAccuracy {
        PictureAccuracy { name: "a.png".into(), expected: 1, found, unexpected: 0, frames: 0, wrong: 0 }
    }

    /// One by one, the model finds the box of the first two pictures, and not that of the third.
    fn witness() -> Witness {
        let accuracy = Accuracy::of([1, 1, 0].map(one_by_one).to_vec());
        Witness::new(&[0, 1, 2].map(check), 0.25, accuracy.as_ref())
    }

    fn seen(class: usize, score: f32) -> Detection {
        let [x0, y0, x1, y1] = SQUARE;
        Detection { class, score, x0, y0, x1, y1 }
    }

    #[test]
    fn frames_that_find_less_than_is_known_are_wrong_whatever_the_picture_before() {
        let mut witness = witness();
        for (picture, found) in [
            (0, &[seen(0, 0.9)][..]),
            (1, &[seen(1, 0.5), seen(0, 0.2)]),
            (0, &[seen(1, 0.9)]),
            (1, &[]),
            (0, &[seen(0, 0.2)]),
        ] {
            witness.look(picture, found);
        }
        let counts: Vec<_> = witness.seen().iter().map(|it| (it.frames, it.wrong)).collect();
        assert_eq!(counts, [(3, 2), (2, 1), (0, 0)]);
    }

    #[test]
    fn a_picture_that_fails_one_by_one_is_not_the_pipelines_fault() {
        let mut witness = witness();
        witness.look(2, &[]);
        assert_eq!(witness.seen()[2], Seen { frames: 1, wrong: 0 });
    }

    #[test]
    fn frames_of_which_nothing_is_known_are_not_looked_at() {
        for checks in [&[][..], &[check(0)]] {
            let mut witness = Witness::new(checks, 0.25, None);
            witness.look(0, &[]);
            witness.look(u64::MAX, &[]);
            assert_eq!(witness.seen(), []);
        }
    }
}
