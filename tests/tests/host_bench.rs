//! The measurement of what the host does to a frame, in two rounds: all sides agree on the result, which the program checks
//! itself, and every figure is there. How fast, it only prints.
#![allow(clippy::unwrap_used, reason = "test code")]

use serde_json::Value;
use tests::{refused, run};

const PROGRAM: &str = "examples/host-bench";

#[test]
fn all_sides_of_the_bench_agree() {
    let report: Value = serde_json::from_str(&run(PROGRAM, &["2"]).unwrap()).unwrap();
    assert_eq!(report["decode"]["objects"], 100);
    for camera in ["nv12", "yuyv"] {
        let distance = report[camera]["largest_difference"].as_u64();
        assert!(distance.is_some_and(|levels| levels <= 3), "{camera}: {report}");
    }
    for part in ["nv12", "yuyv", "decode"] {
        for figure in ["ours_us", "plain_c_us", "plain_c_over_ours", "bytes", "gb_per_s"] {
            assert!(report[part][figure].is_number(), "no {figure} of {part} in {report}");
        }
    }
    assert!(report["copy_gb_per_s"].as_f64() > Some(0.0), "{report}");
}

#[test]
fn rounds_that_are_none_are_refused() {
    for (rounds, complaint) in [("0", "at least 1"), ("many", "invalid digit")] {
        let said = refused(PROGRAM, &[rounds]).unwrap();
        assert!(said.contains(complaint), "no {complaint:?} in {said}");
    }
}
