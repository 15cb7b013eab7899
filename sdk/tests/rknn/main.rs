//! The NPU backend over the stand-in library: the numbers of tract, frames in order, and everything that can go wrong.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/npu.rs"]
mod npu;

mod bounded;
mod every_fault;
mod faults;
mod frames;
mod imports;
mod integer;
mod left_out;
mod loading;
mod numbers;
mod order;
mod refusals;
mod stalls;
mod tensors;
mod turns;
mod waiting;

use repedge::Error;
use repedge::backend::rknn::NpuFailure;

/// What the runtime's codes are told as.
const CODES: [(i32, NpuFailure); 14] = [
    (-1, NpuFailure::Failed),
    (-2, NpuFailure::Timeout),
    (-3, NpuFailure::DeviceUnavailable),
    (-4, NpuFailure::OutOfMemory),
    (-5, NpuFailure::InvalidParameter),
    (-6, NpuFailure::InvalidModel),
    (-7, NpuFailure::InvalidContext),
    (-8, NpuFailure::InvalidInput),
    (-9, NpuFailure::InvalidOutput),
    (-10, NpuFailure::DeviceMismatch),
    (-11, NpuFailure::IncompatiblePrecompiled),
    (-12, NpuFailure::IncompatibleOptimization),
    (-13, NpuFailure::PlatformMismatch),
    (-14, NpuFailure::UnknownCode(-14)),
];

fn failure(error: &Error) -> NpuFailure {
    match error {
        Error::Npu { failure, .. } => *failure,
        other => panic!("another kind of error: {other}"),
    }
}

/// Asserts that `error` is `expected` at `call`, names the runtime's `code` and says what to do.
#[track_caller]
fn assert_typed(error: &Error, expected: NpuFailure, call: &str, code: i32) {
    let text = error.to_string();
    assert_eq!(failure(error), expected, "{text}");
    assert!(text.starts_with(call), "not of {call}: {text}");
    assert!(text.contains(&format!("code {code}")), "no code {code} in {text}");
    let hint = text.split("help: ").nth(1).unwrap_or_default();
    assert!(hint.len() > 20, "no hint in {text}");
}
