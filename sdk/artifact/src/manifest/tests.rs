use super::*;
use crate::{DType, Layout, Quant};

fn spec(name: &str, shape: [usize; 4]) -> TensorSpec {
    TensorSpec { name: name.into(), dtype: DType::F32, layout: Layout::Nchw, shape, quant: None }
}

/// Two classes, two strides, one anchor each, 64x32 pixels.
pub(crate) fn sample(payload: &[u8]) -> Manifest {
    let outputs = vec![spec("output0", [1, 7, 4, 8]), spec("output1", [1, 7, 2, 4])];
    let input = spec("images", [1, 3, 32, 64]);
    Manifest {
        model: "tiny".into(),
        classes: vec!["cat".into(), "dog".into()],
        preprocess: Preprocess::yolo(64, 32),
        decode: Decode::Yolov5 {
            strides: vec![8, 16],
            anchors_px: vec![vec![[10.0, 13.0]], vec![[30.0, 61.0]]],
            spread: Vec::new(),
        },
        confidence: 0.25,
        iou: 0.45,
        producer: "test".into(),
        security_version: 0,
        check_images: Vec::new(),
        payloads: vec![Payload::new(
            "host",
            BackendKind::Tract,
            "host",
            Precision::Fp32,
            input,
            outputs,
            payload,
        )],
    }
}

/// Spoils a valid manifest and gives the error it then has.
fn complaint(spoil: impl FnOnce(&mut Manifest)) -> String {
    let mut manifest = sample(b"onnx");
    spoil(&mut manifest);
    manifest.validate().expect_err("accepted a spoiled manifest").to_string()
}

#[test]
fn a_whole_manifest_survives_json_unchanged() {
    let manifest = sample(b"onnx");
    manifest.validate().unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn unknown_fields_are_refused_at_every_level() {
    let json = serde_json::to_value(sample(b"onnx")).unwrap();
    for pointer in ["", "/preprocess", "/decode", "/payloads/0", "/payloads/0/input"] {
        let mut spoiled = json.clone();
        let object = spoiled.pointer_mut(pointer).unwrap().as_object_mut().unwrap();
        object.insert("surprise".into(), 1.into());
        let error = serde_json::from_value::<Manifest>(spoiled).unwrap_err();
        assert!(error.to_string().contains("surprise"), "{pointer}: {error}");
    }
}

#[test]
fn names_must_be_there_and_unique() {
    assert!(complaint(|m| m.model.clear()).contains("no name"));
    assert!(complaint(|m| m.classes.clear()).contains("class list is empty"));
    assert!(complaint(|m| m.classes[1] = "cat".into()).contains("\"cat\" is listed twice"));
    assert!(complaint(|m| m.payloads.clear()).contains("no payload"));
    assert!(complaint(|m| m.payloads.push(m.payloads[0].clone())).contains("two payloads"));
    assert!(complaint(|m| m.payloads[0].name.clear()).contains("\"\" is the name of a payload"));
    assert!(complaint(|m| m.payloads[0].target.clear()).contains("names no target"));
}

#[test]
fn preprocess_must_be_usable() {
    assert!(complaint(|m| m.preprocess.width_px = 0).contains("width_px is 0"));
    assert!(complaint(|m| m.preprocess.height_px = MAX_SIDE_PX + 1).contains("height_px is 8193"));
    assert!(complaint(|m| m.preprocess.mean[1] = f32::NAN).contains("mean"));
    assert!(complaint(|m| m.preprocess.std[2] = 0.0).contains("std"));
}

#[test]
fn thresholds_must_be_fractions() {
    assert!(complaint(|m| m.confidence = 1.5).contains("confidence is 1.5"));
    assert!(complaint(|m| m.iou = f32::NAN).contains("iou is NaN"));
}

#[test]
fn decode_must_fit_the_input() {
    let decode = |strides: &[usize], anchors: &[&[[f32; 2]]]| Decode::Yolov5 {
        strides: strides.to_vec(),
        anchors_px: anchors.iter().map(|list| list.to_vec()).collect(),
        spread: Vec::new(),
    };
    let one: &[[f32; 2]] = &[[1.0, 1.0]];
    assert!(complaint(|m| m.decode = decode(&[], &[])).contains("0 strides"));
    assert!(complaint(|m| m.decode = decode(&[8], &[one, one])).contains("2 lists"));
    assert!(complaint(|m| m.decode = decode(&[0, 16], &[one, one])).contains("stride 0"));
    assert!(complaint(|m| m.decode = decode(&[8, 24], &[one, one])).contains("stride 24"));
    assert!(complaint(|m| m.decode = decode(&[8, 16], &[one, &[]])).contains("without anchors"));
    assert!(complaint(|m| m.decode = decode(&[8, 16], &[one, &[[0.0, 1.0]]])).contains("anchors_px"));
    assert!(complaint(|m| m.decode = decode(&[8, 16], &[one, &[[1.0, f32::NAN]]])).contains("anchors_px"));
}

#[test]
fn boxes_may_be_spread_for_every_anchor_or_for_none() {
    let spread_as = |spread: Vec<Vec<[Spread; 4]>>| {
        let mut manifest = sample(b"onnx");
        let Decode::Yolov5 { spread: empty, .. } = &mut manifest.decode else { unreachable!() };
        *empty = spread;
        manifest
    };
    let wide = [Spread { gain: 2.5, offset: -3.0 }; 4];
    let whole = spread_as(vec![vec![wide], vec![[Spread::NONE; 4]]]);
    whole.validate().unwrap();
    let json = serde_json::to_string(&whole).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), whole);
    assert!(!serde_json::to_string(&sample(b"onnx")).unwrap().contains("spread"), "none is not written");
    let with = |gain: f32, offset: f32| [Spread { gain, offset }; 4];
    for spoiled in [
        vec![vec![wide]],
        vec![vec![wide], vec![wide, wide]],
        vec![vec![wide], vec![]],
        vec![vec![wide], vec![with(0.0, 1.0)]],
        vec![vec![wide], vec![with(-1.0, 1.0)]],
        vec![vec![wide], vec![with(f32::INFINITY, 1.0)]],
        vec![vec![wide], vec![with(1.0, f32::NAN)]],
    ] {
        let error = spread_as(spoiled).validate().expect_err("accepted a spoiled spread").to_string();
        assert!(error.contains("spread of decode"), "{error}");
    }
}

