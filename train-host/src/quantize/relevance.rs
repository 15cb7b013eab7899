//! Which of a model's outputs matter: those with a score. Nearly all places of an image are background, and an error
//! there that stays below every threshold is none.

use repedge::int8::sigmoid;

use crate::model::{Boxes, Head};

/// Number of outputs that a level of the feature pyramid has.
pub(super) fn outputs_of_level(head: &Head) -> usize {
    match head.boxes {
        Boxes::Anchors { .. } => 1,
        Boxes::Distances { .. } => 2,
    }
}

/// The score that decoding gives each box of a level, its best class: the boxes of an anchor behind each other. `level`
/// holds the outputs of the level, planes of `plane` values.
pub(super) fn scores(head: &Head, level: &[Vec<f32>], plane: usize) -> Vec<f64> {
    let classes = head.classes.len();
    match head.boxes {
        Boxes::Anchors { .. } => {
            level[0].chunks(plane * (5 + classes)).flat_map(|anchor| objects(anchor, plane)).collect()
        }
        Boxes::Distances { .. } => best(&level[1], plane),
    }
}

/// Where the scores of `channel`'s box begin in what [`scores`] gives.
pub(super) fn offset(head: &Head, channel: usize, plane: usize) -> usize {
    match head.boxes {
        Boxes::Anchors { .. } => channel / (5 + head.classes.len()) * plane,
        Boxes::Distances { .. } => 0,
    }
}

/// Objectness times the best class.
fn objects(anchor: &[f32], plane: usize) -> Vec<f64> {
    let mut scores = best(&anchor[5 * plane..], plane);
    let objectness = &anchor[4 * plane..5 * plane];
    scores.iter_mut().zip(objectness).for_each(|(score, &logit)| *score *= sigmoid(f64::from(logit)));
    scores
}

fn best(classes: &[f32], plane: usize) -> Vec<f64> {
    let mut logits = vec![f32::NEG_INFINITY; plane];
    for class in classes.chunks(plane) {
        logits.iter_mut().zip(class).for_each(|(best, &logit)| *best = best.max(logit));
    }
    logits.into_iter().map(|logit| sigmoid(f64::from(logit))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(boxes: Boxes) -> Head {
        Head { classes: vec!["a".into(), "b".into()], strides: vec![8], boxes }
    }

    #[test]
    fn an_anchors_score_is_its_objectness_times_its_best_class() {
        let head = head(Boxes::Anchors { anchors_px: vec![vec![[1.0, 1.0]; 2]] });
        // Two anchors of 7 channels over planes of two values.
        let mut output = vec![0.0; 28];
        output[8] = 2.0;
        output[10] = -1.0;
        output[12] = 3.0;
        let scores = scores(&head, &[output], 2);
        assert_eq!(scores.len(), 4);
        assert!((scores[0] - sigmoid(2.0) * sigmoid(3.0)).abs() < 1e-9);
        assert_eq!(scores[1..], [0.25; 3]);
        assert_eq!([6, 7, 13].map(|channel| offset(&head, channel, 2)), [0, 2, 2]);
    }

    #[test]
    fn a_split_heads_score_is_its_best_class() {
        let head = head(Boxes::Distances { reg_max: 16 });
        let scores = scores(&head, &[vec![9.0; 128], vec![1.0, -1.0, 0.0, 2.0]], 2);
        assert_eq!(scores, [sigmoid(1.0), sigmoid(2.0)]);
        assert_eq!(outputs_of_level(&head), 2);
    }
}
