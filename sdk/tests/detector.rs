//! The whole runtime over a bundle, from pixels to boxes in source pixels.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use artifact::{BackendKind, Bundle};
use prost::Message;
use repedge::backend::rknn::{NpuFailure, PoolReport, RknnOptions};
use repedge::{BackendChoice, Detector, Error, Image, Limits, Options, Trust};
use stand_in::{Action, Scenario};

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

fn accept_anything() -> Options {
    Options { trust: Trust::anyone(), ..Options::default() }
}

fn choose(backend: BackendChoice) -> Options {
    Options { backend, ..accept_anything() }
}

/// As on a machine without an NPU.
fn without_runtime(backend: BackendChoice) -> Options {
    let npu = RknnOptions { library: Some("nowhere.so".into()), ..RknnOptions::default() };
    Options { backend, npu, ..accept_anything() }
}

/// A bundle on disk with an NPU model, and a CPU model beside it where `kinds` says so.
fn npu_bundle(scenario: &Scenario, kinds: &[BackendKind]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (onnx, file) = (common::onnx().encode_to_vec(), npu::rknn(scenario));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squares.bundle");
    let described = kinds.iter().map(|kind| match kind {
        BackendKind::Rknn => (npu::payload(&file), &file[..]),
        BackendKind::Tract => (common::payload("host", BackendKind::Tract, &onnx), &onnx[..]),
    });
    let (payloads, bytes): (Vec<_>, Vec<_>) = described.unzip();
    Bundle::write(&path, &common::manifest(payloads), &bytes).unwrap();
    (dir, path)
}

/// A red and a blue square, and what is to be found of them.
fn squares() -> (Image, [(usize, [f32; 4]); 2]) {
    let mut image = Image::filled(256, 256, [0; 3]);
    paint(&mut image, (0, 128), 128, RED);
    paint(&mut image, (128, 0), 128, BLUE);
    (image, [(1, [128.0, 0.0, 256.0, 128.0]), (0, [0.0, 128.0, 128.0, 256.0])])
}

fn boxes(detector: &mut Detector, image: &Image) -> Result<Vec<(usize, [f32; 4])>, Error> {
    let found = detector.detect(image.frame())?;
    Ok(found.boxes.iter().map(|b| (b.class, [b.x0, b.y0, b.x1, b.y1])).collect())
}

#[test]
fn squares_are_found_where_they_are_in_the_source() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("squares.bundle");
    common::write_bundle(&path);
    let mut detector = Detector::open(&path, accept_anything()).unwrap();
    // 256x128 is shrunk by 4 and gets bars of 16 px, so cell (0, 0) of stride 32 covers half bar, half frame.
    let (image, _) = squares();
    let found = detector.detect(image.frame()).unwrap();
    let boxes: Vec<_> = found.boxes.iter().map(|b| (b.class, [b.x0, b.y0, b.x1, b.y1])).collect();
    assert_eq!(boxes, [(1, [128.0, 0.0, 256.0, 128.0]), (0, [0.0, 128.0, 128.0, 256.0])]);
    assert!(found.boxes.iter().all(|b| b.score > 0.99));
    assert_eq!(detector.classes(), ["red", "blue"]);
    assert_eq!((detector.backend(), detector.payload()), (BackendKind::Tract, "host"));
    assert_eq!(detector.npu_report(), None);
    let gray = Image::filled(100, 37, [114; 3]);
    assert_eq!(detector.detect(gray.frame()).unwrap().boxes, []);
}

#[test]
fn limits_of_the_caller_win_over_the_bundle() {
    let (_dir, path) = bundle(&[(BackendKind::Tract, &common::onnx().encode_to_vec())]);
    let limits = Limits { max_detections: 1, ..Limits::device(0.4, 0.5) };
    let mut detector = Detector::open(&path, Options { limits: Some(limits), ..accept_anything() }).unwrap();
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
    assert!(error.to_string().contains("payloads for tract only"), "{error}");
    let (_dir, path) = bundle(&[(BackendKind::Rknn, b"RKNN")]);
    for backend in [BackendChoice::Rknn, BackendChoice::Auto] {
        let error = Detector::open(&path, without_runtime(backend)).map(drop).unwrap_err();
        assert!(matches!(error, Error::Npu { failure: NpuFailure::MissingLibrary, .. }));
        let text = error.to_string();
        assert!(text.contains("no NPU runtime") && text.contains("--backend tract"), "{text}");
    }
    let error = Detector::open(&path, choose(BackendChoice::Tract)).map(drop).unwrap_err();
    assert!(error.to_string().contains("payloads for rknn only"), "{error}");
}

#[test]
fn only_auto_falls_back_and_says_why() {
    let onnx = common::onnx().encode_to_vec();
    let (_dir, path) = bundle(&[(BackendKind::Rknn, b"RKNN"), (BackendKind::Tract, &onnx)]);
    let auto = Detector::open(&path, without_runtime(BackendChoice::Auto)).unwrap();
    assert_eq!((auto.backend(), auto.payload()), (BackendKind::Tract, "tract"));
    assert!(auto.fallback().unwrap().contains("no NPU runtime"));
    let tract = Detector::open(&path, without_runtime(BackendChoice::Tract)).unwrap();
    assert_eq!(tract.fallback(), None);
    assert!(Detector::open(&path, without_runtime(BackendChoice::Rknn)).is_err());
}

