//! Objects that move as formulas say: what is tracked must keep its number, and nothing else may get one.

#![allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "numbers of a few frames")]

use allocation_counter::measure;
use proptest::prelude::*;

use super::*;

const FRAME: Duration = Duration::from_millis(33);

fn seen(center: (f32, f32), side: f32, score: f32) -> Detection {
    let half = side / 2.0;
    Detection {
        class: 0,
        score,
        x0: center.0 - half,
        y0: center.1 - half,
        x1: center.0 + half,
        y1: center.1 + half,
    }
}

fn tracker() -> Tracker {
    Tracker::new(TrackSettings::default()).unwrap()
}

/// Numbers given in each of `frames`, whose detections `found` tells by number of the frame.
fn numbers(
    tracker: &mut Tracker,
    frames: Range<u32>,
    found: impl Fn(f32) -> Vec<Detection>,
) -> Vec<Vec<u32>> {
    let update = |frame: u32| {
        let at = FRAME * frame;
        tracker.update(at, &found(at.as_secs_f32())).iter().map(|tracked| tracked.id).collect()
    };
    frames.map(update).collect()
}

/// Which number is nearest to where `center` is.
fn nearest(shown: &[Tracked], center: (f32, f32)) -> u32 {
    let distance = |tracked: &&Tracked| {
        let Detection { x0, x1, y0, y1, .. } = tracked.detection;
        f32::midpoint(x0, x1) - center.0 + (f32::midpoint(y0, y1) - center.1)
    };
    shown.iter().min_by(|a, b| distance(a).abs().total_cmp(&distance(b).abs())).unwrap().id
}

#[test]
fn objects_that_cross_keep_their_numbers() {
    let (left, right) = (|at: f32| (100.0 + 200.0 * at, 200.0), |at: f32| (500.0 - 200.0 * at, 215.0));
    let mut tracker = tracker();
    let mut first = None;
    for frame in 0..60 {
        let at = FRAME * frame;
        let centers = [left(at.as_secs_f32()), right(at.as_secs_f32())];
        // Where both overlap most, suppression leaves one box.
        let is_hidden = (centers[0].0 - centers[1].0).abs() < 15.0;
        let found = centers.map(|center| seen(center, 60.0, 0.9));
        let shown = tracker.update(at, &found[..if is_hidden { 1 } else { 2 }]);
        if is_hidden {
            continue;
        }
        let now = centers.map(|center| nearest(shown, center));
        assert_eq!(*first.get_or_insert(now), now, "frame {frame}: {shown:?}");
        assert_eq!(shown.len(), 2, "frame {frame}");
    }
}

#[test]
fn an_object_that_was_hidden_for_half_a_second_is_the_same() {
    let mut tracker = tracker();
    let path = |at: f32| seen((100.0 + 120.0 * at, 100.0 + 40.0 * at), 50.0, 0.8);
    let is_hidden = |at: f32| (1.0..1.5).contains(&at);
    let all = numbers(&mut tracker, 0..90, |at| if is_hidden(at) { vec![] } else { vec![path(at)] });
    assert!(all.iter().all(|ids| ids.is_empty() || *ids == [1]), "{all:?}");
    assert_eq!(all.iter().filter(|ids| ids.is_empty()).count(), 15);
}

#[test]
fn an_object_that_returns_after_the_memory_is_another() {
    let mut tracker = tracker();
    let is_hidden = |at: f32| (1.0..2.5).contains(&at);
    let still = seen((100.0, 100.0), 50.0, 0.8);
    let all = numbers(&mut tracker, 0..90, |at| if is_hidden(at) { vec![] } else { vec![still] });
    assert_eq!(all.last().unwrap(), &[2]);
}

#[test]
fn a_score_that_drops_does_not_lose_the_object_but_low_scores_begin_none() {
    let score = |at: f32| if (0.5..1.0).contains(&at) { 0.2 } else { 0.9 };
    let all = numbers(&mut tracker(), 0..60, |at| vec![seen((100.0 + 50.0 * at, 80.0), 40.0, score(at))]);
    assert!(all.iter().all(|ids| *ids == [1]), "{all:?}");
    let all = numbers(&mut tracker(), 0..60, |_| vec![seen((100.0, 80.0), 40.0, 0.45)]);
    assert!(all.iter().all(Vec::is_empty));
}