/// [`sample`] with YOLOv8's pairs of outputs: 4 sides of 3 bins, 2 classes.
fn split_sample() -> Manifest {
    let mut manifest = sample(b"onnx");
    manifest.decode = Decode::Yolov8 { strides: vec![8, 16], reg_max: 3 };
    manifest.payloads[0].outputs = vec![
        spec("box0", [1, 12, 4, 8]),
        spec("class0", [1, 2, 4, 8]),
        spec("box1", [1, 12, 2, 4]),
        spec("class1", [1, 2, 2, 4]),
    ];
    manifest
}

#[test]
fn split_heads_have_a_box_and_a_class_output_a_stride() {
    let whole = split_sample();
    whole.validate().unwrap();
    let json = serde_json::to_string(&whole).unwrap();
    assert!(json.contains(r#""decode":{"kind":"yolov8","strides":[8,16],"reg_max":3}"#), "{json}");
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), whole);

    let complaint = |spoil: fn(&mut Manifest)| {
        let mut manifest = split_sample();
        spoil(&mut manifest);
        manifest.validate().expect_err("accepted a spoiled manifest").to_string()
    };
    let decode = |strides: &[usize], reg_max| Decode::Yolov8 { strides: strides.to_vec(), reg_max };
    assert!(complaint(|m| m.payloads[0].outputs.truncate(2)).contains("has 2 outputs"));
    assert!(complaint(|m| m.payloads[0].outputs.swap(0, 1)).contains("12 channels"));
    assert!(complaint(|m| drop(m.classes.pop())).contains("1 channels"));
    for (bad, named) in [
        (decode(&[], 3), "0 strides"),
        (decode(&[8, 24], 3), "stride 24"),
        (decode(&[8, 16], 0), "reg_max of decode is 0"),
        (decode(&[8, 16], 65), "reg_max of decode is 65"),
        (decode(&[8, 16], 4), "16 channels"),
    ] {
        let mut manifest = split_sample();
        manifest.decode = bad;
        let error = manifest.validate().unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn tensors_must_fit_the_model() {
    assert!(complaint(|m| m.payloads[0].input.shape = [1, 3, 64, 32]).contains("input \"images\""));
    assert!(complaint(|m| m.payloads[0].input.shape[0] = 2).contains("[2, 3, 32, 64]"));
    assert!(complaint(|m| drop(m.payloads[0].outputs.pop())).contains("has 1 outputs"));
    assert!(complaint(|m| m.payloads[0].outputs[0].shape[1] = 8).contains("7 channels"));
    assert!(complaint(|m| m.payloads[0].outputs[1].shape = [1, usize::MAX, 2, 4]).contains("output1"));
    assert!(complaint(|m| m.payloads[0].outputs[1].shape[3] = 0).contains("output1"));
}

#[test]
fn quantization_must_make_sense() {
    let quantized = |dtype, quant| {
        complaint(|m| {
            let output = &mut m.payloads[0].outputs[0];
            (output.dtype, output.quant) = (dtype, quant);
        })
    };
    let quant = |scale, zero_point| Some(Quant { scale, zero_point });
    assert!(quantized(DType::I8, None).contains("int8 without quantization"));
    assert!(quantized(DType::F32, quant(1.0, 0)).contains("float with quantization"));
    assert!(quantized(DType::I8, quant(0.0, 0)).contains("scale 0"));
    assert!(quantized(DType::I8, quant(f32::INFINITY, 0)).contains("scale inf"));
    assert!(quantized(DType::I8, quant(0.1, 128)).contains("zero point 128"));
    assert!(quantized(DType::U8, quant(0.1, -1)).contains("zero point -1"));
}

#[test]
fn payload_digest_must_be_one() {
    assert!(complaint(|m| m.payloads[0].sha256 = "abc".into()).contains("sha256"));
    assert!(complaint(|m| m.payloads[0].sha256 = m.payloads[0].sha256.to_uppercase()).contains("sha256"));
    assert!(complaint(|m| m.payloads[0].length = 0).contains("is empty"));
}

#[test]
fn names_never_lead_out_of_a_folder() {
    let image = |name: &str| CheckImage::new(name, Vec::new(), b"picture");
    let long = "x".repeat(65);
    for name in ["..", "../npu", "/etc/passwd", "a/b", "a\\b", ".hidden", "-rf", "a b", "a\n", "ä", "", &long]
    {
        let of_payload = complaint(|m| m.payloads[0].name = name.into());
        let of_image = complaint(|m| m.check_images.push(image(name)));
        for error in [of_payload, of_image] {
            assert!(error.contains("is the name of a payload or check image"), "{name:?}: {error}");
        }
    }
    let mut manifest = sample(b"onnx");
    manifest.payloads[0].name = "npu-2.5_int8".into();
    manifest.check_images.push(image("000001.jpg"));
    manifest.validate().unwrap();
}

#[test]
fn check_images_must_make_sense() {
    let box_of = |class, score, box_px| ExpectedBox { class, score, box_px };
    let with = |expected: Vec<ExpectedBox>| {
        complaint(|m| m.check_images.push(CheckImage::new("a.jpg", expected, b"picture")))
    };
    for expected in [
        box_of(2, 0.5, [0.0, 0.0, 1.0, 1.0]),
        box_of(0, 1.5, [0.0, 0.0, 1.0, 1.0]),
        box_of(0, 0.5, [2.0, 0.0, 1.0, 1.0]),
        box_of(0, 0.5, [0.0, 0.0, 1.0, f32::INFINITY]),
    ] {
        assert!(with(vec![expected]).contains("a.jpg"));
    }
    assert!(with(vec![box_of(0, 0.5, [0.0; 4]); 1001]).contains("1001 boxes"));
    let twice = |m: &mut Manifest| m.check_images = vec![CheckImage::new("a", Vec::new(), b"x"); 2];
    assert!(complaint(twice).contains("two check images"));
    let many = |m: &mut Manifest| {
        m.check_images = (0..33).map(|i| CheckImage::new(i.to_string(), Vec::new(), b"x")).collect();
    };
    assert!(complaint(many).contains("33 check images"));
    let huge = |m: &mut Manifest| {
        m.check_images = vec![CheckImage { length: u64::MAX, ..CheckImage::new("a", Vec::new(), b"x") }];
    };
    assert!(complaint(huge).contains("18446744073709551615 bytes"));
}
