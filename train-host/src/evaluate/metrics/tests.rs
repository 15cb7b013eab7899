use proptest::prelude::*;

use super::*;
use crate::dataset::LabelBox;

const SIDE: f32 = 1000.0;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}

/// A 1000×1000 image with square objects given as (class, left, top, side) in pixels.
fn image(objects: &[(usize, f32, f32, f32)]) -> Sample {
    let label = |&(class, x, y, side): &(usize, f32, f32, f32)| LabelBox {
        class,
        cx: (x + side / 2.0) / SIDE,
        cy: (y + side / 2.0) / SIDE,
        w: side / SIDE,
        h: side / SIDE,
    };
    Sample {
        image: "image.png".into(),
        width_px: 1000,
        height_px: 1000,
        boxes: objects.iter().map(label).collect(),
    }
}

fn detection(class: usize, score: f32, x: f32, y: f32, side: f32) -> Detection {
    Detection { class, score, x0: x, y0: y, x1: x + side, y1: y + side }
}

fn measured(classes: &[&str], images: &[(Sample, Vec<Detection>)]) -> Metrics {
    let samples: Vec<&Sample> = images.iter().map(|(sample, _)| sample).collect();
    let detections: Vec<Vec<Detection>> = images.iter().map(|(_, found)| found.clone()).collect();
    measure(&names(classes), &samples, &detections).unwrap()
}

fn assert_near(found: Option<f64>, expected: f64) {
    assert!(found.is_some_and(|v| (v - expected).abs() < 1e-9), "{found:?} is not {expected}");
}

#[test]
fn perfect_detections_score_one() {
    let m = measured(
        &["cat", "dog"],
        &[
            (
                image(&[(0, 10.0, 10.0, 200.0), (1, 500.0, 500.0, 20.0)]),
                vec![detection(0, 0.9, 10.0, 10.0, 200.0), detection(1, 0.8, 500.0, 500.0, 20.0)],
            ),
            (image(&[(0, 300.0, 10.0, 50.0)]), vec![detection(0, 0.7, 300.0, 10.0, 50.0)]),
        ],
    );
    for value in [m.map50, m.map75, m.map, m.ap_small, m.ap_medium, m.ap_large, m.precision, m.recall] {
        assert_near(value, 1.0);
    }
    assert_eq!((m.images, m.labels), (2, 3));
    assert_eq!((m.per_class[0].images, m.per_class[0].labels), (2, 2));
    assert!((m.best_confidence - 0.7).abs() < 1e-6);
    assert_eq!(m.confusion.counts, [[2, 0, 0], [0, 1, 0], [0, 0, 0]]);
    assert_eq!(m.pr_curves.mean, vec![1.0; 101]);
}

/// Overlap (100 − s) / (100 + s) is 0.62 at s = 23.457: right at IoU 0.50, 0.55 and 0.60 of the ten.
#[test]
fn a_shifted_box_counts_up_to_its_overlap() {
    let m = measured(
        &["cat"],
        &[(image(&[(0, 100.0, 100.0, 100.0)]), vec![detection(0, 0.9, 123.457, 100.0, 100.0)])],
    );
    assert_near(m.map50, 1.0);
    assert_near(m.map75, 0.0);
    assert_near(m.map, 0.3);
}

/// One of two objects found: precision 1 at the recalls 0, 0.01, … 0.50, which are 51 of 101.
#[test]
fn a_missed_object_cuts_the_curve() {
    let m = measured(
        &["cat"],
        &[
            (image(&[(0, 100.0, 100.0, 100.0)]), vec![detection(0, 0.9, 100.0, 100.0, 100.0)]),
            (image(&[(0, 100.0, 100.0, 100.0)]), vec![]),
        ],
    );
    assert_near(m.map50, 51.0 / 101.0);
    assert_near(m.precision, 1.0);
    assert_near(m.recall, 0.5);
    assert_eq!(m.confusion.counts, [[1, 1], [0, 0]]);
}

