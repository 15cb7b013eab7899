//! The functions of the C interface. They check what the real ones check, refuse what those refuse, and leave the rest to
//! the other modules. No panic leaves them.

mod queries;
mod running;

use std::ffi::{CStr, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::null_mut;

use rknn_sys::{
    RKNN_ERR_CTX_INVALID, RKNN_ERR_DEVICE_UNAVAILABLE, RKNN_ERR_FAIL, RKNN_ERR_MODEL_INVALID,
    RKNN_ERR_PARAM_INVALID, RKNN_ERR_TARGET_PLATFORM_UNMATCH, rknn_context, rknn_core_mask, rknn_init_extend,
    rknn_mem_sync_mode, rknn_tensor_mem,
};

pub use queries::query;
pub use running::{inputs_set, outputs_get, outputs_release, run, set_io_mem, wait};

use crate::context::{self, Context, Origin};
use crate::device::{self, Spoiled};
use crate::memory::{self, Cache, Wrong};
use crate::{Caches, Kind, Scenario};

/// Runs the body of a function; a panic in it becomes the failure without a reason.
fn guarded(body: impl FnOnce() -> Result<(), i32>) -> i32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(code)) => code,
        Err(_) => RKNN_ERR_FAIL,
    }
}

/// As [`guarded`], within a context and its faults.
fn within(
    handle: rknn_context,
    call: &'static str,
    body: impl FnOnce(&Context, Spoiled) -> Result<(), i32>,
) -> i32 {
    guarded(|| {
        let entered = context::enter(handle, call).ok_or(RKNN_ERR_CTX_INVALID)?;
        let loaded = &entered.context.loaded;
        match loaded.device.call(&loaded.scenario, call) {
            Spoiled::Error(code) => Err(code),
            spoiled => body(&entered.context, spoiled),
        }
    })
}

