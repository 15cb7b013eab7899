//! A tensor of the file while it is understood: always its shape, and its elements where they are known without an
//! image. Floats of every width are f32 here, integers and booleans i64. Never computes.

use std::sync::Arc;

use artifact::Fault;
use half::{bf16, f16};

use super::fault::broken;
use super::proto::{self, Chunk, data_type};
use super::wire::packed;

/// Most elements of a tensor.
const MAX_ELEMENTS: usize = 1 << 28;
/// Most axes of a tensor; the models read here have at most six.
pub(super) const MAX_AXES: usize = 16;

/// Shape, and elements where they are known.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub shape: Vec<usize>,
    pub data: Data,
}

/// Elements, row-major.
#[derive(Debug, Clone)]
pub(super) enum Data {
    /// They depend on the image.
    Unknown,
    Floats(Arc<Vec<f32>>),
    Ints(Arc<Vec<i64>>),
}

impl Value {
    pub fn unknown(shape: Vec<usize>) -> Self {
        Self { shape, data: Data::Unknown }
    }

    pub fn floats(shape: Vec<usize>, data: Vec<f32>) -> Self {
        Self { shape, data: Data::Floats(Arc::new(data)) }
    }

    pub fn ints(shape: Vec<usize>, data: Vec<i64>) -> Self {
        Self { shape, data: Data::Ints(Arc::new(data)) }
    }

    pub fn is_known(&self) -> bool {
        !matches!(self.data, Data::Unknown)
    }

    pub fn as_floats(&self) -> Option<&[f32]> {
        if let Data::Floats(data) = &self.data { Some(data) } else { None }
    }

    pub fn as_ints(&self) -> Option<&[i64]> {
        if let Data::Ints(data) = &self.data { Some(data) } else { None }
    }

    /// `[channels, height, width]` of an image or feature map of one image.
    pub fn map_shape(&self) -> Option<[usize; 3]> {
        if let [1, channels, height, width] = self.shape[..] { Some([channels, height, width]) } else { None }
    }

    /// The elements of a tensor in the file.
    ///
    /// # Errors
    /// When they lie in another file, are of a type that is not read, or not as many as the dimensions say.
    pub fn read(tensor: &proto::Tensor) -> Result<Self, Fault> {
        let name = tensor.name;
        if tensor.external {
            return Err(Fault::new(
                format!("tensor {name:?} lies in another file"),
                "all weights within the model's file",
                "save the model without external data: onnx.save(onnx.load(FILE), OUT)",
            ));
        }
        let shape: Option<Vec<usize>> = tensor.dims.iter().map(|&dim| usize::try_from(dim).ok()).collect();
        let shape = shape.filter(|shape| elements(shape).is_some());
        let shape =
            shape.ok_or_else(|| broken(format!("tensor {name:?} of dimensions {:?}", tensor.dims)))?;
        let count = shape.iter().product();
        let data = read_elements(tensor, count)?.ok_or_else(|| {
            broken(format!("tensor {name:?} of dimensions {shape:?} does not hold that many elements"))
        })?;
        Ok(Self { shape, data })
    }
}

/// Number of elements of a shape; none when it is beyond [`MAX_ELEMENTS`] or [`MAX_AXES`]. Empty axes hide no others, so that every part
/// of the shape can be multiplied.
pub(super) fn elements(shape: &[usize]) -> Option<usize> {
    if shape.len() > MAX_AXES {
        return None;
    }
    let sides = shape.iter().map(|&side| side.max(1));
    let whole =
        sides.into_iter().try_fold(1_usize, usize::checked_mul).filter(|&count| count <= MAX_ELEMENTS);
    whole.map(|whole| if shape.contains(&0) { 0 } else { whole })
}

