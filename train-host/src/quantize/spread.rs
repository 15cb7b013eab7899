//! How far box logits are spread over the range of the scores, for devices that store both with one scale: scores need logits
//! from −7 up, boxes but a few around 0, of which a step of that scale is a twentieth of a side. The last convolution's box
//! channels are multiplied and shifted, which costs nothing with a scale for each channel, and the head says how, so that
//! decoding undoes it. Decides nothing about scales but that the range of scores holds the boxes that were seen, and more.

use artifact::{Spread, Tensor, TensorData};
use boards::{Int8, Outputs};
use repedge::backend::Session;
use repedge::int8::sigmoid;

use super::calibrate::Range;
use super::images::Images;
use super::observe::Channel;
use super::ranges::over_scores;
use crate::model::{Boxes, FusedModel, Head, can_be_spread, spread_boxes};
use crate::{Result, export};

/// Box channels of an anchor.
const PARTS: usize = 4;
/// Least score of a box that has to fit: others are not shown, and cost next to nothing in evaluation.
const COUNTED: f64 = 0.01;
/// Part of the range seen of a box channel that is added at each end, for boxes that calibration did not show.
const ROOM: f64 = 0.15;
/// What a channel can always tell, however little of it was seen: of centers all but the last tenth of a cell at each end of the
/// two that they may lie in, of sides from a twentieth of the anchor's to three and a half times as much.
const CENTERS: Range = Range { low: -2.0, high: 2.0 };
const SIZES: Range = Range { low: -2.0, high: 2.5 };
/// What a channel can tell of which no box was seen.
const UNSEEN: Range = Range { low: -4.0, high: 4.0 };

/// `model` with its boxes spread, as they lie in `images`; as it is where `rules` store no outputs or they hold either boxes
/// or scores.
///
/// # Errors
/// [`Error::Runtime`](crate::Error::Runtime) when tract refuses the model or an image cannot be read.
pub fn spread(model: &FusedModel, images: &Images, rules: Int8) -> Result<FusedModel> {
    let head = &model.architecture.head;
    let has_both = matches!(head.boxes, Boxes::Anchors { .. }) && can_be_spread(&model.architecture);
    if rules.outputs == Outputs::Real || !has_both {
        return Ok(model.clone());
    }
    let plain = spread_boxes(model, Vec::new())?;
    let levels = seen(&plain, images)?;
    spread_boxes(&plain, levels.iter().map(|level| level.spread(head)).collect())
}

/// What was seen of one output.
#[derive(Default)]
struct Level {
    channels: Vec<Channel>,
    /// Of boxes that count, by channel; none where there was none.
    boxes: Vec<Option<Range>>,
}

/// Runs `model` over `images`.
fn seen(model: &FusedModel, images: &Images) -> Result<Vec<Level>> {
    let head = &model.architecture.head;
    let mut session = export::session(model)?;
    let mut outputs: Vec<Tensor> = session.outputs().iter().map(Tensor::zeroed).collect();
    let mut levels: Vec<Level> = outputs.iter().map(|_| Level::default()).collect();
    images.stream(model.imgsz, "box ranges", |shown| {
        session.run(shown.tensor, &mut outputs)?;
        for (level, output) in levels.iter_mut().zip(&outputs) {
            let TensorData::F32(values) = &output.data else { continue };
            let (height, width) = output.height_width();
            let picture = shown.content.crop(values, height, width);
            level.add(head, &picture, output.channels());
        }
        Ok(())
    })?;
    Ok(levels)
}

impl Level {
    /// Adds the raw outputs of one picture, `channels` planes.
    fn add(&mut self, head: &Head, picture: &[f32], channels: usize) {
        self.channels.resize(channels, Channel::default());
        self.boxes.resize(channels, None);
        let plane = (picture.len() / channels.max(1)).max(1);
        for (channel, values) in self.channels.iter_mut().zip(picture.chunks(plane)) {
            channel.add(values);
        }
        let of_anchor = PARTS + 1 + head.classes.len();
        for (anchor, values) in picture.chunks(of_anchor * plane).enumerate() {
            for place in (0..plane).filter(|&place| counts(values, plane, place)) {
                for part in 0..PARTS {
                    self.widen(anchor * of_anchor + part, f64::from(values[part * plane + place]));
                }
            }
        }
    }

    fn widen(&mut self, channel: usize, value: f64) {
        let range = self.boxes[channel].get_or_insert(Range { low: value, high: value });
        (range.low, range.high) = (range.low.min(value), range.high.max(value));
    }

