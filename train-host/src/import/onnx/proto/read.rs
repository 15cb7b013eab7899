//! From bytes to messages: field numbers from the public `onnx.proto`. Counts what it makes, so that a small file cannot
//! become a large structure.

use super::super::wire::{Broken, Fields, Wire, packed};
use super::{Attr, Attribute, Chunk, Graph, Model, Node, Tensor, ValueInfo};

/// Most messages, names and numbers outside of tensors' data that a file may hold; the models read here have some
/// thousand.
const MAX_ITEMS: usize = 1_000_000;

/// Reads a model.
pub(in crate::import::onnx) fn read(bytes: &[u8]) -> Result<Model<'_>, Broken> {
    Reader { left: MAX_ITEMS }.model(bytes)
}

struct Reader {
    /// Items that may still be made.
    left: usize,
}

impl Reader {
    fn push<T>(&mut self, list: &mut Vec<T>, item: T) -> Result<(), Broken> {
        self.left = self.left.checked_sub(1).ok_or("it has more than a million parts")?;
        list.push(item);
        Ok(())
    }

    fn model<'a>(&mut self, bytes: &'a [u8]) -> Result<Model<'a>, Broken> {
        let (mut model, mut graphs) = (Model::default(), 0);
        for field in Fields::new(bytes) {
            match field? {
                (7, wire) => {
                    graphs += 1;
                    model.graph = self.graph(message(wire)?)?;
                }
                (8, wire) => {
                    let (domain, version) = opset(message(wire)?)?;
                    if matches!(domain, "" | "ai.onnx") {
                        model.opset = version;
                    }
                }
                (14, wire) => {
                    let entry = entry(message(wire)?)?;
                    self.push(&mut model.metadata, entry)?;
                }
                _ => {}
            }
        }
        if graphs == 1 { Ok(model) } else { Err("it does not hold one graph") }
    }

    fn graph<'a>(&mut self, bytes: &'a [u8]) -> Result<Graph<'a>, Broken> {
        let mut graph = Graph::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => {
                    let node = self.node(message(wire)?)?;
                    self.push(&mut graph.nodes, node)?;
                }
                (5, wire) => {
                    let tensor = self.tensor(message(wire)?)?;
                    self.push(&mut graph.initializers, tensor)?;
                }
                (11, wire) => {
                    let input = self.value_info(message(wire)?)?;
                    self.push(&mut graph.inputs, input)?;
                }
                (12, wire) => {
                    let output = self.value_info(message(wire)?)?;
                    self.push(&mut graph.outputs, output.name)?;
                }
                (15, _) => graph.sparse = true,
                _ => {}
            }
        }
        Ok(graph)
    }

    fn node<'a>(&mut self, bytes: &'a [u8]) -> Result<Node<'a>, Broken> {
        let mut node = Node::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => self.push(&mut node.inputs, text(wire)?)?,
                (2, wire) => self.push(&mut node.outputs, text(wire)?)?,
                (3, wire) => node.name = text(wire)?,
                (4, wire) => node.op = text(wire)?,
                (5, wire) => {
                    let attribute = self.attribute(message(wire)?)?;
                    self.push(&mut node.attributes, attribute)?;
                }
                (7, wire) => node.domain = text(wire)?,
                _ => {}
            }
        }
        Ok(node)
    }

    fn attribute<'a>(&mut self, bytes: &'a [u8]) -> Result<Attribute<'a>, Broken> {
        let (mut name, mut kind, mut single) = ("", 0, None);
        let (mut floats, mut ints) = (Vec::new(), Vec::new());
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => name = text(wire)?,
                (2, wire) => single = Some(Attr::Float(float(wire)?)),
                (3, wire) => single = Some(Attr::Int(int(wire)?)),
                (4, wire) => single = Some(Attr::Text(message(wire)?)),
                (5, wire) => single = Some(Attr::Tensor(Box::new(self.tensor(message(wire)?)?))),
                (7, wire) => self.floats(wire, &mut floats)?,
                (8, wire) => self.ints(wire, &mut ints)?,
                (20, wire) => kind = int(wire)?,
                _ => {}
            }
        }
        // `AttributeProto.type` tells what a value that was left out as 0 or empty would be.
        let value = match (single, kind) {
            (Some(value), _) => value,
            (None, 6) => Attr::Floats(floats),
            (None, 7) => Attr::Ints(ints),
            (None, 1) => Attr::Float(0.0),
            (None, 2) => Attr::Int(0),
            (None, 0) if !ints.is_empty() => Attr::Ints(ints),
            (None, 0) if !floats.is_empty() => Attr::Floats(floats),
            (None, _) => Attr::Other,
        };
        Ok(Attribute { name, value })
    }

    fn tensor<'a>(&mut self, bytes: &'a [u8]) -> Result<Tensor<'a>, Broken> {
        let mut tensor = Tensor::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => self.ints(wire, &mut tensor.dims)?,
                (2, wire) => tensor.data_type = i32::try_from(int(wire)?).map_err(|_| OTHER_KIND)?,
                (4 | 5 | 7 | 10 | 11, wire) => self.push(&mut tensor.chunks, chunk(wire))?,
                (8, wire) => tensor.name = text(wire)?,
                (9, wire) => tensor.raw = Some(message(wire)?),
                (13, _) => tensor.external = true,
                (14, wire) => tensor.external |= int(wire)? != 0,
                _ => {}
            }
        }
        Ok(tensor)
    }

    fn value_info<'a>(&mut self, bytes: &'a [u8]) -> Result<ValueInfo<'a>, Broken> {
        let mut info = ValueInfo::default();
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => info.name = text(wire)?,
                (2, wire) => {
                    // TypeProto holds TypeProto.Tensor as field 1.
                    for field in Fields::new(message(wire)?) {
                        if let (1, wire) = field? {
                            self.tensor_type(message(wire)?, &mut info)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(info)
    }

    fn tensor_type(&mut self, bytes: &[u8], info: &mut ValueInfo) -> Result<(), Broken> {
        for field in Fields::new(bytes) {
            match field? {
                (1, wire) => info.element = i32::try_from(int(wire)?).map_err(|_| OTHER_KIND)?,
                (2, wire) => {
                    let mut dims = Vec::new();
                    for field in Fields::new(message(wire)?) {
                        if let (1, wire) = field? {
                            let dim = dimension(message(wire)?)?;
                            self.push(&mut dims, dim)?;
                        }
                    }
                    info.dims = Some(dims);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn ints(&mut self, wire: Wire, list: &mut Vec<i64>) -> Result<(), Broken> {
        match wire {
            Wire::Bytes(bytes) => packed(bytes).try_for_each(|value| self.push(list, value?.cast_signed())),
            other => self.push(list, int(other)?),
        }
    }

    fn floats(&mut self, wire: Wire, list: &mut Vec<f32>) -> Result<(), Broken> {
        let Wire::Bytes(bytes) = wire else { return self.push(list, float(wire)?) };
        let (values, rest) = bytes.as_chunks();
        values.iter().try_for_each(|value| self.push(list, f32::from_le_bytes(*value)))?;
        if rest.is_empty() { Ok(()) } else { Err(OTHER_KIND) }
    }
}

const OTHER_KIND: Broken = "a field is of another kind than ONNX's";

fn opset(bytes: &[u8]) -> Result<(&str, i64), Broken> {
    let (mut domain, mut version) = ("", 0);
    for field in Fields::new(bytes) {
        match field? {
            (1, wire) => domain = text(wire)?,
            (2, wire) => version = int(wire)?,
            _ => {}
        }
    }
    Ok((domain, version))
}

fn entry(bytes: &[u8]) -> Result<(&str, &str), Broken> {
    let (mut key, mut value) = ("", "");
    for field in Fields::new(bytes) {
        match field? {
            (1, wire) => key = text(wire)?,
            (2, wire) => value = text(wire)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn dimension(bytes: &[u8]) -> Result<Option<i64>, Broken> {
    let mut value = None;
    for field in Fields::new(bytes) {
        if let (1, wire) = field? {
            value = Some(int(wire)?);
        }
    }
    Ok(value)
}

fn message(wire: Wire<'_>) -> Result<&[u8], Broken> {
    if let Wire::Bytes(bytes) = wire { Ok(bytes) } else { Err(OTHER_KIND) }
}

fn text(wire: Wire<'_>) -> Result<&str, Broken> {
    std::str::from_utf8(message(wire)?).map_err(|_| "a name is not UTF-8")
}

fn int(wire: Wire) -> Result<i64, Broken> {
    if let Wire::Varint(value) = wire { Ok(value.cast_signed()) } else { Err(OTHER_KIND) }
}

fn float(wire: Wire) -> Result<f32, Broken> {
    if let Wire::Fixed32(bits) = wire { Ok(f32::from_bits(bits)) } else { Err(OTHER_KIND) }
}

fn chunk(wire: Wire<'_>) -> Chunk<'_> {
    match wire {
        Wire::Bytes(bytes) => Chunk::Packed(bytes),
        Wire::Varint(bits) | Wire::Fixed64(bits) => Chunk::One(bits),
        Wire::Fixed32(bits) => Chunk::One(u64::from(bits)),
    }
}
