//! Inputs, runs and outputs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rknn_sys::{
    RKNN_ERR_FAIL, RKNN_ERR_INPUT_INVALID, RKNN_ERR_OUTPUT_INVALID, RKNN_ERR_PARAM_INVALID, RKNN_ERR_TIMEOUT,
    RKNN_FLAG_ASYNC_MASK, RKNN_FLAG_COLLECT_MODEL_INFO_ONLY, rknn_context, rknn_input, rknn_output,
    rknn_output_extend, rknn_run_extend, rknn_tensor_attr, rknn_tensor_format, rknn_tensor_mem,
};

use super::{refused, within};
use crate::compute::{self, Frame, element_of, reals, type_bytes};
use crate::context::{Bound, Context, Loaded, State};
use crate::device::{Spoiled, Taken, lock};
use crate::scenario::Input;
use crate::{Kind, layout, memory};

/// `rknn_set_io_mem`.
///
/// # Safety
/// `attr` is null or readable.
pub unsafe fn set_io_mem(
    handle: rknn_context,
    memory: *mut rknn_tensor_mem,
    attr: *mut rknn_tensor_attr,
) -> i32 {
    within(handle, "rknn_set_io_mem", |context, _| {
        if attr.is_null() {
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        // SAFETY: readable, as the caller promises, and plain data.
        let attr = unsafe { attr.read() };
        let size = memory::size(context.handle, memory)
            .map_err(|wrong| refused(context, "rknn_set_io_mem", wrong))?;
        let scenario = &context.loaded.scenario;
        let name = attr.name_text();
        let bound = Some(Bound { memory, attr });
        let mut state = lock(&context.state);
        let output = scenario.outputs.iter().position(|output| output.name == name);
        let needed = match output {
            Some(at) if attr.index as usize == at => layout::size_with_stride(&scenario.outputs[at]),
            None if attr.index == 0 && name == scenario.input.name => input_bytes(&scenario.input, &attr),
            _ => return Err(RKNN_ERR_PARAM_INVALID),
        };
        if size < needed {
            eprintln!("stand-in: {name} bound to {size} bytes, {needed} are needed");
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        match output {
            Some(at) => state.outputs[at] = bound,
            None => state.input = bound,
        }
        Ok(())
    })
}

/// Bytes of an input bound as `attr` says.
fn input_bytes(input: &Input, attr: &rknn_tensor_attr) -> usize {
    let [_, channels, height, _] = input.shape;
    height * input.stride() * channels * type_bytes(attr.type_)
}

/// `rknn_inputs_set`.
///
/// # Safety
/// `inputs` is null or readable for `count` elements, the buffer of each for its size.
pub unsafe fn inputs_set(handle: rknn_context, count: u32, inputs: *mut rknn_input) -> i32 {
    within(handle, "rknn_inputs_set", |context, _| {
        // Its runtime has the function and no use for it.
        if context.loaded.kind == Kind::Rv {
            return Err(RKNN_ERR_FAIL);
        }
        if count != 1 || inputs.is_null() {
            return Err(RKNN_ERR_INPUT_INVALID);
        }
        // SAFETY: readable for one element, as the caller promises.
        let given = unsafe { inputs.read() };
        let input = &context.loaded.scenario.input;
        let elements: usize = input.shape.iter().product();
        if given.index != 0
            || given.buf.is_null()
            || (given.size as usize) < elements * type_bytes(given.type_)
        {
            return Err(RKNN_ERR_INPUT_INVALID);
        }
        // SAFETY: readable for its size, as the caller promises.
        let bytes = unsafe { std::slice::from_raw_parts(given.buf.cast::<u8>(), given.size as usize) };
        let element = element_of(input, given.type_, given.pass_through).ok_or(RKNN_ERR_INPUT_INVALID)?;
        let is_planar = given.fmt == rknn_tensor_format::RKNN_TENSOR_NCHW;
        let real = reals(input, bytes, &element, is_planar);
        lock(&context.state).copied = Some((bytes.to_vec(), real));
        Ok(())
    })
}

/// `rknn_run`.
///
/// # Safety
/// `extend` is null or readable and writable.
pub unsafe fn run(handle: rknn_context, extend: *mut rknn_run_extend) -> i32 {
    within(handle, "rknn_run", |context, spoiled| {
        if context.flags & RKNN_FLAG_COLLECT_MODEL_INFO_ONLY != 0 {
            return Err(RKNN_ERR_FAIL);
        }
        let began = Instant::now();
        // SAFETY: readable, as the caller promises.
        let timeout_ms = if extend.is_null() { 0 } else { unsafe { (*extend).timeout_ms } };
        let timeout = u64::try_from(timeout_ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let loaded = &context.loaded;
        let mut state = lock(&context.state);
        let cores = loaded.device.take(state.core_mask, timeout).ok_or(RKNN_ERR_TIMEOUT)?;
        let more = if let Spoiled::Slow(more) = spoiled { more } else { Duration::ZERO };
        let latency = loaded.engine.latency(cores.first()) + more;
        // What it waited for other frames counts, too.
        let left = timeout.map(|timeout| timeout.saturating_sub(cores.waited));
        if let Some(left) = left.filter(|left| *left < latency) {
            std::thread::sleep(left);
            return Err(RKNN_ERR_TIMEOUT);
        }
        let end = Instant::now() + latency;
        let shown = advance(context, &mut state, &cores, spoiled);
        std::thread::sleep(end.saturating_duration_since(Instant::now()));
        loaded.device.count_run(&cores);
        shown?;
        state.last_run_us = i64::try_from(began.elapsed().as_micros()).unwrap_or(i64::MAX).max(1);
        Ok(())
    })
}

/// `rknn_wait`: runs are over when they return.
///
/// # Safety
/// None: `extend` is not touched. Unsafe as its C function is.
pub unsafe fn wait(handle: rknn_context, _extend: *mut rknn_run_extend) -> i32 {
    within(handle, "rknn_wait", |context, _| {
        let has_run = lock(&context.state).last_run_us > 0;
        if has_run { Ok(()) } else { Err(RKNN_ERR_FAIL) }
    })
}

/// Computes a frame and shows it, or, where runs are asynchronous, the one before.
fn advance(context: &Context, state: &mut State, cores: &Taken<'_>, spoiled: Spoiled) -> Result<(), i32> {
    let mut frame = frame(context, state)?.ok_or(RKNN_ERR_INPUT_INVALID)?;
    if matches!(spoiled, Spoiled::Garbled(core) if cores.has(core)) {
        frame = Arc::new(frame.garbled());
    }
    let is_async = context.flags & RKNN_FLAG_ASYNC_MASK != 0;
    state.last = if is_async { state.coming.replace(frame) } else { Some(frame) };
    let shown = state.last.clone();
    shown.map_or(Ok(()), |shown| write_bound(context, state, &shown))
}

/// The outputs for what was handed over or lies in the bound memory.
fn frame(context: &Context, state: &mut State) -> Result<Option<Arc<Frame>>, i32> {
    let Loaded { scenario, engine, .. } = &*context.loaded;
    if let Some((bytes, real)) = state.copied.take() {
        return Ok(engine.run(scenario, &bytes, || real));
    }
    let Bound { memory, attr } = state.input.ok_or(RKNN_ERR_INPUT_INVALID)?;
    let input = &scenario.input;
    let element = element_of(input, attr.type_, attr.pass_through).ok_or(RKNN_ERR_INPUT_INVALID)?;
    let [_, channels, height, width] = input.shape;
    let pixel = channels * type_bytes(attr.type_);
    let run = |bytes: &[u8]| engine.run(scenario, bytes, || reals(input, bytes, &element, false));
    let found = memory::npu(context.handle, memory, |bytes| {
        if input.stride() == width {
            return run(&bytes[..height * width * pixel]);
        }
        let rows = bytes.chunks(input.stride() * pixel).take(height);
        run(&rows.flat_map(|row| &row[..width * pixel]).copied().collect::<Vec<u8>>())
    });
    found.map_err(|wrong| refused(context, "rknn_run", wrong))
}

/// Writes a frame to the memories that outputs are bound to.
fn write_bound(context: &Context, state: &State, frame: &Frame) -> Result<(), i32> {
    for (bound, native) in state.outputs.iter().zip(&frame.native) {
        let Some(Bound { memory, .. }) = bound else { continue };
        let written =
            memory::npu(context.handle, *memory, |bytes| bytes[..native.len()].copy_from_slice(native));
        written.map_err(|wrong| refused(context, "rknn_run", wrong))?;
    }
    Ok(())
}

/// `rknn_outputs_get`.
///
/// # Safety
/// `outputs` is null or readable and writable for `count` elements, the buffer of each that is preallocated for its size.
pub unsafe fn outputs_get(
    handle: rknn_context,
    count: u32,
    outputs: *mut rknn_output,
    _extend: *mut rknn_output_extend,
) -> i32 {
    within(handle, "rknn_outputs_get", |context, spoiled| {
        let scenario = &context.loaded.scenario;
        // All of them, in one call.
        if context.loaded.kind == Kind::Rv || outputs.is_null() || count as usize != scenario.outputs.len() {
            return Err(RKNN_ERR_OUTPUT_INVALID);
        }
        // SAFETY: readable and writable for `count` elements, as the caller promises.
        let outputs = unsafe { std::slice::from_raw_parts_mut(outputs, count as usize) };
        if !outputs.is_sorted_by_key(|output| output.index) {
            // Whether the real one looks at the numbers is not known.
            context.loaded.device.violation("outputs asked for in another order than the model's".into());
        }
        let mut state = lock(&context.state);
        let frame = state.last.clone().ok_or(RKNN_ERR_OUTPUT_INVALID)?;
        for output in outputs.iter_mut() {
            let at = output.index as usize;
            let described = scenario.outputs.get(at).ok_or(RKNN_ERR_OUTPUT_INVALID)?;
            let stored = frame.plain[at].chunks_exact(described.element.bytes());
            let mut bytes: Vec<u8> = match output.want_float {
                0 => frame.plain[at].clone(),
                _ => {
                    stored.flat_map(|stored| compute::real(stored, described.element).to_ne_bytes()).collect()
                }
            };
            if let Spoiled::Short(cut) = spoiled {
                bytes.truncate(bytes.len().saturating_sub(cut as usize));
            }
            // Only buffers of the caller's own are played: RepEdge asks for no others.
            if output.is_prealloc == 0 || output.buf.is_null() || (output.size as usize) < bytes.len() {
                return Err(RKNN_ERR_OUTPUT_INVALID);
            }
            // SAFETY: writable for its size, as the caller promises, and not ours.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), output.buf.cast::<u8>(), bytes.len()) };
            output.size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        }
        state.held_outputs += u64::from(count);
        context.loaded.device.counters().outputs += u64::from(count);
        Ok(())
    })
}

/// `rknn_outputs_release`.
///
/// # Safety
/// None: nothing behind `outputs` is touched. Unsafe as its C function is.
pub unsafe fn outputs_release(handle: rknn_context, count: u32, _outputs: *mut rknn_output) -> i32 {
    within(handle, "rknn_outputs_release", |context, _| {
        let mut state = lock(&context.state);
        if state.held_outputs < u64::from(count) {
            return Err(RKNN_ERR_OUTPUT_INVALID);
        }
        state.held_outputs -= u64::from(count);
        context.loaded.device.counters().outputs -= u64::from(count);
        Ok(())
    })
}
