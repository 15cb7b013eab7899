//! The measurement of the whole pipeline, with few frames: all come through, every sink gets its own, and every figure is there.
//! How fast, it only prints.
#![allow(clippy::unwrap_used, reason = "test code")]

use serde_json::{Value, json};
use tests::{refused, run};

const PROGRAM: &str = "examples/pipeline-bench";
const STAGES: [&str; 5] = ["capture", "preprocess", "inference", "decode", "sinks"];

#[test]
fn every_frame_of_the_bench_comes_through_and_every_sink_gets_some() {
    let arguments = ["--frames", "150", "--cores", "1", "--latency-us", "20000", "--json"];
    let report: Value = serde_json::from_str(&run(PROGRAM, &arguments).unwrap()).unwrap();
    assert_eq!((&report["cores"], &report["inference_us"]), (&json!(1), &json!(20_000)));
    let stages: Vec<_> = report["alone_us"].as_object().unwrap().iter().collect();
    assert!(stages.len() == 5 && stages.iter().all(|(_, us)| us.as_f64() > Some(0.0)), "{stages:?}");
    // The stand-in never answers earlier; the first of the frames was under way as the clock started.
    assert!(report["alone_us"]["inference"].as_f64() > Some(19_800.0), "{report}");
    assert!(STAGES.contains(&report["slowest_stage"].as_str().unwrap()), "{report}");
    let full = &report["full_load"];
    assert_eq!((&full["shown"], &full["dropped"], &full["lost"]), (&json!(150), &json!(0), &json!(0)));
    assert_eq!((&report["live"]["shown"], &report["live"]["lost"]), (&json!(150), &json!(0)));
    for part in ["full_load_arrived", "live_arrived"] {
        assert_eq!(report[part]["lines"], 150, "{part}");
        for sink in ["pictures", "messages", "published", "segments"] {
            assert!(report[part][sink].as_u64() > Some(0), "{part}: {sink}: {report}");
        }
    }
    let figures = ["slowest_per_second", "frames_per_second", "throughput_ratio", "frame_time_us"];
    for figure in figures.into_iter().chain(["added_p50_frame_times", "added_p99_frame_times"]) {
        assert!(report[figure].is_number(), "no {figure} in {report}");
    }
}

#[test]
fn what_cannot_be_measured_is_refused() {
    for (arguments, complaint) in [
        (&["--cores", "4"][..], "1 to 3"),
        (&["--frames", "1"], "at least 2"),
        (&["--frames", "few"], "invalid digit"),
        (&["--soak", "0"], "minutes"),
        (&["--soak"], "without a number"),
        (&["--fast"], "--soak MINUTES"),
    ] {
        let said = refused(PROGRAM, arguments).unwrap();
        assert!(said.contains(complaint), "no {complaint:?} in {said}");
    }
}
