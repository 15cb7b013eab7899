//! Rockchip's NPU runtime played on any machine: the same C interface, which really computes the model that is packed
//! into its `.rknn` file (or replays what was recorded), with the quirks of the real one, and with faults on demand. It
//! judges its caller: wrong sizes are refused, and what the real one would take silently and wrongly, such as a context
//! used from two threads, is reported. Never ships.
//!
//! A [`Model`] says everything about itself, so that tests in one process do not disturb each other: its [`Scenario`] is
//! packed into the file ([`Model::pack`]), and [`control`] reads the counters kept under its name.

pub mod api;
mod compute;
mod context;
pub mod control;
mod device;
mod layout;
mod memory;
mod model;
pub mod rga;
mod scenario;

pub use model::{Model, Recording, digest};
pub use scenario::{Action, Caches, Element, FAULTY, Fault, Input, Mode, Order, Output, Scenario};

/// Which of the two runtimes a library plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// librknnrt, for RK35xx.
    Rk,
    /// librknnmrt, for RV110x: memory of the NPU only, no copies.
    Rv,
}

/// Exports the functions that both runtimes have, and those that tests control the stand-in with.
#[macro_export]
macro_rules! export_library {
    ($kind:expr, $version:expr) => {
        $crate::export! {
            rknn_init(context: *mut rknn_sys::rknn_context, model: *mut std::ffi::c_void, size: u32, flag: u32,
                extend: *mut rknn_sys::rknn_init_extend) -> i32 = (|c, m, s, f, e| $crate::api::init($kind, c, m, s, f, e));
            rknn_dup_context(from: *mut rknn_sys::rknn_context, to: *mut rknn_sys::rknn_context) -> i32
                = $crate::api::dup_context;
            rknn_destroy(context: rknn_sys::rknn_context) -> i32 = $crate::api::destroy;
            rknn_query(context: rknn_sys::rknn_context, command: rknn_sys::rknn_query_cmd, info: *mut std::ffi::c_void,
                size: u32) -> i32 = $crate::api::query;
            rknn_inputs_set(context: rknn_sys::rknn_context, count: u32, inputs: *mut rknn_sys::rknn_input) -> i32
                = $crate::api::inputs_set;
            rknn_run(context: rknn_sys::rknn_context, extend: *mut rknn_sys::rknn_run_extend) -> i32
                = $crate::api::run;
            rknn_outputs_get(context: rknn_sys::rknn_context, count: u32, outputs: *mut rknn_sys::rknn_output,
                extend: *mut rknn_sys::rknn_output_extend) -> i32 = $crate::api::outputs_get;
            rknn_outputs_release(context: rknn_sys::rknn_context, count: u32, outputs: *mut rknn_sys::rknn_output)
                -> i32 = $crate::api::outputs_release;
            rknn_create_mem(context: rknn_sys::rknn_context, size: u32) -> *mut rknn_sys::rknn_tensor_mem
                = $crate::api::create_mem;
            rknn_create_mem_from_fd(context: rknn_sys::rknn_context, fd: i32, address: *mut std::ffi::c_void, size: u32,
                offset: i32) -> *mut rknn_sys::rknn_tensor_mem = $crate::api::create_mem_from_fd;
            rknn_create_mem2(context: rknn_sys::rknn_context, size: u64, flags: u64) -> *mut rknn_sys::rknn_tensor_mem
                = $crate::api::create_mem2;
            rknn_wait(context: rknn_sys::rknn_context, extend: *mut rknn_sys::rknn_run_extend) -> i32
                = $crate::api::wait;
            rknn_destroy_mem(context: rknn_sys::rknn_context, memory: *mut rknn_sys::rknn_tensor_mem) -> i32
                = $crate::api::destroy_mem;
            rknn_mem_sync(context: rknn_sys::rknn_context, memory: *mut rknn_sys::rknn_tensor_mem,
                mode: rknn_sys::rknn_mem_sync_mode) -> i32 = $crate::api::mem_sync;
            rknn_set_io_mem(context: rknn_sys::rknn_context, memory: *mut rknn_sys::rknn_tensor_mem,
                attr: *mut rknn_sys::rknn_tensor_attr) -> i32 = $crate::api::set_io_mem;
            stand_in_report(name: *const std::ffi::c_char, text: *mut std::ffi::c_char, room: usize) -> usize
                = $crate::api::report;
            stand_in_release(name: *const std::ffi::c_char) -> i32 = $crate::api::release;
        }

        /// The text that the real library's file also holds, where programs look for its version.
        // SAFETY: no other symbol of a test program has this name.
        #[unsafe(no_mangle)]
        pub extern "C" fn stand_in_version() -> *const std::ffi::c_char {
            $version.as_ptr()
        }
    };
}

/// Exports what only the runtime of chips with several cores has.
#[macro_export]
macro_rules! export_cores {
    () => {
        $crate::export! {
            rknn_set_core_mask(context: rknn_sys::rknn_context, mask: rknn_sys::rknn_core_mask) -> i32
                = $crate::api::set_core_mask;
            rknn_set_batch_core_num(context: rknn_sys::rknn_context, count: i32) -> i32
                = $crate::api::set_batch_core_num;
        }
    };
}

/// Exports functions under their C names.
#[macro_export]
macro_rules! export {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $function:expr;)*) => { $(
        /// See the header of `rknn-sys`, and `stand_in::control` for what begins with `stand_in`.
        ///
        /// # Safety
        /// As for the C function of this name: pointers are null or valid, and handles come from this library.
        // SAFETY: the name is the interface; a process loads one such library for each path, by its path.
        #[unsafe(no_mangle)]
        #[allow(clippy::redundant_closure_call, reason = "one of the functions is bound to its library")]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> $result {
            // SAFETY: what the caller promises is what the function asks for.
            unsafe { ($function)($($argument),*) }
        }
    )* };
}
