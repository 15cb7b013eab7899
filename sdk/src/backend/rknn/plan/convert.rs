//! Moves elements between the caller's tensors and the buffers of a frame, each once: padded rows, 16-bit floats.
//! Allocates nothing.

use artifact::{DType, Layout, TensorView, ViewData};
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

use super::{InputPlan, OutputPlan, Reading, element_bytes};
use crate::backend::rknn::buffers::{Buffer, Output};
use rknn_sys::rknn_tensor_type;

impl InputPlan {
    /// Whether the buffer's bytes are exactly the caller's elements.
    pub(in crate::backend::rknn) fn is_dense(&self) -> bool {
        let width = self.spec.height_width().1;
        self.form.kind != rknn_tensor_type::RKNN_TENSOR_FLOAT16
            && self.row_elements == width * self.spec.channels()
    }

    /// Bytes from one row of the buffer to the next.
    pub(in crate::backend::rknn) fn row_bytes(&self) -> usize {
        self.row_elements * element_bytes(self.form.kind)
    }

    /// Fills `bytes` from `input`, which is of the plan's specification.
    pub(in crate::backend::rknn) fn write(&self, input: TensorView<'_>, bytes: &mut [u8]) {
        match input.data {
            ViewData::U8(elements) => self.write_rows(elements, bytes),
            ViewData::I8(elements) => self.write_rows(bytemuck::cast_slice(elements), bytes),
            ViewData::F32(elements) if self.form.kind == rknn_tensor_type::RKNN_TENSOR_FLOAT16 => {
                self.write_halves(elements, bytes);
            }
            ViewData::F32(elements) => copy(bytemuck::cast_slice(elements), bytes),
        }
    }

    /// Copies single bytes, row by row where the buffer's rows are padded.
    fn write_rows(&self, elements: &[u8], bytes: &mut [u8]) {
        let row = self.spec.height_width().1 * self.spec.channels();
        if self.is_dense() || row == 0 {
            return copy(elements, bytes);
        }
        for (from, to) in elements.chunks_exact(row).zip(bytes.chunks_mut(self.row_elements)) {
            copy(from, to);
        }
    }

    /// Narrows floats and puts channels innermost.
    fn write_halves(&self, elements: &[f32], bytes: &mut [u8]) {
        let (channels, (height, width)) = (self.spec.channels(), self.spec.height_width());
        let index = |row: usize, column: usize, channel: usize| match self.spec.layout {
            Layout::Nhwc => (row * width + column) * channels + channel,
            Layout::Nchw | Layout::Nc1hwc2 { .. } => (channel * height + row) * width + column,
        };
        for (row, to) in bytes.chunks_mut(self.row_elements * 2).take(height).enumerate() {
            for (at, half) in to.as_chunks_mut::<2>().0.iter_mut().take(width * channels).enumerate() {
                let real = elements[index(row, at / channels, at % channels)];
                *half = f16::from_f32(real).to_ne_bytes();
            }
        }
    }
}

impl OutputPlan {
    /// Size of what [`OutputPlan::convert`] fills; none where the output is read in place.
    pub(in crate::backend::rknn) fn converted_bytes(&self) -> Option<usize> {
        let element = if self.spec.dtype == DType::F32 { 4 } else { 1 };
        (self.reading != Reading::InPlace).then_some(self.spec.len() * element)
    }

    /// Turns what the NPU wrote into what the caller reads, where that is not the same.
    pub(in crate::backend::rknn) fn convert(&self, output: &mut Output) {
        let Output { raw, converted: Some(target) } = output else { return };
        let (raw, target) = (raw.bytes(), target.bytes_mut());
        match self.reading {
            Reading::InPlace => {}
            Reading::Halves { length, distance } => {
                let floats: &mut [f32] = bytemuck::cast_slice_mut(target);
                for (from, to) in raw.chunks(distance).zip(floats.chunks_exact_mut(length / 2)) {
                    widen(&from[..length], to);
                }
            }
            Reading::Rows { length, distance } => {
                for (from, to) in raw.chunks(distance).zip(target.chunks_exact_mut(length)) {
                    copy(from, to);
                }
            }
        }
    }

    /// The output as the caller reads it.
    pub(in crate::backend::rknn) fn view<'b>(&self, output: &'b Output) -> TensorView<'b> {
        let bytes = output.converted.as_ref().map_or_else(|| output.raw.bytes(), Buffer::bytes);
        let count = self.spec.len();
        let data = match self.spec.dtype {
            DType::U8 => ViewData::U8(&bytes[..count]),
            DType::I8 => ViewData::I8(&bytemuck::cast_slice(bytes)[..count]),
            // Buffers begin at a page, or are of 64-bit units.
            DType::F32 => ViewData::F32(bytemuck::cast_slice(&bytes[..count * 4])),
        };
        TensorView { shape: self.spec.shape, layout: self.spec.layout, quant: self.spec.quant, data }
    }
}

/// Widens 16-bit floats, as many at a time as the processor can.
fn widen(halves: &[u8], floats: &mut [f32]) {
    // Rows begin at whole elements of a buffer, which begins at a page or a 64-bit unit.
    let halves: &[f16] = bytemuck::cast_slice::<u8, u16>(halves).reinterpret_cast();
    halves.convert_to_f32_slice(floats);
}

/// Copies as much as both have.
fn copy(from: &[u8], to: &mut [u8]) {
    let len = from.len().min(to.len());
    to[..len].copy_from_slice(&from[..len]);
}