#[test]
fn the_npu_finds_what_the_cpu_finds() {
    let (image, expected) = squares();
    let both = [BackendKind::Tract, BackendKind::Rknn];
    let (_dir, path) = npu_bundle(&npu::scenario("detected"), &both);
    for (backend, kind) in [
        (BackendChoice::Auto, BackendKind::Rknn),
        (BackendChoice::Rknn, BackendKind::Rknn),
        (BackendChoice::Tract, BackendKind::Tract),
    ] {
        let options = Options { backend, npu: npu::options(), ..accept_anything() };
        let mut detector = Detector::open(&path, options).unwrap();
        assert_eq!((detector.backend(), detector.fallback()), (kind, None));
        assert_eq!(boxes(&mut detector, &image).unwrap(), expected, "{kind}");
        let gray = Image::filled(100, 37, [114; 3]);
        assert_eq!(boxes(&mut detector, &gray).unwrap(), []);
    }
}

#[test]
fn a_model_of_another_chip_is_passed_over_by_auto_only() {
    let scenario = Scenario { platforms: vec!["rk3576".into()], ..npu::scenario("detected elsewhere") };
    let (_dir, path) = npu_bundle(&scenario, &[BackendKind::Tract, BackendKind::Rknn]);
    let options = |backend| Options { backend, npu: npu::options(), ..accept_anything() };
    let auto = Detector::open(&path, options(BackendChoice::Auto)).unwrap();
    assert_eq!(auto.backend(), BackendKind::Tract);
    assert!(auto.fallback().unwrap().contains("rk3576"));
    assert!(Detector::open(&path, options(BackendChoice::Rknn)).is_err());
}

#[test]
fn the_cpu_takes_over_from_an_npu_that_is_given_up() {
    let (image, expected) = squares();
    let broken = |name: &str| npu::scenario(name).with_fault("rknn_run", 2, u64::MAX - 2, Action::Error(-2));
    let options = |backend| Options { backend, npu: npu::options(), ..accept_anything() };
    let timed_out = |outcome: Result<Vec<_>, Error>| {
        matches!(outcome, Err(Error::Npu { failure: NpuFailure::Timeout, .. }))
    };
    let (_dir, path) = npu_bundle(&broken("taken over"), &[BackendKind::Tract, BackendKind::Rknn]);
    let mut detector = Detector::open(&path, options(BackendChoice::Auto)).unwrap();
    assert_eq!(boxes(&mut detector, &image).unwrap(), expected);
    assert!((0..3).all(|_| timed_out(boxes(&mut detector, &image))));
    assert_eq!(detector.backend(), BackendKind::Rknn);
    assert_eq!(boxes(&mut detector, &image).unwrap(), expected);
    assert_eq!((detector.backend(), detector.payload()), (BackendKind::Tract, "host"));
    assert!(detector.fallback().unwrap().contains("3 frames in a row"));
    let report = PoolReport { finished: 1, failed: 3, ..PoolReport::default() };
    assert_eq!(detector.npu_report(), Some(report));
    detector.set_limits(Limits { max_detections: 1, ..Limits::device(0.4, 0.5) }).unwrap();
    assert_eq!(boxes(&mut detector, &image).unwrap().len(), 1);

    for (name, backend, kinds) in [
        ("asked for", BackendChoice::Rknn, &[BackendKind::Tract, BackendKind::Rknn][..]),
        ("alone", BackendChoice::Auto, &[BackendKind::Rknn][..]),
    ] {
        let (_dir, path) = npu_bundle(&broken(name), kinds);
        let mut detector = Detector::open(&path, options(backend)).unwrap();
        assert_eq!(boxes(&mut detector, &image).unwrap(), expected);
        assert!((0..3).all(|_| timed_out(boxes(&mut detector, &image))));
        for _ in 0..2 {
            let error = boxes(&mut detector, &image).unwrap_err();
            assert!(
                matches!(error, Error::Npu { failure: NpuFailure::GivenUp { .. }, .. }),
                "{name}: {error}"
            );
        }
    }
}

/// Also where the runtime says that the inputs are to blame.
#[test]
fn the_cpu_takes_over_from_an_npu_that_refuses_every_input() {
    let (image, expected) = squares();
    let scenario = npu::scenario("refuses inputs").with_fault("rknn_run", 1, u64::MAX - 1, Action::Error(-8));
    let (_dir, path) = npu_bundle(&scenario, &[BackendKind::Tract, BackendKind::Rknn]);
    let options = Options { npu: npu::options(), ..choose(BackendChoice::Auto) };
    let mut detector = Detector::open(&path, options).unwrap();
    for _ in 0..3 {
        let error = boxes(&mut detector, &image).unwrap_err();
        assert!(matches!(error, Error::Npu { failure: NpuFailure::InvalidInput, .. }), "{error}");
    }
    assert_eq!(boxes(&mut detector, &image).unwrap(), expected);
    assert_eq!(detector.backend(), BackendKind::Tract);
    assert!(detector.fallback().unwrap().contains("3 frames in a row"));
}

#[test]
fn a_payload_that_is_no_model_is_the_backends_error() {
    let (_dir, path) = bundle(&[(BackendKind::Tract, b"this is not ONNX")]);
    let error = Detector::open(&path, accept_anything()).map(drop).unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error}");
}
