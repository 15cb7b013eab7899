//! What the runtime tells about a model and itself.

use std::ffi::{c_char, c_void};

use rknn_sys::{
    RKNN_ERR_PARAM_INVALID, rknn_context, rknn_input_output_num, rknn_mem_size, rknn_perf_run,
    rknn_query_cmd as Command, rknn_sdk_version, rknn_tensor_attr, rknn_tensor_format as Format,
    rknn_tensor_qnt_type as Quantization, rknn_tensor_type as Type,
};

use super::within;
use crate::context::Context;
use crate::device::lock;
use crate::layout;
use crate::scenario::{Element, Input, Order, Output};

/// `rknn_query`.
///
/// # Safety
/// `info` is null or readable and writable for `size` bytes, and aligned for the answer.
pub unsafe fn query(handle: rknn_context, command: Command, info: *mut c_void, size: u32) -> i32 {
    within(handle, "rknn_query", |context, _| {
        let place = Place { info, size: size as usize };
        let scenario = &context.loaded.scenario;
        match command {
            Command::RKNN_QUERY_IN_OUT_NUM => {
                place.write(rknn_input_output_num { n_input: 1, n_output: number(scenario.outputs.len()) })
            }
            Command::RKNN_QUERY_INPUT_ATTR => place.change(|attr| plain_input(&scenario.input, attr)),
            Command::RKNN_QUERY_NATIVE_INPUT_ATTR => place.change(|attr| native_input(&scenario.input, attr)),
            Command::RKNN_QUERY_NATIVE_NHWC_INPUT_ATTR => {
                place.change(|attr| native_input(&scenario.input, attr))
            }
            Command::RKNN_QUERY_NATIVE_NHWC_OUTPUT_ATTR => place.change(|attr| {
                let output = scenario.outputs.get(attr.index as usize).ok_or(RKNN_ERR_PARAM_INVALID)?;
                native_output(&Output { order: Order::Nhwc { row_stride: 0 }, ..output.clone() }, attr)
            }),
            Command::RKNN_QUERY_OUTPUT_ATTR => place.change(|attr| {
                plain_output(scenario.outputs.get(attr.index as usize).ok_or(RKNN_ERR_PARAM_INVALID)?, attr)
            }),
            Command::RKNN_QUERY_NATIVE_OUTPUT_ATTR => place.change(|attr| {
                native_output(scenario.outputs.get(attr.index as usize).ok_or(RKNN_ERR_PARAM_INVALID)?, attr)
            }),
            Command::RKNN_QUERY_SDK_VERSION => {
                let mut answer = rknn_sdk_version::default();
                put_text(&mut answer.api_version, &scenario.runtime);
                put_text(&mut answer.drv_version, &scenario.driver);
                place.write(answer)
            }
            Command::RKNN_QUERY_MEM_SIZE => place.write(rknn_mem_size {
                total_weight_size: 1000,
                total_internal_size: 2000,
                total_dma_allocated_size: 3000,
                ..rknn_mem_size::default()
            }),
            Command::RKNN_QUERY_PERF_RUN => {
                place.write(rknn_perf_run { run_duration: lock(&context.state).last_run_us })
            }
            Command::RKNN_QUERY_PERF_DETAIL => perf_detail(context, &place),
            _ => Err(RKNN_ERR_PARAM_INVALID),
        }
    })
}

/// Where the answer goes.
struct Place {
    info: *mut c_void,
    size: usize,
}

impl Place {
    /// As the real one: an answer that does not fit is refused, room beyond it is left alone.
    fn check<T>(&self) -> Result<*mut T, i32> {
        if self.info.is_null() || self.size < size_of::<T>() {
            eprintln!("stand-in: rknn_query with room of {} bytes for {}", self.size, size_of::<T>());
            return Err(RKNN_ERR_PARAM_INVALID);
        }
        Ok(self.info.cast())
    }

    fn write<T>(&self, answer: T) -> Result<(), i32> {
        // SAFETY: checked to be there and large enough; aligned and writable, as the caller promises.
        unsafe { self.check::<T>()?.write(answer) };
        Ok(())
    }

