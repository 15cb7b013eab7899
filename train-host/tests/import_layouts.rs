//! The layouts of releases 5, 6 and 7 in all sizes, as pickled by Python: the model built from each is ours of that name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::checkpoint::{GOLDEN, golden, value};
use train_host::import;
use train_host::model::{Activation, Architecture, Checkpoint, Overrides};

/// Depth multiples of yolov5n and s, m, l, x. Widths are small: what they are does not change a layout.
const DEPTHS: [&str; 4] = ["0.33", "0.67", "1.0", "1.33"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn make(arguments: &[&str]) {
    // `cargo xtask test` names the interpreter that it has set up.
    let python = std::env::var_os("REPEDGE_PYTHON")
        .map_or_else(|| root().join("toolchains/venv/bin/python"), PathBuf::from);
    let script = root().join("tests/python/make_checkpoints.py");
    let output = Command::new(python).arg(script).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn write(path: &Path, settings: &str) {
    make(&["write", path.to_str().unwrap(), settings]);
}

/// Our description of a layout: release 5 is that of the paper's variant without its rep blocks.
fn description(layout: &str, depth: &str, width: &str) -> String {
    let file = if layout == "v5" { "repyolov5s-lite.yaml" } else { "yolov5s.yaml" };
    let text = std::fs::read_to_string(root().join("train-host/models").join(file)).unwrap();
    text.replace("RepConv", "Conv")
        .replace("depth_multiple: 0.33", &format!("depth_multiple: {depth}"))
        .replace("width_multiple: 0.5", &format!("width_multiple: {width}"))
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn every_layout_in_every_depth_becomes_our_model_of_that_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("best.pt");
    let classes = ["class 0", "class 1", "class 2"].map(str::to_owned);
    let kinds = ["half", "float", "double"];
    for (layout, kind) in ["v5", "v6", "v7"].into_iter().zip(kinds) {
        for depth in DEPTHS {
            let part = if depth == "1.0" { "ema" } else { "model" };
            write(
                &path,
                &format!(
                    r#"{{"layout": "{layout}", "size": "full", "depth": {depth}, "width": 0.03, "classes": 3,
                    "kind": "{kind}", "part": "{part}", "act": "LeakyReLU"}}"#
                ),
            );
            let imported = import::open(&path).unwrap();
            assert_eq!(imported.provenance.unwrap().part, part);
            let Checkpoint::Trained(model) = imported.checkpoint else { panic!("not trained") };
            let overrides = Overrides { act: Some(Activation::LeakyRelu), ..Overrides::default() };
            let ours = Architecture::parse("tiny", &description(layout, depth, "0.03"), &overrides, &classes);
            assert_eq!(model.architecture, ours.unwrap(), "{layout} {depth}");
            for (name, tensor) in model.weights.iter() {
                let expected = (0..tensor.data.len()).map(|index| value(name, index));
                assert!(tensor.data.iter().copied().eq(expected), "{layout} {depth}: {name}");
            }
        }
    }
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn fused_checkpoints_are_refused_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fused.pt");
    write(&path, r#"{"fused": true}"#);
    let error = import::open(&path).unwrap_err().to_string();
    assert!(error.contains("fused before it was saved") && error.contains("weights/best.pt"), "{error}");
}

#[test]
#[ignore = "needs the Python venv of cargo xtask setup"]
fn committed_checkpoints_are_what_the_script_writes() {
    let dir = tempfile::tempdir().unwrap();
    make(&["golden", dir.path().to_str().unwrap()]);
    for name in GOLDEN {
        let fresh = std::fs::read(dir.path().join(name)).unwrap();
        let command = "python tests/python/make_checkpoints.py golden tests/golden/pt";
        assert!(fresh == std::fs::read(golden(name)).unwrap(), "{name} is out of date: run {command}");
    }
}
