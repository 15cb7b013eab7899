//! Writes ONNX files byte by byte, also wrong ones.

use crate::support::noise;

/// Side of the images of the models made here.
pub const SIDE_PX: usize = 32;
/// `TensorProto.DataType`.
pub const FLOAT: i64 = 1;
pub const INT64: i64 = 7;
pub const FLOAT16: i64 = 10;

#[derive(Debug, Clone, PartialEq)]
pub enum Attr {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

#[derive(Debug, Clone)]
pub struct Node {
    pub op: String,
    pub name: String,
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    pub attributes: Vec<(String, Attr)>,
}

#[derive(Debug, Clone)]
pub struct Stored {
    pub name: String,
    pub dims: Vec<i64>,
    pub data_type: i64,
    /// Fields of TensorProto that hold the elements.
    pub data: Vec<u8>,
}

#[derive(Debug, Clone)]
pub struct Onnx {
    pub nodes: Vec<Node>,
    pub stored: Vec<Stored>,
    /// Name, element type and dimensions, none where open.
    pub inputs: Vec<(String, i64, Vec<Option<i64>>)>,
    pub outputs: Vec<String>,
    pub opset: i64,
    pub metadata: Vec<(String, String)>,
    seed: u64,
}

impl Onnx {
    /// A graph of the image alone.
    pub fn new() -> Self {
        let side = Some(SIDE_PX as i64);
        Self {
            nodes: Vec::new(),
            stored: Vec::new(),
            inputs: vec![("images".into(), FLOAT, vec![Some(1), Some(3), side, side])],
            outputs: Vec::new(),
            opset: 17,
            metadata: Vec::new(),
            seed: 1,
        }
    }

    /// Adds a node of one result and returns the result's name.
    pub fn add(&mut self, op: &str, inputs: &[&str], attributes: &[(&str, Attr)]) -> String {
        self.add_all(op, inputs, 1, attributes).remove(0)
    }

    /// Adds a node of `count` results.
    pub fn add_all(
        &mut self,
        op: &str,
        inputs: &[&str],
        count: usize,
        attributes: &[(&str, Attr)],
    ) -> Vec<String> {
        let name = format!("/{}/{op}", self.nodes.len());
        let outputs: Vec<String> = (0..count).map(|output| format!("{name}_{output}")).collect();
        self.nodes.push(Node {
            op: op.into(),
            name,
            inputs: inputs.iter().map(|&input| input.to_owned()).collect(),
            outputs: outputs.clone(),
            attributes: attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        });
        outputs
    }

    pub fn floats(&mut self, dims: &[usize], values: &[f32]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(dims, FLOAT, bytes(9, &raw))
    }

    pub fn ints(&mut self, values: &[i64]) -> String {
        let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.store(&[values.len()], INT64, bytes(9, &raw))
    }

    pub fn store(&mut self, dims: &[usize], data_type: i64, data: Vec<u8>) -> String {
        let name = format!("stored{}", self.stored.len());
        let dims = dims.iter().map(|&dim| dim as i64).collect();
        self.stored.push(Stored { name: name.clone(), dims, data_type, data });
        name
    }

    /// Random numbers of a standard deviation of about `spread`.
    pub fn random(&mut self, dims: &[usize], spread: f32) -> String {
        self.seed += 1;
        let values: Vec<f32> = noise(dims.iter().product(), self.seed)
            .iter()
            .map(|value| (value - 0.5) * 3.46 * spread)
            .collect();
        self.floats(dims, &values)
    }

    /// A convolution with bias, padded to keep its size but for the stride.
    pub fn conv(&mut self, input: &str, [cin, cout]: [usize; 2], kernel: usize, stride: usize) -> String {
        let weight = self.random(&[cout, cin, kernel, kernel], 1.0 / ((cin * kernel * kernel) as f32).sqrt());
        let bias = self.random(&[cout], 0.5);
        let pad = if kernel == stride { 0 } else { kernel / 2 };
        self.add("Conv", &[input, &weight, &bias], &window(kernel, stride, pad))
    }

