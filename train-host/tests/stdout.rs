//! Standard output and standard error that cannot be written: a reader that has gone, and a full disk. Never a panic.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Command, Output, Stdio};

use train_host::dataset::synth;

fn list(data: &Path, stdout: Stdio) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_train-host"));
    command.args(["data", "list", "--split", "train"]).arg(data);
    command.stdout(stdout).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap()
}

#[test]
fn a_closed_pipe_ends_the_program_quietly_and_a_full_disk_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("synth");
    let options = synth::Options { train: 3, val: 1, test: 0, side_px: 64, ..synth::Options::default() };
    synth::generate(&data, &options).unwrap();

    let listed = list(&data, Stdio::piped());
    assert!(listed.status.success());
    assert_eq!(String::from_utf8(listed.stdout).unwrap().lines().count(), 3);

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let closed = list(&data, writer.into());
    assert_eq!(closed.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&closed.stderr), "");

    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let full = list(&data, full.into());
    assert_eq!(full.status.code(), Some(1));
    let complaint = String::from_utf8_lossy(&full.stderr);
    assert!(complaint.contains("error: standard output: ") && !complaint.contains("panicked"), "{complaint}");
}

#[test]
fn a_standard_error_that_nobody_reads_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let synth = |name: &str, stderr: Stdio| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train-host"));
        command.args(["data", "synth", "--train", "1", "--val", "1", "--test", "1", "--size", "64", "--out"]);
        command.arg(dir.path().join(name)).stdout(Stdio::null()).stderr(stderr).status().unwrap().code()
    };
    assert_eq!(synth("closed", writer.into()), Some(0));
    assert_eq!(synth("full", full.into()), Some(0));
    // An error is still an error, and no panic (101).
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut refused = Command::new(env!("CARGO_BIN_EXE_train-host"));
    refused.args(["report", "nowhere", "--out", "x.html"]).current_dir(dir.path()).stderr(writer);
    assert_eq!(refused.status().unwrap().code(), Some(2));
}
