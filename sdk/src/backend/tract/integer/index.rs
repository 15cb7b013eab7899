//! Who makes and reads each tensor of an ONNX graph, and which tensors are dequantized from int8. Only looks.

use std::collections::HashMap;

use artifact::Quant;
use tract_onnx::pb::{GraphProto, NodeProto, TensorProto};

use super::INT8;

/// ONNX's `TensorProto.DataType.FLOAT` and `INT32`.
pub(super) const FLOAT: i32 = 1;
pub(super) const INT32: i32 = 6;
/// How far a bias's scale may be from the product it has to be, as a fraction of it: an f32 rounding or two.
const SCALE_SLACK: f32 = 1e-6;

/// A tensor of stored values and what they mean.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    pub name: &'a str,
    pub quant: Quant,
}

/// Stored activations behind a float tensor, with the names that an integer operator wants.
pub(super) struct Dequantized<'a> {
    pub name: &'a str,
    pub zero_point_name: &'a str,
    pub quant: Quant,
}

/// Stored weights behind a float tensor: symmetric, one scale or one an output channel.
pub(super) struct StoredWeights<'a> {
    pub name: &'a str,
    /// Number of output channels.
    pub channels: usize,
    scales: Vec<f32>,
}

impl StoredWeights<'_> {
    /// The scale of output channel `channel`.
    pub fn scale(&self, channel: usize) -> f32 {
        self.scales.get(channel).or(self.scales.first()).copied().unwrap_or(1.0)
    }
}

/// A graph by name.
pub(super) struct Index<'a> {
    makers: HashMap<&'a str, &'a NodeProto>,
    readers: HashMap<&'a str, usize>,
    constants: HashMap<&'a str, &'a TensorProto>,
}

impl<'a> Index<'a> {
    pub fn of(graph: &'a GraphProto) -> Self {
        let mut readers = HashMap::new();
        let inputs = graph.node.iter().flat_map(|node| &node.input);
        for name in inputs.chain(graph.output.iter().map(|output| &output.name)) {
            *readers.entry(name.as_str()).or_insert(0) += 1;
        }
        let outputs = graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name, node)));
        Self {
            makers: outputs.map(|(name, node)| (name.as_str(), node)).collect(),
            readers,
            constants: graph.initializer.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect(),
        }
    }

    /// The node that makes `name`.
    pub fn maker(&self, name: &str) -> Option<&'a NodeProto> {
        self.makers.get(name).copied()
    }

    /// Whether `reader` is all that reads `name`, and reads it once.
    pub fn only_reader(&self, name: &str, reader: &NodeProto) -> Option<()> {
        (self.readers.get(name) == Some(&1) && reader.input.iter().any(|input| input == name)).then_some(())
    }

    pub fn is_constant(&self, name: &str) -> bool {
        self.constants.contains_key(name)
    }

    /// Whether the float tensor `name` is dequantized from something that the model computes.
    pub fn is_stored(&self, name: &str) -> bool {
        let maker = self.maker(name).filter(|node| node.op_type == "DequantizeLinear");
        maker.and_then(|node| node.input.first()).is_some_and(|stored| !self.is_constant(stored))
    }

    /// The value of a scalar float constant.
    pub fn scalar(&self, name: &str) -> Option<f32> {
        match self.floats(name)?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// What `node` stores, when it quantizes to int8 with one scale.
    pub fn quantizes(&self, node: &'a NodeProto) -> Option<Stored<'a>> {
        let [output] = node.output.as_slice() else { return None };
        let quant = (node.op_type == "QuantizeLinear").then(|| self.quant(node)).flatten()?;
        Some(Stored { name: output, quant })
    }

    /// The stored values behind the float tensor `name`, when it is dequantized from int8 with one scale.
    pub fn dequantized(&self, name: &str) -> Option<Dequantized<'a>> {
        let node = self.maker(name).filter(|node| node.op_type == "DequantizeLinear")?;
        let quant = self.quant(node)?;
        let [name, _, zero_point_name] = node.input.as_slice() else { return None };
        Some(Dequantized { name, zero_point_name, quant })
    }

    fn quant(&self, node: &NodeProto) -> Option<Quant> {
        let [_, scale, zero_point] = node.input.as_slice() else { return None };
        let scale = self.scalar(scale).filter(|scale| scale.is_finite() && *scale > 0.0)?;
        let [zero_point] = self.bytes(zero_point)? else { return None };
        Some(Quant { scale, zero_point: i32::from(zero_point.cast_signed()) })
    }

    /// The stored weights behind the float tensor `name`, when they are constants with one scale an output channel.
    pub fn weights(&self, name: &str) -> Option<StoredWeights<'a>> {
        let node = self.maker(name).filter(|node| node.op_type == "DequantizeLinear")?;
        let (name, scale_name) = (node.input.first()?, node.input.get(1)?);
        self.bytes(name)?;
        let channels = usize::try_from(*self.constants.get(name.as_str())?.dims.first()?).ok()?;
        let scales = self.floats(scale_name)?;
        let per_channel = scales.len() == channels && axis(node) == 0;
        let symmetric = match node.input.get(2) {
            None => true,
            Some(zero_point) => self.bytes(zero_point)?.iter().all(|&byte| byte == 0),
        };
        (symmetric && (scales.len() == 1 || per_channel)).then_some(StoredWeights { name, channels, scales })
    }

    /// The stored bias behind the float tensor `name`, when it is in units of input scale times weight scale.
    pub fn bias(&self, name: &str, input_scale: f32, weights: &StoredWeights<'_>) -> Option<&'a str> {
        let node = self.maker(name).filter(|node| node.op_type == "DequantizeLinear")?;
        let stored = node.input.first()?;
        let tensor = self.constants.get(stored.as_str()).filter(|tensor| tensor.data_type == INT32)?;
        let channels = usize::try_from(*tensor.dims.first()?).ok()?;
        let unshifted = match node.input.get(2) {
            None => true,
            Some(zero_point) => {
                self.constants.get(zero_point.as_str())?.raw_data.iter().all(|&byte| byte == 0)
            }
        };
        let scales = self.floats(node.input.get(1)?)?;
        let fits = (0..channels).all(|channel| {
            let product = weights.scale(channel) * input_scale;
            let scale = scales.get(channel).or(scales.first());
            scale.is_some_and(|scale| (product - scale).abs() <= SCALE_SLACK * product)
        });
        let fits = fits && channels == weights.channels && tensor.raw_data.len() == 4 * channels;
        let one_each = scales.len() == channels && axis(node) == 0;
        (unshifted && fits && (scales.len() == 1 || one_each)).then_some(stored)
    }

    /// Elements of an i32 constant.
    pub fn bias_values(&self, name: &str) -> Option<Vec<i32>> {
        let tensor = self.constants.get(name).filter(|tensor| tensor.data_type == INT32)?;
        Some(tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes)).collect())
    }

    /// Elements of an int8 constant.
    fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        self.constants
            .get(name)
            .filter(|tensor| tensor.data_type == INT8)
            .map(|tensor| tensor.raw_data.as_slice())
    }

    /// Elements of a float constant; writers put them into either of two fields.
    fn floats(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.constants.get(name).filter(|tensor| tensor.data_type == FLOAT)?;
        if tensor.raw_data.is_empty() {
            return Some(tensor.float_data.clone());
        }
        Some(tensor.raw_data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// The axis that scales lie along; ONNX's default is 1.
fn axis(node: &NodeProto) -> i64 {
    node.attribute.iter().find(|attribute| attribute.name == "axis").map_or(1, |attribute| attribute.i)
}
