//! The error path against the vendor's real library, which runs under an emulator and finds no NPU there.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "test code")]

mod common;
#[path = "common/npu.rs"]
mod npu;

use std::path::PathBuf;

use repedge::Error;
use repedge::backend::rknn::{NpuFailure, RknnOptions};
use stand_in::Scenario;

/// The library that `cargo xtask test --aarch64` takes out of the PyPI wheel rknpu 1.5.2.
fn vendors() -> PathBuf {
    std::env::var_os("REPEDGE_VENDOR_RKNN").expect("REPEDGE_VENDOR_RKNN is not set").into()
}

#[test]
#[ignore = "needs the vendor's librknnrt.so of cargo xtask test --aarch64"]
fn a_machine_without_an_npu_is_told_by_the_real_runtime() {
    let options = RknnOptions { library: Some(vendors()), ..npu::options() };
    let old = Scenario { toolkit: "1.5.0".into(), ..npu::scenario("old") };
    let error = npu::session(&old, &options).map(drop).unwrap_err();
    assert!(matches!(error, Error::Npu { failure: NpuFailure::Failed, .. }), "{error}");
    for part in ["rknn_init", "code -1", "toolkit2 1.5.0", "runtime is 1.5.2"] {
        assert!(error.to_string().contains(part), "no {part:?} in {error}");
    }
}

#[test]
#[ignore = "needs the vendor's librknnrt.so of cargo xtask test --aarch64"]
fn a_newer_model_is_refused_before_the_real_runtime_sees_it() {
    let options = RknnOptions { library: Some(vendors()), ..npu::options() };
    let error = npu::session(&npu::scenario("new"), &options).map(drop).unwrap_err();
    assert!(matches!(error, Error::Npu { failure: NpuFailure::OldRuntime, .. }), "{error}");
    assert!(error.to_string().contains("update librknnrt.so on this board to 2.3.2"), "{error}");
}
