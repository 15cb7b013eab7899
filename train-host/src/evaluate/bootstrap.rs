//! How sure a difference of mAP between two models is: images are drawn again and again, with both models' matches on
//! them, and the interval of the differences is given. Detections are matched to labels once, by hotcoco.

use std::sync::Arc;

use hotcoco::{COCO, COCOeval, IouType};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use repedge::decode::Detection;
use serde::{Deserialize, Serialize};

use super::metrics::{MAX_DETECTIONS, check, coco_detections, coco_labels, refused};
use crate::dataset::Sample;
use crate::{Error, Result};

/// Draws of the images, and how many lie beyond each end of a 95 % interval.
const DRAWS: usize = 1000;
const BEYOND: usize = DRAWS / 40;
/// COCO's recalls at which precision is read.
const RECALLS: usize = 101;
/// COCO's IoU thresholds, 0.50:0.05:0.95.
const THRESHOLDS: usize = 10;

/// A difference with its 95 % interval, in fractions of 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// On the images as they are.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
}

/// What a model found on some images, matched to the labels.
#[derive(Debug, Clone, PartialEq)]
pub struct Matches {
    /// Of each image, which are drawn together: numbers from 0 on.
    groups: Vec<usize>,
    classes: Vec<ClassMatches>,
}

#[derive(Debug, Clone, PartialEq, Default)]
struct ClassMatches {
    /// Image and number of labels in it.
    labels: Vec<(usize, u32)>,
    /// Best score first.
    found: Vec<Found>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    image: usize,
    score: f64,
    /// Bit `t` is set where it claimed a label at threshold `t`.
    correct: u16,
}

impl Matches {
    /// Matches `detections[i]` to the labels of `samples[i]`.
    ///
    /// # Errors
    /// As [`super::measure`].
    pub fn of(classes: &[String], samples: &[&Sample], detections: &[Vec<Detection>]) -> Result<Self> {
        check(classes, samples, detections)?;
        let truth = Arc::new(COCO::from_dataset(coco_labels(classes, samples)));
        let found = Arc::new(truth.load_res_anns(coco_detections(detections)).map_err(refused)?);
        let mut eval = COCOeval::new(truth, found, IouType::Bbox);
        eval.params.max_dets = vec![MAX_DETECTIONS];
        eval.params.area_ranges.retain(|range| range.label == "all");
        eval.evaluate().map_err(refused)?;
        let mut matches = vec![ClassMatches::default(); classes.len()];
        for cell in eval.eval_imgs().iter().flatten() {
            // Ids are index + 1.
            let class = usize::try_from(cell.category_id).unwrap_or(0).saturating_sub(1);
            let image = usize::try_from(cell.image_id).unwrap_or(0).saturating_sub(1);
            let Some(matches) = matches.get_mut(class) else { continue };
            let labels = u32::try_from(cell.num_gt_in_denominator()).unwrap_or(u32::MAX);
            if labels > 0 {
                matches.labels.push((image, labels));
            }
            for (d, &score) in cell.dt_scores.iter().enumerate() {
                let bit = |t: usize| u16::from(cell.dt_matched[(t, d)]) << t;
                let correct = (0..THRESHOLDS).map(bit).sum();
                matches.found.push(Found { image, score, correct });
            }
        }
        for class in &mut matches {
            class.found.sort_by(|a, b| b.score.total_cmp(&a.score));
        }
        Ok(Self { groups: (0..samples.len()).collect(), classes: matches })
    }

    /// The same, with images that are drawn together: image `i` belongs to group `groups[i]`. Altered copies of a
    /// photograph tell less than as many photographs, and taken for those they make an interval too narrow.
    ///
    /// # Errors
    /// [`Error::Input`] when there is not a group for each image, or a number below the largest that is none's.
    pub fn grouped(self, groups: Vec<usize>) -> Result<Self> {
        let count = count_of(&groups);
        let mut is_used = vec![false; count.min(groups.len())];
        for &group in &groups {
            if let Some(mark) = is_used.get_mut(group) {
                *mark = true;
            }
        }
        if groups.len() != self.groups.len() || count > groups.len() || is_used.contains(&false) {
            return Err(Error::input(
                format!("{} images in {count} groups for {} images", groups.len(), self.groups.len()),
                "a group for each image, and an image in each group",
                "number the groups from 0 on, in the order of the images",
            ));
        }
        Ok(Self { groups, ..self })
    }

