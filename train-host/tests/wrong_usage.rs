//! What the program says about arguments that cannot be used: its exit code, and help that leads somewhere.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

/// Runs the program in `folder` and expects it to end with `code`, an error with expectation and help, and no panic.
fn refused(folder: &Path, code: i32, words: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train-host"));
    let output = command.args(words).current_dir(folder).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
    assert!(said.contains("expected:") && said.contains("help:"), "{words:?}: {said}");
    said
}

#[test]
fn files_of_another_kind_are_told_what_to_do_with() {
    let dir = tempfile::tempdir().unwrap();
    for (name, word) in
        [("y.pth", "rename it to .pt"), ("m.bundle", "weights it was made of"), ("x.txt", ".pt")]
    {
        std::fs::write(dir.path().join(name), "?").unwrap();
        for command in [&["import", name, "--out", "o.safetensors"][..], &["show", name]] {
            let said = refused(dir.path(), 2, command);
            assert!(said.contains(name) && said.contains(word), "{said}");
            assert!(!said.contains("train-host import"), "{said}");
        }
    }
    let said = refused(dir.path(), 2, &["import", ".", "--out", "o.safetensors"]);
    assert!(said.contains("best.safetensors") && said.contains("run folder"), "{said}");
}

#[test]
fn arguments_and_settings_that_cannot_be_used_end_with_2_and_other_faults_with_1() {
    let dir = tempfile::tempdir().unwrap();
    assert!(refused(dir.path(), 2, &["show", "nosuch"]).contains("nosuch"));
    refused(dir.path(), 1, &["show", "nosuch.yaml"]);
    std::fs::write(dir.path().join("broken.pt"), "?").unwrap();
    refused(dir.path(), 1, &["import", "broken.pt", "--out", "o.safetensors"]);
}

#[cfg(feature = "torch")]
#[test]
fn sizes_of_no_training_end_with_2() {
    let dir = tempfile::tempdir().unwrap();
    for flag in ["--epochs", "--threads", "--batch"] {
        let new = ["train", "--model", "yolov5n", "--data", "d", "--out", "o", flag, "0"];
        assert!(refused(dir.path(), 2, &new).contains(&format!("{flag} 0")));
    }
    assert!(!dir.path().join("o").exists());
}

#[cfg(unix)]
#[test]
fn a_pipe_is_refused_and_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("pipe.pt");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    assert!(refused(dir.path(), 1, &["import", "pipe.pt", "--out", "o.safetensors"]).contains("a pipe"));
    std::fs::rename(&pipe, dir.path().join("pipe.onnx")).unwrap();
    assert!(refused(dir.path(), 1, &["import", "pipe.onnx", "--out", "o.safetensors"]).contains("a pipe"));
    std::fs::rename(dir.path().join("pipe.onnx"), dir.path().join("pipe.yaml")).unwrap();
    for words in [&["show", "pipe.yaml"][..], &["data", "inspect", "pipe.yaml"]] {
        assert!(refused(dir.path(), 2, words).contains("a pipe"));
    }
}

#[test]
fn a_bundle_is_one_whatever_the_case_of_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let counts = ["--train", "1", "--val", "1", "--test", "1", "--size", "64"];
    let mut synth = Command::new(env!("CARGO_BIN_EXE_train-host"));
    synth.args(["data", "synth", "--out", "d"]).args(counts).current_dir(dir.path());
    assert!(synth.status().unwrap().success());
    std::fs::write(dir.path().join("up.BUNDLE"), "?").unwrap();
    let said = refused(dir.path(), 1, &["eval", "up.BUNDLE", "--data", "d/data.yaml"]);
    assert!(said.contains("bundle") && !said.contains(".safetensors"), "{said}");
}

#[test]
fn fuse_tells_nothing_of_a_model_that_it_could_not_save() {
    let dir = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/pt/v6.pt");
    std::fs::write(dir.path().join("file"), "").unwrap();
    let mut fuse = Command::new(env!("CARGO_BIN_EXE_train-host"));
    fuse.arg("fuse").arg(golden).args(["--out", "file/f.safetensors", "--json"]).current_dir(dir.path());
    let output = fuse.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}
