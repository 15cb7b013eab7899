use super::*;
use crate::test_board::machine::End;
use crate::test_board::{Args, BOARD, SCENARIOS, run};
use crate::workspace::Workspace;

/// A guest that began and never ended, which took so many seconds.
fn endless(total_s: f64) -> Run {
    let scenario =
        Scenario::read(&Workspace::find().unwrap().join(SCENARIOS).join("self-test.toml")).unwrap();
    let log = b"@repedge ready\n".to_vec();
    let ended = Ended { end: End::TimedOut, log, picture: None, boot_s: Some(9.5), total_s };
    let verdict = verdict::judge(&scenario, &ended);
    Run {
        scenario,
        ended,
        verdict,
        log: "serial.log".into(),
        packages: Vec::new(),
        emulator: "QEMU 7.2".into(),
    }
}

fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

#[test]
fn the_report_holds_verdict_times_and_failures() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    recorded(Some(&path), || Ok(endless(61.25))).unwrap().conclude().unwrap_err();
    let read = read_json(&path);
    assert_eq!((&read["boot_s"], &read["total_s"]), (&json!(9.5), &json!(61.25)));
    assert_eq!((&read["verdict"], &read["report"]), (&json!("fail"), &Value::Null));
    assert_eq!((&read["emulator"], &read["display"]), (&json!("QEMU 7.2"), &Value::Null));
    assert!(!read["failures"].as_array().unwrap().is_empty());
}

#[test]
fn a_report_of_an_earlier_run_is_gone_before_anything_begins() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    fs::write(&path, "{\"verdict\": \"pass\"}").unwrap();
    let boot = || {
        assert!(!path.exists());
        bail!("no emulator")
    };
    assert_eq!(recorded(Some(&path), boot).unwrap_err().to_string(), "no emulator");
    let (read, whole) = (read_json(&path), endless(1.0).document());
    assert_eq!((&read["verdict"], &read["failures"]), (&json!("fail"), &json!(["no emulator"])));
    let keys = |document: &Value| document.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&read), keys(&whole));
}

/// What is no file holds nothing of an earlier run, and is not ours to remove.
#[test]
fn only_a_file_is_removed_before_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path().join("report.json"), &link).unwrap();
    recorded(Some(&link), || Ok(endless(1.0))).unwrap();
    assert!(link.is_symlink());
    assert_eq!(read_json(&link)["verdict"], "fail");
}

#[test]
fn a_run_that_cannot_begin_leaves_a_failing_report() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("report.json");
    fs::write(&path, "{\"verdict\": \"pass\"}").unwrap();
    let scenario = folder.path().join("none.toml").display().to_string();
    run(&Args { board: BOARD.into(), scenario, disk: false, json: Some(path.clone()) }).unwrap_err();
    let read = read_json(&path);
    assert_eq!(read["verdict"], "fail");
    assert!(read["failures"][0].as_str().unwrap().contains("none.toml"), "{read}");
}

#[test]
fn a_guest_that_takes_more_than_three_minutes_is_said_to() {
    assert!(endless(180.0).summary().ends_with("user space began after 9.5 s, all took 180.0 s"));
    let summary = endless(200.5).summary();
    assert!(summary.contains("all took 200.5 s\nnote: that is more than the 180 s"), "{summary}");
}
