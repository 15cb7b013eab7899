//! The confidence at which a detector would be used: where F1, averaged over classes, is highest. Precision and
//! recall are only meaningful at one confidence, and this is the one YOLOv5 prints them at.
//! Never matches boxes: it is given which detections were right.

/// One detection after matching at IoU 0.5.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scored {
    /// Class of the detection.
    pub class: usize,
    /// Confidence, 0..1.
    pub score: f64,
    /// Whether it claimed a labeled object.
    pub correct: bool,
}

/// Precision and recall of each class at the chosen confidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct OperatingPoint {
    /// Detections with at least this confidence are kept; 1 when there is no detection.
    pub confidence: f64,
    /// Precision of each class: 0 where nothing was detected, absent where nothing was labeled.
    pub precision: Vec<Option<f64>>,
    /// Recall of each class; absent where nothing was labeled.
    pub recall: Vec<Option<f64>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Tally {
    correct: usize,
    kept: usize,
    labels: usize,
}

impl Tally {
    /// `2·TP / (detections + labels)`, the harmonic mean of precision and recall.
    fn f1(self) -> f64 {
        ratio(2 * self.correct, self.kept + self.labels)
    }
}

/// Finds the best confidence exactly, by lowering it past one detection after the other.
///
/// `labels[c]` is the number of labeled objects of class `c`; classes without any take no part. Of several equally
/// good confidences the highest wins.
pub(super) fn best_f1(labels: &[usize], mut detections: Vec<Scored>) -> OperatingPoint {
    detections.retain(|d| labels.get(d.class).is_some_and(|&n| n > 0));
    detections.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut tallies: Vec<Tally> = labels.iter().map(|&labels| Tally { labels, ..Tally::default() }).collect();
    let mut best = (1.0, tallies.clone());
    let (mut sum, mut best_sum) = (0.0, 0.0);
    for (i, detection) in detections.iter().enumerate() {
        let tally = &mut tallies[detection.class];
        sum -= tally.f1();
        tally.kept += 1;
        tally.correct += usize::from(detection.correct);
        sum += tally.f1();
        // Equal scores cannot be told apart by a threshold: judge only after the last of them.
        let last_of_its_score = detections.get(i + 1).is_none_or(|next| next.score < detection.score);
        if last_of_its_score && sum > best_sum + 1e-12 {
            best_sum = sum;
            best = (detection.score, tallies.clone());
        }
    }
    let (confidence, tallies) = best;
    let of_labeled =
        |value: fn(Tally) -> f64| tallies.iter().map(|&t| (t.labels > 0).then(|| value(t))).collect();
    OperatingPoint {
        confidence,
        precision: of_labeled(|t| ratio(t.correct, t.kept)),
        recall: of_labeled(|t| ratio(t.correct, t.labels)),
    }
}

/// `part / whole`, 0 for an empty whole.
#[expect(clippy::cast_precision_loss, reason = "counts of boxes are far below 2^53")]
fn ratio(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scored(class: usize, score: f64, correct: bool) -> Scored {
        Scored { class, score, correct }
    }

    #[test]
    fn stops_before_the_false_alarms() {
        let detections = vec![
            scored(0, 0.3, false),
            scored(0, 0.9, true),
            scored(0, 0.8, true),
            scored(0, 0.2, false),
            scored(0, 0.1, true),
        ];
        // Kept 2 of 3 labels: F1 = 4/5; keeping all five would give 6/8.
        let point = best_f1(&[3], detections);
        assert_eq!(point.confidence, 0.8);
        assert_eq!(point.precision, [Some(1.0)]);
        assert_eq!(point.recall, [Some(2.0 / 3.0)]);
    }

    #[test]
    fn equal_scores_are_kept_or_dropped_together() {
        let detections = vec![scored(0, 0.5, true), scored(0, 0.5, false), scored(0, 0.5, false)];
        let point = best_f1(&[1], detections);
        assert_eq!(point.precision, [Some(1.0 / 3.0)]);
        assert_eq!(point.recall, [Some(1.0)]);
    }

    #[test]
    fn classes_without_labels_do_not_count() {
        let detections = vec![scored(0, 0.4, true), scored(1, 0.9, false), scored(7, 0.9, true)];
        let point = best_f1(&[1, 0], detections);
        assert_eq!(point.confidence, 0.4);
        assert_eq!(point.precision, [Some(1.0), None]);
        assert_eq!(point.recall, [Some(1.0), None]);
    }

    #[test]
    fn one_confidence_serves_all_classes() {
        // Class 0 alone would stop at 0.9, class 1 needs 0.3: together F1 is 2/3 + 1 against 1 + 0.
        let detections = vec![scored(0, 0.9, true), scored(0, 0.5, false), scored(1, 0.3, true)];
        let point = best_f1(&[1, 1], detections);
        assert_eq!(point.confidence, 0.3);
        assert_eq!(point.precision, [Some(0.5), Some(1.0)]);
    }

    #[test]
    fn nothing_detected_is_zero_not_nan() {
        let point = best_f1(&[2, 0], Vec::new());
        assert_eq!(point.confidence, 1.0);
        assert_eq!(point.precision, [Some(0.0), None]);
        assert_eq!(point.recall, [Some(0.0), None]);
    }
}
