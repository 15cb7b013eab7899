//! Where an output lies and what it takes to read it. Never calls the runtime.

use artifact::{DType, Layout, Quant, TensorSpec};
use rknn_sys::{rknn_tensor_attr, rknn_tensor_format, rknn_tensor_type};

use super::{OutputPlan, Reading, check_quant, element_bytes, misfit, size};
use crate::Error;

/// An output as the NPU writes it.
pub(super) fn native_output(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<OutputPlan, Error> {
    let (dtype, quant) = element(attr, spec)?;
    let dims: Vec<usize> = attr.dims.iter().take(size(attr.n_dims)).map(|&dim| size(dim)).collect();
    let (channels, (height, width)) = (spec.channels(), spec.height_width());
    let wrong = || misfit(format!("output {:?} lies in memory as {dims:?}", spec.name), "the bundle's shape");
    let layout = match (attr.fmt, &dims[..]) {
        (rknn_tensor_format::RKNN_TENSOR_NC1HWC2, &[1, blocks, rows, columns, c2]) if c2 > 0 => {
            let plane = rows.checked_mul(columns).ok_or_else(wrong)?;
            let elements = plane.checked_mul(blocks).and_then(|cells| cells.checked_mul(c2));
            let is_addressable = elements.is_some_and(|n| n <= isize::MAX.unsigned_abs() / 4);
            // Rows are as far apart as they are long: what lies between them is known of no runtime.
            let is_dense = size(attr.w_stride) <= columns;
            if blocks != channels.div_ceil(c2) || plane < height * width || !is_addressable || !is_dense {
                return Err(wrong());
            }
            Layout::Nc1hwc2 { c2, plane }
        }
        (rknn_tensor_format::RKNN_TENSOR_NCHW, _) if dims == [1, channels, height, width] => Layout::Nchw,
        (rknn_tensor_format::RKNN_TENSOR_NHWC, _) if dims == [1, height, width, channels] => Layout::Nhwc,
        _ => return Err(wrong()),
    };
    let shape = match layout {
        Layout::Nhwc => [1, height, width, channels],
        Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, channels, height, width],
    };
    let spec = TensorSpec { name: spec.name.clone(), dtype, layout, shape, quant };
    let stored = element_bytes(attr.type_);
    let row = width * stored * if layout == Layout::Nhwc { channels } else { 1 };
    let distance = (row / width.max(1)).saturating_mul(size(attr.w_stride).max(width));
    let is_half = attr.type_ == rknn_tensor_type::RKNN_TENSOR_FLOAT16;
    let is_padded = !matches!(layout, Layout::Nc1hwc2 { .. }) && distance > row;
    let reading = match (is_half, is_padded) {
        (false, false) => Reading::InPlace,
        (false, true) => Reading::Rows { length: row, distance },
        (true, true) => Reading::Halves { length: row, distance },
        (true, false) => Reading::Halves { length: spec.len() * stored, distance: spec.len() * stored },
    };
    let rows = spec.len() * stored / row.max(1);
    let needed = if is_padded { rows.saturating_mul(distance) } else { spec.len() * stored };
    let bytes = size(attr.size_with_stride).max(size(attr.size));
    if bytes < needed {
        return Err(misfit(
            format!("output {:?} in {bytes} bytes of memory", spec.name),
            "memory for its dimensions and padding",
        ));
    }
    Ok(OutputPlan { spec, attr: *attr, bytes, reading })
}

/// An output as the runtime copies it: as the model was written, 16-bit floats widened.
pub(super) fn copied_output(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<OutputPlan, Error> {
    let (dtype, quant) = element(attr, spec)?;
    let (channels, (height, width)) = (spec.channels(), spec.height_width());
    let (layout, shape) = match attr.fmt {
        rknn_tensor_format::RKNN_TENSOR_NHWC => (Layout::Nhwc, [1, height, width, channels]),
        _ => (Layout::Nchw, [1, channels, height, width]),
    };
    let spec = TensorSpec { name: spec.name.clone(), dtype, layout, shape, quant };
    let bytes = spec.len() * if dtype == DType::F32 { 4 } else { 1 };
    Ok(OutputPlan { spec, attr: *attr, bytes, reading: Reading::InPlace })
}

/// Our element type for an output, and how its values become real.
fn element(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<(DType, Option<Quant>), Error> {
    let dtype = match attr.type_ {
        rknn_tensor_type::RKNN_TENSOR_INT8 => DType::I8,
        rknn_tensor_type::RKNN_TENSOR_UINT8 => DType::U8,
        rknn_tensor_type::RKNN_TENSOR_FLOAT16 | rknn_tensor_type::RKNN_TENSOR_FLOAT32 => {
            return Ok((DType::F32, None));
        }
        other => {
            let found = format!("output {:?} of the runtime's element type {}", spec.name, other.0);
            return Err(misfit(found, "int8, uint8, or floats of 16 or 32 bits"));
        }
    };
    check_quant(attr, spec)?;
    Ok((dtype, Some(Quant { scale: attr.scale, zero_point: attr.zp })))
}