    /// A batch norm as if trained.
    pub fn norm(&mut self, input: &str, channels: usize) -> String {
        let fields =
            [self.random(&[channels], 1.0), self.random(&[channels], 0.5), self.random(&[channels], 0.5)];
        let variances: Vec<f32> = noise(channels, 77).iter().map(|value| 0.3 + 2.0 * value).collect();
        let variance = self.floats(&[channels], &variances);
        let [weight, bias, mean] = &fields;
        self.add(
            "BatchNormalization",
            &[input, weight, bias, mean, &variance],
            &[("epsilon", Attr::Float(1e-3))],
        )
    }

    /// The file.
    pub fn bytes(&self) -> Vec<u8> {
        let nodes = self.nodes.iter().flat_map(|node| bytes(1, &node.bytes()));
        let stored = self.stored.iter().flat_map(|tensor| bytes(5, &tensor.bytes()));
        let inputs =
            self.inputs.iter().flat_map(|(name, kind, dims)| bytes(11, &value_info(name, *kind, dims)));
        let outputs = self.outputs.iter().flat_map(|name| bytes(12, &text(1, name)));
        let graph: Vec<u8> = nodes.chain(stored).chain(inputs).chain(outputs).collect();
        let mut file = [int(1, 8), bytes(7, &graph), bytes(8, &int(2, self.opset))].concat();
        for (key, value) in &self.metadata {
            file.extend(bytes(14, &[text(1, key), text(2, value)].concat()));
        }
        file
    }
}

impl Node {
    fn bytes(&self) -> Vec<u8> {
        let inputs = self.inputs.iter().flat_map(|name| text(1, name));
        let outputs = self.outputs.iter().flat_map(|name| text(2, name));
        let mut node: Vec<u8> =
            inputs.chain(outputs).chain(text(3, &self.name)).chain(text(4, &self.op)).collect();
        for (name, value) in &self.attributes {
            let value = match value {
                Attr::Int(value) => [int(3, *value), int(20, 2)].concat(),
                Attr::Ints(values) => {
                    values.iter().flat_map(|value| int(8, *value)).chain(int(20, 7)).collect::<Vec<u8>>()
                }
                Attr::Float(value) => [&[0x15][..], &value.to_le_bytes(), &int(20, 1)].concat(),
                Attr::Text(value) => [text(4, value), int(20, 3)].concat(),
            };
            node.extend(bytes(5, &[text(1, name), value].concat()));
        }
        node
    }
}

impl Stored {
    fn bytes(&self) -> Vec<u8> {
        let dims = self.dims.iter().flat_map(|dim| int(1, *dim));
        dims.chain(int(2, self.data_type)).chain(text(8, &self.name)).chain(self.data.clone()).collect()
    }
}

fn value_info(name: &str, kind: i64, dims: &[Option<i64>]) -> Vec<u8> {
    let dim = |dim: &Option<i64>| bytes(1, &dim.map_or_else(|| text(2, "open"), |dim| int(1, dim)));
    let shape: Vec<u8> = dims.iter().flat_map(dim).collect();
    let tensor = [int(1, kind), bytes(2, &shape)].concat();
    [text(1, name), bytes(2, &bytes(1, &tensor))].concat()
}

/// A varint field.
pub fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value.cast_unsigned())].concat()
}

/// A field of bytes.
pub fn bytes(number: u64, content: &[u8]) -> Vec<u8> {
    [varint(number << 3 | 2), varint(content.len() as u64), content.to_vec()].concat()
}

fn text(number: u64, content: &str) -> Vec<u8> {
    bytes(number, content.as_bytes())
}

pub fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// Attributes of a square window.
pub fn window(kernel: usize, stride: usize, pad: usize) -> Vec<(&'static str, Attr)> {
    let ints = |side: usize, count| Attr::Ints(vec![side as i64; count]);
    vec![("kernel_shape", ints(kernel, 2)), ("strides", ints(stride, 2)), ("pads", ints(pad, 4))]
}

pub fn axis(axis: i64) -> Vec<(&'static str, Attr)> {
    vec![("axis", Attr::Int(axis))]
}

pub fn perm(order: &[i64]) -> Vec<(&'static str, Attr)> {
    vec![("perm", Attr::Ints(order.to_vec()))]
}
