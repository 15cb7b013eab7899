//! A report's times as comma-separated values, for spreadsheets: a line a stage.

use std::fmt::Write;

use super::{Percentiles, Report};

/// The stages of `report`, one line each, under a line of column names.
pub fn csv(report: &Report) -> String {
    let mut text = String::from("stage,p50_us,p90_us,p95_us,p99_us,max_us\n");
    for (step, Percentiles { p50_us, p90_us, p95_us, p99_us, max_us }) in &report.stages {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{step},{p50_us},{p90_us},{p95_us},{p99_us},{max_us}");
    }
    text
}
