//! What an error in each raw output costs: box logits by how far they move a box out of place (its overlap with where it
//! was), scores by what they are. Nearly all places of an image are background, where an error costs nothing.
//!
//! Mean average precision counts overlaps from .50 to .95, so that a detection loses two points of precision a point of
//! overlap; its order among others suffers only from large errors of its score.

use repedge::int8::sigmoid;

use crate::model::{Boxes, Head};

/// Scores below it do not count in evaluation.
const LEAST_SCORE: f64 = 1e-3;
/// What a squared change of overlap costs against a squared change of a score's logit. Boxes lose what int8 loses: a yolov5n
/// whose boxes alone were of int8 lost 0.46 points of mAP on coco128's halves and altered copies, with a quarter to a third of
/// this measure's error at a weight of 8; one whose scores alone were lost none with the rest, which asks for 96 at least.
const OVERLAP: f64 = 128.0;

/// Number of outputs that a level of the feature pyramid has.
fn outputs_of_level(head: &Head) -> usize {
    match head.boxes {
        Boxes::Anchors { .. } => 1,
        Boxes::Distances { .. } => 2,
    }
}

/// Cost of a squared error of every raw output, for one image. `outputs` are the raw outputs, planes of
/// `planes[output]` values.
pub(super) fn of_outputs(head: &Head, outputs: &[&[f32]], planes: &[usize]) -> Vec<Vec<f64>> {
    let of_level = outputs_of_level(head);
    let levels = outputs.chunks(of_level).zip(planes.chunks(of_level)).zip(&head.strides).enumerate();
    levels
        .flat_map(|(level, ((outputs, planes), &stride))| match &head.boxes {
            Boxes::Anchors { anchors_px } => {
                vec![anchors(head, level, outputs[0], planes[0], &anchors_px[level], stride)]
            }
            Boxes::Distances { reg_max } => distances(outputs, planes[0], *reg_max),
        })
        .collect()
}

/// `x, y, w, h, objectness` and classes for each anchor: `xy = (2σ - 0.5 + cell) · stride`, `wh = (2σ)² · anchor`.
/// Box logits as the head spread them: an error of what they are stored as is one of the logit, divided by the gain.
fn anchors(
    head: &Head,
    level: usize,
    output: &[f32],
    plane: usize,
    anchors_px: &[[f32; 2]],
    stride: usize,
) -> Vec<f64> {
    let channels = 5 + head.classes.len();
    let mut costs = vec![0.0; output.len()];
    #[expect(clippy::cast_precision_loss, reason = "strides are small")]
    let stride = stride as f64;
    for (anchor, size_px) in anchors_px.iter().enumerate() {
        let first = anchor * channels * plane;
        for place in 0..plane {
            let at = |channel: usize| first + channel * plane + place;
            let score = |channel: usize| sigmoid(f64::from(output[at(channel)]));
            let objectness = score(4);
            // No class makes more of it; nearly all places end here.
            if objectness < LEAST_SCORE {
                continue;
            }
            let mut best = 0.0;
            for class in 5..channels {
                let found = objectness * score(class);
                if found >= LEAST_SCORE {
                    costs[at(class)] = found;
                }
                best = f64::max(best, found);
            }
            if best < LEAST_SCORE {
                continue;
            }
            costs[at(4)] = best;
            let spread = |part: usize| head.spread_of(level, anchor * channels + part);
            let told = |part: usize| sigmoid(f64::from(spread(part).logit(output[at(part)])));
            let per_value = |part: usize| 1.0 / f64::from(spread(part).gain).powi(2);
            for axis in 0..2 {
                let (center, size) = (told(axis), told(axis + 2));
                let side = (4.0 * size * size * f64::from(size_px[axis])).max(1.0);
                // A shift by a part d of the side leaves an overlap of (1 - d) / (1 + d).
                let by_center = 2.0 * 2.0 * center * (1.0 - center) * stride / side;
                let by_size = 2.0 * (1.0 - size);
                costs[at(axis)] = OVERLAP * best * by_center * by_center * per_value(axis);
                costs[at(axis + 2)] = OVERLAP * best * by_size * by_size * per_value(axis + 2);
            }
        }
    }
    costs
}

