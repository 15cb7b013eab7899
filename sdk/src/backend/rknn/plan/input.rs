//! Where an input lies and in which form the runtime takes it. Never calls the runtime.

use artifact::{DType, Layout, TensorSpec};
use rknn_sys::{rknn_tensor_attr, rknn_tensor_format, rknn_tensor_type};

use super::{InputPlan, check_quant, check_shape, element_bytes, misfit, size};
use crate::Error;
use crate::backend::rknn::context::InputForm;

/// The input in memory that the NPU reads: rows of pixels, channels innermost.
pub(super) fn native_input(
    plain: &rknn_tensor_attr,
    native: rknn_tensor_attr,
    spec: &TensorSpec,
) -> Result<InputPlan, Error> {
    check_shape(plain, spec)?;
    if native.fmt != rknn_tensor_format::RKNN_TENSOR_NHWC {
        return Err(misfit(
            format!("input {:?} in the NPU's own order", spec.name),
            "rows of pixels, or a runtime that copies inputs itself",
        ));
    }
    let is_same_type = |kind| native.type_ == kind;
    let (height, width) = spec.height_width();
    let dims: Vec<usize> = native.dims.iter().take(size(native.n_dims)).map(|&dim| size(dim)).collect();
    if dims != [1, height, width, spec.channels()] {
        // Such as pixels filled up to four channels.
        let found = format!("input {:?} lies in memory as {dims:?}", spec.name);
        return Err(misfit(found, "the bundle's shape, or a runtime that copies inputs itself"));
    }
    let (kind, pass_through) = match (spec.dtype, spec.layout) {
        (DType::U8, Layout::Nhwc) => (rknn_tensor_type::RKNN_TENSOR_UINT8, 0),
        (DType::I8, Layout::Nhwc) if is_same_type(rknn_tensor_type::RKNN_TENSOR_INT8) => {
            check_quant(&native, spec)?;
            (rknn_tensor_type::RKNN_TENSOR_INT8, 1)
        }
        (DType::F32, Layout::Nchw | Layout::Nhwc) if is_same_type(rknn_tensor_type::RKNN_TENSOR_FLOAT16) => {
            (rknn_tensor_type::RKNN_TENSOR_FLOAT16, 0)
        }
        _ => return Err(untaken(spec)),
    };
    let row_elements = size(native.w_stride).max(width).saturating_mul(spec.channels());
    let needed = row_elements.saturating_mul(height).saturating_mul(element_bytes(kind));
    if u32::try_from(needed).is_err() {
        return Err(misfit(format!("input {:?} of {needed} bytes", spec.name), "less than 4 GiB"));
    }
    let stated = size(native.size_with_stride).max(size(native.size));
    // The stated size counts elements of the native type, which may be narrower than what we give.
    let bytes = stated.max(needed);
    let form = InputForm { kind, format: native.fmt, pass_through };
    let attr = rknn_tensor_attr { type_: kind, pass_through, ..native };
    Ok(InputPlan { spec: spec.clone(), attr, bytes, row_elements, form })
}

/// The input in memory that the runtime copies from.
pub(super) fn copied_input(plain: &rknn_tensor_attr, spec: &TensorSpec) -> Result<InputPlan, Error> {
    check_shape(plain, spec)?;
    let format = match spec.layout {
        Layout::Nchw => rknn_tensor_format::RKNN_TENSOR_NCHW,
        Layout::Nhwc => rknn_tensor_format::RKNN_TENSOR_NHWC,
        Layout::Nc1hwc2 { .. } => return Err(untaken(spec)),
    };
    let kind = match spec.dtype {
        DType::U8 => rknn_tensor_type::RKNN_TENSOR_UINT8,
        DType::F32 => rknn_tensor_type::RKNN_TENSOR_FLOAT32,
        DType::I8 => {
            check_quant(plain, spec)?;
            rknn_tensor_type::RKNN_TENSOR_INT8
        }
    };
    let pass_through = u8::from(spec.dtype == DType::I8);
    let row_elements = spec.height_width().1 * spec.channels();
    let bytes = spec.len() * element_bytes(kind);
    let form = InputForm { kind, format, pass_through };
    Ok(InputPlan { spec: spec.clone(), attr: *plain, bytes, row_elements, form })
}

fn untaken(spec: &TensorSpec) -> Error {
    misfit(
        format!("input {:?} of {:?} {:?}", spec.name, spec.dtype, spec.layout),
        "u8 or int8 NHWC; floats need a model that is not quantized, or a runtime that copies inputs itself",
    )
}
