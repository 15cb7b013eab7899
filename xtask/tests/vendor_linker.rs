//! The linker of a vendor's SDK, as a user gives it: by cargo's variable. A script plays it.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

const VARIABLE: &str = "CARGO_TARGET_ARMV7_UNKNOWN_LINUX_UCLIBCEABIHF_LINKER";

/// What `doctor` finds about rv1106 with a linker named.
fn findings(linker: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["doctor", "--board", "rv1106", "--json"])
        .env(VARIABLE, linker)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["boards"][0]["findings"].as_array().unwrap().clone()
}

/// The finding about this linker, if it is one of what is missing.
fn complaint(linker: &Path) -> Option<Value> {
    let name = linker.to_str().unwrap();
    findings(linker).into_iter().find(|finding| finding["name"] == name)
}

fn stand_in(folder: &Path, name: &str, machine: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(
        &path,
        format!("#!/bin/sh\ncase \"$1\" in -print-prog-name=ld) echo sh ;; *) echo {machine} ;; esac\n"),
    )
    .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_linker_that_links_for_the_board_is_taken_and_another_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let fitting = stand_in(folder.path(), "vendor-gcc", "arm-rockchip830-linux-uclibcgnueabihf");
    assert_eq!(complaint(&fitting), None);
    let other = stand_in(folder.path(), "other-gcc", "x86_64-linux-gnu");
    for (linker, reason) in [(other, "x86_64-linux-gnu"), (folder.path().join("none"), VARIABLE)] {
        let complaint = complaint(&linker).unwrap();
        assert!(complaint["purpose"].as_str().unwrap().contains(reason), "{complaint}");
        assert!(
            complaint["remedy"].as_str().unwrap().contains(&format!("`export {VARIABLE}=")),
            "{complaint}"
        );
    }
}