    fn change(&self, fill: impl FnOnce(&mut rknn_tensor_attr) -> Result<(), i32>) -> Result<(), i32> {
        // SAFETY: as for `write`; any bytes are a value of this type of plain data.
        fill(unsafe { &mut *self.check::<rknn_tensor_attr>()? })
    }
}

fn perf_detail(context: &Context, place: &Place) -> Result<(), i32> {
    const TABLE: &str = "ID OpType Time(us)\n1 ConvRelu 15128\n";
    let asked = context.flags & rknn_sys::RKNN_FLAG_COLLECT_PERF_MASK != 0;
    let length = if asked { TABLE.len() as u64 } else { 0 };
    place.write(rknn_sys::rknn_perf_detail { perf_data: TABLE.as_ptr().cast_mut().cast(), data_len: length })
}

/// The input as the model was written: rows of pixels.
fn plain_input(input: &Input, attr: &mut rknn_tensor_attr) -> Result<(), i32> {
    if attr.index != 0 {
        return Err(RKNN_ERR_PARAM_INVALID);
    }
    let [_, channels, height, width] = input.shape;
    describe(attr, &input.name, &[1, height, width, channels], Format::RKNN_TENSOR_NHWC, input.element);
    attr.w_stride = number(width);
    attr.size_with_stride = number(height * input.stride() * channels * input.element.bytes());
    Ok(())
}

fn native_input(input: &Input, attr: &mut rknn_tensor_attr) -> Result<(), i32> {
    plain_input(input, attr)?;
    attr.w_stride = number(input.stride());
    Ok(())
}

fn plain_output(output: &Output, attr: &mut rknn_tensor_attr) -> Result<(), i32> {
    describe(attr, &output.name, &output.shape, Format::RKNN_TENSOR_NCHW, output.element);
    attr.w_stride = 0;
    attr.size_with_stride = number(layout::size_with_stride(output));
    Ok(())
}

fn native_output(output: &Output, attr: &mut rknn_tensor_attr) -> Result<(), i32> {
    let format = match output.order {
        Order::Nc1hwc2 { .. } | Order::PaddedNc1hwc2 { .. } => Format::RKNN_TENSOR_NC1HWC2,
        Order::Nhwc { .. } => Format::RKNN_TENSOR_NHWC,
        Order::Nchw => Format::RKNN_TENSOR_NCHW,
    };
    describe(attr, &output.name, &layout::native_dims(output), format, output.element);
    attr.size = number(layout::size(output));
    attr.w_stride = number(layout::row_stride(output));
    attr.size_with_stride = number(layout::size_with_stride(output));
    Ok(())
}

fn describe(attr: &mut rknn_tensor_attr, name: &str, dims: &[usize], format: Format, element: Element) {
    let index = attr.index;
    *attr = rknn_tensor_attr { index, ..rknn_tensor_attr::default() };
    put_text(&mut attr.name, name);
    attr.n_dims = number(dims.len());
    for (to, &from) in attr.dims.iter_mut().zip(dims) {
        *to = number(from);
    }
    attr.n_elems = dims.iter().map(|&dim| number(dim)).product();
    attr.size = attr.n_elems * number(element.bytes());
    (attr.fmt, attr.type_) = (format, kind(element));
    attr.qnt_type = Quantization::RKNN_TENSOR_QNT_NONE;
    attr.scale = 1.0;
    if let Element::I8(quant) | Element::U8(quant) = element {
        attr.qnt_type = Quantization::RKNN_TENSOR_QNT_AFFINE_ASYMMETRIC;
        (attr.scale, attr.zp) = (quant.scale, quant.zero_point);
    }
}

fn kind(element: Element) -> Type {
    match element {
        Element::I8(_) => Type::RKNN_TENSOR_INT8,
        Element::U8(_) => Type::RKNN_TENSOR_UINT8,
        Element::F16 => Type::RKNN_TENSOR_FLOAT16,
        Element::F32 => Type::RKNN_TENSOR_FLOAT32,
        Element::I16 => Type::RKNN_TENSOR_INT16,
    }
}

fn put_text(field: &mut [c_char], text: &str) {
    let room = field.len() - 1;
    field.fill(0);
    for (to, byte) in field[..room].iter_mut().zip(text.bytes()) {
        *to = c_char::from_ne_bytes([byte]);
    }
}

fn number(size: usize) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}
