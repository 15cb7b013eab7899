//! Tensors as plain data: element type, layout, quantization, and owned buffers that are reused frame after frame.

use serde::{Deserialize, Serialize};

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DType {
    /// 32-bit IEEE float.
    F32,
    /// Signed 8-bit integer, usually with a [`Quant`].
    I8,
    /// Unsigned 8-bit integer: pixels, or quantized values with a [`Quant`].
    U8,
}

/// Order of the four dimensions in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Batch, channel, row, column.
    Nchw,
    /// Batch, row, column, channel.
    Nhwc,
    /// Batch, block of `c2` channels, cell, channel within the block: how Rockchip's NPU keeps tensors. The last block
    /// is padded to `c2` channels and each block to `plane` cells; what fills them up means nothing. The shape of such a
    /// tensor is written as for [`Layout::Nchw`], without padding.
    Nc1hwc2 {
        /// Channels of a block.
        c2: usize,
        /// Cells of a block: height * width, or more.
        plane: usize,
    },
}

/// Affine quantization: `real = (stored - zero_point) * scale`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quant {
    /// Real value of one step.
    pub scale: f32,
    /// Stored value that means 0.
    pub zero_point: i32,
}

/// Name, type and shape of a model's input or output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// Name in the payload.
    pub name: String,
    /// Element type.
    pub dtype: DType,
    /// Memory order.
    pub layout: Layout,
    /// Dimensions in the order of `layout`, see there.
    pub shape: [usize; 4],
    /// How stored values map to real ones; absent for floats and plain pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quant: Option<Quant>,
}

/// Owned elements of a [`Tensor`].
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// See [`DType::F32`].
    F32(Vec<f32>),
    /// See [`DType::I8`].
    I8(Vec<i8>),
    /// See [`DType::U8`].
    U8(Vec<u8>),
}

/// A four-dimensional tensor with its layout and quantization.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Dimensions in the order of `layout`.
    pub shape: [usize; 4],
    /// Memory order.
    pub layout: Layout,
    /// How stored values map to real ones.
    pub quant: Option<Quant>,
    /// The elements, as many as [`TensorSpec::len`] tells.
    pub data: TensorData,
}

/// Elements of a [`TensorView`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ViewData<'a> {
    /// See [`DType::F32`].
    F32(&'a [f32]),
    /// See [`DType::I8`].
    I8(&'a [i8]),
    /// See [`DType::U8`].
    U8(&'a [u8]),
}

/// A tensor whose elements lie elsewhere, such as in memory of the NPU.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TensorView<'a> {
    /// As [`Tensor::shape`].
    pub shape: [usize; 4],
    /// As [`Tensor::layout`].
    pub layout: Layout,
    /// As [`Tensor::quant`].
    pub quant: Option<Quant>,
    /// The elements, as many as [`TensorSpec::len`] tells.
    pub data: ViewData<'a>,
}

impl TensorSpec {
    /// Number of elements in memory, padding included.
    pub fn len(&self) -> usize {
        match self.layout {
            Layout::Nchw | Layout::Nhwc => self.shape.iter().product(),
            Layout::Nc1hwc2 { c2, plane } => {
                let blocks = if c2 == 0 { 0 } else { self.shape[1].div_ceil(c2) };
                self.shape[0] * blocks * plane * c2
            }
        }
    }

    /// Whether the shape holds no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Height and width in pixels or cells, whatever the layout.
    pub fn height_width(&self) -> (usize, usize) {
        height_width(self.layout, self.shape)
    }

    /// Number of channels, whatever the layout.
    pub fn channels(&self) -> usize {
        channels(self.layout, self.shape)
    }
}

impl Tensor {
    /// A zeroed tensor of the given specification.
    pub fn zeroed(spec: &TensorSpec) -> Self {
        let data = match spec.dtype {
            DType::F32 => TensorData::F32(vec![0.0; spec.len()]),
            DType::I8 => TensorData::I8(vec![0; spec.len()]),
            DType::U8 => TensorData::U8(vec![0; spec.len()]),
        };
        Self { shape: spec.shape, layout: spec.layout, quant: spec.quant, data }
    }

    /// Height and width in pixels or cells, whatever the layout.
    pub fn height_width(&self) -> (usize, usize) {
        height_width(self.layout, self.shape)
    }

    /// Number of channels, whatever the layout.
    pub fn channels(&self) -> usize {
        channels(self.layout, self.shape)
    }

    /// Lends the elements.
    pub fn view(&self) -> TensorView<'_> {
        let data = match &self.data {
            TensorData::F32(data) => ViewData::F32(data),
            TensorData::I8(data) => ViewData::I8(data),
            TensorData::U8(data) => ViewData::U8(data),
        };
        TensorView { shape: self.shape, layout: self.layout, quant: self.quant, data }
    }

    /// Whether type, layout, shape and number of elements are those of `spec`.
    pub fn matches(&self, spec: &TensorSpec) -> bool {
        self.view().matches(spec)
    }
}

impl TensorView<'_> {
    /// Whether type, layout, shape and number of elements are those of `spec`.
    pub fn matches(&self, spec: &TensorSpec) -> bool {
        let (dtype, len) = match self.data {
            ViewData::F32(data) => (DType::F32, data.len()),
            ViewData::I8(data) => (DType::I8, data.len()),
            ViewData::U8(data) => (DType::U8, data.len()),
        };
        (dtype, len, self.layout, self.shape) == (spec.dtype, spec.len(), spec.layout, spec.shape)
    }
}

fn height_width(layout: Layout, shape: [usize; 4]) -> (usize, usize) {
    match layout {
        Layout::Nchw | Layout::Nc1hwc2 { .. } => (shape[2], shape[3]),
        Layout::Nhwc => (shape[1], shape[2]),
    }
}

fn channels(layout: Layout, shape: [usize; 4]) -> usize {
    match layout {
        Layout::Nchw | Layout::Nc1hwc2 { .. } => shape[1],
        Layout::Nhwc => shape[3],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_channels_and_planes_of_cells_are_padded() {
        let layout = Layout::Nc1hwc2 { c2: 16, plane: 12 };
        let spec =
            TensorSpec { name: "o".into(), dtype: DType::I8, layout, shape: [1, 21, 2, 5], quant: None };
        assert_eq!(spec.len(), 2 * 12 * 16);
        assert_eq!((spec.channels(), spec.height_width()), (21, (2, 5)));
        let tensor = Tensor::zeroed(&spec);
        assert!(tensor.matches(&spec));
        assert!(!tensor.matches(&TensorSpec { layout: Layout::Nchw, ..spec.clone() }));
        let bare = Layout::Nc1hwc2 { c2: 0, plane: 12 };
        assert!(TensorSpec { layout: bare, ..spec }.is_empty());
    }
}
