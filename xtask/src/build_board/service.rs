//! The package's systemd unit in the hands of systemd's own reader, which takes what it does not understand for absent: a
//! misspelled watchdog or hardening would be none.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::*;

const UNIT: &str = "repedge-camera-demo.service";
/// What runs the program on a board, which systemd looks for.
const PROGRAM: &str = "/var/lib/repedge/current/run";
/// Keys that systemd knows from version 254 on only; before, the unit does without.
const NEWER: [&str; 2] = ["RestartSteps", "RestartMaxDelaySec"];

/// What systemd has to say against a unit.
fn complaints(unit: &str) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let (program, file) = (folder.path().join("run"), folder.path().join(UNIT));
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let started = format!("ExecStart={}", program.display());
    fs::write(&file, unit.replace(&format!("ExecStart={PROGRAM}"), &started)).unwrap();
    // Without the manual pages, which a unit may name and nobody has to have installed.
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(file).output().unwrap();
    // Units of this machine are read along, and are not ours to judge.
    let said = String::from_utf8(output.stderr).unwrap();
    let about_it = said.lines().filter(|line| line.contains(UNIT));
    about_it.filter(|line| !NEWER.iter().any(|key| line.contains(key))).map(String::from).collect()
}

#[test]
#[ignore = "needs systemd-analyze"]
fn systemd_understands_all_of_the_service() {
    let unit = fs::read_to_string(Workspace::find().unwrap().join("examples/package").join(UNIT)).unwrap();
    assert!(unit.contains(&format!("ExecStart={PROGRAM} ")), "{unit}");
    assert_eq!(complaints(&unit), Vec::<String>::new());
    for (right, wrong) in [
        ("WatchdogSec=20", "WatchdogSec=twenty"),
        ("ProtectSystem=strict", "ProtectSystem=strictly"),
        ("NoNewPrivileges=", "NoNewPrivilege="),
        (PROGRAM, "/var/lib/repedge/no-such-program"),
    ] {
        assert!(unit.contains(right), "{right}: {unit}");
        assert_eq!(complaints(&unit.replace(right, wrong)).len(), 1, "{wrong} is taken");
    }
}
