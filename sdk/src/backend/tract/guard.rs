//! Checks an ONNX model for what tract would panic on or should never do: data of the wrong length, references to
//! other files, outputs that nothing makes.

use std::collections::HashSet;

use tract_onnx::pb::tensor_proto::DataLocation;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto};
use tract_onnx::prelude::Framework;

/// Parses `onnx` and refuses, with a sentence, what is unsafe to hand to tract.
pub(super) fn parse(onnx: &[u8]) -> Result<ModelProto, String> {
    let mut bytes = onnx;
    let model = tract_onnx::onnx().proto_model_for_read(&mut bytes).map_err(|e| format!("{e:#}"))?;
    let graph = model.graph.as_ref().ok_or("the ONNX file has no graph")?;
    check_graph(graph)?;
    Ok(model)
}

fn check_graph(graph: &GraphProto) -> Result<(), String> {
    graph.initializer.iter().try_for_each(check_tensor)?;
    for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
        attribute.t.iter().chain(&attribute.tensors).try_for_each(check_tensor)?;
        attribute.g.iter().chain(&attribute.graphs).try_for_each(check_graph)?;
    }
    check_outputs(graph)
}

fn check_outputs(graph: &GraphProto) -> Result<(), String> {
    let inputs = graph.input.iter().map(|input| &input.name);
    let constants = graph.initializer.iter().map(|tensor| &tensor.name);
    let results = graph.node.iter().flat_map(|node| &node.output);
    let made: HashSet<&String> = inputs.chain(constants).chain(results).collect();
    match graph.output.iter().find(|output| !made.contains(&output.name)) {
        Some(output) => Err(format!("no node makes output {:?}", output.name)),
        None => Ok(()),
    }
}

fn check_tensor(tensor: &TensorProto) -> Result<(), String> {
    let name = &tensor.name;
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err(format!("tensor {name:?} lies in another file"));
    }
    let elements = tensor.dims.iter().try_fold(1_usize, |n, &dim| n.checked_mul(usize::try_from(dim).ok()?));
    let elements = elements.ok_or_else(|| format!("tensor {name:?} has dimensions {:?}", tensor.dims))?;
    let Some(size) = element_size(tensor.data_type) else { return Ok(()) };
    let raw = tensor.raw_data.len();
    if raw > 0 && elements.checked_mul(size) != Some(raw) {
        return Err(format!("tensor {name:?} holds {raw} bytes for dimensions {:?}", tensor.dims));
    }
    Ok(())
}

/// Bytes of an element of ONNX's `TensorProto.DataType`, where it has a fixed size.
fn element_size(data_type: i32) -> Option<usize> {
    match data_type {
        2 | 3 | 9 => Some(1),
        4 | 5 | 10 | 16 => Some(2),
        1 | 6 | 12 => Some(4),
        7 | 11 | 13 | 14 => Some(8),
        15 => Some(16),
        _ => None,
    }
}
