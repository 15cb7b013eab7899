//! Compares what a model finds on the bundle's check images with what it is known to find there: the rule, by which frames one by
//! one are judged here and those of the pipeline in `witness`.

use artifact::ExpectedBox;
use serde::{Deserialize, Serialize};

use super::witness::Seen;
use super::{Verdict, timing};
use crate::decode::Detection;
use crate::{Detector, Error, Image};

/// Share of expected boxes that must be found. int8 and float engines may differ at the edge of visibility, a broken one
/// finds next to nothing.
const BAR: f64 = 0.8;
/// A box counts as the expected one from this overlap on (intersection over union).
const MIN_OVERLAP: f32 = 0.5;
/// A box is sure when its score is this much above the threshold: one that is not may come and go with rounding.
const SURE_ABOVE: f32 = 0.15;

/// How far a device finds what it should.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Accuracy {
    /// Pictures that were looked at.
    pub images: usize,
    /// Boxes that had to be found.
    pub expected: usize,
    /// Those of them that were found: same class, overlap of at least half.
    pub found: usize,
    /// Sure boxes where nothing is known to be.
    pub unexpected: usize,
    /// `found / (expected + unexpected)`.
    pub agreement: f64,
    /// What `agreement` must reach.
    pub bar: f64,
    /// Whether it does, and no frame of the pipeline was wrong.
    pub verdict: Verdict,
    /// The same of each picture; none in reports of versions that did not tell it.
    #[serde(default)]
    pub pictures: Vec<PictureAccuracy>,
}

/// How far a device finds what it should on one picture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PictureAccuracy {
    /// Its name in the bundle.
    pub name: String,
    /// Boxes that had to be found one by one.
    pub expected: usize,
    /// Those of them that were found.
    pub found: usize,
    /// Sure boxes where nothing is known to be.
    pub unexpected: usize,
    /// Frames of it that came through the pipeline; 0 where none ran.
    pub frames: u64,
    /// Those of them that agree less with what is known than the bar asks and than the picture did one by one.
    pub wrong: u64,
}

/// Shows `images`, the bundle's check images, to `detector`; none where nothing is known to be found on them.
pub(super) fn check(detector: &mut Detector, images: &[Image]) -> Result<Option<Accuracy>, Error> {
    let scores = Scores::above(detector.manifest().confidence);
    let checks = detector.manifest().check_images.clone();
    let (mut pictures, mut taken) = (Vec::new(), Vec::new());
    for (image, check) in images.iter().zip(checks) {
        let mut tally = Tally::default();
        timing::show(detector, image, |found| tally = Tally::of(&check.expected, found, scores, &mut taken))?;
        pictures.push(PictureAccuracy::new(check.name, tally));
    }
    Ok(Accuracy::of(pictures))
}

impl Accuracy {
    /// Over all `pictures`; none where nothing is known to be found on them.
    pub(super) fn of(pictures: Vec<PictureAccuracy>) -> Option<Self> {
        let sum = |count: fn(&PictureAccuracy) -> usize| pictures.iter().map(count).sum();
        let all = Tally {
            expected: sum(|it| it.expected),
            found: sum(|it| it.found),
            unexpected: sum(|it| it.unexpected),
        };
        let Tally { expected, found, unexpected } = all;
        let agreement = all.agreement();
        let verdict = Verdict::of(agreement >= BAR);
        let images = pictures.len();
        (expected > 0).then_some(Self {
            images,
            expected,
            found,
            unexpected,
            agreement,
            bar: BAR,
            verdict,
            pictures,
        })
    }

    /// Takes in what the pipeline showed of each picture; none of it may be wrong.
    pub(super) fn take_in(&mut self, seen: &[Seen]) {
        for (picture, seen) in self.pictures.iter_mut().zip(seen) {
            (picture.frames, picture.wrong) = (seen.frames, seen.wrong);
        }
        if self.wrong() > 0 {
            self.verdict = Verdict::Fail;
        }
    }

