//! Records that are written, read, and refused.

use artifact::rknn::{RknnInfo, RknnTensor};
use artifact::{DType, Layout, Quant};

use super::*;

fn output(scale: f32) -> TensorSpec {
    TensorSpec {
        name: "p3".into(),
        dtype: DType::I8,
        layout: Layout::Nchw,
        shape: [1, 18, 8, 8],
        quant: Some(Quant { scale, zero_point: -3 }),
    }
}

fn info(platform: &str) -> RknnInfo {
    let tensor = RknnTensor { name: "p3".into(), shape: vec![1, 18, 8, 8], dtype: None };
    RknnInfo {
        format_version: 6,
        platforms: vec![platform.into()],
        toolkit: "2.5.0".parse().unwrap(),
        inputs: Vec::new(),
        outputs: vec![tensor],
    }
}

fn compiled() -> Compiled {
    let (rknn, input) = (b"compiled".to_vec(), output(1.0));
    Compiled { rknn, info: info("rk3588"), input, outputs: vec![output(0.5)], half_tensors: Vec::new() }
}

fn record(who: Who, calibration: Vec<Calibrated>) -> Record {
    Record::of(&compiled(), b"model", "rk3588", Preprocess::yolo(64, 64), (who, calibration))
}

#[test]
fn a_record_comes_back_whole_and_replaces_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.bundle");
    let image = folder.path().join("1.png");
    fs::write(&image, b"pixels").unwrap();
    let images = Calibrated::all(&[image]).unwrap();
    let algorithm = Algorithm::Mmse;
    for who in [Who::Ours, Who::Half, Who::Toolkit { algorithm }] {
        let written = record(who, images.clone());
        assert_eq!(written.write(&bundle, b"model").unwrap(), folder.path().join("x.build"));
        let (read, onnx) = Record::open(&bundle, &sha256(b"compiled")).unwrap();
        assert_eq!((read, &*onnx), (written, &b"model"[..]));
    }
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert_eq!(names.count(), 2, "nothing is left of the older ones");
}

#[test]
fn a_record_of_other_wheels_or_another_form_is_stale() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.bundle");
    for (change, part) in [
        (|record: &mut Record| record.wheels[0].push('0'), "other wheels"),
        (|record: &mut Record| record.format = 2, "has form 2"),
        (|record: &mut Record| record.onnx_sha256.clear(), "another model.onnx"),
    ] as [(fn(&mut Record), &str); 3]
    {
        let mut record = record(Who::Ours, Vec::new());
        change(&mut record);
        record.write(&bundle, b"model").unwrap();
        let error = Record::open(&bundle, &sha256(b"compiled")).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("convert again"), "{error}");
    }
}

#[test]
fn every_pin_is_in_the_record() {
    let wheels = wheels();
    assert!(wheels.iter().all(|wheel| wheel.contains("==") && wheel.contains("--hash=sha256:")));
    assert!(wheels.iter().any(|wheel| wheel.starts_with("rknn-toolkit2==2.5.0 ")));
}
