//! The vendor's real library of runtime 1.5.2, which runs under an emulator and finds no NPU there: what the table makes of
//! it, and what it answers.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::path::PathBuf;
use std::ptr::null_mut;

use rknn_sys::{Library, RKNN_ERR_FAIL, rknn_context};

/// The library that `cargo xtask test --aarch64` takes out of the PyPI wheel rknpu 1.5.2.
fn vendors() -> PathBuf {
    std::env::var_os("REPEDGE_VENDOR_RKNN").expect("REPEDGE_VENDOR_RKNN is not set").into()
}

#[test]
#[ignore = "needs the vendor's librknnrt.so of cargo xtask test --aarch64"]
fn functions_that_an_old_runtime_lacks_are_missing_and_no_others() {
    let library = Library::open(vendors().as_os_str()).unwrap();
    assert_eq!(library.version(), Some("1.5.2"));
    assert_eq!(library.path().unwrap(), vendors());
    let table = library.table();
    assert!(table.rknn_mem_sync.is_err());
    assert!(table.rknn_init.is_ok() && table.rknn_query.is_ok() && table.rknn_run.is_ok());
    assert!(table.rknn_create_mem.is_ok() && table.rknn_set_io_mem.is_ok() && table.rknn_dup_context.is_ok());
    assert!(
        table.rknn_inputs_set.is_ok() && table.rknn_outputs_get.is_ok() && table.rknn_set_core_mask.is_ok()
    );
}

#[test]
#[ignore = "needs the vendor's librknnrt.so of cargo xtask test --aarch64"]
fn a_machine_without_an_npu_is_told_by_the_real_runtime() {
    let library = Library::open(vendors().as_os_str()).unwrap();
    let init = *library.table().rknn_init.as_ref().unwrap();
    let mut model = *b"RKNN and nothing that any runtime reads: there is no NPU to read it for.";
    let size = u32::try_from(model.len()).unwrap();
    let mut context: rknn_context = 0;
    // SAFETY: `context` is a place for a handle, `model` is readable and writable for `size` bytes during the call.
    let code = unsafe { init(&raw mut context, model.as_mut_ptr().cast(), size, 0, null_mut()) };
    assert_eq!(code, RKNN_ERR_FAIL);
}