    /// mAP50 and mAP where image `i` counts `weights[i]` times; none where nothing is labeled.
    fn map(&self, weights: &[u32]) -> Option<[f64; 2]> {
        let mut sums = [0.0; 2];
        let mut labeled = 0.0;
        for class in &self.classes {
            let labels: u32 = class.labels.iter().map(|&(image, count)| count * weights[image]).sum();
            if labels == 0 {
                continue;
            }
            let of_threshold = |t: usize| class.average_precision(t, f64::from(labels), weights);
            let first = of_threshold(0);
            sums[0] += first;
            let all = first + (1..THRESHOLDS).map(of_threshold).sum::<f64>();
            sums[1] += all / THRESHOLDS as f64;
            labeled += 1.0;
        }
        (labeled > 0.0).then(|| sums.map(|sum| sum / labeled))
    }
}

/// How many groups there are.
fn count_of(groups: &[usize]) -> usize {
    groups.iter().max().map_or(0, |last| last.saturating_add(1))
}

impl ClassMatches {
    /// Mean over COCO's recalls of the highest precision at that recall or a greater one.
    fn average_precision(&self, threshold: usize, labels: f64, weights: &[u32]) -> f64 {
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(self.found.len());
        let (mut right, mut all) = (0.0, 0.0);
        for found in &self.found {
            let weight = f64::from(weights[found.image]);
            all += weight;
            if found.correct >> threshold & 1 == 1 {
                right += weight;
            }
            if weight > 0.0 {
                points.push((right / labels, right / all));
            }
        }
        for at in (1..points.len()).rev() {
            points[at - 1].1 = points[at - 1].1.max(points[at].1);
        }
        let mut at = 0;
        let mut sum = 0.0;
        for step in 0..RECALLS {
            #[expect(clippy::cast_precision_loss, reason = "101 steps")]
            let recall = step as f64 / (RECALLS - 1) as f64;
            while points.get(at).is_some_and(|point| point.0 < recall) {
                at += 1;
            }
            sum += points.get(at).map_or(0.0, |point| point.1);
        }
        #[expect(clippy::cast_precision_loss, reason = "101 steps")]
        let count = RECALLS as f64;
        sum / count
    }
}

/// What two models found on the same images, the one that is compared with first.
pub type Pair<'a> = [&'a Matches; 2];