#[test]
fn what_is_seen_once_gets_no_number_and_uses_none_up() {
    let mut tracker = tracker();
    let all = numbers(&mut tracker, 0..40, |at| {
        let mut found = vec![seen((100.0, 80.0), 40.0, 0.9)];
        let flash = (at * 1000.0).round() as u32 / 33;
        if flash % 5 == 2 {
            found.push(seen((300.0 + 20.0 * at, 300.0), 40.0, 0.9));
        }
        if at > 1.0 {
            found.push(seen((500.0, 80.0), 40.0, 0.9));
        }
        found
    });
    assert!(all[..30].iter().all(|ids| *ids == [1]), "{all:?}");
    assert_eq!(all.last().unwrap(), &[1, 2]);
}

#[test]
fn frames_that_are_missing_or_late_do_not_matter() {
    let mut tracker = tracker();
    let path = |at: Duration| seen((100.0 + 150.0 * at.as_secs_f32(), 100.0), 50.0, 0.9);
    let mut at = Duration::ZERO;
    for frame in 0..60_u32 {
        at += FRAME * [1, 1, 3, 1, 5][frame as usize % 5];
        let shown = tracker.update(at, &[path(at)]);
        assert_eq!(shown.len(), 1, "frame {frame}");
        assert_eq!(shown[0].id, 1, "frame {frame}");
    }
    let back = tracker.update(FRAME, &[path(at)]);
    assert_eq!(back[0].id, 1, "a clock that runs backwards stands still");
}

#[test]
fn another_class_is_another_object() {
    let mut tracker = tracker();
    let person = seen((100.0, 100.0), 50.0, 0.9);
    let bicycle = Detection { class: 1, ..person };
    assert_eq!(tracker.update(Duration::ZERO, &[person]).len(), 1);
    assert!(tracker.update(FRAME, &[bicycle]).is_empty());
    let shown = tracker.update(FRAME * 2, &[bicycle, person]);
    assert_eq!(
        shown.iter().map(|tracked| (tracked.id, tracked.detection.class)).collect::<Vec<_>>(),
        [(1, 0), (2, 1)]
    );
}

#[test]
fn scores_out_of_order_are_refused() {
    for (low_score, high_score) in [(0.6, 0.5), (-0.1, 0.5), (f32::NAN, 0.5)] {
        let error =
            Tracker::new(TrackSettings { low_score, high_score, ..TrackSettings::default() }).unwrap_err();
        assert!(error.to_string().contains("low"), "{error}");
    }
}

#[test]
fn following_what_is_known_allocates_nothing() {
    let mut tracker = tracker();
    let found: Vec<_> = (0..20_u8).map(|at| seen((f32::from(at) * 60.0, 100.0), 50.0, 0.9)).collect();
    for frame in 0..3 {
        tracker.update(FRAME * frame, &found);
    }
    let counted = measure(|| {
        for frame in 3..30 {
            assert_eq!(tracker.update(FRAME * frame, &found).len(), 20);
        }
    });
    assert_eq!(counted.count_total, 0);
}

proptest! {
    #[test]
    fn numbers_are_unique_and_no_more_than_detections(
        frames in proptest::collection::vec(
            proptest::collection::vec(
                (0_usize..2, -0.2_f32..1.2, -50.0_f32..500.0, -50.0_f32..500.0, prop_oneof![Just(f32::NAN), -5.0_f32..90.0]),
                0..12,
            ),
            1..20,
        )
    ) {
        let mut tracker = tracker();
        let mut highest = 0;
        for (at, frame) in frames.iter().enumerate() {
            let found: Vec<_> = frame
                .iter()
                .map(|&(class, score, x, y, side)| Detection { class, ..seen((x, y), side, score) })
                .collect();
            let shown = tracker.update(FRAME * u32::try_from(at).unwrap(), &found);
            prop_assert!(shown.len() <= found.len());
            prop_assert!(shown.windows(2).all(|pair| pair[0].id < pair[1].id));
            for tracked in shown {
                prop_assert!(tracked.detection.x1 >= tracked.detection.x0);
                highest = highest.max(tracked.id);
            }
        }
        prop_assert!(highest <= u32::try_from(frames.iter().map(Vec::len).sum::<usize>()).unwrap());
    }
}
