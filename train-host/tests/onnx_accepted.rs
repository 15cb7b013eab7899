//! The ONNX we write, judged by tools that are not ours: `onnx.checker` and onnxruntime, whose outputs must be
//! tract's.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use repedge::backend::Session;
use support::{narrow_model, python, run_with_image};
use train_host::export::{self, onnx};
use train_host::fuse::fuse;
use train_host::model::{Activation, Block, MODEL_NAMES, Overrides, TrainedModel};

const IMGSZ: usize = 64;

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn every_named_model_is_accepted_fused_and_unfused() {
    let dir = tempfile::tempdir().unwrap();
    for name in MODEL_NAMES {
        let trained = narrow_model(name, &Overrides::default(), 3, IMGSZ);
        assert_both_forms_are_accepted(dir.path(), &trained);
    }
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn every_activation_and_block_is_accepted_fused_and_unfused() {
    let dir = tempfile::tempdir().unwrap();
    for &act in Activation::value_variants() {
        for &block in Block::value_variants() {
            let overrides = Overrides { act: Some(act), block: Some(block) };
            let trained = narrow_model("repyolov5n", &overrides, 3, IMGSZ);
            assert_both_forms_are_accepted(dir.path(), &trained);
        }
    }
}

fn assert_both_forms_are_accepted(dir: &Path, trained: &TrainedModel) {
    let fused = fuse(trained).unwrap();
    let mut session = export::session(&fused).unwrap();
    assert_accepted(dir, &onnx::write(&fused).unwrap(), &mut session);
    let mut session = export::diagnostic_session(trained).unwrap();
    assert_accepted(dir, &onnx::write_diagnostic(trained).unwrap(), &mut session);
}

fn assert_accepted(dir: &Path, bytes: &[u8], session: &mut impl Session) {
    let (image, outputs) = run_with_image(session, 3);
    let write = |name: String, bytes: &[u8]| -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let little_endian = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let mut files =
        vec![write("model.onnx".into(), bytes), write("image.f32".into(), &little_endian(&image))];
    for (index, output) in outputs.iter().enumerate() {
        files.push(write(format!("output{index}.f32"), &little_endian(output)));
    }
    python("check_onnx.py", files);
}
