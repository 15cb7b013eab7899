use std::io::Cursor;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The fields that rknn-toolkit2 2.5.0 wrote for a model of one convolution, and some that are not read.
fn trailer() -> Value {
    json!({
        "const_tensor": [],
        "graph": [
            {"left": "output", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 1},
            {"left": "input", "left_tensor_id": 0, "right": "norm_tensor", "right_tensor_id": 0},
            {"left": "output", "left_tensor_id": 1, "right": "norm_tensor", "right_tensor_id": 2},
        ],
        "name": "rknn model",
        "network_platform": "ONNX",
        "norm_tensor": [
            {"dim_num": 4, "dtype": {"qnt_method": "layer", "qnt_type": "int8", "vx_type": "int8"},
             "size": [1, 3, 64, 64], "tensor_id": 0, "url": "images"},
            {"dim_num": 4, "dtype": {"qnt_method": "", "qnt_type": "", "vx_type": ""},
             "size": [1, 21, 4, 4], "tensor_id": 2, "url": "output1"},
            {"dim_num": 4, "dtype": {"qnt_method": "layer", "qnt_type": "int8", "vx_type": "int8"},
             "size": [1, 21, 8, 8], "tensor_id": 1, "url": "output0"},
        ],
        "target_platform": ["rk3588"],
        "version": "2.5.0",
    })
}

fn model(version: u64, payload: &[u8], trailer: &[u8]) -> Vec<u8> {
    let mut bytes = b"RKNN\0\0\0\0".to_vec();
    bytes.extend(version.to_le_bytes());
    bytes.extend((payload.len() as u64).to_le_bytes());
    bytes.resize(64, 0xA5);
    bytes.extend(payload);
    bytes.extend((trailer.len() as u64).to_le_bytes());
    bytes.extend(trailer);
    bytes
}

fn read(bytes: &[u8]) -> Result<RknnInfo, Error> {
    RknnInfo::read(Cursor::new(bytes))
}

fn info() -> RknnInfo {
    read(&model(6, b"payload", trailer().to_string().as_bytes())).unwrap()
}

#[test]
fn a_trailer_says_chip_toolkit_and_tensors() {
    let info = info();
    assert_eq!((info.format_version, info.platforms.as_slice()), (6, &["rk3588".to_owned()][..]));
    assert_eq!(info.toolkit, ToolkitVersion { major: 2, minor: 5, patch: 0 });
    let tensor = |name: &str, shape: &[usize], dtype: Option<&str>| RknnTensor {
        name: name.into(),
        shape: shape.into(),
        dtype: dtype.map(Into::into),
    };
    assert_eq!(info.inputs, [tensor("images", &[1, 3, 64, 64], Some("int8"))]);
    assert_eq!(
        info.outputs,
        [tensor("output0", &[1, 21, 8, 8], Some("int8")), tensor("output1", &[1, 21, 4, 4], None)]
    );
}

#[test]
fn a_model_of_another_chip_is_refused() {
    let info = info();
    info.check_chip("rk3588").unwrap();
    info.check_chip("RK3588").unwrap();
    let error = info.check_chip("rk3576").unwrap_err().to_string();
    assert!(error.contains("rk3588") && error.contains("--target rk3576"), "{error}");
    for (compiled, runs_on) in [("rk3566", "rk3568"), ("rk3568", "rk3566"), ("rv1103", "rv1106")] {
        RknnInfo { platforms: vec![compiled.into()], ..info.clone() }.check_chip(runs_on).unwrap();
    }
    assert!(RknnInfo { platforms: vec!["rv1106".into()], ..info }.check_chip("rv1106b").is_err());
}

#[test]
fn versions_are_compared_number_by_number() {
    let version = |text: &str| text.parse::<ToolkitVersion>().unwrap();
    for newer in ["2.5.0", "2.5.1", "2.10.0", "3.0"] {
        assert!(version("2.5.0") <= version(newer), "{newer}");
    }
    for older in ["2.4.9", "1.6.0 (2024)", "1.5.2"] {
        assert!(version("2.5.0") > version(older), "{older}");
    }
}

#[test]
fn a_trailer_that_is_too_long_is_told_from_one_that_is_cut() {
    let whole = model(6, b"payload", &vec![b' '; (1 << 20) + 1]);
    let error = read(&whole).unwrap_err().to_string();
    assert!(error.contains("1048577 bytes, more than"), "{error}");
}

#[test]
fn texts_that_are_no_versions_are_refused() {
    for text in ["", ".", "2", "2.", "2.3.2.1", "v2.3", "2..3", "99999999999.0"] {
        assert_eq!(text.parse::<ToolkitVersion>(), Err(NoVersion), "{text:?}");
    }
    assert_eq!("2.3.2 (429f)".parse::<ToolkitVersion>().unwrap().to_string(), "2.3.2");
}

#[test]
fn a_trailer_without_what_we_need_is_refused() {
    for field in ["version", "target_platform", "graph", "norm_tensor"] {
        let mut json = trailer();
        json.as_object_mut().unwrap().remove(field);
        let error = read(&model(6, b"", json.to_string().as_bytes())).unwrap_err().to_string();
        assert!(error.contains(field), "{error}");
    }
    for (path, value) in [
        ("/version", json!("new")),
        ("/target_platform", json!([])),
        ("/graph/0/left_tensor_id", json!(7)),
        ("/graph/1/right_tensor_id", json!(9)),
        ("/graph", json!([])),
    ] {
        let mut json = trailer();
        *json.pointer_mut(path).unwrap() = value;
        assert!(read(&model(6, b"", json.to_string().as_bytes())).is_err(), "{path}");
    }
}

#[test]
fn every_missing_or_added_byte_is_noticed() {
    let whole = model(0x1004, b"pay", trailer().to_string().as_bytes());
    read(&whole).unwrap();
    for len in 0..whole.len() {
        assert!(read(&whole[..len]).is_err(), "cut to {len} bytes");
    }
    let longer = [&whole[..], b"x"].concat();
    assert!(read(&longer).is_err());
}

#[test]
fn lengths_that_the_file_does_not_have_reserve_nothing() {
    let mut bytes = model(6, b"", b"{}");
    for huge in [u64::MAX, u64::MAX - 64, 1 << 40] {
        bytes[16..24].copy_from_slice(&huge.to_le_bytes());
        assert!(read(&bytes).is_err());
    }
    let mut bytes = model(6, b"", b"{}");
    bytes[64..72].copy_from_slice(&(1_u64 << 40).to_le_bytes());
    assert!(read(&bytes).is_err());
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
        let _ = read(&model(6, &bytes, &bytes));
    }

    #[test]
    fn damaged_models_never_panic(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = model(6, b"payload", trailer().to_string().as_bytes());
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read(&bytes);
    }

    #[test]
    fn arbitrary_texts_are_versions_or_errors(text in ".{0,12}") {
        let _ = text.parse::<ToolkitVersion>();
    }
}
