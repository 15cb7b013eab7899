use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::*;

fn scenario() -> Scenario {
    let text = r#"
        description = "a test"
        time_limit_s = 60
        report = "report.json"
        [[step]]
        name = "load vivid"
        run = "modprobe vivid"
        [[step]]
        name = "self-test"
        run = "self-test"
        send = ["/tmp/report.json"]
    "#;
    Scenario::parse(text).unwrap()
}

fn passing() -> Value {
    json!({"board": "qemu-virt", "verdict": "pass", "accuracy": {"verdict": "pass", "agreement": 1.0}})
}

/// What a guest says that does all it should, with this report.
fn log(report: &str) -> String {
    use base64::Engine;
    let digest = format!("{:x}", Sha256::digest(report));
    let text = base64::engine::general_purpose::STANDARD.encode(report);
    format!(
        "[    0.0] Booting Linux\n@repedge ready\n@repedge begin 0\n@repedge end 0 0\n@repedge begin 1\n\
         12.0 fps\n@repedge end 1 0\n@repedge file report.json {digest}\n{text}\n@repedge sent report.json\n\
         @repedge done\n[    5.1] reboot: Power down\n"
    )
}

fn exited(wait_status: i32) -> End {
    End::Exited(ExitStatus::from_raw(wait_status))
}

fn ended(log: &str, end: End) -> Ended {
    Ended { end, log: log.as_bytes().to_vec(), picture: None, boot_s: Some(2.0), total_s: 5.1 }
}

fn judged(log: &str, end: End) -> Verdict {
    judge(&scenario(), &ended(log, end))
}

/// The only failure of a log that differs from a good one.
fn failure(log: &str) -> String {
    let verdict = judged(log, exited(0));
    assert_eq!(verdict.word(), "fail");
    assert_eq!(verdict.failures.len(), 1, "{:#?}", verdict.failures);
    verdict.failures[0].clone()
}

#[test]
fn a_guest_that_does_all_passes() {
    let verdict = judged(&log(&passing().to_string()), exited(0));
    assert_eq!(verdict.failures, Vec::<String>::new());
    assert_eq!((verdict.word(), verdict.report), ("pass", Some(passing())));
}

#[test]
fn a_report_that_does_not_pass_fails() {
    for (field, value) in [("verdict", json!("fail")), ("verdict", json!(true)), ("verdict", json!(null))] {
        let mut report = passing();
        report[field] = value;
        assert!(failure(&log(&report.to_string())).starts_with("the report's verdict is "));
    }
    for accuracy in [json!(null), json!({"verdict": "fail"}), json!({})] {
        let mut report = passing();
        report["accuracy"] = accuracy;
        assert!(failure(&log(&report.to_string())).starts_with("the report's accuracy's verdict is "));
    }
    assert_eq!(judged(&log("{}"), exited(0)).failures.len(), 2);
    assert!(failure(&log("{\"verdict\":\"pa")).contains("is no JSON"));
}

#[test]
fn a_report_that_did_not_come_fails() {
    let good = log(&passing().to_string());
    let missing = "@repedge missing report.json\n@repedge done\n[    5.1] reboot: Power down\n";
    let before = good.split("@repedge file").next().unwrap();
    assert_eq!(failure(&format!("{before}{missing}")), "the self-test wrote no report report.json");
    assert!(failure(&good.replace("@repedge sent report.json\n", "")).contains("did not come whole"));
}

#[test]
fn a_step_with_another_exit_code_fails_with_its_output() {
    let failed = failure(&log(&passing().to_string()).replace("end 1 0", "end 1 1"));
    assert_eq!(failed, "step \"self-test\" ended with 1, expected 0\n    12.0 fps");
    assert!(failure(&log(&passing().to_string()).replace("end 1 0", "end 1 137")).contains("was killed"));
    assert!(failure(&log(&passing().to_string()).replace("@repedge end 0 0\n", "")).contains("never ended"));
}

#[test]
fn an_end_that_is_no_clean_power_off_fails() {
    let good = log(&passing().to_string());
    assert!(
        failure(&good.replace("reboot: Power down", "reboot: Restarting system")).contains("clean power-off")
    );
    let failures = |end| judged(&good, end).failures;
    assert!(failures(exited(1 << 8))[0].starts_with("qemu failed"));
    assert!(failures(exited(9))[0].starts_with("qemu failed"));
    assert!(failures(End::TimedOut)[0].contains("60 s"));
    assert!(failures(End::Flooded)[0].contains("without end"));
}

#[test]
fn a_kernel_that_gives_up_is_named_first() {
    let good = log(&passing().to_string());
    let cut = good.split("12.0 fps").next().unwrap();
    let verdict = judged(&format!("{cut}[ 3.1] Kernel panic - not syncing: Out of memory\n"), exited(0));
    assert_eq!(verdict.failures[0], "the guest's kernel gave up: Kernel panic - not syncing: Out of memory");
    assert_eq!(verdict.failures.len(), 4, "{:#?}", verdict.failures);
}

#[test]
fn a_step_that_looks_at_the_display_needs_a_picture_and_what_it_is_compared_with() {
    let mut scenario = scenario();
    scenario.steps[1].send = vec!["/tmp/report.json".into(), "/tmp/shown.jpg".into()];
    scenario.steps[1].display = Some(Shown { page: "shown.jpg".into(), line: "report.json".into() });
    let good = log(&passing().to_string());
    let failed = |log: &str, picture: Option<&[u8]>| {
        let ended = Ended { picture: picture.map(|picture| Ok(picture.to_vec())), ..ended(log, exited(0)) };
        judge(&scenario, &ended).failures.join("\n")
    };
    let told = failed(&good, None);
    assert!(told.starts_with("step \"self-test\": the display cannot be judged: the guest asked"), "{told}");
    let gone = Some(Err("qemu's monitor does not answer".into()));
    let told = judge(&scenario, &Ended { picture: gone, ..ended(&good, exited(0)) }).failures.join("\n");
    assert!(told.contains("no picture of it can be taken: qemu's monitor"), "{told}");
    assert!(failed(&good, Some(b"P6 1 1 255 abc")).contains("the guest has no shown.jpg"));
    let told = failed(&good.replace("end 1 0", "end 1 1"), None);
    assert!(told.contains("ended with 1") && !told.contains("display"), "{told}");
}

#[test]
fn boxes_are_read_from_lines() {
    let line = br#"{"frame":2,"detections":[{"class":0,"box_px":[1.5,2.0,3.0,4.0]}]}"#;
    assert_eq!(boxes(line).unwrap(), [[1.5, 2.0, 3.0, 4.0]]);
    for wrong in ["", "{}", r#"{"detections":[{"class":0}]}"#, r#"{"detections":[{"box_px":[1]}]}"#] {
        assert!(boxes(wrong.as_bytes()).is_err(), "{wrong}");
    }
}

#[test]
fn silence_is_no_pass() {
    assert_eq!(judged("", exited(0)).failures.len(), 5);
}
