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
    /// Dimensions in the order of `layout`.
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
    /// The elements, densely packed.
    pub data: TensorData,
}

impl TensorSpec {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
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

    /// Whether type, layout, shape and number of elements are those of `spec`.
    pub fn matches(&self, spec: &TensorSpec) -> bool {
        let (dtype, len) = match &self.data {
            TensorData::F32(data) => (DType::F32, data.len()),
            TensorData::I8(data) => (DType::I8, data.len()),
            TensorData::U8(data) => (DType::U8, data.len()),
        };
        (dtype, len, self.layout, self.shape) == (spec.dtype, spec.len(), spec.layout, spec.shape)
    }
}

fn height_width(layout: Layout, shape: [usize; 4]) -> (usize, usize) {
    match layout {
        Layout::Nchw => (shape[2], shape[3]),
        Layout::Nhwc => (shape[1], shape[2]),
    }
}

fn channels(layout: Layout, shape: [usize; 4]) -> usize {
    match layout {
        Layout::Nchw => shape[1],
        Layout::Nhwc => shape[3],
    }
}
