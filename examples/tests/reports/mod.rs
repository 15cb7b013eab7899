//! Reports of `self-test`, which must be as their schema says.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::Path;

use repedge::selftest::REPORT_SCHEMA;
use serde_json::Value;

/// The report in `path`.
pub fn read(path: &Path) -> Value {
    let report: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let schema: Value = serde_json::from_str(REPORT_SCHEMA).unwrap();
    let validator = jsonschema::draft202012::new(&schema).unwrap();
    let faults: Vec<String> = validator.iter_errors(&report).map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{faults:?} in {report:#}");
    report
}
