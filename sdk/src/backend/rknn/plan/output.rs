//! Where an output lies and what it takes to read it. Never calls the runtime.

use artifact::{DType, Layout, Quant, TensorSpec};
use rknn_sys::{rknn_tensor_attr, rknn_tensor_format, rknn_tensor_type};

use super::{OutputPlan, Reading, check_quant, element_bytes, misfit, size};
use crate::Error;

/// The rows of an output in its memory, in elements: a single one where nothing lies between them.
struct Rows {
    count: usize,
    length: usize,
    /// From one row to the next.
    distance: usize,
}

impl Rows {
    fn new(count: usize, length: usize, distance: usize) -> Self {
        if distance > length { Self { count, length, distance } } else { Self::one(count * length) }
    }

    fn one(length: usize) -> Self {
        Self { count: 1, length, distance: length }
    }
}

/// An output as the NPU writes it.
pub(super) fn native_output(attr: &rknn_tensor_attr, spec: &TensorSpec) -> Result<OutputPlan, Error> {
    let (dtype, quant) = element(attr, spec)?;
    let dims: Vec<usize> = attr.dims.iter().take(size(attr.n_dims)).map(|&dim| size(dim)).collect();
    let (channels, (height, width)) = (spec.channels(), spec.height_width());
    let stride = size(attr.w_stride);
    let rows =
        |count: usize, cell: usize| Rows::new(count, width * cell, stride.max(width).saturating_mul(cell));
    let planned = match (attr.fmt, &dims[..]) {
        (rknn_tensor_format::RKNN_TENSOR_NC1HWC2, dims) => blocks(dims, stride, channels, (height, width)),
        (rknn_tensor_format::RKNN_TENSOR_NCHW, _) if dims == [1, channels, height, width] => {
            Some((Layout::Nchw, rows(channels * height, 1)))
        }
        (rknn_tensor_format::RKNN_TENSOR_NHWC, _) if dims == [1, height, width, channels] => {
            Some((Layout::Nhwc, rows(height, channels)))
        }
        _ => None,
    };
    let (layout, rows) = planned.ok_or_else(|| {
        let found = format!("output {:?} lies in memory as {dims:?}, rows {stride} apart", spec.name);
        misfit(found, "the bundle's shape")
    })?;
    if !are_planes_as_told(attr, height) {
        let found =
            format!("output {:?} of {height} rows has planes {} rows apart", spec.name, attr.h_stride);
        return Err(misfit(found, "planes that follow each other as the dimensions tell"));
    }
    let shape = match layout {
        Layout::Nhwc => [1, height, width, channels],
        Layout::Nchw | Layout::Nc1hwc2 { .. } => [1, channels, height, width],
    };
    let spec = TensorSpec { name: spec.name.clone(), dtype, layout, shape, quant };
    let stored = element_bytes(attr.type_);
    let (length, distance) = (rows.length * stored, rows.distance.saturating_mul(stored));
    let reading = match attr.type_ {
        rknn_tensor_type::RKNN_TENSOR_FLOAT16 => Reading::Halves { length, distance },
        _ if distance > length => Reading::Rows { length, distance },
        _ => Reading::InPlace,
    };
    let needed = rows.count.saturating_mul(distance);
    let bytes = size(attr.size_with_stride).max(size(attr.size));
    if bytes < needed {
        return Err(misfit(
            format!("output {:?} in {bytes} bytes of memory", spec.name),
            "memory for its dimensions and padding",
        ));
    }
    Ok(OutputPlan { spec, attr: *attr, bytes, reading })
}

/// Whether the planes of an output are as far apart as its dimensions tell. With channels innermost there is one only,
/// whatever lies behind it.
fn are_planes_as_told(attr: &rknn_tensor_attr, height: usize) -> bool {
    let (told, distance) = (size(attr.dims[2]), size(attr.h_stride));
    attr.fmt == rknn_tensor_format::RKNN_TENSOR_NHWC || [0, height, told].contains(&distance)
}

/// An output in blocks of channels, where it can be of the bundle's dimensions: its layout as the caller reads it, and its rows
/// in memory.
fn blocks(
    dims: &[usize],
    stride: usize,
    channels: usize,
    (height, width): (usize, usize),
) -> Option<(Layout, Rows)> {
    let &[1, blocks, rows, columns, c2] = dims else { return None };
    if c2 == 0 || blocks != channels.div_ceil(c2) {
        return None;
    }
    let distance = stride.max(columns);
    let cells = height * width;
    // A plane may be filled up behind its last row, and then be told as a single one.
    let is_one_row = rows == 1 && distance == columns && columns >= cells;
    let is_dense = rows >= height && columns == width && distance == width;
    let is_padded = rows == height && columns >= width;
    let plane = match (is_one_row, is_dense, is_padded) {
        (true, _, _) => columns,
        (_, true, _) => rows.checked_mul(width)?,
        (_, _, true) => cells,
        _ => return None,
    };
    let elements = plane.checked_mul(blocks)?.checked_mul(c2)?;
    if elements > isize::MAX.unsigned_abs() / 4 {
        return None;
    }
    let rows = if is_one_row || is_dense {
        Rows::one(elements)
    } else {
        // Our layout has no room between rows: they are put together.
        Rows::new(blocks * height, width * c2, distance.saturating_mul(c2))
    };
    Some((Layout::Nc1hwc2 { c2, plane }, rows))
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
