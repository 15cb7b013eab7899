//! Compares what a model finds on the bundle's check images with what it is known to find there.

use artifact::ExpectedBox;
use serde::{Deserialize, Serialize};

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
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
    /// Whether it does.
    pub verdict: Verdict,
}

/// Shows `images`, the bundle's check images, to `detector`; none where nothing is known to be found on them.
pub(super) fn check(detector: &mut Detector, images: &[Image]) -> Result<Option<Accuracy>, Error> {
    let sure = detector.manifest().confidence + SURE_ABOVE;
    let expected: Vec<_> =
        detector.manifest().check_images.iter().map(|image| image.expected.clone()).collect();
    let mut tally = Tally::default();
    for (image, expected) in images.iter().zip(&expected) {
        timing::show(detector, image, |found| tally.add(expected, found, sure))?;
    }
    Ok(tally.accuracy(images.len()))
}

/// Counts over all pictures.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    expected: usize,
    found: usize,
    unexpected: usize,
}

impl Tally {
    fn add(&mut self, expected: &[ExpectedBox], found: &[Detection], sure: f32) {
        let mut taken = vec![false; found.len()];
        for known in expected.iter().filter(|known| known.score >= sure) {
            self.expected += 1;
            let free = found.iter().enumerate().filter(|(index, it)| !taken[*index] && is_same(known, it));
            let best = free.max_by(|(_, a), (_, b)| overlap(known, a).total_cmp(&overlap(known, b)));
            if let Some((index, _)) = best {
                taken[index] = true;
                self.found += 1;
            }
        }
        let is_unknown =
            |it: &&Detection| it.score >= sure && !expected.iter().any(|known| is_same(known, it));
        self.unexpected += found.iter().filter(is_unknown).count();
    }

    fn accuracy(self, images: usize) -> Option<Accuracy> {
        let Self { expected, found, unexpected } = self;
        if expected == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^52")]
        let agreement = found as f64 / (expected + unexpected) as f64;
        let verdict = Verdict::of(agreement >= BAR);
        Some(Accuracy { images, expected, found, unexpected, agreement, bar: BAR, verdict })
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

    fn tally(expected: &[ExpectedBox], found: &[Detection]) -> (usize, usize, usize) {
        let mut tally = Tally::default();
        tally.add(expected, found, 0.4);
        (tally.expected, tally.found, tally.unexpected)
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
    fn wrong_answers_are_below_the_bar_and_nothing_known_is_not_judged() {
        let verdict = |found, unexpected| {
            let tally = Tally { expected: 10, found, unexpected };
            tally.accuracy(2).unwrap().verdict
        };
        assert_eq!(verdict(10, 0), Verdict::Pass);
        assert_eq!(verdict(8, 0), Verdict::Pass);
        assert_eq!(verdict(10, 3), Verdict::Fail);
        assert_eq!(verdict(7, 0), Verdict::Fail);
        assert_eq!(Tally::default().accuracy(2), None);
    }
}