    /// Frames that came through the pipeline.
    pub fn frames(&self) -> u64 {
        self.pictures.iter().map(|it| it.frames).sum()
    }

    /// Those of them that were wrong.
    pub fn wrong(&self) -> u64 {
        self.pictures.iter().map(|it| it.wrong).sum()
    }
}

impl PictureAccuracy {
    fn new(name: String, one_by_one: Tally) -> Self {
        let Tally { expected, found, unexpected } = one_by_one;
        Self { name, expected, found, unexpected, frames: 0, wrong: 0 }
    }

    /// The agreement of a frame that is right: a picture that rounding costs more than the bar allows, where others make up for it,
    /// is as good in the pipeline as it is one by one.
    pub(super) fn least(&self) -> f64 {
        let Self { expected, found, unexpected, .. } = *self;
        Tally { expected, found, unexpected }.agreement().min(BAR)
    }
}

/// Which scores count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scores {
    /// Boxes above it are found.
    found: f32,
    /// Boxes from it on are sure.
    sure: f32,
}

impl Scores {
    /// Of a model whose boxes count above `confidence`.
    pub(super) fn above(confidence: f32) -> Self {
        Self { found: confidence, sure: confidence + SURE_ABOVE }
    }
}

/// Counts of a picture, or of several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    expected: usize,
    found: usize,
    unexpected: usize,
}

impl Tally {
    /// Of a picture on which `found` was found. `taken` is memory that is used again.
    pub(super) fn of(
        expected: &[ExpectedBox],
        found: &[Detection],
        scores: Scores,
        taken: &mut Vec<bool>,
    ) -> Self {
        let mut tally = Self::default();
        // A decoder that feeds a tracker gives weaker boxes, too: they are taken from the start.
        taken.clear();
        taken.extend(found.iter().map(|it| it.score <= scores.found));
        for known in expected.iter().filter(|known| known.score >= scores.sure) {
            tally.expected += 1;
            let free = found.iter().enumerate().filter(|(index, it)| !taken[*index] && is_same(known, it));
            let best = free.max_by(|(_, a), (_, b)| overlap(known, a).total_cmp(&overlap(known, b)));
            if let Some((index, _)) = best {
                taken[index] = true;
                tally.found += 1;
            }
        }
        let is_unknown =
            |it: &&Detection| it.score >= scores.sure && !expected.iter().any(|known| is_same(known, it));
        tally.unexpected = found.iter().filter(is_unknown).count();
        tally
    }

    /// Share of what was expected or is unexpected that was found as expected; all of it where there is nothing of either.
    #[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^52")]
    pub(super) fn agreement(&self) -> f64 {
        let Self { expected, found, unexpected } = *self;
        if expected + unexpected == 0 { 1.0 } else { found as f64 / (expected + unexpected) as f64 }
    }
}

fn is_same(known: &ExpectedBox, found: &Detection) -> bool {
    known.class == found.class && overlap(known, found) >= MIN_OVERLAP
}

