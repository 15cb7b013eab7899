//! Files of quantized models: they come back as they were, tell what they were quantized for, and are small.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;
use train_host::export::onnx;
use train_host::quantize::{expect_kept, file};

use super::*;

#[test]
fn an_int8_file_is_little_more_than_a_quarter_of_the_float_file() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let float = onnx::write(&calibrated.model).unwrap().len();
    for rules in RULES {
        let int8 = qdq::write(&quantized(&calibrated, rules)).unwrap().len();
        assert!(int8 as f64 <= 0.28 * float as f64, "{int8} of {float}");
    }
}

#[test]
fn a_quantized_file_comes_back_as_it_was() {
    let calibrated = calibrated("repyolov5n", Activation::Silu, IMGSZ);
    let kept = BTreeMap::from([("model.24.m.1".to_owned(), "a test".to_owned())]);
    let plan = Plan { kept, ..plan(Method::MinMax, RULES[2]) };
    let model = quantize(&calibrated.model, &calibrated.observed, &plan).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.safetensors");
    file::save(&path, &model).unwrap();
    assert!(file::is_quantized(&path));
    assert_eq!(file::load(&path).unwrap(), model);
    let bytes = std::fs::read(&path).unwrap();
    file::save(&path, &model).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "equal models give equal files");
    std::fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
    assert!(file::load(&path).unwrap_err().to_string().contains("q.safetensors"));
}

#[test]
fn the_metadata_tells_every_scale_and_zero_point() {
    let model = quantized(&calibrated("yolov5n", Activation::Silu, IMGSZ), RULES[2]);
    let onnx = qdq::write(&model).unwrap();
    let find =
        |bytes: &[u8], text: &[u8]| bytes.windows(text.len()).rposition(|window| window == text).unwrap();
    let value = &onnx[find(&onnx, b"quantization")..];
    let start = value.windows(2).position(|window| window == b"{\"").unwrap();
    let mut told = serde_json::Deserializer::from_slice(&value[start..]).into_iter();
    let told: BTreeMap<String, (f32, i32)> = told.next().unwrap().unwrap();
    let nodes = model.architecture.graph.nodes.iter().zip(&model.scheme.tensors);
    let stored =
        nodes.filter_map(|(node, quant)| quant.map(|it| (node.name.clone(), (it.scale, it.zero_point))));
    assert_eq!(told, stored.collect::<BTreeMap<_, _>>());
    assert_eq!(told.len(), model.architecture.graph.nodes.len(), "every node's result is stored");
}

/// The file at `path` with its scheme changed by `change`.
fn with_scheme(path: &Path, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> Vec<u8> {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut header = header.metadata().clone().unwrap();
    let mut fields: BTreeMap<String, String> = serde_json::from_str(&header["repedge"]).unwrap();
    let mut scheme: Value = serde_json::from_str(&fields["scheme"]).unwrap();
    change(scheme.as_object_mut().unwrap());
    fields.insert("scheme".into(), scheme.to_string());
    header.insert("repedge".into(), serde_json::to_string(&fields).unwrap());
    let file = SafeTensors::deserialize(&bytes).unwrap();
    safetensors::serialize(file.tensors(), Some(header)).unwrap()
}

#[test]
fn a_file_tells_the_rules_it_was_quantized_for() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.safetensors");
    let real = Int8 { outputs: Outputs::Real, ..RULES[0] };
    for rules in RULES.into_iter().chain([real]) {
        let model = quantized(&calibrated, rules);
        file::save(&path, &model).unwrap();
        assert_eq!(file::load(&path).unwrap().scheme.rules, rules);
        with_scheme(&path, |scheme| assert_eq!(scheme["rules"], serde_json::json!(rules)));
    }
}

#[test]
fn of_an_older_file_the_rules_are_those_that_its_scales_keep() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.safetensors");
    let real = Int8 { outputs: Outputs::Real, ..RULES[0] };
    for rules in RULES.into_iter().chain([real]) {
        let model = quantized(&calibrated, rules);
        file::save(&path, &model).unwrap();
        let older = with_scheme(&path, |scheme| assert!(scheme.remove("rules").is_some()));
        std::fs::write(&path, older).unwrap();
        assert_eq!(file::load(&path).unwrap(), model, "{rules:?}");
    }
}

#[test]
fn rules_that_a_files_own_scales_break_are_damage() {
    let model = quantized(&calibrated("yolov5n", Activation::Silu, IMGSZ), RULES[0]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.safetensors");
    file::save(&path, &model).unwrap();
    for (rule, value) in [("concat", "shared"), ("add", "shared"), ("activation", "stored")] {
        let changed = with_scheme(&path, |scheme| scheme["rules"][rule] = value.into());
        let damaged = dir.path().join("damaged.safetensors");
        std::fs::write(&damaged, changed).unwrap();
        let error = file::load(&damaged).unwrap_err().to_string();
        assert!(["damaged.safetensors", rule, value].iter().all(|part| error.contains(part)), "{error}");
    }
    let changed = with_scheme(&path, |scheme| scheme["rules"]["pool"] = "shared".into());
    std::fs::write(&path, changed).unwrap();
    let error = file::load(&path).unwrap_err().to_string();
    assert!(error.contains("pool"), "a rule of a later version is not left out: {error}");
}

#[test]
fn a_board_that_asks_for_more_than_was_kept_refuses_by_the_names_of_its_rules() {
    let calibrated = calibrated("yolov5n", Activation::Silu, IMGSZ);
    let mut board = boards::Board::find("host").unwrap();
    let strict = Int8 { activation: Between::Stored, ..RULES[1] };
    let lenient = quantized(&calibrated, Int8 { outputs: Outputs::Real, ..RULES[0] });
    expect_kept("q.safetensors", &lenient, &board).unwrap();
    let strictest = quantized(&calibrated, strict);
    for rules in RULES.into_iter().chain([strict]) {
        board.int8 = rules;
        expect_kept("q.safetensors", &quantized(&calibrated, rules), &board).unwrap();
        expect_kept("q.safetensors", &strictest, &board).unwrap();
        let error = message(expect_kept("q.safetensors", &lenient, &board).unwrap_err());
        let parts =
            ["q.safetensors", "outputs = \"real\"", "outputs = \"stored\"", "\"host\"", "--target host"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert_eq!(error.contains("concat = \"shared\""), rules.concat == Scales::Shared, "{error}");
        assert_eq!(error.contains("add = \"shared\""), rules.add == Scales::Shared, "{error}");
        assert_eq!(error.contains("activation = \"stored\""), rules.activation == Between::Stored, "{error}");
    }
}