/// `rknn_init` of the library that `kind` names.
///
/// # Safety
/// `context` is null or writable; `model` is null or readable for `size` bytes.
pub unsafe fn init(
    kind: Kind,
    context: *mut rknn_context,
    model: *mut c_void,
    size: u32,
    flags: u32,
    _extend: *mut rknn_init_extend,
) -> i32 {
    guarded(|| {
        if context.is_null() || model.is_null() || size == 0 {
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        // SAFETY: readable for `size` bytes, as the caller promises.
        let file = unsafe { std::slice::from_raw_parts(model.cast::<u8>(), size as usize) };
        let loaded = context::load(file, kind).ok_or(RKNN_ERR_MODEL_INVALID)?;
        let is_rv = loaded.scenario.platforms.iter().any(|platform| platform.starts_with("rv"));
        if is_rv != (kind == Kind::Rv) {
            return Err(RKNN_ERR_TARGET_PLATFORM_UNMATCH);
        }
        let Scenario { board, platforms, .. } = &loaded.scenario;
        if !platforms.contains(board) {
            // The real one crashes.
            loaded.device.violation(format!("a model of {} loaded on {board}", platforms.join(", ")));
            return Err(RKNN_ERR_FAIL);
        }
        loaded.device.counters().flags = flags;
        if let Spoiled::Error(code) = loaded.device.call(&loaded.scenario, "rknn_init") {
            return Err(code);
        }
        // SAFETY: writable, as the caller promises.
        unsafe { context.write(context::insert(&loaded, Origin::Model(flags))) };
        Ok(())
    })
}

/// `rknn_dup_context`.
///
/// # Safety
/// `from` is null or readable, `to` is null or writable.
pub unsafe fn dup_context(from: *mut rknn_context, to: *mut rknn_context) -> i32 {
    if from.is_null() || to.is_null() {
        return RKNN_ERR_PARAM_INVALID;
    }
    // SAFETY: readable, as the caller promises.
    let from = unsafe { from.read() };
    within(from, "rknn_dup_context", |context, _| {
        let handle = context::insert(&context.loaded, Origin::Duplicate(context));
        context.loaded.device.counters().duplicates += 1;
        // SAFETY: writable, as the caller promises.
        unsafe { to.write(handle) };
        Ok(())
    })
}

/// `rknn_destroy`.
///
/// # Safety
/// None: handles are looked up. Unsafe as its C function is.
pub unsafe fn destroy(handle: rknn_context) -> i32 {
    within(handle, "rknn_destroy", |context, _| {
        let device = &context.loaded.device;
        if device::lock(&context.state).held_outputs > 0 {
            device.violation(format!("context {} destroyed with outputs not released", context.handle));
        }
        let memories = memory::owned_by(context.handle);
        if memories > 0 {
            device.violation(format!("context {} destroyed with {memories} memories", context.handle));
        }
        let sharers = context::sharers_of(context.handle);
        if sharers > 0 {
            device.violation(format!(
                "context {} destroyed before {sharers} that share its weights",
                context.handle
            ));
        }
        context::remove(handle);
        device.counters().contexts -= 1;
        Ok(())
    })
}

/// `rknn_set_core_mask`.
///
/// # Safety
/// None: handles are looked up. Unsafe as its C function is.
pub unsafe fn set_core_mask(handle: rknn_context, mask: rknn_core_mask) -> i32 {
    within(handle, "rknn_set_core_mask", |context, _| {
        if !context.loaded.device.has_cores(mask.0) {
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        device::lock(&context.state).core_mask = mask.0;
        Ok(())
    })
}

/// `rknn_set_batch_core_num`.
///
/// # Safety
/// None: handles are looked up. Unsafe as its C function is.
pub unsafe fn set_batch_core_num(handle: rknn_context, count: i32) -> i32 {
    within(handle, "rknn_set_batch_core_num", |context, _| {
        let cores = i64::from(context.loaded.scenario.cores);
        if (1..=cores).contains(&count.into()) { Ok(()) } else { Err(RKNN_ERR_PARAM_INVALID) }
    })
}

/// `rknn_create_mem2`, which as the real one keeps a file descriptor for good.
///
/// # Safety
/// None: handles are looked up. Unsafe as its C function is.
pub unsafe fn create_mem2(handle: rknn_context, size: u64, _flags: u64) -> *mut rknn_tensor_mem {
    let mut made = null_mut();
    within(handle, "rknn_create_mem2", |context, _| {
        let size = u32::try_from(size).map_err(|_| RKNN_ERR_PARAM_INVALID)?;
        made = counted(context, memory::create(context.handle, size as usize, size, cache(context)));
        if !made.is_null() {
            // SAFETY: a memory that was just made, and a descriptor of our own.
            unsafe { libc::dup((*made).fd) };
        }
        Ok(())
    });
    made
}

fn cache(context: &Context) -> Cache {
    match context.loaded.scenario.caches {
        Caches::Automatic => Cache::Transparent,
        Caches::Manual => Cache::Separate,
    }
}

/// `rknn_create_mem`.
///
/// # Safety
/// None: handles are looked up. Unsafe as its C function is.
pub unsafe fn create_mem(handle: rknn_context, size: u32) -> *mut rknn_tensor_mem {
    let mut made = null_mut();
    within(handle, "rknn_create_mem", |context, spoiled| {
        let cut = if let Spoiled::Short(bytes) = spoiled { bytes } else { 0 };
        let shown = size.saturating_sub(cut);
        made = counted(context, memory::create(context.handle, size as usize, shown, cache(context)));
        Ok(())
    });
    made
}

/// `rknn_create_mem_from_fd`.
///
/// # Safety
/// `address` is null or a mapping of `offset + size` bytes of `fd` that lives as long as the memory.
pub unsafe fn create_mem_from_fd(
    handle: rknn_context,
    fd: i32,
    address: *mut c_void,
    size: u32,
    offset: i32,
) -> *mut rknn_tensor_mem {
    let mut made = null_mut();
    within(handle, "rknn_create_mem_from_fd", |context, _| {
        if fd < 0 || address.is_null() {
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        made = counted(context, memory::import(context.handle, fd, address, size, offset));
        Ok(())
    });
    made
}

fn counted(context: &Context, memory: *mut rknn_tensor_mem) -> *mut rknn_tensor_mem {
    if !memory.is_null() {
        let mut counters = context.loaded.device.counters();
        counters.memories += 1;
        counters.memories_made += 1;
    }
    memory
}

/// `rknn_destroy_mem`.
///
/// # Safety
/// None: handles and memories are looked up. Unsafe as its C function is.
pub unsafe fn destroy_mem(handle: rknn_context, memory: *mut rknn_tensor_mem) -> i32 {
    within(handle, "rknn_destroy_mem", |context, _| {
        if memory::has_lost_its_file(context.handle, memory) {
            let text =
                format!("a memory of context {} destroyed after its descriptor was closed", context.handle);
            context.loaded.device.violation(text);
        }
        memory::destroy(context.handle, memory)
            .map_err(|wrong| refused(context, "rknn_destroy_mem", wrong))?;
        context.loaded.device.counters().memories -= 1;
        Ok(())
    })
}

/// `rknn_mem_sync`.
///
/// # Safety
/// None: handles and memories are looked up. Unsafe as its C function is.
pub unsafe fn mem_sync(handle: rknn_context, memory: *mut rknn_tensor_mem, mode: rknn_mem_sync_mode) -> i32 {
    within(handle, "rknn_mem_sync", |context, _| {
        if !(1..=3).contains(&mode.0) {
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        memory::sync(context.handle, memory, mode.0).map_err(|wrong| refused(context, "rknn_mem_sync", wrong))
    })
}

/// The code for a wrong memory, which a real runtime might not notice.
fn refused(context: &Context, call: &str, wrong: Wrong) -> i32 {
    let what = match wrong {
        Wrong::Unknown => "a memory that is none, or freed",
        Wrong::Foreign => "a memory of another context",
    };
    context.loaded.device.violation(format!("{call} on context {} with {what}", context.handle));
    RKNN_ERR_PARAM_INVALID
}

/// Writes the counters of the model called `name` as JSON into `text`, as far as there is `room`; gives its whole length,
/// 0 for a model that was never loaded.
///
/// # Safety
/// `name` is a C string; `text` is writable for `room` bytes.
pub unsafe fn report(name: *const c_char, text: *mut c_char, room: usize) -> usize {
    // SAFETY: a C string, as the caller promises.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    let Some(device) = device::named(&name) else { return 0 };
    let json = serde_json::to_vec(&*device.counters()).unwrap_or_default();
    if json.len() <= room {
        // SAFETY: `json.len()` bytes fit, and the two do not overlap.
        unsafe { std::ptr::copy_nonoverlapping(json.as_ptr(), text.cast::<u8>(), json.len()) };
    }
    json.len()
}

/// Lets the stalled calls of the model called `name` return.
///
/// # Safety
/// `name` is a C string.
pub unsafe fn release(name: *const c_char) -> i32 {
    // SAFETY: a C string, as the caller promises.
    let name = unsafe { CStr::from_ptr(name) }.to_string_lossy();
    match device::named(&name) {
        Some(device) => {
            device.release();
            0
        }
        None => RKNN_ERR_DEVICE_UNAVAILABLE,
    }
}
