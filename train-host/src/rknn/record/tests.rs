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
    let (rknn, input, config) = (b"compiled".to_vec(), output(1.0), Config::of(None));
    Compiled {
        rknn,
        config,
        info: info("rk3588"),
        input,
        outputs: vec![output(0.5)],
        half_tensors: Vec::new(),
    }
}

fn record(who: Who, calibration: Option<Vec<Calibrated>>) -> Record {
    let numbers = Numbers { who, origin: None, calibration };
    let compiled = Compiled { config: Config::of(who.algorithm()), ..compiled() };
    Record::of(&compiled, b"model", "rk3588", Preprocess::yolo(64, 64), numbers)
}

fn write(record: &Record, bundle: &Path) -> PathBuf {
    record.stage(bundle, b"model").unwrap().put().unwrap()
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
        let written = record(who, Some(images.clone()));
        assert_eq!(write(&written, &bundle), folder.path().join("x.build"));
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
        (|record: &mut Record| record.format = 1, "has form 1"),
        (
            |record: &mut Record| record.config.disable_rules.truncate(1),
            "with disable_rules [\"fuse_concat_conv\"]",
        ),
        (
            |record: &mut Record| record.config.quantized_algorithm = Some(Algorithm::Mmse),
            "quantized_algorithm Mmse",
        ),
        (|record: &mut Record| record.onnx_sha256.clear(), "another model.onnx"),
    ] as [(fn(&mut Record), &str); 5]
    {
        let mut record = record(Who::Ours, None);
        change(&mut record);
        write(&record, &bundle);
        let error = Record::open(&bundle, &sha256(b"compiled")).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("convert again"), "{error}");
    }
}

#[test]
fn a_record_that_is_not_put_leaves_the_older_one_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("x.bundle");
    let old = record(Who::Half, None);
    write(&old, &bundle);
    drop(record(Who::Ours, None).stage(&bundle, b"model").unwrap());
    assert_eq!(Record::open(&bundle, &sha256(b"compiled")).unwrap().0, old);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn every_pin_is_in_the_record() {
    let wheels = wheels();
    assert!(wheels.iter().all(|wheel| wheel.contains("==") && wheel.contains("--hash=sha256:")));
    assert!(wheels.iter().any(|wheel| wheel.starts_with("rknn-toolkit2==2.5.0 ")));
}