/// A box output of four distributions over `bins` distances, and a class output.
fn distances(outputs: &[&[f32]], plane: usize, bins: usize) -> Vec<Vec<f64>> {
    let (boxes, classes) = (outputs[0], outputs[1]);
    let scores: Vec<f64> = classes.iter().map(|&logit| sigmoid(f64::from(logit))).collect();
    let counted = |score: f64| if score < LEAST_SCORE { 0.0 } else { score };
    let mut costs = vec![0.0; boxes.len()];
    for place in 0..plane {
        let best = counted(scores[place..].iter().step_by(plane).copied().fold(0.0, f64::max));
        if best <= 0.0 {
            continue;
        }
        let sides: Vec<(Vec<f64>, f64)> =
            (0..4).map(|side| distribution(boxes, side * bins * plane + place, plane, bins)).collect();
        for (side, (parts, mean)) in sides.iter().enumerate() {
            // Left and right span a box's width, top and bottom its height.
            let length = (mean + sides[(side + 2) % 4].1).max(0.1);
            for (bin, part) in parts.iter().enumerate() {
                let change = part * (distance(bin) - mean) / length;
                costs[(side * bins + bin) * plane + place] = OVERLAP * best * change * change;
            }
        }
    }
    vec![costs, scores.into_iter().map(counted).collect()]
}

/// The part of each bin from `first` on, and their mean distance.
fn distribution(logits: &[f32], first: usize, plane: usize, bins: usize) -> (Vec<f64>, f64) {
    let logits = || logits[first..].iter().step_by(plane).take(bins).map(|&logit| f64::from(logit));
    let most = logits().fold(f64::NEG_INFINITY, f64::max);
    let parts: Vec<f64> = logits().map(|logit| (logit - most).exp()).collect();
    let sum: f64 = parts.iter().sum();
    let parts: Vec<f64> = parts.into_iter().map(|part| part / sum).collect();
    let mean = parts.iter().enumerate().map(|(bin, part)| part * distance(bin)).sum();
    (parts, mean)
}

#[expect(clippy::cast_precision_loss, reason = "bins are few")]
fn distance(bin: usize) -> f64 {
    bin as f64
}

#[cfg(test)]
mod tests {
    use artifact::Spread;

    use super::*;

    fn head(boxes: Boxes) -> Head {
        Head { classes: vec!["a".into(), "b".into()], strides: vec![8], boxes, spread: Vec::new() }
    }

    #[test]
    fn background_costs_nothing_and_small_boxes_ask_for_exact_centers() {
        let head = head(Boxes::Anchors { anchors_px: vec![vec![[8.0, 80.0]]] });
        // Two places; only the second holds an object, of class 1.
        let mut output = [0.0_f32; 14];
        (output[8], output[9], output[11], output[13]) = (-12.0, 2.0, -9.0, 3.0);
        let costs = of_outputs(&head, &[&output], &[2]).remove(0);
        assert!(costs.iter().step_by(2).all(|cost| *cost == 0.0), "{costs:?}");
        let score = sigmoid(2.0) * sigmoid(3.0);
        assert!((costs[9] - score).abs() < 1e-9 && (costs[13] - score).abs() < 1e-9);
        assert_eq!(costs[11], 0.0);
        // All box logits are 0: the center moves by half a stride a logit, the size by its own part.
        assert!((costs[5] - OVERLAP * score).abs() < 1e-9 && (costs[7] - OVERLAP * score).abs() < 1e-9);
        assert!((costs[1] / costs[3] - 100.0).abs() < 1e-6);
    }

    #[test]
    fn spread_boxes_cost_what_their_logits_do() {
        let plain = head(Boxes::Anchors { anchors_px: vec![vec![[8.0, 80.0]]] });
        let wide = Spread { gain: 4.0, offset: -3.0 };
        let spread = Head { spread: vec![vec![[wide; 4]]], ..plain.clone() };
        let logits = [0.3_f32, -0.2, 0.9, 0.1, 2.0, -9.0, 3.0];
        let mut values = logits;
        values[..4].iter_mut().for_each(|value| *value = *value * wide.gain + wide.offset);
        let [of_logits, of_values] = [(&plain, &logits), (&spread, &values)]
            .map(|(head, output)| of_outputs(head, &[output], &[1]).remove(0));
        for (part, (logit, value)) in of_logits.iter().zip(&of_values).enumerate() {
            let gain = if part < 4 { 16.0 } else { 1.0 };
            assert!((logit - value * gain).abs() < 1e-5 * logit.max(1.0), "{part}: {logit} {value}");
        }
    }

    #[test]
    fn a_split_heads_bins_count_by_how_far_they_move_their_side() {
        let head = head(Boxes::Distances { reg_max: 3 });
        let boxes = [0.0_f32; 12];
        let costs = of_outputs(&head, &[&boxes, &[1.0, -20.0]], &[1, 1]);
        // Each side lies at distance 1 of 2: the middle bin moves nothing, the outer ones a third of a step.
        let outer = OVERLAP * sigmoid(1.0) * (1.0_f64 / 6.0).powi(2);
        for side in costs[0].chunks(3) {
            assert!((side[0] - outer).abs() < 1e-9 && side[1] < 1e-12 && (side[2] - outer).abs() < 1e-9);
        }
        assert_eq!(costs[1], [sigmoid(1.0), 0.0]);
    }
}
