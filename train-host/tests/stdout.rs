//! Standard output that cannot be written: a reader that has gone, and a full disk. Never a panic.

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
