//! The measurement of what queueing over several NPU cores gives, with few frames: every frame in order, with its own
//! objects, on the cores that were asked for. How fast, it only prints.
#![allow(clippy::unwrap_used, reason = "test code")]

use serde_json::{Value, json};
use tests::{refused, run};

const PROGRAM: &str = "examples/npu-bench";

#[test]
fn every_frame_of_the_bench_comes_in_its_turn_from_every_core() {
    let report: Value = serde_json::from_str(&run(PROGRAM, &["30", "3", "2000"]).unwrap()).unwrap();
    assert_eq!(report["frame_us"], 2000);
    for (part, cores, frames) in [("one_core", 1, 10), ("all_cores", 3, 30)] {
        let side = &report[part];
        assert_eq!((&side["cores"], &side["frames"]), (&json!(cores), &json!(frames)), "{part}");
    }
    // Cores take turns, so that none waits for a frame while another has two to do.
    for (part, by_core) in
        [("one_core", json!([10, 0, 0])), ("all_cores", json!([10, 10, 10])), ("camera", json!([10, 10, 10]))]
    {
        assert_eq!(report[part]["frames_by_core"], by_core, "{part}");
    }
    for figure in ["/ratio", "/all_cores/run_us/p50", "/all_cores/queued_us/p99", "/camera/added_us/p99"] {
        assert!(report.pointer(figure).is_some_and(Value::is_number), "no {figure} in {report}");
    }
}

#[test]
fn cores_and_frames_that_cannot_be_played_are_refused() {
    for (arguments, complaint) in [
        (["10", "0"], "1 to 3"),
        (["10", "4"], "1 to 3"),
        (["2", "3"], "without one"),
        (["x", "3"], "invalid digit"),
    ] {
        let said = refused(PROGRAM, &arguments).unwrap();
        assert!(said.contains(complaint), "no {complaint:?} in {said}");
    }
}

/// With cores that take no time for a frame all of it is the host's, which no bar allows.
#[test]
fn every_bar_that_is_missed_is_named() {
    let said = refused(PROGRAM, &["--check", "30", "3", "1"]).unwrap();
    for bar in ["times one core, where 2.85", "of waiting for a busy core (99 %)", "added (99 %)"] {
        assert!(said.contains(bar), "no {bar:?} in {said}");
    }
}