    /// How the box channels of each anchor are spread: what was seen of them, with some room, over the range of scores.
    fn spread(&self, head: &Head) -> Vec<[Spread; PARTS]> {
        let scores = over_scores(head, &self.channels);
        let of_anchor = PARTS + 1 + head.classes.len();
        let anchors = self.boxes.chunks(of_anchor);
        anchors.map(|seen| std::array::from_fn(|part| over(to_tell(part, seen[part]), scores))).collect()
    }
}

/// Whether the box of an anchor at `place` may be shown.
fn counts(anchor: &[f32], plane: usize, place: usize) -> bool {
    let score = |channel: usize| sigmoid(f64::from(anchor[channel * plane + place]));
    let objectness = score(PARTS);
    // Nearly all places end here.
    objectness >= COUNTED
        && (PARTS + 1..anchor.len() / plane).any(|class| objectness * score(class) >= COUNTED)
}

/// What a box channel must be able to tell, of which `seen` was seen.
fn to_tell(part: usize, seen: Option<Range>) -> Range {
    let Some(Range { low, high }) = seen else { return UNSEEN };
    let least = if part < 2 { CENTERS } else { SIZES };
    let room = ROOM * (high - low);
    Range { low: (low - room).min(least.low), high: (high + room).max(least.high) }
}

/// Maps the ends of `from` to those of `to`.
fn over(from: Range, to: Range) -> Spread {
    let gain = (to.high - to.low) / (from.high - from.low);
    let offset = to.low - gain * from.low;
    // A broken model gives anything; observing it says so.
    if !(gain.is_finite() && gain > 0.0 && offset.is_finite()) {
        return Spread::NONE;
    }
    #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
    Spread { gain: gain as f32, offset: offset as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: Range = Range { low: -7.0, high: 4.0 };

    fn ends(spread: Spread, from: Range) -> [f64; 2] {
        [from.low, from.high].map(|end| end * f64::from(spread.gain) + f64::from(spread.offset))
    }

    #[test]
    fn boxes_fill_the_range_of_scores_and_no_more() {
        for from in [Range { low: -1.0, high: 1.2 }, Range { low: -10.0, high: 12.0 }] {
            let [low, high] = ends(over(from, SCORES), from);
            assert!((low + 7.0).abs() < 1e-5 && (high - 4.0).abs() < 1e-5, "{low} {high}");
        }
    }

    #[test]
    fn what_is_seen_has_room_and_little_seen_has_most() {
        let wide = to_tell(0, Some(Range { low: -4.0, high: 6.0 }));
        assert_eq!((wide.low, wide.high), (-5.5, 7.5));
        // One object, seen at one place.
        for part in 0..PARTS {
            let point = to_tell(part, Some(Range { low: 2.0, high: 2.0 }));
            assert!(point.low <= -2.0 && point.high >= 2.0, "{part}: {point:?}");
        }
        assert_eq!(to_tell(3, None), UNSEEN);
    }

    #[test]
    fn a_range_of_nothing_or_of_no_number_spreads_nothing() {
        assert_eq!(over(Range { low: f64::NAN, high: 1.0 }, SCORES), Spread::NONE);
        assert_eq!(over(Range { low: f64::NEG_INFINITY, high: 1.0 }, SCORES), Spread::NONE);
        assert_eq!(over(Range { low: -1.0, high: 1.0 }, Range { low: 0.0, high: 0.0 }), Spread::NONE);
    }

    #[test]
    fn only_boxes_of_objects_count_and_scores_keep_their_room() {
        let head = Head::with_anchors(vec!["a".into()], vec![8], vec![vec![[8.0, 8.0]; 2]]);
        // Two anchors of two places; the second place of the first anchor holds an object.
        let mut picture = vec![9.0_f32; 2 * 6 * 2];
        for (channel, values) in picture.chunks_mut(2).enumerate() {
            match channel {
                0 => values[1] = -0.5,
                1 => values[1] = 3.0,
                2 | 3 => values[1] = 0.0,
                4 | 5 => values.copy_from_slice(&[-9.0, 1.0]),
                10 | 11 => values.copy_from_slice(&[-8.0, -8.0]),
                _ => {}
            }
        }
        let mut level = Level::default();
        level.add(&head, &picture, 12);
        let seen: Vec<Option<f64>> = level.boxes.iter().map(|range| range.map(|range| range.high)).collect();
        assert_eq!(seen[..4], [Some(-0.5), Some(3.0), Some(0.0), Some(0.0)]);
        assert!(seen[4..].iter().all(Option::is_none));
        let spread = level.spread(&head);
        // Scores reach from -7, below which they vanish, to 4 at least, whatever was seen.
        assert_eq!(spread[1], [over(UNSEEN, SCORES); 4]);
        assert_eq!(spread[0][1], over(Range { low: -2.0, high: 3.0 }, SCORES));
    }
}
