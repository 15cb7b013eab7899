//! The part of ONNX's protobuf schema that we read, over borrowed bytes. Judges no operator.

mod read;

pub(super) use read::read;

/// `TensorProto.DataType`.
pub(super) mod data_type {
    pub const FLOAT: i32 = 1;
    pub const UINT8: i32 = 2;
    pub const INT8: i32 = 3;
    pub const UINT16: i32 = 4;
    pub const INT16: i32 = 5;
    pub const INT32: i32 = 6;
    pub const INT64: i32 = 7;
    pub const BOOL: i32 = 9;
    pub const FLOAT16: i32 = 10;
    pub const DOUBLE: i32 = 11;
    pub const UINT32: i32 = 12;
    pub const UINT64: i32 = 13;
    pub const BFLOAT16: i32 = 16;
    /// Every width of floats.
    pub const FLOATS: [i32; 4] = [FLOAT, FLOAT16, DOUBLE, BFLOAT16];
}

#[derive(Debug, Default)]
pub(super) struct Model<'a> {
    pub graph: Graph<'a>,
    /// Version of ONNX's own operators; 0 where none is given.
    pub opset: i64,
    pub metadata: Vec<(&'a str, &'a str)>,
}

#[derive(Debug, Default)]
pub(super) struct Graph<'a> {
    pub nodes: Vec<Node<'a>>,
    pub initializers: Vec<Tensor<'a>>,
    pub inputs: Vec<ValueInfo<'a>>,
    pub outputs: Vec<&'a str>,
    /// Whether there are sparse initializers, which are not read.
    pub sparse: bool,
}

#[derive(Debug, Default)]
pub(super) struct Node<'a> {
    pub name: &'a str,
    pub op: &'a str,
    pub domain: &'a str,
    /// Names of tensors; empty where an optional one is left out.
    pub inputs: Vec<&'a str>,
    pub outputs: Vec<&'a str>,
    pub attributes: Vec<Attribute<'a>>,
}

#[derive(Debug)]
pub(super) struct Attribute<'a> {
    pub name: &'a str,
    pub value: Attr<'a>,
}

/// Value of an attribute; only the kinds that the operators read here have.
#[derive(Debug)]
pub(super) enum Attr<'a> {
    Float(f32),
    Int(i64),
    Text(&'a [u8]),
    Tensor(Box<Tensor<'a>>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    Other,
}

/// Elements as they stand: one field each, or many in one.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chunk<'a> {
    One(u64),
    Packed(&'a [u8]),
}

#[derive(Debug, Default)]
pub(super) struct Tensor<'a> {
    pub name: &'a str,
    pub dims: Vec<i64>,
    pub data_type: i32,
    /// Little-endian elements, where it has them in this form.
    pub raw: Option<&'a [u8]>,
    /// `float_data`, `int32_data`, `int64_data`, `double_data` and `uint64_data`: the type tells which it can be.
    pub chunks: Vec<Chunk<'a>>,
    /// Whether the elements lie in another file.
    pub external: bool,
}

/// A graph's input.
#[derive(Debug, Default)]
pub(super) struct ValueInfo<'a> {
    pub name: &'a str,
    pub element: i32,
    /// None where the shape is not stated; of each dimension, none where it is open.
    pub dims: Option<Vec<Option<i64>>>,
}

impl<'a> Node<'a> {
    pub fn attribute(&self, name: &str) -> Option<&Attr<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    pub fn int(&self, name: &str) -> Option<i64> {
        if let Attr::Int(value) = self.attribute(name)? { Some(*value) } else { None }
    }

    pub fn float(&self, name: &str) -> Option<f32> {
        if let Attr::Float(value) = self.attribute(name)? { Some(*value) } else { None }
    }

    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        if let Attr::Ints(values) = self.attribute(name)? { Some(values) } else { None }
    }

    pub fn text(&self, name: &str) -> Option<&'a str> {
        if let Attr::Text(bytes) = self.attribute(name)? { std::str::from_utf8(bytes).ok() } else { None }
    }
}