/// Intersection over union.
fn overlap(known: &ExpectedBox, found: &Detection) -> f32 {
    let [left, top, right, bottom] = known.box_px;
    let width = right.min(found.x1) - left.max(found.x0);
    let height = bottom.min(found.y1) - top.max(found.y0);
    let both = width.max(0.0) * height.max(0.0);
    let area = |width: f32, height: f32| width * height;
    let either = area(right - left, bottom - top) + area(found.x1 - found.x0, found.y1 - found.y0) - both;
    if either > 0.0 { both / either } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(class: usize, score: f32, left: f32) -> ExpectedBox {
        ExpectedBox { class, score, box_px: [left, 0.0, left + 10.0, 10.0] }
    }

    fn seen(class: usize, score: f32, left: f32) -> Detection {
        Detection { class, score, x0: left, y0: 0.0, x1: left + 10.0, y1: 10.0 }
    }

    const SCORES: Scores = Scores { found: 0.25, sure: 0.4 };

    fn tally(expected: &[ExpectedBox], found: &[Detection]) -> (usize, usize, usize) {
        let Tally { expected, found, unexpected } = Tally::of(expected, found, SCORES, &mut Vec::new());
        (expected, found, unexpected)
    }

    fn picture(expected: usize, found: usize, unexpected: usize) -> PictureAccuracy {
        PictureAccuracy::new("a.png".into(), Tally { expected, found, unexpected })
    }

    #[test]
    fn only_sure_boxes_must_be_found_and_only_sure_ones_are_unexpected() {
        let expected = [known(0, 0.9, 0.0), known(1, 0.3, 50.0)];
        assert_eq!(tally(&expected, &[seen(0, 0.26, 1.0)]), (1, 1, 0));
        assert_eq!(tally(&expected, &[seen(0, 0.9, 1.0), seen(1, 0.9, 51.0)]), (1, 1, 0));
        assert_eq!(tally(&expected, &[seen(0, 0.9, 1.0), seen(1, 0.3, 90.0)]), (1, 1, 0));
        assert_eq!(tally(&expected, &[seen(0, 0.9, 1.0), seen(1, 0.9, 90.0)]), (1, 1, 1));
        assert_eq!(tally(&expected, &[]), (1, 0, 0));
    }

    #[test]
    fn class_and_place_must_fit_and_a_box_answers_for_one() {
        let expected = [known(0, 0.9, 0.0)];
        assert_eq!(tally(&expected, &[seen(1, 0.9, 0.0)]), (1, 0, 1));
        assert_eq!(tally(&expected, &[seen(0, 0.9, 3.0)]), (1, 1, 0));
        assert_eq!(tally(&expected, &[seen(0, 0.9, 4.0)]), (1, 0, 1));
        let twins = [known(0, 0.9, 0.0), known(0, 0.8, 1.0)];
        assert_eq!(tally(&twins, &[seen(0, 0.9, 0.0)]), (2, 1, 0));
    }

    #[test]
    fn boxes_that_only_a_tracker_is_given_are_not_found() {
        let expected = [known(0, 0.9, 0.0)];
        assert_eq!(tally(&expected, &[seen(0, 0.25, 0.0)]), (1, 0, 0));
        assert_eq!(tally(&expected, &[seen(0, 0.2, 0.0), seen(0, 0.3, 1.0)]), (1, 1, 0));
    }

    #[test]
    fn a_frame_must_reach_the_bar_or_what_its_picture_reached_one_by_one() {
        let least = |expected, found, unexpected| picture(expected, found, unexpected).least();
        assert_eq!([least(10, 10, 0), least(10, 7, 0), least(1, 0, 0)], [BAR, 0.7, 0.0]);
        assert_eq!([least(0, 0, 0), least(0, 0, 1)], [BAR, 0.0], "nothing known, and nothing found");
    }

    #[test]
    fn all_pictures_are_judged_together() {
        let accuracy = Accuracy::of(vec![picture(8, 8, 0), picture(2, 0, 0)]).unwrap();
        let Accuracy { images, expected, found, agreement, verdict, .. } = accuracy;
        assert_eq!((images, expected, found, agreement, verdict), (2, 10, 8, 0.8, Verdict::Pass));
    }

    #[test]
    fn wrong_answers_are_below_the_bar_and_nothing_known_is_not_judged() {
        let verdict = |found, unexpected| Accuracy::of(vec![picture(10, found, unexpected)]).unwrap().verdict;
        assert_eq!(verdict(10, 0), Verdict::Pass);
        assert_eq!(verdict(8, 0), Verdict::Pass);
        assert_eq!(verdict(10, 3), Verdict::Fail);
        assert_eq!(verdict(7, 0), Verdict::Fail);
        assert_eq!(Accuracy::of(vec![picture(0, 0, 0), picture(0, 0, 1)]), None);
        assert_eq!(Accuracy::of(Vec::new()), None);
    }
}