/// The elements; none when their number is not `count`.
fn read_elements(tensor: &proto::Tensor, count: usize) -> Result<Option<Data>, Fault> {
    use data_type::{
        BFLOAT16, BOOL, DOUBLE, FLOAT, FLOAT16, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64,
    };
    let floats = |values: Option<Vec<f32>>| values.map(|values| Data::Floats(Arc::new(values)));
    let ints = |values: Option<Vec<i64>>| values.map(|values| Data::Ints(Arc::new(values)));
    Ok(match tensor.data_type {
        FLOAT => floats(fixed(tensor, count, f32::from_le_bytes, |bits| f32::from_bits(low_32(bits)))),
        DOUBLE => {
            floats(fixed(tensor, count, |b| narrow(f64::from_le_bytes(b)), |b| narrow(f64::from_bits(b))))
        }
        FLOAT16 => floats(varied(tensor, count, half_of, |bits| f16::from_bits(low_16(bits)).to_f32())),
        BFLOAT16 => floats(varied(
            tensor,
            count,
            |bytes| bf16::from_le_bytes(bytes).to_f32(),
            |bits| bf16::from_bits(low_16(bits)).to_f32(),
        )),
        INT64 | UINT64 => ints(varied(tensor, count, i64::from_le_bytes, u64::cast_signed)),
        INT32 => ints(varied(tensor, count, |b| i64::from(i32::from_le_bytes(b)), u64::cast_signed)),
        UINT32 => ints(varied(tensor, count, |b| i64::from(u32::from_le_bytes(b)), u64::cast_signed)),
        INT16 => ints(varied(tensor, count, |b| i64::from(i16::from_le_bytes(b)), u64::cast_signed)),
        UINT16 => ints(varied(tensor, count, |b| i64::from(u16::from_le_bytes(b)), u64::cast_signed)),
        INT8 => ints(varied(tensor, count, |b| i64::from(i8::from_le_bytes(b)), u64::cast_signed)),
        UINT8 | BOOL => ints(varied(tensor, count, |[b]: [u8; 1]| i64::from(b), u64::cast_signed)),
        other => {
            return Err(broken(format!("tensor {:?} of ONNX's data type {other}", tensor.name)));
        }
    })
}

/// Elements of a type whose own field holds them at their full width.
fn fixed<T, const N: usize>(
    tensor: &proto::Tensor,
    count: usize,
    from_bytes: impl Fn([u8; N]) -> T,
    from_bits: impl Fn(u64) -> T,
) -> Option<Vec<T>> {
    if tensor.raw.is_some() {
        return raw(tensor, count, from_bytes);
    }
    let mut values = Vec::new();
    for chunk in &tensor.chunks {
        match chunk {
            Chunk::One(bits) => values.push(from_bits(*bits)),
            Chunk::Packed(bytes) => {
                let (whole, rest) = bytes.as_chunks::<N>();
                if !rest.is_empty() || values.len() + whole.len() > count {
                    return None;
                }
                values.extend(whole.iter().map(|bytes| from_bytes(*bytes)));
            }
        }
    }
    (values.len() == count).then_some(values)
}

/// Elements of a type whose own field holds them as varints.
fn varied<T, const N: usize>(
    tensor: &proto::Tensor,
    count: usize,
    from_bytes: impl Fn([u8; N]) -> T,
    from_bits: impl Fn(u64) -> T,
) -> Option<Vec<T>> {
    if tensor.raw.is_some() {
        return raw(tensor, count, from_bytes);
    }
    let mut values = Vec::new();
    for chunk in &tensor.chunks {
        let mut push = |bits: u64| {
            values.push(from_bits(bits));
            (values.len() <= count).then_some(())
        };
        match chunk {
            Chunk::One(bits) => push(*bits)?,
            Chunk::Packed(bytes) => packed(bytes).try_for_each(|bits| push(bits.ok()?))?,
        }
    }
    (values.len() == count).then_some(values)
}

fn raw<T, const N: usize>(
    tensor: &proto::Tensor,
    count: usize,
    from_bytes: impl Fn([u8; N]) -> T,
) -> Option<Vec<T>> {
    let (values, rest) = tensor.raw.unwrap_or_default().as_chunks::<N>();
    (values.len() == count && rest.is_empty())
        .then(|| values.iter().map(|bytes| from_bytes(*bytes)).collect())
}

fn half_of(bytes: [u8; 2]) -> f32 {
    f16::from_le_bytes(bytes).to_f32()
}

#[expect(clippy::cast_possible_truncation, reason = "models are computed in f32")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, reason = "the field holds 32 bits")]
fn low_32(bits: u64) -> u32 {
    bits as u32
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "ONNX stores 16-bit floats in the low bits of int32_data"
)]
fn low_16(bits: u64) -> u16 {
    bits as u16
}