#[test]
fn nothing_detected_is_zero_and_nothing_labeled_is_absent() {
    let m = measured(&["cat", "dog"], &[(image(&[(0, 10.0, 10.0, 200.0)]), vec![])]);
    assert_near(m.map50, 0.0);
    assert_near(m.per_class[0].map, 0.0);
    assert_eq!((m.per_class[1].map50, m.per_class[1].precision), (None, None));
    assert_eq!((m.ap_small, m.ap_medium), (None, None));
    assert_near(m.ap_large, 0.0);

    let m = measured(&["cat"], &[(image(&[]), vec![detection(0, 0.9, 0.0, 0.0, 10.0)])]);
    for value in [m.map50, m.map75, m.map, m.ap_small, m.ap_large, m.precision, m.recall] {
        assert_eq!(value, None);
    }
    assert!(m.pr_curves.mean.is_empty() && m.pr_curves.classes.is_empty());
    let json = serde_json::to_value(&m).unwrap();
    assert!(json["map50"].is_null());
    assert_eq!(serde_json::from_value::<Metrics>(json).unwrap(), m);
}

/// COCO's usual limit of 100 would find only 100 of the 150.
#[test]
fn three_hundred_detections_of_an_image_count() {
    let place = |i: u16| (f32::from(i % 15) * 60.0, f32::from(i / 15) * 60.0);
    let objects: Vec<_> = (0..150).map(|i| (0, place(i).0, place(i).1, 40.0)).collect();
    let found = (0..150).map(|i| detection(0, 0.9, place(i).0, place(i).1, 40.0)).collect();
    assert_near(measured(&["cat"], &[(image(&objects), found)]).map, 1.0);
}

#[test]
fn a_wrong_class_is_confused_not_missed() {
    let m = measured(
        &["cat", "dog"],
        &[(
            image(&[(0, 100.0, 100.0, 100.0), (1, 500.0, 500.0, 100.0), (1, 100.0, 700.0, 100.0)]),
            vec![
                detection(1, 0.9, 100.0, 100.0, 100.0),
                detection(1, 0.8, 500.0, 500.0, 100.0),
                detection(1, 0.7, 100.0, 700.0, 100.0),
                detection(1, 0.95, 800.0, 800.0, 50.0),
            ],
        )],
    );
    assert_eq!(m.confusion.counts, [[0, 1, 0], [0, 2, 0], [0, 1, 0]]);
    assert_near(m.per_class[0].map50, 0.0);
    assert_near(m.per_class[1].precision, 0.5);
    assert_near(m.per_class[1].recall, 1.0);
}

#[test]
fn a_nan_score_or_an_unknown_class_is_an_error() {
    let sample = image(&[(0, 100.0, 100.0, 100.0)]);
    let classes = names(&["cat"]);
    let nan = vec![vec![detection(0, f32::NAN, 0.0, 0.0, 10.0)]];
    assert!(measure(&classes, &[&sample], &nan).unwrap_err().to_string().contains("NaN"));
    let unknown = vec![vec![detection(1, 0.5, 0.0, 0.0, 10.0)]];
    assert!(measure(&classes, &[&sample], &unknown).is_err());
    assert!(measure(&classes, &[&sample], &[]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever is detected, every value is a fraction, and mAP50 is the mean of the classes'.
    #[test]
    fn values_are_fractions(found in proptest::collection::vec((0usize..3, 0.0f32..1.0, 0.0f32..900.0, 1.0f32..100.0), 0..40)) {
        let detections = found.iter().map(|&(class, score, at, side)| detection(class, score, at, at, side)).collect();
        let m = measured(&["a", "b", "c"], &[(image(&[(0, 100.0, 100.0, 80.0), (1, 300.0, 300.0, 50.0)]), detections)]);
        let values = [m.map50, m.map75, m.map, m.precision, m.recall];
        prop_assert!(values.iter().flatten().all(|v| (0.0..=1.0).contains(v)));
        let classes: Vec<f64> = m.per_class.iter().filter_map(|c| c.map50).collect();
        prop_assert_eq!(classes.len(), 2);
        prop_assert!((m.map50.unwrap() - classes.iter().sum::<f64>() / 2.0).abs() < 1e-9);
    }
}