/// Differences of mAP50 and mAP, second minus first, with the intervals of a bootstrap over images drawn from `seed`;
/// none where nothing is labeled or the images are not the same.
///
/// Of several pairs, which were measured on sets of images of their own, it is the mean; images are drawn in each set,
/// those of a [group](Matches::grouped) together.
pub fn paired_difference(pairs: &[Pair<'_>], seed: u64) -> Option<[Difference; 2]> {
    if pairs.is_empty() || pairs.iter().any(|[a, b]| a.groups != b.groups || a.groups.is_empty()) {
        return None;
    }
    let value = mean_difference(pairs, |groups| vec![1; groups])?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut drawn = |groups: usize| {
        let mut weights = vec![0; groups];
        for _ in 0..groups {
            weights[rng.random_range(0..groups)] += 1;
        }
        weights
    };
    let draws: Vec<[f64; 2]> = (0..DRAWS).filter_map(|_| mean_difference(pairs, &mut drawn)).collect();
    let interval = |measure: usize| {
        let mut sorted: Vec<f64> = draws.iter().map(|draw| draw[measure]).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let beyond = BEYOND.min(sorted.len().saturating_sub(1) / 2);
        let at = |place: usize| sorted.get(place).copied().unwrap_or(value[measure]);
        Difference {
            value: value[measure],
            low: at(beyond),
            high: at(sorted.len().saturating_sub(1 + beyond)),
        }
    };
    Some([interval(0), interval(1)])
}

/// The mean of the pairs' differences, groups of images counting as `weights` says for their number.
fn mean_difference(pairs: &[Pair<'_>], mut weights: impl FnMut(usize) -> Vec<u32>) -> Option<[f64; 2]> {
    let mut sums = [0.0; 2];
    for [a, b] in pairs {
        let of_group = weights(count_of(&a.groups));
        let weights: Vec<u32> = a.groups.iter().map(|&group| of_group[group]).collect();
        let (a, b) = (a.map(&weights)?, b.map(&weights)?);
        sums = [0, 1].map(|measure| sums[measure] + b[measure] - a[measure]);
    }
    #[expect(clippy::cast_precision_loss, reason = "pairs are few")]
    let count = pairs.len() as f64;
    Some(sums.map(|sum| sum / count))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dataset::LabelBox;
    use crate::evaluate::measure;

    const CLASSES: usize = 3;

    /// Class, center and size.
    type Label = (usize, f32, f32, f32, f32);
    /// Class, score in percent, label that is meant, and how far beside it.
    type Hit = (usize, u8, prop::sample::Index, f32, f32);

    fn classes() -> Vec<String> {
        (0..CLASSES).map(|class| class.to_string()).collect()
    }

    /// Random labels in images of 100 px, and detections near some of them.
    fn scene() -> impl Strategy<Value = (Vec<Sample>, Vec<Vec<Detection>>)> {
        let label = (0..CLASSES, 0.2_f32..0.8, 0.2_f32..0.8, 0.1_f32..0.3, 0.1_f32..0.3);
        let detection = (0..CLASSES, 0_u8..100, any::<prop::sample::Index>(), -8.0_f32..8.0, -8.0_f32..8.0);
        let image = (prop::collection::vec(label, 0..4), prop::collection::vec(detection, 0..6));
        prop::collection::vec(image, 1..6).prop_map(|images| {
            let of_image = |(labels, found): (Vec<Label>, Vec<_>)| {
                let boxes: Vec<LabelBox> = labels
                    .into_iter()
                    .map(|(class, cx, cy, w, h)| LabelBox { class, cx, cy, w, h })
                    .collect();
                let detection = |(at, (class, percent, label, dx, dy)): (usize, Hit)| {
                    let near = if boxes.is_empty() {
                        LabelBox { class, cx: 0.5, cy: 0.5, w: 0.2, h: 0.2 }
                    } else {
                        boxes[label.index(boxes.len())]
                    };
                    let (x, y) = (near.cx * 100.0 + dx, near.cy * 100.0 + dy);
                    let (w, h) = (near.w * 50.0, near.h * 50.0);
                    // Scores differ, so that no order is left to chance.
                    let score = f32::from(percent) / 100.0 + at as f32 * 1e-4;
                    Detection { class, score, x0: x - w, y0: y - h, x1: x + w, y1: y + h }
                };
                let found = found.into_iter().enumerate().map(detection).collect();
                (Sample { image: "a.png".into(), width_px: 100, height_px: 100, boxes }, found)
            };
            images.into_iter().map(of_image).unzip()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn with_every_image_once_it_is_what_hotcoco_measures((samples, detections) in scene()) {
            let samples: Vec<&Sample> = samples.iter().collect();
            let metrics = measure(&classes(), &samples, &detections).unwrap();
            let matches = Matches::of(&classes(), &samples, &detections).unwrap();
            let map = matches.map(&vec![1; samples.len()]);
            prop_assert_eq!(map.is_some(), metrics.map.is_some());
            if let Some([map50, map]) = map {
                prop_assert!((map50 - metrics.map50.unwrap()).abs() < 1e-9, "{map50} {:?}", metrics.map50);
                prop_assert!((map - metrics.map.unwrap()).abs() < 1e-9, "{map} {:?}", metrics.map);
            }
        }
    }

    /// Images with one label each; the first `right` are found.
    fn half_right(images: usize, right: usize) -> Matches {
        found_on((0..images).map(|at| at < right))
    }

    /// Images with one label each, which is found or not.
    fn found_on(hits: impl Iterator<Item = bool>) -> Matches {
        let label = LabelBox { class: 0, cx: 0.5, cy: 0.5, w: 0.4, h: 0.4 };
        let sample = Sample { image: "a.png".into(), width_px: 100, height_px: 100, boxes: vec![label] };
        let found = |is_hit: bool| {
            let hit = Detection { class: 0, score: 0.9, x0: 30.0, y0: 30.0, x1: 70.0, y1: 70.0 };
            if is_hit { vec![hit] } else { vec![] }
        };
        let detections: Vec<Vec<Detection>> = hits.map(found).collect();
        let samples: Vec<&Sample> = vec![&sample; detections.len()];
        Matches::of(&classes(), &samples, &detections).unwrap()
    }

    #[test]
    fn a_model_differs_from_itself_by_nothing_whatever_is_drawn() {
        let matches = half_right(10, 6);
        let nothing = Difference { value: 0.0, low: 0.0, high: 0.0 };
        assert_eq!(paired_difference(&[[&matches, &matches]], 1), Some([nothing; 2]));
    }

    #[test]
    fn an_interval_holds_the_difference_and_follows_from_the_seed() {
        let (a, b) = (half_right(60, 30), half_right(60, 45));
        let [map50, map] = paired_difference(&[[&a, &b]], 1).unwrap();
        // Every hit is exact, but for the rounding of a mean of ten.
        assert!((map50.value - map.value).abs() + (map50.low - map.low).abs() < 1e-9, "{map50:?} {map:?}");
        // 45 of 60 against 30 of 60: the images that tell them apart are a quarter, ± 0.11 at 95 %.
        assert!((map.value - 0.25).abs() < 0.01, "{map:?}");
        assert!((0.10..0.19).contains(&map.low) && (0.31..0.40).contains(&map.high), "{map:?}");
        assert_eq!(paired_difference(&[[&a, &b]], 1), paired_difference(&[[&a, &b]], 1));
        assert_eq!(paired_difference(&[[&a, &half_right(59, 1)]], 1), None);
        assert_eq!(paired_difference(&[], 1), None);
    }

    #[test]
    fn of_two_sets_of_images_the_mean_is_surer_than_either() {
        let (a, b, c) = (half_right(60, 30), half_right(60, 45), half_right(60, 36));
        let width = |pairs: &[Pair<'_>]| -> (f64, f64) {
            let [_, map] = paired_difference(pairs, 1).unwrap();
            (map.value, map.high - map.low)
        };
        let (one, both) = (width(&[[&a, &b]]), width(&[[&a, &b], [&a, &b]]));
        assert!((one.0 - both.0).abs() < 1e-12 && both.1 < 0.85 * one.1, "{one:?} {both:?}");
        let mean = f64::midpoint(one.0, width(&[[&a, &c]]).0);
        assert!((width(&[[&a, &b], [&a, &c]]).0 - mean).abs() < 1e-12);
    }

    /// Photographs of which the first `right` are found, then two copies of each, found as the photograph is.
    fn with_copies(photographs: usize, right: usize) -> (Matches, Vec<usize>) {
        let groups: Vec<usize> =
            (0..photographs).chain((0..photographs).flat_map(|photograph| [photograph; 2])).collect();
        (found_on(groups.iter().map(|&photograph| photograph < right)), groups)
    }

    #[test]
    fn copies_that_repeat_their_photograph_leave_the_interval_of_the_photographs() {
        let alone = paired_difference(&[[&half_right(60, 30), &half_right(60, 45)]], 1).unwrap();
        let ((a, groups), (b, _)) = (with_copies(60, 30), with_copies(60, 45));
        let [_, independent] = paired_difference(&[[&a, &b]], 1).unwrap();
        let grouped = [a, b].map(|matches| matches.grouped(groups.clone()).unwrap());
        assert_eq!(paired_difference(&[[&grouped[0], &grouped[1]]], 1), Some(alone));
        let width = |difference: Difference| difference.high - difference.low;
        // Taken for photographs of their own, three times as many narrow it to a root of three.
        assert!(width(independent) < 0.75 * width(alone[1]), "{independent:?} {alone:?}");
    }

    #[test]
    fn groups_fit_the_images_and_both_models() {
        let (matches, groups) = with_copies(4, 2);
        assert!(matches.clone().grouped(groups[1..].to_vec()).is_err());
        assert!(matches.clone().grouped(vec![7; 12]).is_err(), "nothing is in the first seven");
        assert!(matches.clone().grouped(vec![usize::MAX; 12]).is_err());
        let grouped = matches.clone().grouped(groups).unwrap();
        assert_eq!(paired_difference(&[[&matches, &grouped]], 1), None);
    }
}
