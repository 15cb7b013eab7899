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
