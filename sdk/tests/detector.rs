//! The whole runtime over a bundle, from pixels to boxes in source pixels.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;

use artifact::{BackendKind, Bundle};
use prost::Message;
use repedge::{BackendChoice, Detector, Error, Image, Limits, Options};

const RED: [u8; 3] = [255, 0, 0];
const BLUE: [u8; 3] = [0, 0, 255];

fn paint(image: &mut Image, (left, top): (usize, usize), side: usize, color: [u8; 3]) {
    for y in top..top + side {
        for x in left..left + side {
            let start = (y * image.width_px + x) * 3;
            image.rgb[start..start + 3].copy_from_slice(&color);
        }
    }
}

/// A bundle on disk with these payloads of one model.
fn bundle(payloads: &[(BackendKind, &[u8])]) -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squares.bundle");
    let described = payloads.iter().map(|(kind, bytes)| common::payload(&kind.to_string(), *kind, bytes));
    let bytes: Vec<&[u8]> = payloads.iter().map(|(_, bytes)| *bytes).collect();
    Bundle::write(&path, &common::manifest(described.collect()), &bytes).unwrap();
    (dir, path)
}

fn choose(backend: BackendChoice) -> Options {
    Options { backend, ..Options::default() }
}

#[test]
fn squares_are_found_where_they_are_in_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squares.bundle");
    common::write_bundle(&path);
    let mut detector = Detector::open(&path, Options::default()).unwrap();
    // 256x128 is shrunk by 4 and gets bars of 16 px, so cell (0, 0) of stride 32 covers half bar, half frame.
    let mut image = Image::filled(256, 256, [0; 3]);
    paint(&mut image, (0, 128), 128, RED);
    paint(&mut image, (128, 0), 128, BLUE);
    let found = detector.detect(image.frame()).unwrap();
    let boxes: Vec<_> = found.boxes.iter().map(|b| (b.class, [b.x0, b.y0, b.x1, b.y1])).collect();
    assert_eq!(boxes, [(1, [128.0, 0.0, 256.0, 128.0]), (0, [0.0, 128.0, 128.0, 256.0])]);
    assert!(found.boxes.iter().all(|b| b.score > 0.99));
    assert_eq!(detector.classes(), ["red", "blue"]);
    assert_eq!((detector.backend(), detector.payload()), (BackendKind::Tract, "host"));
    let gray = Image::filled(100, 37, [114; 3]);
    assert_eq!(detector.detect(gray.frame()).unwrap().boxes, []);
}

#[test]
fn limits_of_the_caller_win_over_the_bundle() {
    let (_dir, path) = bundle(&[(BackendKind::Tract, &common::onnx().encode_to_vec())]);
    let limits = Limits { max_detections: 1, ..Limits::device(0.4, 0.5) };
    let mut detector = Detector::open(&path, Options { limits: Some(limits), ..Options::default() }).unwrap();
    let purple = Image::filled(64, 64, [255, 0, 255]);
    assert_eq!(detector.detect(purple.frame()).unwrap().boxes.len(), 1);
    detector.set_limits(Limits::device(0.4, 0.5)).unwrap();
    assert_eq!(detector.detect(purple.frame()).unwrap().boxes.len(), 4);
    assert!(detector.set_limits(Limits::device(f32::NAN, 0.5)).is_err());
    assert_eq!(detector.detect(purple.frame()).unwrap().boxes.len(), 4);
}

#[test]
fn a_missing_engine_is_an_error_that_says_so() {
    let onnx = common::onnx().encode_to_vec();
    let (_dir, path) = bundle(&[(BackendKind::Tract, &onnx)]);
    let error = Detector::open(&path, choose(BackendChoice::Rknn)).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Backend(_)));
    assert!(error.to_string().contains("no RKNN backend"), "{error}");
    let (_dir, path) = bundle(&[(BackendKind::Rknn, b"RKNN")]);
    for backend in [BackendChoice::Rknn, BackendChoice::Auto] {
        let error = Detector::open(&path, choose(backend)).map(drop).unwrap_err().to_string();
        assert!(error.contains("no RKNN backend") && error.contains("--backend tract"), "{error}");
    }
    let error = Detector::open(&path, choose(BackendChoice::Tract)).map(drop).unwrap_err();
    assert!(error.to_string().contains("payloads for rknn only"), "{error}");
}

#[test]
fn only_auto_falls_back_and_says_why() {
    let onnx = common::onnx().encode_to_vec();
    let (_dir, path) = bundle(&[(BackendKind::Rknn, b"RKNN"), (BackendKind::Tract, &onnx)]);
    let auto = Detector::open(&path, choose(BackendChoice::Auto)).unwrap();
    assert_eq!((auto.backend(), auto.payload()), (BackendKind::Tract, "tract"));
    assert!(auto.fallback().unwrap().contains("no RKNN backend"));
    let tract = Detector::open(&path, choose(BackendChoice::Tract)).unwrap();
    assert_eq!(tract.fallback(), None);
    assert!(Detector::open(&path, choose(BackendChoice::Rknn)).is_err());
}

#[test]
fn a_payload_that_is_no_model_is_the_backends_error() {
    let (_dir, path) = bundle(&[(BackendKind::Tract, b"this is not ONNX")]);
    let error = Detector::open(&path, Options::default()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error}");
}
